import itertools
import json
import re
import statistics

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.findings import QUESTIONS

from .answers import SETTING, gain_of, names, near

KEYS = ("best-epoch", "precision", "seeds")
PLACE = ["model", *SETTING]


def stated(pattern, text):
    return [float(number) for number in re.search(pattern, text).groups()]


@pytest.mark.parametrize("key", KEYS)
def test_runs_without_a_result_or_on_made_up_images_say_nothing(record, make_seeds, make_run, answer, key):
    for precision in ("fp32", "bf16"):
        record(make_seeds(0.8, 0.81, precision=precision, data="synthetic"))
        record([make_run(precision=precision, status="diverged", test_accuracy=None)])
    assert answer(key) is None


# -- best epoch ----------------------------------------------------------------------------------------------


def test_best_epoch_is_counted_where_it_is_not_the_last(record, make_run, answer):
    runs = record(
        [
            make_run(seed=0, test_accuracy=0.90, test_accuracy_best=0.91, weights_sha256="a"),
            make_run(seed=1, test_accuracy=0.90, test_accuracy_best=0.90, weights_sha256="b"),
        ]
    )
    record([make_run(seed=2, test_accuracy_best=None)])
    record([make_run(model="plain20", test_accuracy_best=None)])
    found = answer("best-epoch")
    # 0.5 +- 12.706 * 0.7071 / sqrt(2)
    assert found.summary.text == (
        "Where the learning rate falls linearly to 0: In 1 of 2 runs with 2 evaluations an earlier epoch was better on the test set than the last; quoting the best adds +0.50 "
        "percentage points of test accuracy on average (95 % interval over runs -5.85 .. +6.85, at most +1.00)."
    )
    assert set(found.summary.records) == names(runs)
    assert len(found.chart.figure.data) == 1
    [row] = found.tables[0].rows
    assert row[:3] == ("resnet20", "2", "+0.50")


def test_best_epochs_are_summed_up_by_schedule_the_most_evaluations_first(record, make_seeds, answer):
    linear = record(make_seeds(0.8, 0.81, 0.82, test_accuracy_best=0.83))
    linear += record(make_seeds(0.83, model="plain20"))
    steps = record(make_seeds(0.9, recipe="paper", test_accuracy_best=0.92), errors=(0.5, 0.2, 0.1))
    found = answer("best-epoch")
    gains = [3, 2, 1, 0]
    [of_linear] = found.details
    assert of_linear.text.startswith("Where the learning rate falls linearly to 0: In 3 of 4 runs with 2 ")
    assert found.summary.text.startswith("Where the learning rate falls in steps: In 1 of 1 run with 3 ")
    low, high = stats.t.interval(0.95, 3, 1.5, stats.sem(gains))
    assert (
        f"+1.50 percentage points of test accuracy on average (95 % interval over runs {low:+.2f} .. {high:+.2f}"
        in (of_linear.text)
    )
    assert found.summary.text.endswith("+2.00 percentage points of test accuracy on average (at most +2.00).")
    assert set(of_linear.records) == names(linear)
    assert set(found.summary.records) == names(steps)


def test_last_epochs_that_are_the_best_add_nothing(record, make_seeds, answer):
    record(make_seeds(0.8, 0.81))
    found = answer("best-epoch")
    # none of two: with 95 % confidence, less than 1 - sqrt(0.05) of all, by the binomial
    bound = 100 * stats.binomtest(0, 2).proportion_ci(0.90).high
    assert found.summary.text == (
        "Where the learning rate falls linearly to 0: In none of 2 runs with 2 evaluations was an earlier epoch better on the test set than the last: quoting the best added nothing, "
        f"and the share of such runs in which it would is at most {bound:.1f} % (one-sided 95 % bound)."
    )
    assert found.chart is None


def test_runs_that_repeat_the_bits_of_another_are_left_out(record, make_seeds, answer):
    _, second = record(make_seeds(0.8, 0.81, weights_sha256="a"))
    [unknown] = record(make_seeds(0.8, device_name="Other CPU", weights_sha256=None))
    record(make_seeds(0.8, model="plain20", weights_sha256="a"))
    found = answer("best-epoch")
    assert ": In none of 3 runs " in found.summary.text
    assert len(found.summary.records) == 3
    assert names([second, unknown]) <= set(found.summary.records)
    [left_out] = found.details
    assert left_out.text == "Left out: 1 run with the weights of another, which is no further evidence."
    assert len(left_out.records) == 1
    record(
        make_seeds(0.81, model="plain56", weights_sha256="a")
        + make_seeds(0.8, model="plain32", weights_sha256="a")
    )
    [left_out] = answer("best-epoch").details
    assert "Left out: 3 runs with the weights of another, which are" in left_out.text


def test_runs_of_a_single_evaluation_are_left_out(record, make_seeds, make_run, answer):
    once = record(make_seeds(0.8, 0.81, weights_sha256=None), errors=(0.2,))
    assert answer("best-epoch") is None
    runs = record([make_run(model="plain20", weights_sha256=None)], errors=(0.3, 0.2))
    runs += record([make_run(model="plain32", weights_sha256=None)], errors=(0.5, 0.3, 0.2))
    found = answer("best-epoch")
    assert ": In none of 2 runs with 2 to 3 evaluations " in found.summary.text
    [left_out] = found.details
    assert left_out.text == (
        "Left out: 2 runs of a single evaluation, before which no epoch could have been better."
    )
    assert set(left_out.records) == names(once)
    assert set(found.summary.records) == names(runs)


def test_published_best_epochs_are_recomputed(published, frame_of, seeds_of_published):
    times = frame_of("epochs").groupby("run_id").size()
    every = seeds_of_published[seeds_of_published.test_accuracy_best.notna()]
    every = every.assign(
        evaluations=every.run_id.map(times),
        added=every.test_accuracy_best - every.test_accuracy,
        schedule=every.spec.map(lambda spec: json.loads(spec)["recipe"]["schedule"]["kind"]),
    )
    often = every[every.evaluations > 1]
    runs = often.drop_duplicates("weights_sha256")
    found = QUESTIONS["best-epoch"].answer(published)
    by_schedule = [found.summary, *found.details[:-1]]
    assert len(by_schedule) == runs.schedule.nunique()
    for schedule, its in runs.groupby("schedule"):
        words = {"steps": "falls in steps", "linear": "falls linearly to 0"}[schedule]
        [told] = [its for its in by_schedule if its.text.startswith(f"Where the learning rate {words}: ")]
        earlier = int((its.added > 0).sum())
        assert f"In {earlier or 'none'} of {len(its)} runs with {its.evaluations.min()} " in told.text
        assert (told is found.summary) == (its.evaluations.max() == runs.evaluations.max())
        digests = frame_of("runs").set_index("run_id").weights_sha256
        shown = digests[[name.removeprefix("runs/") for name in told.records]]
        assert sorted(shown) == sorted(its.weights_sha256)
        if earlier:
            assert stated(r"adds (\S+) percentage points", told.text) == near(100 * its.added.mean())
        else:
            assert f"at most {100 * (1 - 0.05 ** (1 / len(its))):.1f} %" in told.text
    left_out = found.details[-1].text
    assert f"{len(often) - len(runs)} runs with the weights of another" in left_out
    assert f"{len(every) - len(often)} runs of a single evaluation" in left_out


# -- precision -----------------------------------------------------------------------------------------------


def test_bfloat16_is_paired_with_float32_by_seed(record, make_seeds, answer):
    runs = record(make_seeds(0.80, 0.81))
    runs += record(make_seeds(0.81, 0.83, precision="bf16"))
    record(make_seeds(0.5, 0.5, precision="bf16", recipe="paper"))
    record(make_seeds(0.5, 0.5, precision="bf16", device_name="Other CPU"))
    record(make_seeds(0.5, 0.5, precision="bf16", model="plain20"))
    found = answer("precision")
    # 1 and 2 points: t is 3 with one degree of freedom, and 2 / pi atan(1 / 3) is p
    assert found.summary.text == (
        "resnet20, bf16 minus fp32, paired by seed: +1.50 percentage points (2 seeds, 95 % interval -4.85 .. +7.85) of test "
        "accuracy, not significant (p 0.205). The standard deviation of the differences is 0.71. Setting: short, 1,563 "
        "iterations, on Some CPU."
    )
    assert set(found.summary.records) == names(runs)
    [row] = found.tables[0].rows
    assert row[:6] == ("resnet20", "2", "+1.50", "0.71", "-4.85 .. +7.85", "0.205")
    assert len(row) == len(found.tables[0].columns)


def test_another_precision_that_is_told_from_noise_is_in_the_summary(record, make_seeds, answer):
    lists = {
        ("Some CPU", "fp32"): (0.80, 0.81, 0.82),
        ("Some CPU", "bf16"): (0.81, 0.80, 0.83),
        ("told", "fp32"): (0.80, 0.81),
        ("told", "bf16"): (0.8200, 0.8301),
        ("not told", "fp32"): (0.80, 0.81),
        ("not told", "bf16"): (0.82, 0.81),
    }
    runs = {key: record(make_seeds(*its, device_name=key[0], precision=key[1])) for key, its in lists.items()}
    found = answer("precision")
    first, second, *others = found.summary.text.split("resnet20, bf16 minus fp32, ")[1:]
    assert "(3 seeds" in first
    assert "; significant" in second or ", significant" in second
    assert "on told." in second
    assert others == []
    [detail] = found.details
    assert "on not told." in detail.text
    shown = [run for (device, _), its in runs.items() if device != "not told" for run in its]
    assert set(found.summary.records) == names(shown)


def test_seeds_without_a_counterpart_are_left_out(record, make_seeds, make_run, answer):
    runs = record(make_seeds(0.80, 0.81, 0.82))
    others = record(make_seeds(0.79, precision="bf16"))
    record([make_run(seed=1, precision="bf16", status="diverged", test_accuracy=None)])
    found = answer("precision")
    assert "-1.00 percentage points (1 seed, no interval)" in found.summary.text
    assert "one seed cannot tell it from noise" in found.summary.text
    assert "standard deviation" not in found.summary.text
    assert set(found.summary.records) == names([runs[0], *others])


def test_comparisons_of_a_table_are_adjusted_and_the_most_seeds_lead(record, make_seeds, answer):
    lists = {
        ("plain20", "fp32"): (0.70, 0.71),
        ("plain20", "bf16"): (0.701, 0.712),
        ("resnet20", "fp32"): (0.80, 0.81, 0.82),
        ("resnet20", "tf32"): (0.81, 0.83, 0.82),
        ("resnet20", "bf16"): (0.81, 0.82, 0.831),
    }
    for (model, precision), values in lists.items():
        record(make_seeds(*values, model=model, precision=precision))
    found = answer("precision")
    assert found.summary.text.startswith("resnet20, bf16 minus fp32")
    compared = [key for key in lists if key[1] != "fp32"]
    p_values = [stats.ttest_rel(lists[key], lists[key[0], "fp32"]).pvalue for key in compared]
    for (model, precision), p in zip(compared, multipletests(p_values, method="holm")[1], strict=True):
        [text] = [
            its.text for its in found.statements if its.text.startswith(f"{model}, {precision} minus fp32")
        ]
        shown = "< 0.001" if p < 0.001 else f"{p:.3f}"
        assert f" {'' if p < 0.05 else 'not '}significant (p {shown}, adjusted by Holm for 3 comp" in text
    assert " significant" in found.summary.text.replace("not significant", "")  # else nothing is shown


@pytest.mark.parametrize("precisions", [("fp32",), ("bf16",), ("fp32", "tf32")])
def test_without_bfloat16_and_float32_nothing_is_said(record, make_seeds, answer, precisions):
    for precision in precisions:
        record(make_seeds(0.80, 0.81, precision=precision))
    assert answer("precision") is None


def test_published_precisions_are_recomputed(published, seeds_of_published):
    found = QUESTIONS["precision"].answer(published)
    halves = [seeds_of_published[seeds_of_published.precision == one] for one in ("bf16", "fp32")]
    place = [name for name in PLACE if name != "precision"]
    both = halves[0].merge(halves[1], on=[*place, "seed"])
    settings = both.groupby(place)
    assert found.summary.text.count("bf16 minus fp32") + len(found.details) == len(settings) > 0
    for (model, recipe, iterations, device), its in settings:
        end = f"{recipe}, {iterations:,} iterations, on {device}."
        [(statement, text)] = [
            (one, f"{model}, bf16 minus {part}")
            for one in found.statements
            for part in one.text.split(f"{model}, bf16 minus ")[1:]
            if part.strip().endswith(end)
        ]
        differences = 100 * (its.test_accuracy_x - its.test_accuracy_y)
        interval = stats.t.interval(0.95, len(its) - 1, differences.mean(), stats.sem(differences))
        assert gain_of(text) == near(differences.mean(), len(its), *interval)
        assert stated(r"differences is (\d\.\d+)", text) == near(differences.std())
        assert set(statement.records) >= {f"runs/{name}" for name in [*its.run_id_x, *its.run_id_y]}
        assert "images per second" not in statement.text


# -- two GPUs ------------------------------------------------------------------------------------------------


def test_ghost_batches_are_paired_with_whole_ones_by_seed(record, make_seeds, answer):
    runs = record(make_seeds(0.90, 0.91, recipe="paper"))
    runs += record(make_seeds(0.91, 0.93, recipe="paper-two-gpus"))
    plain = record(make_seeds(0.90, recipe="paper", model="plain20"))
    plain += record(make_seeds(0.89, recipe="paper-two-gpus", model="plain20"))
    found = answer("two-gpus")
    assert found.summary.text == (
        "resnet20, batch normalisation over 64 images minus over all 128, paired by seed: +1.50 percentage points (2 seeds, 95 % "
        "interval -4.85 .. +7.85) of test accuracy, not significant (p 0.205). The standard deviation of the differences is "
        "0.71. Setting: paper-two-gpus, 64,000 iterations, fp32, on Some CPU."
    )
    assert set(found.summary.records) == names(runs)
    [other] = found.details
    assert other.text.startswith("plain20, batch normalisation over 64 images minus over all 128")
    assert "-1.00 percentage points (1 seed, no interval)" in other.text
    assert set(other.records) == names(plain)
    assert [row[:3] for row in found.tables[0].rows] == [
        ("resnet20", "2", "+1.50"),
        ("plain20", "1", "-1.00"),
    ]


def test_one_kind_of_batch_statistics_alone_says_nothing(record, make_seeds, answer):
    record(make_seeds(0.90, recipe="paper-two-gpus"))
    record(make_seeds(0.90, recipe="short"))
    assert answer("two-gpus") is None


# -- seeds ---------------------------------------------------------------------------------------------------

RIGHT = ([True, True, False, True], [True, False, False, True], [True, True, True, True])


def test_spread_over_seeds_is_split_and_answers_compared(record, make_seeds, answer):
    runs = record(make_seeds(0.75, 0.5, 1.0), right=RIGHT)
    found = answer("seeds")
    low, high = (25 * (2 / stats.chi2.ppf(end, 2)) ** 0.5 for end in (0.975, 0.025))
    # shares of wrong seeds: 0, 1/3, 2/3, 0, so e (1 - e) sums to 4/9, times 3/2 over 16 images squared is 1/24
    ratio = (1 / 24) / 0.0625
    ends = [ratio * stats.chi2.ppf(end, 2) / 2 for end in (0.025, 0.975)]
    assert found.summary.text == (
        "resnet20 (short, 1,563 iterations, fp32, on Some CPU): test accuracy has a standard deviation over seeds of 25.00 percentage "
        f"points (95 % interval {low:.2f} .. {high:.2f}), from 50.00 to 100.00 %, mean 75.00 % (3 seeds, 95 % interval 12.90 .. "
        f"137.10). The sampling of this test set alone would give {100 * (1 / 24) ** 0.5:.2f}, {100 * ratio:.1f} % of the variance "
        f"(95 % interval {100 * ends[0]:.1f} % .. {100 * ends[1]:.1f} %). Two seeds answer 1 of 4 images differently (mean over 3 pairs)."
    )
    assert set(found.summary.records) == names(runs) | names(runs, "predictions")
    assert len(found.tables[0].rows) == 1
    assert list(found.chart.figure.data[0].x) == [25, 50, 0]


def test_without_predictions_the_spread_alone_is_said(record, make_seeds, answer):
    runs = record(make_seeds(0.80, 0.82))
    found = answer("seeds")
    assert found.summary.text == (
        "resnet20 (short, 1,563 iterations, fp32, on Some CPU): test accuracy has a standard deviation over seeds of 1.41 percentage "
        "points, from 80.00 to 82.00 %, mean 81.00 % (2 seeds, 95 % interval 68.29 .. 93.71)."
    )
    assert set(found.summary.records) == names(runs)
    assert found.tables == ()


def test_predictions_of_some_seeds_are_said_to_be_of_these(record, make_seeds, make_run, answer):
    runs = record(make_seeds(0.75, 0.5), right=RIGHT[:2])
    record([make_run(seed=2, test_accuracy=0.6)])
    statement = answer("seeds").summary
    assert "over the 2 seeds whose predictions are recorded" in statement.text
    assert "percentage points, from 50.00 to 75.00 %" in statement.text  # without an interval of other seeds
    assert "(one pair)" in statement.text
    assert {name for name in statement.records if "predictions" in name} == names(runs, "predictions")


def test_share_above_one_is_said_to_be_chance(record, make_seeds, answer):
    right = [[True, False] * 10 + [True], [False, True] * 10 + [False]]
    record(make_seeds(11 / 21, 10 / 21), right=right)
    assert "of the variance, above 100 % by chance (95 %" in answer("seeds").summary.text


def test_single_seeds_have_no_spread(record, make_run, answer):
    record([make_run(seed=0), make_run(seed=0, device_name="Other CPU")])
    record([make_run(seed=1, status="diverged", test_accuracy=None)])
    assert answer("seeds") is None


def test_most_seeds_lead_and_few_settings_are_told(record, make_seeds, answer):
    for number in range(5):
        record(make_seeds(0.8, 0.81, device_name=f"CPU {number}"))
    record(make_seeds(0.8, 0.81, 0.82, model="plain20"))
    found = answer("seeds")
    assert found.summary.text.startswith("plain20 (")
    assert "(3 seeds" in found.summary.text
    assert len(found.details) == 3


def test_published_spread_is_recomputed(published, frame_of, seeds_of_published):
    found = QUESTIONS["seeds"].answer(published)
    answers = {
        name: np.stack(its.sort_values("image").logits).argmax(axis=1)
        for name, its in frame_of("predictions").groupby("run_id")
    }
    groups = dict(list(seeds_of_published.groupby(PLACE)))
    most = max(len(its) for its in groups.values())
    assert f"({most} seeds" in found.summary.text
    for statement in found.statements:
        models, setting = re.match(
            r"(.*?)(?: \(the same bits\))? \((.*?, on .*?)\): ", statement.text
        ).groups()
        same = [
            its
            for key, its in groups.items()
            if key[0] in re.split(", | and ", models)
            and setting == "{}, {:,} iterations, {}, on {}".format(*key[1:])
        ]
        assert len(same) == len(re.split(", | and ", models))
        assert len({tuple(its.sort_values("seed").weights_sha256) for its in same}) == 1
        its = same[0]
        n, sd = len(its), 100 * its.test_accuracy.std()
        interval = [sd * ((n - 1) / stats.chi2.ppf(end, n - 1)) ** 0.5 for end in (0.975, 0.025)]
        assert stated(
            r"seeds of (\S+) percentage points \(95 % interval (\S+) \.\. (\S+)\)", statement.text
        ) == near(sd, *interval)
        pairs = [
            (one != other).sum()
            for one, other in itertools.combinations([answers[run] for run in its.run_id], 2)
        ]
        shown = re.search(r"answer ([\d,]+) of 10,000 images", statement.text)[1]
        assert float(shown.replace(",", "")) == pytest.approx(statistics.fmean(pairs), abs=0.5)
        assert {name for name in statement.records if name.startswith("runs/")} == {
            f"runs/{run}" for each in same for run in each.run_id
        }
        assert len(statement.records) == len(its) * (1 + len(same))


# -- hostile -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", ["<b>|`x`\n[a](b)", "\u202e\x00\x1b[31m", "{}%s"])
@pytest.mark.parametrize("key", KEYS)
def test_texts_of_others_are_told_as_they_are(record, make_seeds, answer, hostile, key):
    for precision in ("fp32", "bf16"):
        runs = make_seeds(0.80, 0.83, precision=precision, device_name=hostile, test_accuracy_best=0.9)
        record([run | {"model": hostile} for run in runs])
    found = answer(key)
    assert key == "best-epoch" or hostile in found.summary.text
    assert key == "precision" or found.chart is not None
