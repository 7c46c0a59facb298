"""Findings on depth: of small stores by hand, of the published one by pandas."""

import re

from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.charts import color_of
from harness.findings import QUESTIONS

from .answers import NEAR, SETTING, gain_of, names, near, paired


def test_runs_without_a_result_or_on_made_up_images_say_nothing(record, make_seeds, make_run, answer):
    for model in ("resnet20", "plain20"):
        record(make_seeds(*NEAR, recipe="paper", model=model, data="synthetic"))
        record([make_run(recipe="paper", model=model, status="failed", test_accuracy=None)])
    assert answer("depth") is None


def test_gain_of_shortcuts_is_paired_by_seed_beside_the_papers(record, make_seeds, answer):
    runs = record(make_seeds(0.80, 0.82))
    runs += record(make_seeds(0.79, 0.79, model="plain20"))
    record(make_seeds(0.5, model="plain32"))
    found = answer("depth")
    # 1 and 3 points: t is 2 with one degree of freedom, 1 - 2 / pi atan(2) is p; the paper's errors are 9.68 % and 8.75 %
    assert found.summary.text == (
        "At 20 layers, after 4 epochs, resnet20 minus plain20, paired by seed: +2.00 percentage points (2 seeds, 95 % interval -10.71 .. +14.71) of "
        "test accuracy (81.00 and 79.00 %), not significant (p 0.295). Setting: short, 1,563 iterations, fp32, on Some CPU. "
        "The paper's own, trained to the end, differ by about 0.9 points (single runs; the plain network's read from Figure 6)."
    )
    assert set(found.summary.records) == names(runs)
    assert found.details == []


def test_runs_to_the_end_are_not_counted_in_epochs(record, make_seeds, answer):
    record(make_seeds(0.91, recipe="paper"))
    record(make_seeds(0.90, recipe="paper", model="plain20"))
    assert answer("depth").summary.text.startswith("At 20 layers, resnet20 minus plain20")


def test_only_seeds_that_both_have_count(record, make_seeds, make_run, answer):
    runs = record(make_seeds(0.80, 0.82, 0.99))
    others = record(make_seeds(0.79, 0.79, model="plain20"))
    record([make_run("plain20", seed=2, status="diverged", test_accuracy=None)])
    found = answer("depth")
    assert "+2.00 percentage points (2 seeds" in found.summary.text
    assert "(81.00 and 79.00 %)" in found.summary.text
    assert set(found.summary.records) == names([*runs[:2], *others])


def test_single_seed_has_no_interval_and_depth_without_a_claim_no_papers_difference(
    record, make_seeds, answer
):
    record(make_seeds(0.6, model="resnet110"))
    record(make_seeds(0.2, model="plain110"))
    text = answer("depth").summary.text
    assert "+40.00 percentage points (1 seed, no interval)" in text
    assert "one seed cannot tell it from noise" in text
    assert "paper's own" not in text


def test_for_each_depth_the_most_seeds_lead_and_all_are_adjusted(record, make_seeds, answer):
    lists = {
        (1563, "resnet20"): (0.80, 0.81),
        (1563, "plain20"): (0.79, 0.802),
        (782, "resnet20"): (0.70, 0.71, 0.72),
        (782, "plain20"): (0.60, 0.612, 0.62),
        (391, "resnet56"): (0.5,),
        (391, "plain56"): (0.2,),
    }
    for (iterations, model), values in lists.items():
        record(make_seeds(*values, model=model, iterations=iterations))
    found = answer("depth")
    first, second = found.summary.text.split("At 56 layers")
    assert "(3 seeds" in first
    assert "782 iterations" in first
    assert "+30.00 percentage points (1 seed" in second
    assert "differ by about 6.3 points (single runs" in second  # 13.23 minus 6.97
    assert found.summary.text.startswith("At 20 layers, after 2 epochs, ")
    assert second.startswith(", after 1 epoch, resnet56")
    [detail] = found.details
    assert "1,563 iterations" in detail.text
    p_values = [
        stats.ttest_rel(lists[length, "resnet20"], lists[length, "plain20"]).pvalue for length in (1563, 782)
    ]
    for text, p in zip((detail.text, first), multipletests(p_values, method="holm")[1], strict=True):
        shown = "< 0.001" if p < 0.001 else f"{p:.3f}"
        assert f"(p {shown}, adjusted by Holm for 2 comparisons)" in text


def test_several_seeds_that_are_trained_to_the_end_lead_over_more_that_are_not(record, make_seeds, answer):
    for model, short, whole in (("resnet20", 0.8, 0.9), ("plain20", 0.7, 0.85)):
        record(make_seeds(short, short, short, model=model))
        record(make_seeds(whole, model=model, recipe="paper", device_name="Lonely CPU"))
        record(make_seeds(whole, whole, model=model, recipe="paper"))
    found = answer("depth")
    assert found.summary.text.startswith("At 20 layers, resnet20 minus plain20, paired by seed: +5.00")
    assert "(2 seeds" in found.summary.text
    assert len(found.details) == 2


def layers(*stds):
    return [{"layer": f"bn{number}", "std": std} for number, std in enumerate(stds)]


def test_responses_are_compared_by_layer_and_by_seed(record, make_seeds, answer):
    pair = make_seeds(0.8, 0.81), make_seeds(0.7, 0.71, model="plain20")
    responses = (
        (layers(1.0, 0.5, 0.6), layers(0.8, 0.5, 0.5)),
        (layers(0.9, 0.9, 0.9), layers(1.0, 1.1, 0.6)),
    )
    for runs, its in zip(pair, responses, strict=True):
        for run, response in zip(runs, its, strict=True):
            run["layer_responses"] = response
        record(runs)
    found = answer("depth")
    [detail] = found.details
    # means of 0.7 and 0.6 beside 0.9 and 0.9; layers 0.9 < 0.95, 0.5 < 1, 0.55 < 0.75: differences -0.2 and -0.3
    assert "resnet20 0.650 (2 seeds) and plain20 0.900 (2 seeds)" in detail.text
    assert "smaller in 3 of 3 layers" in detail.text
    low, high = stats.t.interval(0.95, 1, -0.25, stats.sem([-0.2, -0.3]))
    assert f"differ by -0.250 (2 seeds, 95 % interval {low:+.3f} .. {high:+.3f})" in detail.text
    assert set(detail.records) == names([*pair[0], *pair[1]])


def test_responses_that_are_larger_are_said_to_be(record, make_seeds, answer):
    record(make_seeds(0.8, layer_responses=layers(1.0, 0.5)))
    record(make_seeds(0.7, model="plain20", layer_responses=layers(0.9, 0.6)))
    [detail] = answer("depth").details
    assert (
        "smaller in 1 of 2 layers. Paired by seed, they differ by +0.000 (1 seed, no interval)" in detail.text
    )


def test_equal_responses_are_not_smaller_and_other_settings_not_compared(record, make_seeds, answer):
    record(make_seeds(0.8, layer_responses=layers(0.4, 0.5)))
    record(make_seeds(0.7, model="plain20", layer_responses=layers(0.4, 0.6)))
    record(make_seeds(0.7, model="plain20", iterations=391, layer_responses=layers(0.4, 0.7)))
    record(make_seeds(0.7, model="plain56", layer_responses=layers(0.4, 0.7)))
    [detail] = answer("depth").details
    assert "resnet20 0.450 (1 seed) and plain20 0.500 (1 seed)" in detail.text
    assert "smaller in 1 of 2 layers" in detail.text


def test_chart_is_by_depth_where_a_setting_has_several_else_of_seeds(record, make_seeds, answer):
    record(make_seeds(0.80, 0.82))
    record(make_seeds(0.79, 0.79, model="plain20"))
    assert answer("depth").chart.alt == "Test error of every seed of resnet20, plain20."
    record(make_seeds(0.80, 0.82, model="resnet56"))
    record(make_seeds(0.5, 0.51, model="plain56"))
    chart = answer("depth").chart
    assert chart.alt == "Test error of plain and residual networks of 20, 56 layers."
    assert chart.caption == "short, 1,563 iterations, fp32, on Some CPU"
    assert {trace.line.color for trace in chart.figure.data} == {color_of("resnet20"), color_of("plain20")}


def test_chart_is_of_the_seeds_of_all_that_lead_where_no_setting_has_all_depths(record, make_seeds, answer):
    for model, kind, iterations in (("resnet20", "plain20", 1563), ("resnet56", "plain56", 391)):
        record(make_seeds(0.80, 0.82, model=model, iterations=iterations))
        record(make_seeds(0.79, 0.79, model=kind, iterations=iterations))
    chart = answer("depth").chart
    assert chart.alt == "Test error of every seed of resnet20, plain20, resnet56, plain56."
    assert "short, 1,563 iterations" in chart.caption
    assert "short, 391 iterations" in chart.caption


def test_published_gains_are_recomputed(published, seeds_of_published):
    found = QUESTIONS["depth"].answer(published)
    every = [sentence for its in found.statements for sentence in re.split(r"(?=At \d+ layers)", its.text)]
    compared = 0
    for depth in (20, 32, 44, 56, 110):
        pair = [
            seeds_of_published[seeds_of_published.model == f"{kind}{depth}"] for kind in ("resnet", "plain")
        ]
        both = pair[0].merge(pair[1], on=[*SETTING, "seed"])
        for (recipe, iterations, precision, device), its in both.groupby(SETTING):
            setting = f"{recipe}, {iterations:,} iterations, {precision}, on {device}."
            [text] = [one for one in every if one.startswith(f"At {depth} layers, ") and setting in one]
            assert gain_of(text) == near(*paired(its.test_accuracy_x, its.test_accuracy_y))
            compared += 1
    assert compared == len(found.tables[0].rows) > 0


def test_published_gains_name_the_runs_they_are_of(published, seeds_of_published):
    found = QUESTIONS["depth"].answer(published)
    for statement in found.details:
        runs = seeds_of_published[seeds_of_published.run_id.isin([name[5:] for name in statement.records])]
        assert len(runs) == len(statement.records)
        for iterations, device in set(zip(runs.iterations, runs.device_name, strict=True)):
            assert f"{iterations:,} iterations" in statement.text
            assert device in statement.text
