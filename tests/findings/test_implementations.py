"""Findings on implementations: of small stores by hand, of the published one by pandas."""

import re
import statistics

import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from harness.findings import QUESTIONS

from .answers import NEAR, SETTING, gain_of, names, near, of_runs, paired, texts

OWN = "short-own-init"


def test_runs_without_a_result_or_on_made_up_images_say_nothing(record, make_seeds, make_run, answer):
    for model in ("resnet20", "timm-resnet20"):
        record(make_seeds(*NEAR, recipe="paper", model=model, data="synthetic"))
        record([make_run(recipe="paper", model=model, status="failed", test_accuracy=None)])
    assert answer("implementations") is None


def with_weights(runs, *digests):
    for run, digest in zip(runs, digests, strict=True):
        run["weights_sha256"] = digest
    return runs


def test_equal_weights_are_counted_seed_by_seed(record, make_seeds, identify, answer):
    identify("timm-resnet20")
    ours = record(with_weights(make_seeds(0.8, 0.81, 0.82), "a", "b", "c"))
    theirs = record(with_weights(make_seeds(0.8, 0.81, model="timm-resnet20"), "a", "x"))
    found = answer("implementations")
    assert found.summary.text == (
        "Under recipes that draw the initial weights themselves, 1 of 2 runs of timm-resnet20 end with the weights of ours, bit for "
        "bit (short, 1,563 iterations, fp32, on Some CPU)."
    )
    assert set(found.summary.records) == {*names([*ours[:2], *theirs]), "identities/timm-resnet20-card"}
    assert found.chart.figure.data


def test_weights_are_compared_where_threads_and_versions_are_equal(record, make_seeds, identify, answer):
    identify("timm-resnet20")
    [first] = record(with_weights(make_seeds(0.8), "a"))
    record(with_weights(make_seeds(0.8, threads=2), "b"))  # the latest, but elsewhere
    record(with_weights(make_seeds(0.8, torch="3.0"), "b"))
    record(with_weights(make_seeds(0.8, resumed_from=["{}"]), "b"))
    record(with_weights(make_seeds(0.8, device_name="Other CPU"), "b"))
    [theirs] = record(with_weights(make_seeds(0.8, model="timm-resnet20"), "a"))
    found = answer("implementations")
    assert "1 of 1 run of timm-resnet20 ends with the weights of ours" in found.summary.text
    assert of_runs(found.summary) == names([first, theirs])


def test_other_functions_and_weights_that_are_not_recorded_are_not_compared(
    record, make_seeds, identify, answer
):
    identify("kuangliu-resnet20", "different")
    identify("timm-resnet20")
    record(make_seeds(0.8, 0.81))
    record(make_seeds(0.8, 0.81, model="kuangliu-resnet20"))
    record(with_weights(make_seeds(0.8, model="timm-resnet20"), None))
    assert answer("implementations") is None


def test_networks_that_round_otherwise_are_compared_in_accuracy(record, make_seeds, identify, answer):
    identify("akamaster-resnet20", "equal")
    ours = record(with_weights(make_seeds(0.90, 0.91), "a", "b"))
    theirs = record(with_weights(make_seeds(0.91, 0.93, model="akamaster-resnet20"), "c", "d"))
    text = answer("implementations").summary.text
    # 1 and 2 points: t is 3 with one degree of freedom, and 2 / pi atan(1 / 3) is p
    assert "ends with the weights of ours in 0 of 2 runs" in text
    assert (
        "+1.50 percentage points (2 seeds, 95 % interval -4.85 .. +7.85), not significant (p 0.205)" in text
    )
    assert of_runs(answer("implementations").summary) == names([*ours, *theirs])


def test_of_networks_that_round_to_the_same_bits_no_difference_is_tested(
    record, make_seeds, identify, answer
):
    identify("akamaster-resnet20", "equal")
    identify("bayesian-torch-resnet20", "equal")
    record(with_weights(make_seeds(0.90, 0.91), "a", "b"))
    record(with_weights(make_seeds(0.90, 0.91, model="akamaster-resnet20"), "a", "b"))
    record(with_weights(make_seeds(0.91, 0.93, model="bayesian-torch-resnet20"), "c", "d"))
    same, other = answer("implementations").statements
    assert same.text.endswith(
        "ends with the weights of ours in 2 of 2 runs. Setting: short, 1,563 iterations, fp32, on Some CPU."
    )
    assert "(p 0.205)" in other.text  # adjusted for no other


def test_own_weights_are_compared_by_seed_and_adjusted(record, make_seeds, identify, answer):
    accuracies = {
        "resnet20": (0.800, 0.810, 0.815),
        "timm-resnet20": (0.806, 0.815, 0.8215),
        "akamaster-resnet20": (0.790, 0.811, 0.8325),
        "pytorchcv-resnet20": (0.802, 0.813, 0.818),
    }
    for model, values in accuracies.items():
        record(make_seeds(*values, model=model, recipe=OWN))
    for model in list(accuracies)[1:]:
        identify(model, "equal", "resnet20-b" if model.startswith("pytorchcv") else "resnet20")
    found = answer("implementations")
    ours = accuracies.pop("resnet20")
    p_values = {model: stats.ttest_rel(values, ours).pvalue for model, values in accuracies.items()}
    of_another_function = p_values.pop("pytorchcv-resnet20")  # which is a family of its own
    adjusted = multipletests(list(p_values.values()), method="holm")[1]
    told = [model for model, p in zip(p_values, adjusted, strict=True) if p < 0.05]
    assert told == ["timm-resnet20"]  # else it shows nothing
    assert "1 of 2 comparisons with resnet20 is significant (timm-resnet20);" in found.summary.text
    assert "pytorchcv" not in found.summary.text
    assert [row[0] for row in found.tables[1].rows] == ["pytorchcv-resnet20"]
    for (model, values), p in zip(accuracies.items(), [*adjusted, of_another_function], strict=True):
        [text] = [its.text for its in found.details if its.text.startswith(f"{model}: ")]
        mean, n, low, high = paired(values, ours)
        assert gain_of(text) == near(mean, n, low, high)
        family = "" if model == "pytorchcv-resnet20" else ", adjusted by Holm for 2 comparisons"
        assert f"{'' if p < 0.05 else 'not '}significant (p {p:.3f}{family})" in text
        assert f"test accuracy {100 * statistics.fmean(values):.2f} % (3 seeds" in text
        assert f"sd {100 * statistics.stdev(values):.2f})" in text
        assert ("another function" in text) == (model == "pytorchcv-resnet20")
    [of_ours] = [its.text for its in found.details if its.text.startswith("resnet20: ")]
    assert "test accuracy 80.83 % (3 seeds, 95 % interval 78.94 .. 82.73, sd 0.76)" in of_ours


def test_smallest_difference_that_shows_is_that_of_a_test_with_80_percent_power(
    record, make_seeds, identify, answer
):
    ours = 0.80, 0.81, 0.82, 0.81, 0.80, 0.83
    others = {
        "timm-resnet20": (0.80, 0.83, 0.82, 0.81, 0.82, 0.83),
        "akamaster-resnet20": (0.81, 0.83, 0.80, 0.83, 0.8, 0.8),
    }
    record(make_seeds(*ours, recipe=OWN))
    expected = []
    for among, (model, values) in enumerate(others.items(), 1):
        record(make_seeds(*values, recipe=OWN, model=model))
        identify(model)
        spreads = [
            statistics.stdev(a - b for a, b in zip(its, ours, strict=True))
            for its in list(others.values())[:among]
        ]
        smallest = TTestPower().solve_power(nobs=6, alpha=0.05 / among, power=0.8)
        expected = sorted(f"{100 * spread * smallest:.2f}" for spread in spreads)
        level = "5 % / 2 (Holm's first step)" if among > 1 else "5 %"
        assert (
            f"The smallest difference that so many pairs show with 80 % power, by the paired test at {level}, is {' to '.join(expected)} "
            "points, by how far their differences spread."
        ) in answer("implementations").summary.text


def test_implementations_with_the_same_bits_are_one_comparison(record, make_seeds, identify, answer):
    record(make_seeds(0.800, 0.810, 0.815, recipe=OWN))
    runs = []
    for model, weights in (
        ("timm-resnet20", "x"),
        ("torchvision-resnet20", "x"),
        ("akamaster-resnet20", "y"),
    ):
        identify(model)
        accuracies = (0.803, 0.815, 0.8175) if weights == "x" else (0.79, 0.811, 0.8325)
        runs += record(make_seeds(*accuracies, recipe=OWN, model=model, weights_sha256=weights))
    found = answer("implementations")
    assert "none of 2 comparisons with resnet20 is significant" in found.summary.text
    [text] = [
        text
        for text in texts(found)
        if text.startswith("timm-resnet20 and torchvision-resnet20 (the same bits): ")
    ]
    p = 2 * stats.ttest_rel((0.803, 0.815, 0.8175), (0.800, 0.810, 0.815)).pvalue
    assert f"(p {p:.3f}, adjusted by Holm for 2 comparisons)" in text
    assert names(runs) <= of_runs(found.summary)
    shown = {row[0] for row in found.tables[0].rows}
    assert shown == {"timm-resnet20 and torchvision-resnet20 (the same bits)", "akamaster-resnet20"}


def test_sentences_and_table_are_of_one_family(record, make_seeds, identify, answer):
    ours, other, rounded = (0.900, 0.909, 0.921), (0.903, 0.911, 0.925), (0.91, 0.912, 0.921)
    identify("timm-resnet20")
    identify("akamaster-resnet20", "equal")
    record(make_seeds(*ours, recipe=OWN))
    record(make_seeds(*other, recipe=OWN, model="timm-resnet20"))
    record(with_weights(make_seeds(*ours), "a", "b", "c"))
    record(with_weights(make_seeds(*rounded, model="akamaster-resnet20"), "d", "e", "f"))
    found = answer("implementations")
    p_values = [stats.ttest_rel(its, ours).pvalue for its in (other, rounded)]
    expected = multipletests(p_values, method="holm")[1]
    [of_own] = [text for text in texts(found) if text.startswith("timm-resnet20: ")]
    [of_rounded] = [text for text in texts(found) if "order of its arithmetic" in text]
    for text, p in zip((of_own, of_rounded), expected, strict=True):
        assert f"(p {p:.3f}, adjusted by Holm for 2 comparisons)" in text
    assert {row[0]: row[5] for row in found.tables[0].rows} == {
        "timm-resnet20": f"{expected[0]:.3f}",
        "akamaster-resnet20": f"{expected[1]:.3f}",
    }


def test_same_bits_have_neither_interval_nor_p(record, make_seeds, identify, answer):
    identify("timm-resnet20")
    record(make_seeds(0.8, 0.81))
    record(make_seeds(0.8, 0.81, model="timm-resnet20"))
    [row] = answer("implementations").tables[0].rows
    assert row[3:6] == ("+0.00", "same bits", "-")


def test_largest_difference_is_that_in_either_direction(record, make_seeds, identify, answer):
    record(make_seeds(0.80, recipe=OWN))
    for model, accuracy in (
        ("akamaster-resnet20", 0.82),
        ("timm-resnet20", 0.77),
        ("pytorchcv-resnet20", 0.81),
    ):
        identify(model)
        record(make_seeds(accuracy, recipe=OWN, model=model))
    text = answer("implementations").summary.text
    assert "the largest difference is that of timm-resnet20, -3.00 percentage points" in text


def test_single_seeds_have_no_interval_and_are_not_told_from_noise(record, make_seeds, identify, answer):
    record(make_seeds(0.80, recipe=OWN))
    record(make_seeds(0.70, recipe=OWN, model="timm-resnet20"))
    identify("timm-resnet20")
    found = answer("implementations")
    assert "none of 1 comparison with resnet20 is significant" in found.summary.text
    assert "-10.00 percentage points (1 seed, no interval)" in found.summary.text
    assert "80 % power" not in found.summary.text
    assert any("one seed cannot tell it from noise" in text for text in texts(found))


@pytest.mark.parametrize(("digest", "number"), [("u", 2), ("v", 1)])
def test_networks_that_draw_the_same_weights_are_named_as_such(
    record, make_seeds, identify, answer, digest, number
):
    record(with_weights(make_seeds(0.80, 0.81, recipe=OWN, initial_weights_sha256="o"), "o", "p"))
    for model, last in (("timm-resnet20", "u"), ("torchvision-resnet20", digest)):
        identify(model)
        its = make_seeds(0.80, 0.82, recipe=OWN, model=model, initial_weights_sha256="i")
        record(with_weights(its, "t", last))
    [text] = [text for text in texts(answer("implementations")) if "draw the same initial weights" in text]
    assert text.startswith("timm-resnet20 and torchvision-resnet20 draw the same initial weights")
    assert f"for {number} of 2 seeds" in text


def test_both_parts_stand_in_one_summary_with_all_their_records(record, make_seeds, identify, answer):
    identify("timm-resnet20")
    runs = [
        *record(make_seeds(0.8, 0.81)),
        *record(make_seeds(0.8, 0.81, model="timm-resnet20")),
        *record(make_seeds(0.8, 0.81, recipe=OWN)),
        *record(make_seeds(0.8, 0.82, recipe=OWN, model="timm-resnet20")),
    ]
    found = answer("implementations")
    assert "2 of 2 runs" in found.summary.text
    assert "Where each begins with weights that its own code draws" in found.summary.text
    assert of_runs(found.summary) == names(runs)
    assert len(found.summary.records) == len(set(found.summary.records))


def test_published_weights_are_counted_as_anybody_can(published, frame_of, seeds_of_published):
    cards = frame_of("identities").sort_values("identified_at").drop_duplicates("model", keep="last")
    cards = cards[cards.equivalence == "identical"].set_index("model").counterpart
    short = seeds_of_published[seeds_of_published.recipe == "short"]
    theirs = short[short.model.isin(cards.index)]
    theirs = theirs.assign(other=theirs.model.map(cards))
    keys = [*SETTING, "seed", "threads", "torch"]
    both = theirs.merge(short, left_on=["other", *keys], right_on=["model", *keys])
    assert len(both)
    text = QUESTIONS["implementations"].answer(published).summary.text
    equal = (both.weights_sha256_x == both.weights_sha256_y).sum()
    assert f"{equal} of {len(both)} run" in text
    for model in set(both.model_x):
        assert model in text


def test_published_implementations_are_recomputed(published, seeds_of_published):
    own = seeds_of_published[seeds_of_published.recipe == OWN]
    found = QUESTIONS["implementations"].answer(published)
    compared = set()
    for (model, *setting), its in own.groupby(["model", *SETTING]):
        [statement] = [
            one
            for one in found.details
            if model in re.split(r", | and | \(", one.text.split(": ")[0])
            if "test accuracy" in one.text
            if f"{setting[1]:,} iterations, {setting[2]}, on {setting[3]}" in one.text
        ]
        assert f"test accuracy {100 * its.test_accuracy.mean():.2f} % ({len(its)} seed" in statement.text
        if model == "resnet20":
            continue
        ours = own[(own.model == "resnet20") & (own[SETTING] == setting).all(axis=1)]
        both = its.merge(ours, on="seed")
        expected = paired(both.test_accuracy_x, both.test_accuracy_y)
        assert gain_of(statement.text) == near(*expected)
        assert of_runs(statement) >= {
            f"runs/{name}" for name in {*its.run_id, *both.run_id_x, *both.run_id_y}
        }
        if "another function" not in statement.text:
            compared.add((*setting, *sorted(zip(its.seed, its.weights_sha256, strict=True))))
    assert compared
    assert f"of {len(compared)} comparison" in found.summary.text


@pytest.mark.parametrize("hostile", ["<b>|`x`\n[a](b)", "\u202e\x00\x1b[31m", "resnet20,{}%s"])
def test_texts_of_others_are_told_as_they_are(store, record, fill, make_card, make_seeds, answer, hostile):
    record(make_seeds(0.80, 0.81, recipe=OWN))
    record(make_seeds(0.80, 0.81))
    card = make_card("x", counterpart="resnet20", equivalence="identical") | {"model": hostile}
    store.write("identities", fill("identities", card))
    for recipe in (OWN, "short"):
        record([run | {"model": hostile} for run in make_seeds(0.80, 0.83, recipe=recipe, model="resnet20")])
    assert any(hostile in text for text in texts(answer("implementations")))
