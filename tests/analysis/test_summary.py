import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from harness.analysis.groups import group_runs
from harness.analysis.summary import count_repeated, selection_optimism, summarize

NO_RESULT = {"test_accuracy": None, "test_accuracy_best": None, "images_per_second": None, "seconds": None}


def moments(estimate):
    return estimate.n, estimate.mean, estimate.sd


def test_runs_are_summed_up_over_seeds(make_run):
    runs = [
        make_run(seed=0, test_accuracy=0.90, test_accuracy_best=0.91, images_per_second=1000.0, seconds=60.0),
        make_run(seed=1, test_accuracy=0.92, test_accuracy_best=0.92, images_per_second=None, seconds=70.0),
        make_run(seed=2, test_accuracy=0.94, test_accuracy_best=0.96, images_per_second=1200.0, seconds=80.0),
    ]
    [summary] = summarize(runs)
    assert [summary.group] == group_runs(runs)
    assert moments(summary.test_accuracy) == (3, pytest.approx(0.92), pytest.approx(0.02))
    assert moments(summary.optimism) == (3, pytest.approx(0.01), pytest.approx(0.01))
    assert moments(summary.images_per_second) == (2, 1100.0, pytest.approx(math.sqrt(20_000), rel=1e-12))
    assert moments(summary.seconds) == (3, 70.0, 10.0)
    # the quantile with two degrees of freedom is 0.95 / sqrt(2 * 0.975 * 0.025)
    half_width = 0.95 / math.sqrt(2 * 0.975 * 0.025) * 10 / math.sqrt(3)
    assert (summary.seconds.low, summary.seconds.high) == pytest.approx((70 - half_width, 70 + half_width))
    assert (summary.seconds.minimum, summary.seconds.maximum) == (60.0, 80.0)


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_interval_of_the_accuracy_is_that_of_scipy(make_run, n):
    accuracies = np.round(np.random.default_rng(2015).normal(0.9125, 0.002, n), 4)
    template = make_run()
    [summary] = summarize(
        template | {"seed": seed, "test_accuracy": accuracy}
        for seed, accuracy in enumerate(accuracies.tolist())
    )
    expected = stats.ttest_1samp(accuracies, 0).confidence_interval(0.95)
    found = summary.test_accuracy
    assert (found.n, found.method) == (n, "t")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_single_seed_has_no_deviation(make_run):
    [summary] = summarize([make_run()])
    assert moments(summary.test_accuracy) == (1, 0.9, None)
    assert (summary.test_accuracy.low, summary.test_accuracy.high) == (None, None)


@pytest.mark.parametrize("status", ["failed", "skipped", "diverged"])
def test_runs_without_a_result_are_counted_and_not_averaged(make_run, status):
    [summary] = summarize([make_run(), make_run(seed=1, status=status, **NO_RESULT)])
    assert summary.group.num_diverged == (status == "diverged")
    assert summary.group.num_failed == (status != "diverged")
    assert moments(summary.test_accuracy) == (1, 0.9, None)
    assert summary.seconds.n == summary.optimism.n == summary.images_per_second.n == 1


@pytest.mark.parametrize("changes", [{"status": "diverged"}, {"resumed_from": ["another run"]}], ids=str)
def test_numbers_of_runs_that_diverged_or_were_adopted_are_not_averaged(make_run, changes):
    numbers = {"test_accuracy": 0.1, "test_accuracy_best": 0.5, "seconds": 1.0, "images_per_second": 9.0}
    [summary] = summarize([make_run(), make_run(seed=1, **numbers, **changes)])
    assert moments(summary.test_accuracy) == (1, 0.9, None)
    assert moments(summary.optimism) == (1, 0.0, None)
    assert moments(summary.seconds) == (1, 60.0, None)
    assert moments(summary.images_per_second) == (1, 1000.0, None)


def test_a_seed_that_was_run_again_is_averaged_once(make_run):
    [summary] = summarize([make_run(seconds=50.0), make_run(seconds=60.0), make_run(seed=1, seconds=80.0)])
    assert (summary.seconds.n, summary.seconds.mean) == (2, 70.0)


def test_group_of_failures_has_no_accuracy(make_run):
    [summary] = summarize([make_run(status="failed", **NO_RESULT)])
    assert (summary.group.num_failed, summary.group.runs) == (1, ())
    assert (summary.test_accuracy, summary.optimism) == (None, None)
    assert (summary.images_per_second, summary.seconds) == (None, None)


@pytest.mark.parametrize("missing", [None, math.nan])
def test_numbers_that_are_missing_are_left_out(make_run, missing):
    [summary] = summarize([make_run(seconds=missing, images_per_second=missing), make_run(seed=1)])
    assert moments(summary.seconds) == (1, 60.0, None)
    assert moments(summary.images_per_second) == (1, 1000.0, None)
    assert summary.test_accuracy.n == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "plain20"},
        {"recipe": "paper"},
        {"iterations": 100},
        {"recipe_changes": {"batch_size": 256}},
        {"precision": "bf16"},
        {"data": "synthetic"},
        {"device_name": "Some GPU"},
        {"spec": "cannot be read"},
    ],
    ids=str,
)
def test_runs_that_differ_in_more_than_their_seed_are_apart(make_run, changes):
    summaries = summarize([make_run(), make_run(**changes)])
    assert [summary.test_accuracy.n for summary in summaries] == [1, 1]


def test_summaries_stand_in_order_of_appearance(make_run):
    models = ["plain56", "resnet20", "plain56", "plain20"]
    summaries = summarize(make_run(model, seed=seed) for seed, model in enumerate(models))
    assert [summary.group.model for summary in summaries] == ["plain56", "resnet20", "plain20"]


def test_no_runs_make_no_summaries():
    assert summarize([]) == []


# what quoting the best epoch adds


def optimism(runs):
    [group] = group_runs(runs)
    return selection_optimism(group)


def test_optimism_is_best_minus_last(make_run):
    runs = [
        make_run(seed=seed, test_accuracy=last, test_accuracy_best=best)
        for seed, (last, best) in enumerate([(0.9120, 0.9150), (0.9131, 0.9131), (0.9102, 0.9108)])
    ]
    found = optimism(runs)
    # 30, 0 and 6 of 10,000 images
    assert moments(found) == (3, 0.0012, pytest.approx(math.sqrt(252) / 10_000, rel=1e-12))
    assert (found.minimum, found.maximum) == (0.0, 0.003)
    expected = stats.ttest_rel([0.9150, 0.9131, 0.9108], [0.9120, 0.9131, 0.9102]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_equal_optimism_has_no_spread(make_run):
    # as floats, 0.91 - 0.9 and 0.57 - 0.56 are two numbers
    runs = [
        make_run(seed=seed, test_accuracy=last, test_accuracy_best=best)
        for seed, (last, best) in enumerate([(0.90, 0.91), (0.91, 0.92), (0.56, 0.57)])
    ]
    assert moments(optimism(runs)) == (3, 0.01, 0.0)


def test_optimism_is_of_runs_whose_best_is_known(make_run):
    known, unknown = make_run(test_accuracy_best=0.91), make_run(seed=1, test_accuracy_best=None)
    assert moments(optimism([known, unknown])) == (1, 0.01, None)
    assert optimism([unknown]) is None
    assert optimism([make_run(status="failed", **NO_RESULT)]) is None


# repetitions of earlier runs


def test_repeated_runs_are_those_of_the_same_question_on_the_same_device_model(make_run):
    earlier = [make_run(seed=0, weights_sha256="a"), make_run(seed=1, weights_sha256="b")]
    later = [
        make_run(seed=0, weights_sha256="a", environment_sha256="other code", torch="2.10.0"),
        make_run(seed=1, weights_sha256="c"),
        make_run(seed=2, weights_sha256="a"),
        make_run(seed=0, weights_sha256="a", threads=2),
        make_run(seed=0, weights_sha256="a", device_name="Some GPU"),
        make_run(seed=0, weights_sha256="a", precision="bf16"),
        make_run("plain20", seed=0, weights_sha256="a"),
    ]
    assert count_repeated(later, earlier) == (2, 1)
    assert count_repeated(later, []) == (0, 0)
    assert count_repeated([], earlier) == (0, 0)


def test_name_of_the_recipe_does_not_make_another_question(make_run):
    renamed = make_run(recipe_changes={"name": "another"})
    assert count_repeated([renamed], [make_run()]) == (1, 1)


def test_weights_may_be_those_of_any_earlier_run(make_run):
    earlier = [make_run(weights_sha256=digest) for digest in ("a", "b")]
    later = [make_run(weights_sha256=digest) for digest in ("b", "a", "c", "a")]
    assert count_repeated(later, earlier) == (4, 3)
    assert count_repeated(iter(later), iter(earlier)) == (4, 3)


def test_runs_without_weights_do_not_have_the_same(make_run):
    failed = {"status": "failed", "weights_sha256": None, **NO_RESULT}
    _, same = count_repeated([make_run(**failed)], [make_run(**failed)])
    assert same == 0


def test_summing_up_is_prepared_without_scipy_and_torch():
    code = (
        "import sys, harness.analysis.summary; "
        "sys.exit(bool({'numpy', 'scipy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
