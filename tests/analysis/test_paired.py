import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from harness.analysis.groups import group_runs
from harness.analysis.paired import (
    adjusted,
    ghost_batch_differences,
    ghost_batch_size,
    measurements,
    model_differences,
    paired_difference,
    precision_differences,
)

FP32 = (0.8231, 0.8302, 0.8187, 0.8255, 0.8290, 0.8214, 0.8269, 0.8243)
BF16 = (0.8225, 0.8310, 0.8164, 0.8259, 0.8271, 0.8203, 0.8266, 0.8248)

NO_RESULT = {"test_accuracy": None, "test_accuracy_best": None, "images_per_second": None}


def ends(difference):
    return difference.difference.low, difference.difference.high


def mean_of(difference):
    return difference.difference.mean


def compared(first, second):
    """Two groups of runs, each given by its rows."""
    [of_first], [of_second] = group_runs(first), group_runs(second)
    return paired_difference(of_first, of_second)


# the difference


def test_differences_are_those_of_the_paired_t_test(make_seeds):
    [found] = precision_differences(make_seeds(*FP32) + make_seeds(*BF16, precision="bf16"))
    # by hand: -6, 8, -23, 4, -19, -11, -3, 5 of 10,000 images
    assert found.seeds == tuple(range(8))
    assert found.difference.n == 8
    assert found.difference.mean == -45 / 8 / 10_000
    assert found.difference.sd == pytest.approx(math.sqrt((1161 - 45**2 / 8) / 7) / 10_000, rel=1e-12)
    assert (found.difference.minimum, found.difference.maximum) == (-0.0023, 0.0008)
    expected = stats.ttest_rel(BF16, FP32)
    interval = expected.confidence_interval(0.95)
    assert ends(found) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 10, 19, 1000])
@pytest.mark.parametrize("outlier", [None, 0.1])
def test_as_many_pairs_as_there_are_give_the_p_of_scipy(make_run, n, outlier):
    accuracies = np.round(np.random.default_rng(n).normal((0.9125, 0.9120), 0.002, (n, 2)), 4)
    if outlier is not None:
        accuracies[-1, 0] = outlier
    first, second = (
        [make_run() | {"seed": seed, "test_accuracy": value} for seed, value in enumerate(column)]
        for column in accuracies.T.tolist()
    )
    found = compared(first, second)
    assert found.difference.n == n
    assert found.p == pytest.approx(stats.ttest_rel(*accuracies.T).pvalue, rel=1e-8)


def test_difference_says_what_is_compared(make_run):
    fp32, bf16 = make_run(), make_run(precision="bf16")
    [found] = precision_differences([fp32, bf16])
    assert (found.first.precision, found.second.precision) == ("bf16", "fp32")
    assert (found.first, found.second) == tuple(group_runs([bf16, fp32]))
    assert found.seeds == (0,)


def test_two_pairs_have_a_wide_interval(make_seeds):
    [found] = precision_differences(make_seeds(0.90, 0.91) + make_seeds(0.91, 0.94, precision="bf16"))
    # differences 0.01 and 0.03; with one degree of freedom the quantile is tan(0.475 pi) = 12.706
    assert (found.difference.n, found.difference.mean) == (2, 0.02)
    assert found.difference.sd == pytest.approx(0.02 / math.sqrt(2), rel=1e-12)
    half_width = math.tan(0.475 * math.pi) * 0.01
    assert ends(found) == pytest.approx((0.02 - half_width, 0.02 + half_width), rel=1e-9)
    assert found.p == pytest.approx(1 - 2 * math.atan(2) / math.pi, rel=1e-9)
    expected = stats.ttest_rel([0.91, 0.94], [0.90, 0.91])
    interval = expected.confidence_interval(0.95)
    assert ends(found) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_single_pair_has_neither_deviation_nor_interval_nor_p(make_seeds):
    [found] = precision_differences(make_seeds(0.90) + make_seeds(0.88, precision="bf16"))
    assert (found.difference.n, found.difference.mean, found.difference.sd) == (1, -0.02, None)
    assert (*ends(found), found.difference.method, found.p) == (None, None, "none", None)


def test_equal_differences_have_no_spread(make_seeds):
    # as floats, 0.91 - 0.9 and 0.57 - 0.56 are two numbers
    runs = make_seeds(0.90, 0.91, 0.56) + make_seeds(0.91, 0.92, 0.57, precision="bf16")
    [found] = precision_differences(runs)
    assert (found.difference.mean, found.difference.sd, *ends(found)) == (0.01, 0.0, 0.01, 0.01)
    assert found.p == 0


def test_equal_accuracies_differ_by_nothing(make_seeds):
    others = make_seeds(*FP32, precision="bf16", weights_sha256="others")
    [found] = precision_differences(make_seeds(*FP32) + others)
    assert (found.difference.mean, found.difference.sd, *ends(found)) == (0.0, 0.0, 0.0, 0.0)
    assert found.p == 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_same_bits_are_one_measurement_and_leave_nothing_to_test(make_seeds, seeds):
    accuracies = FP32[:seeds]
    runs = make_seeds(*accuracies) + make_seeds(*accuracies, model="plain20")
    for row in runs:
        row["weights_sha256"] = f"of seed {row['seed']}"
    found = compared(runs[:seeds], runs[seeds:])
    assert (found.same_bits, found.p) == (True, None)
    assert (found.difference.n, found.difference.mean) == (seeds, 0)


@pytest.mark.parametrize(
    ("weights", "accuracy"),
    [("other", FP32[0]), (None, FP32[0]), ("of seed 0", FP32[1])],  # the last: of another test set, say
)
def test_bits_are_the_same_only_where_they_are_for_every_seed(make_seeds, weights, accuracy):
    first, second = make_seeds(*FP32[:3]), make_seeds(accuracy, *FP32[1:3])
    for row in first + second:
        row["weights_sha256"] = f"of seed {row['seed']}"
    second[0]["weights_sha256"] = weights
    found = compared(first, second)
    assert not found.same_bits
    assert found.p is not None


def test_unknown_weights_are_not_the_same(make_run):
    one, other = ([make_run(seed=0, weights_sha256=None)] for _ in range(2))
    assert not compared(one, other).same_bits


def test_second_is_taken_from_first(make_seeds):
    found = compared(make_seeds(*FP32), make_seeds(*BF16))
    swapped = compared(make_seeds(*BF16), make_seeds(*FP32))
    assert found.difference.mean == -swapped.difference.mean == 45 / 8 / 10_000
    assert found.p == swapped.p
    assert ends(found) == pytest.approx((-swapped.difference.high, -swapped.difference.low), rel=1e-12)


# what is paired


def test_runs_are_paired_by_seed_in_whatever_order(make_seeds):
    runs = make_seeds(*FP32) + make_seeds(*BF16, precision="bf16")
    assert precision_differences(runs[::-1]) == precision_differences(runs)


def test_seeds_that_only_one_precision_has_are_left_out(make_run, make_seeds):
    runs = make_seeds(0.1, 0.8, 0.8)  # and of 1, 2, 3:
    for seed, accuracy in ((1, 0.8), (2, 0.9), (3, 0.2)):
        runs.append(make_run(seed=seed, test_accuracy=accuracy, precision="bf16"))
    [found] = precision_differences(runs)
    assert found.seeds == (1, 2)
    assert found.difference.mean == 0.05  # 0 and 0.1


def test_groups_without_a_common_seed_have_no_difference(make_run):
    assert precision_differences([make_run(seed=0), make_run(seed=1, precision="bf16")]) == []
    assert compared([make_run(seed=0)], [make_run(seed=1)]) is None
    assert compared([make_run(seed=0)], [make_run(status="failed", **NO_RESULT)]) is None


@pytest.mark.parametrize("status", ["failed", "diverged", "skipped"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_that_did_not_complete_are_left_out_with_their_counterpart(make_seeds, status, precision):
    runs = make_seeds(0.90, 0.92) + make_seeds(0.91, 0.94, precision="bf16")
    for row in runs:
        if (row["seed"], row["precision"]) == (1, precision):
            row |= {"status": status, **NO_RESULT}
    [found] = precision_differences(runs)
    assert (found.seeds, found.difference.mean, found.speed_ratio) == ((0,), 0.01, 1.0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adopted_runs_are_left_out_with_their_counterpart(make_seeds, precision):
    runs = make_seeds(0.90, 0.92) + make_seeds(0.91, 0.94, precision="bf16")
    for row in runs:
        if (row["seed"], row["precision"]) == (1, precision):
            row["resumed_from"] = ["another run"]
    [found] = precision_differences(runs)
    assert found.seeds == (0,)


def test_a_seed_that_was_run_again_is_one_pair_with_its_latest_run(make_seeds):
    runs = make_seeds(0.5, 0.92) + make_seeds(0.91, 0.94, precision="bf16") + make_seeds(0.90)
    [found] = precision_differences(runs)
    assert (found.difference.n, found.difference.minimum, found.difference.maximum) == (2, 0.01, 0.02)


# every precision against fp32


def test_there_is_no_difference_without_fp32(make_seeds):
    runs = make_seeds(*FP32, precision="tf32") + make_seeds(*BF16, precision="bf16")
    assert precision_differences(runs) == []


def test_fp32_alone_has_no_difference(make_seeds):
    assert precision_differences(make_seeds(*FP32)) == []


def test_every_other_precision_is_compared_in_order_of_appearance(make_seeds):
    runs = make_seeds(0.93, precision="tf32") + make_seeds(0.90) + make_seeds(0.88, precision="bf16")
    found = precision_differences(runs)
    assert [(each.first.precision, each.second.precision, mean_of(each)) for each in found] == [
        ("tf32", "fp32", 0.03),
        ("bf16", "fp32", -0.02),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "plain20"},
        {"model_source": "timm 1.0.20"},
        {"recipe": "paper"},
        {"iterations": 100},
        {"data": "synthetic"},
        {"device_name": "Some GPU"},
        {"recipe_changes": {"batch_size": 64}, "iterations": 1563},
        {"recipe_changes": {"augmentation": {"pad": 4, "flip": False}}},
        {"spec": "cannot be read"},
    ],
    ids=str,
)
def test_runs_that_differ_in_more_than_seed_and_precision_are_not_paired(make_run, changes):
    assert precision_differences([make_run(), make_run(**{"precision": "bf16"} | changes)]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"torch": "2.10.0"},
        {"threads": 8},
        {"environment_sha256": "another"},
        {"recipe_changes": {"name": "another", "summary": "In other words.", "source": "Elsewhere."}},
    ],
    ids=str,
)
def test_runs_that_were_asked_the_same_in_other_circumstances_are_paired(make_run, changes):
    [found] = precision_differences([make_run(), make_run(**{"precision": "bf16"} | changes)])
    assert found.seeds == (0,)


@pytest.mark.parametrize(
    ("field", "values"), [("model", ("plain56", "plain20")), ("device_name", ("Some GPU", "Any CPU"))]
)
def test_groups_are_compared_each_by_itself_in_order_of_appearance(make_run, field, values):
    last, first = values
    runs = [
        make_run(**{field: last}, test_accuracy=0.90),
        make_run(**{field: first}, test_accuracy=0.80),
        make_run(**{field: first}, test_accuracy=0.81, precision="bf16"),
        make_run(**{field: last}, test_accuracy=0.92, precision="bf16"),
    ]
    found = precision_differences(runs)
    assert [(getattr(each.first, field), mean_of(each)) for each in found] == [(first, 0.01), (last, 0.02)]


def test_no_runs_make_no_differences():
    assert precision_differences([]) == []


# batch normalisation over parts against that over all

TWO_GPUS = "paper-two-gpus"


def test_ghost_batches_are_compared_with_the_same_recipe_without(make_seeds):
    found = ghost_batch_differences(
        [
            *make_seeds(0.91, 0.92, recipe=TWO_GPUS),
            *make_seeds(0.90, 0.90, recipe="paper"),
            *make_seeds(0.89, 0.89, recipe="paper", recipe_changes={"ghost_batch_size": 32}),
        ]
    )
    assert [(its.first.recipe, its.second.recipe, mean_of(its)) for its in found] == [
        (TWO_GPUS, "paper", 0.015),
        ("paper", "paper", -0.01),
    ]
    assert list(map(ghost_batch_size, (found[0].first, found[1].first, found[0].second))) == [64, 32, None]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "plain20"},
        {"precision": "bf16"},
        {"device_name": "Some GPU"},
        {"iterations": 100},
        {"recipe": "short"},
        {"recipe_changes": {"batch_size": 256}},
    ],
)
def test_ghost_batches_that_differ_in_more_are_not_compared(make_run, changes):
    assert (
        ghost_batch_differences([make_run(recipe=TWO_GPUS), make_run(**{"recipe": "paper"} | changes)]) == []
    )


def test_of_a_request_that_cannot_be_read_no_ghost_batches_are_known(make_run):
    runs = [make_run(recipe=TWO_GPUS), make_run(recipe="paper", spec='{"of": "a later version"}')]
    assert ghost_batch_differences(runs) == []


# every model against one


def test_every_other_model_is_compared_with_the_baseline_in_order_of_the_groups(make_seeds):
    runs = (
        make_seeds(0.93, 0.94, model="resnet56")
        + make_seeds(0.90, 0.92)
        + make_seeds(0.89, 0.90, model="plain20")
    )
    found = model_differences(group_runs(runs), "resnet20")
    assert [(each.first.model, each.second.model, mean_of(each)) for each in found] == [
        ("resnet56", "resnet20", 0.025),
        ("plain20", "resnet20", -0.015),
    ]
    assert [each.seeds for each in found] == [(0, 1), (0, 1)]
    [reverse, _] = model_differences(group_runs(runs), "plain20")
    assert (reverse.first.model, mean_of(reverse)) == ("resnet56", 0.04)


def test_model_of_another_source_is_compared_where_it_has_another_name(make_seeds):
    runs = make_seeds(0.90) + make_seeds(0.91, model="timm-resnet20", model_source="timm 1.0.20")
    [found] = model_differences(group_runs(runs), "resnet20")
    assert mean_of(found) == 0.01


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": "paper"},
        {"iterations": 100},
        {"precision": "bf16"},
        {"data": "synthetic"},
        {"device_name": "Some GPU"},
        {"recipe_changes": {"batch_size": 64}, "iterations": 1563},
        {"seed": 1},
        {"status": "failed", **NO_RESULT},
    ],
    ids=str,
)
def test_models_are_compared_only_in_the_same_setting_and_on_common_seeds(make_run, changes):
    runs = [make_run(), make_run("plain20", **changes)]
    assert model_differences(group_runs(runs), "resnet20") == []


def test_each_setting_has_its_own_baseline(make_run):
    runs = [
        make_run(test_accuracy=0.90),
        make_run(precision="bf16", test_accuracy=0.80),
        make_run("plain20", precision="bf16", test_accuracy=0.81),
        make_run("plain20", test_accuracy=0.92),
    ]
    found = model_differences(group_runs(runs), "resnet20")
    assert [(each.first.precision, mean_of(each)) for each in found] == [("bf16", 0.01), ("fp32", 0.02)]


def test_without_the_baseline_nothing_is_compared(make_run):
    groups = group_runs([make_run(), make_run("plain20")])
    assert model_differences(groups, "resnet56") == []
    assert model_differences(groups[:1], "resnet20") == []
    assert model_differences([], "resnet20") == []


def test_a_baseline_without_a_result_does_not_hide_one_that_has(make_run):
    runs = [make_run(), make_run("plain20"), make_run(model_source=None, status="failed", **NO_RESULT)]
    for order in (runs, runs[::-1]):
        [found] = model_differences(group_runs(order), "resnet20")
        assert (found.second.model_source, found.seeds) == ("ours", (0,))


def test_of_two_baselines_that_with_the_most_seeds_in_common_counts(make_seeds):
    groups = group_runs(
        make_seeds(0.90, 0.91, 0.92)
        + make_seeds(0.70, model_source="mine")
        + make_seeds(0.95, 0.96, 0.97, model="plain20")
    )
    for order in (groups, groups[::-1]):
        [found] = model_differences(order, "resnet20")
        assert (found.second.model_source, found.seeds, mean_of(found)) == (
            "ours",
            (0, 1, 2),
            pytest.approx(0.05),
        )


def test_early_records_of_ours_hide_no_later_ones(make_seeds, make_run):
    early = [make_run(seed=3, test_accuracy=0.5, model_source=None)]
    ours, theirs = make_seeds(0.90, 0.91), make_seeds(0.93, 0.94, model="plain20")
    for runs in (early + ours + theirs, ours + theirs + early):
        [found] = model_differences(group_runs(runs), "resnet20")
        assert (found.seeds, mean_of(found)) == ((0, 1), 0.03)
    half = [run | {"precision": "bf16", "spec": run["spec"].replace("fp32", "bf16")} for run in early]
    [found] = precision_differences([make_run(seed=3, test_accuracy=0.75), *half])
    assert mean_of(found) == -0.25


# several at once


def test_one_measurement_is_one_comparison_however_many_made_it(make_seeds):
    accuracies = {"a": (0.903, 0.911, 0.925), "b": (0.903, 0.911, 0.925), "c": (0.91, 0.912, 0.921)}
    ours = make_seeds(0.900, 0.909, 0.921)
    runs = ours + [
        run | {"model": model, "weights_sha256": weights}
        for (model, values), weights in zip(accuracies.items(), ("w", "w", "x"), strict=True)
        for run in make_seeds(*values)
    ]
    found = model_differences(group_runs(runs), "resnet20")
    assert [[its.first.model for its in same] for same in measurements(found)] == [["a", "b"], ["c"]]
    expected = multipletests([found[0].p, found[2].p], method="holm")[1]
    assert adjusted(found) == pytest.approx([expected[0], *expected], rel=1e-12)
    for run in runs:
        if run["model"] == "b":
            run["weights_sha256"] = f"of seed {run['seed']}"
    apart = model_differences(group_runs(runs), "resnet20")
    assert [[its.first.model for its in same] for same in measurements(apart)] == [["a"], ["b"], ["c"]]
    assert adjusted(apart) == pytest.approx(
        multipletests([its.p for its in apart], method="holm")[1].tolist(), rel=1e-12
    )


def test_the_same_bits_in_another_setting_are_another_comparison(make_seeds):
    runs = [
        run
        for device in ("A", "B")
        for values, model in (((0.900, 0.909), "resnet20"), ((0.903, 0.911), "plain20"))
        for run in make_seeds(*values, model=model, device_name=device)
    ]
    assert len(measurements(model_differences(group_runs(runs), "resnet20"))) == 2


def test_p_values_of_a_table_are_adjusted_where_there_are_any(make_seeds):
    def at(device_name, *bf16, weights="others"):
        return make_seeds(*FP32[: len(bf16)], device_name=device_name) + make_seeds(
            *bf16, device_name=device_name, precision="bf16", weights_sha256=weights
        )

    runs = [
        *at("A", *BF16),
        *at("one seed", 0.8),
        *at("C", 0.8131, 0.8203, 0.8086),
        *at("D", *FP32),
        *at("same bits", *FP32, weights="w"),
        *at("E", 0.9, 0.91),
    ]
    found = precision_differences(runs)
    by_device = dict(zip((its.first.device_name for its in found), adjusted(found), strict=True))
    assert by_device.pop("one seed") is by_device.pop("same bits") is None
    known = [its.p for its in found if its.p is not None]
    assert list(by_device.values()) == pytest.approx(
        multipletests(known, method="holm")[1].tolist(), rel=1e-12
    )
    assert by_device["C"] == pytest.approx(4 * known[1], rel=1e-12)  # the least of four
    assert adjusted(found[::-1]) == adjusted(found)[::-1]


def test_nothing_is_adjusted_where_there_is_no_p(make_seeds):
    single = precision_differences(make_seeds(0.90) + make_seeds(0.88, precision="bf16"))
    assert adjusted(single) == [None]
    assert adjusted([]) == []


# speed


@pytest.mark.parametrize(
    ("of_fp32", "of_bf16", "ratio"),
    [
        ((100.0, 100.0, 200.0), (150.0, 900.0, 400.0), 2.0),  # 1.5, 9, 2
        ((100.0, 200.0), (150.0, 400.0), 1.75),  # 1.5, 2
        ((100.0, None, 100.0), (None, 500.0, 125.0), 1.25),
        ((100.0, 0.0), (150.0, 400.0), 1.5),
        ((None,), (500.0,), None),
        ((500.0,), (None,), None),
        ((0.0,), (500.0,), None),
    ],
)
def test_ratio_of_speed_is_the_median_over_pairs(make_run, of_fp32, of_bf16, ratio):
    runs = [
        make_run(seed=seed, images_per_second=rate, precision=precision)
        for precision, rates in (("fp32", of_fp32), ("bf16", of_bf16))
        for seed, rate in enumerate(rates)
    ]
    [found] = precision_differences(runs)
    assert found.difference.n == len(of_fp32)
    assert found.speed_ratio == ratio


def test_scipy_is_imported_only_for_an_interval():
    code = "import sys, harness.analysis.paired, harness.cli; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
