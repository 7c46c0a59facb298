"""Findings on published numbers: of small stores by hand, of the published one by pandas."""

import re
import tomllib
from importlib import resources

import pytest

from harness.findings import QUESTIONS

from .answers import NEAR, SETTING, names, of_runs, texts

KEYS = ("verdicts", "paper")
CLAIMS = tomllib.loads(resources.files("harness").joinpath("claims.toml").read_text())["claims"]


@pytest.mark.parametrize("key", KEYS)
def test_runs_without_a_result_or_on_made_up_images_say_nothing(record, make_seeds, make_run, answer, key):
    for model in ("resnet20", "plain20", "timm-resnet20"):
        record(make_seeds(*NEAR, recipe="paper", model=model, data="synthetic"))
        record([make_run(recipe="paper", model=model, status="failed", test_accuracy=None)])
    assert answer(key) is None


# -- verdicts ------------------------------------------------------------------------------------------------


def test_verdict_stands_with_claim_mean_interval_seeds_and_setting(record, make_seeds, answer):
    runs = record(make_seeds(*NEAR, recipe="paper"))
    found = answer("verdicts")
    assert found.summary.text == (
        f"1 of {len(CLAIMS)} published numbers are measured under their own protocol: 1 reproduced, at a margin "
        "of 0.5 percentage points."
    )
    [detail] = found.details
    # sd 0.05 points, of three: 4.3027 * 0.05 / sqrt(3) is 0.124
    assert detail.text == (
        "resnet20 has a test error of 8.75 % (3 seeds, 95 % interval 8.63 .. 8.87), where He et al. (2015) states 8.75 % "
        "(he2015-resnet20). The difference is +0.00 percentage points of error: reproduced. Setting: paper, 64,000 iterations, "
        "fp32, on Some CPU."
    )
    assert set(found.summary.records) == set(detail.records) == names(runs)
    assert found.chart is not None
    [row] = found.tables[0].rows
    assert row[0] == "he2015-resnet20"


def test_other_runs_give_another_verdict(record, make_seeds, answer):
    record(make_seeds(0.90, 0.9005, 0.901, recipe="paper"))
    record(make_seeds(0.91, 0.93, recipe="paper", model="plain20"))
    found = answer("verdicts")
    assert "2 of" in found.summary.text
    assert "under their own protocol: 1 worse and 1 inconclusive, at a margin" in found.summary.text
    assert "9.95 %" in found.details[0].text
    assert "+1.20 percentage points of error: worse." in found.details[0].text
    assert "further seeds would settle it" in found.details[1].text


def test_counts_of_verdicts_are_of_claims(record, make_seeds, answer):
    record(make_seeds(*NEAR, recipe="paper"))
    record(make_seeds(*NEAR, recipe="paper", precision="bf16", weights_sha256="x"))
    found = answer("verdicts")
    assert found.summary.text.startswith("1 of ")
    assert "protocol: 1 reproduced, by 2 measurements, at a margin" in found.summary.text
    record(make_seeds(0.90, 0.9005, 0.901, recipe="paper", device_name="Another"))
    text = answer("verdicts").summary.text
    assert "1 of " in text
    assert "1 reproduced, by 2 measurements and 1 worse" in text
    assert "Measurements of he2015-resnet20 differ in their verdict." in text


def test_implementations_with_the_same_bits_are_one_measurement(record, make_seeds, identify, answer):
    runs = record(make_seeds(*NEAR, recipe="paper"))
    for model in ("timm-resnet20", "torchvision-resnet20"):
        identify(model)
        runs += record(make_seeds(*NEAR, recipe="paper", model=model))
    found = answer("verdicts")
    assert (
        "protocol: 1 reproduced, by 3 implementations with the same bits, at a margin" in found.summary.text
    )
    [detail] = found.details
    assert detail.text.startswith(
        "resnet20, timm-resnet20 and torchvision-resnet20 (the same bits) have a test error of 8.75 %"
    )
    assert of_runs(detail) == names(runs)
    [alone] = answer("paper").statements
    assert alone.text == detail.text
    other = record(make_seeds(0.9121, 0.9126, 0.9131, recipe="paper", model="akamaster-resnet20"))
    identify("akamaster-resnet20", "equal")
    record(make_seeds(*NEAR, recipe="paper", model="plain20"))
    found = answer("verdicts")
    assert (
        "1 reproduced, by 2 measurements, by 3 implementations with the same bits and 1 better"
        in found.summary.text
    )
    assert names(other) <= of_runs(found.summary)


def test_single_run_is_named_as_one_run_without_a_verdict(record, make_run, answer):
    record([make_run(recipe="paper", test_accuracy=0.91)])
    for found in (answer("verdicts"), answer("paper")):
        [text] = [text for text in texts(found) if "he2015-resnet20" in text]
        assert "9.00 % (1 seed, no interval)" in text
        assert "+0.25 percentage points of error: one run, which has no verdict." in text
        assert "nconclusive" not in text
    assert "1 inconclusive" in answer("verdicts").summary.text
    assert "Of the inconclusive, 1 is of a single run." in answer("verdicts").summary.text


def test_diverged_seed_is_said_and_named(record, make_seeds, make_run, answer):
    runs = record(make_seeds(*NEAR, recipe="paper"))
    lost = record([make_run(recipe="paper", seed=7, status="diverged", test_accuracy=None)])
    record([make_run(recipe="short", seed=8, status="diverged", test_accuracy=None)])
    again = record([make_run(recipe="paper", seed=0, status="diverged", test_accuracy=None)])
    for found in (answer("verdicts"), answer("paper")):
        [statement] = [its for its in found.statements if "diverged" in its.text]
        assert statement.text.endswith(
            "1 more seed diverged, and is left out. 1 seed diverged in one run and completed in another, which counts."
        )
        assert set(statement.records) == names([*runs, *lost, *again])


def test_network_of_others_counts_by_its_card_which_is_named(record, make_seeds, identify, answer):
    record(make_seeds(*NEAR, recipe="paper", model="timm-resnet20"))
    assert answer("verdicts") is None
    identify("timm-resnet20")
    found = answer("verdicts")
    assert "timm-resnet20 has a test error of 8.75 %" in found.details[0].text
    assert "identities/timm-resnet20-card" in found.details[0].records


def test_runs_that_are_not_comparable_are_counted_with_what_differs(record, make_seeds, answer):
    runs = record(make_seeds(0.8, 0.81))
    runs += record(make_seeds(0.7, model="plain56"))
    found = answer("verdicts")
    assert found.summary.text.startswith(
        f"None of {len(CLAIMS)} published numbers is measured under its own protocol yet. For 2 of them, the nearest runs are not "
        "comparable; what differs most often, with the number of cases: iterations (2), "
    )
    assert set(found.summary.records) == names(runs)
    assert found.chart is None


def test_what_is_not_comparable_is_a_detail_beside_verdicts(record, make_seeds, answer):
    record(make_seeds(*NEAR, recipe="paper"))
    apart = record(make_seeds(0.7, 0.8, model="plain20", precision="bf16"))
    last = answer("verdicts").details[-1]
    assert last.text.startswith("For 1 other the nearest runs are not comparable")
    assert set(last.records) == names(apart)


def test_published_verdicts_are_of_every_claim_that_has_runs(published, frame_of, seeds_of_published):
    cards = frame_of("identities").sort_values("identified_at").drop_duplicates("model", keep="last")
    cards = cards.set_index("model")

    def network(model, relations):
        known = model in cards.index and cards.equivalence[model] in relations
        return cards.counterpart[model] or model if known else model

    same = {"identical", "equal", "permuted"}
    resembled = {network(model, same | {"different"}) for model in seeds_of_published.model}
    models = set(seeds_of_published.model)
    expected = {
        claim["key"]
        for claim in CLAIMS
        if claim["model"] in models or network(claim["model"], same) in resembled
    }
    found = QUESTIONS["verdicts"].answer(published)
    [table] = found.tables
    assert {row[0] for row in table.rows} == expected
    errors = {
        (model, recipe, f"{iterations:,}", precision, device): (1 - its.mean(), len(its))
        for (model, recipe, iterations, precision, device), its in seeds_of_published.groupby(
            ["model", *SETTING]
        ).test_accuracy
    }
    for row in table.rows:
        cells = dict(zip(table.columns, row, strict=True))
        mean, n = errors[cells["model"], *row[-4:]]
        assert float(cells["measured"]) == pytest.approx(100 * mean, abs=0.0051)
        assert cells["seeds"] == str(n)
    listed = sum(int(number) for number in re.findall(r"(?:For|^) ?(\d+) of", found.summary.text))
    assert listed in {len(expected), len({row[0] for row in table.rows if row[1].text != "not comparable"})}


# -- paper ---------------------------------------------------------------------------------------------------


def test_short_runs_of_the_papers_recipe_do_not_follow_its_protocol(record, make_seeds, answer):
    record(make_seeds(0.9, 0.91, recipe="paper", iterations=32_000))
    record(make_seeds(0.9, 0.91, recipe="short"))
    assert answer("paper") is None


def test_resnet20_comes_first_then_plain20_then_others(record, make_seeds, identify, answer):
    record(make_seeds(0.92, 0.921, recipe="paper", model="resnet20-b"))
    record(make_seeds(0.93, 0.931, recipe="paper", model="resnet32"))
    record(make_seeds(0.90, 0.901, recipe="paper", model="plain20"))
    identify("timm-resnet20")
    record(make_seeds(*NEAR, 0.914, recipe="paper", model="timm-resnet20"))
    ours = record(make_seeds(*NEAR, recipe="paper"))
    found = answer("paper")
    models = [text.split()[0] for text in texts(found)]
    assert models == ["resnet20", "timm-resnet20", "plain20", "resnet32", "resnet20-b"]
    assert set(found.summary.records) == names(ours)
    # 0.05 points; n - 1 is 1: 12.706 * 0.0707 / sqrt(2) is 0.635
    assert (
        "plain20 has a test error of 9.95 % (2 seeds, 95 % interval 9.31 .. 10.59)" in found.details[1].text
    )
    assert "states 9.68 %" in found.details[1].text
    assert "7.95 %" in found.details[-1].text
    assert "no number is published for it" in found.details[-1].text
    assert len(found.tables[0].rows) == 4
    drawn = [trace.name for trace in found.chart.figure.data]
    assert "paper, resnet-20, test" in drawn
    assert any(name and name.startswith("resnet20, test") for name in drawn)


def test_published_runs_of_the_papers_protocol_are_all_there(published, seeds_of_published):
    full = seeds_of_published[
        (seeds_of_published.recipe == "paper") & (seeds_of_published.iterations == 64_000)
    ]
    found = QUESTIONS["paper"].answer(published)
    assert (found is None) == full.empty
    for (model, *_), its in full.groupby(["model", *SETTING]):
        [text] = [
            its_text.text
            for its_text in found.statements
            if of_runs(its_text) >= {f"runs/{name}" for name in its.run_id}
        ]
        assert text.startswith(f"{model} has a test error of ")
        error = float(text.split(" has a test error of ")[1].split()[0])
        assert error == pytest.approx(100 - 100 * its.test_accuracy.mean(), abs=0.0051)


@pytest.mark.parametrize("hostile", ["<b>|`x`\n[a](b)", "\u202e\x00\x1b[31m", "resnet20,{}%s"])
def test_texts_of_others_are_told_as_they_are(store, record, fill, make_card, make_seeds, answer, hostile):
    record(make_seeds(*NEAR, recipe="paper"))
    card = make_card("x", counterpart="resnet20", equivalence="identical") | {"model": hostile}
    store.write("identities", fill("identities", card))
    record([run | {"model": hostile} for run in make_seeds(0.80, 0.83, recipe="paper", model="resnet20")])
    for key in KEYS:
        assert any(hostile in text for text in texts(answer(key)))
