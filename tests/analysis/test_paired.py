import json
import math
import subprocess
import sys

import pytest
from scipy import stats

from harness.analysis.paired import precision_differences

FP32 = (0.8231, 0.8302, 0.8187, 0.8255, 0.8290, 0.8214, 0.8269, 0.8243)
BF16 = (0.8225, 0.8310, 0.8164, 0.8259, 0.8271, 0.8203, 0.8266, 0.8248)


def run(**changes):
    row = {
        "model": "resnet20",
        "recipe": "short",
        "iterations": 1563,
        "precision": "fp32",
        "data": "cifar10",
        "device_name": "Some CPU",
        "seed": 0,
        "status": "completed",
        "test_accuracy": 0.9,
        "images_per_second": 1000.0,
        "environment_sha256": "e",
    } | changes
    asked = ("model", "recipe", "iterations", "precision", "data", "seed")
    return {"spec": json.dumps({name: row[name] for name in asked})} | row


def seeds(*accuracies, **changes):
    """Completed runs of seeds 0, 1, ..."""
    return [run(seed=seed, test_accuracy=accuracy, **changes) for seed, accuracy in enumerate(accuracies)]


def test_differences_are_those_of_the_paired_t_test():
    [difference] = precision_differences(seeds(*FP32) + seeds(*BF16, precision="bf16"))
    # by hand: -6, 8, -23, 4, -19, -11, -3, 5 of 10,000 images
    assert difference.n == 8
    assert difference.mean == -45 / 8 / 10_000
    assert difference.sd == pytest.approx(math.sqrt((1161 - 45**2 / 8) / 7) / 10_000, rel=1e-12)
    expected = stats.ttest_rel(BF16, FP32).confidence_interval(0.95)
    assert difference.interval == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_difference_says_what_is_compared():
    [difference] = precision_differences([run(), run(precision="bf16")])
    assert (difference.precision, difference.baseline) == ("bf16", "fp32")
    assert (difference.model, difference.recipe, difference.iterations) == ("resnet20", "short", 1563)
    assert difference.device_name == "Some CPU"


def test_two_pairs_have_a_wide_interval():
    [difference] = precision_differences(seeds(0.90, 0.91) + seeds(0.91, 0.94, precision="bf16"))
    # differences 0.01 and 0.03; with one degree of freedom the quantile is tan(0.475 pi) = 12.706
    assert difference.n == 2
    assert difference.mean == 0.02
    assert difference.sd == pytest.approx(0.02 / math.sqrt(2), rel=1e-12)
    half_width = math.tan(0.475 * math.pi) * 0.01
    assert difference.interval == pytest.approx((0.02 - half_width, 0.02 + half_width), rel=1e-9)
    expected = stats.ttest_rel([0.91, 0.94], [0.90, 0.91]).confidence_interval(0.95)
    assert difference.interval == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_single_pair_has_neither_deviation_nor_interval():
    [difference] = precision_differences(seeds(0.90) + seeds(0.88, precision="bf16"))
    assert (difference.n, difference.mean, difference.sd, difference.interval) == (1, -0.02, None, None)


def test_equal_differences_have_no_spread():
    # as floats, 0.91 - 0.9 and 0.57 - 0.56 are two numbers
    [difference] = precision_differences(seeds(0.90, 0.91, 0.56) + seeds(0.91, 0.92, 0.57, precision="bf16"))
    assert (difference.mean, difference.sd, difference.interval) == (0.01, 0.0, (0.01, 0.01))


def test_equal_accuracies_differ_by_nothing():
    [difference] = precision_differences(seeds(*FP32) + seeds(*FP32, precision="bf16"))
    assert (difference.mean, difference.sd, difference.interval) == (0.0, 0.0, (0.0, 0.0))


def test_runs_are_paired_by_seed_in_whatever_order():
    runs = seeds(*FP32) + seeds(*BF16, precision="bf16")
    assert precision_differences(runs[::-1]) == precision_differences(runs)


def test_seeds_that_only_one_precision_has_are_left_out():
    runs = seeds(0.1, 0.8, 0.8)  # and of 1, 2, 3:
    for seed, accuracy in ((1, 0.8), (2, 0.9), (3, 0.2)):
        runs.append(run(seed=seed, test_accuracy=accuracy, precision="bf16"))
    [difference] = precision_differences(runs)
    assert difference.n == 2
    assert difference.mean == 0.05  # 0 and 0.1


def test_precision_without_a_common_seed_yields_nothing():
    assert precision_differences([run(seed=0), run(seed=1, precision="bf16")]) == []


@pytest.mark.parametrize("status", ["failed", "diverged", "skipped"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_that_did_not_complete_are_left_out_with_their_counterpart(status, precision):
    runs = seeds(0.90, 0.92) + seeds(0.91, 0.94, precision="bf16")
    for row in runs:
        if (row["seed"], row["precision"]) == (1, precision):
            row |= {"status": status, "test_accuracy": None, "images_per_second": None}
    [difference] = precision_differences(runs)
    assert (difference.n, difference.mean, difference.speed_ratio) == (1, 0.01, 1.0)


def test_there_is_no_difference_without_fp32():
    assert precision_differences(seeds(*FP32, precision="tf32") + seeds(*BF16, precision="bf16")) == []


def test_fp32_alone_has_no_difference():
    assert precision_differences(seeds(*FP32)) == []


def test_every_other_precision_is_compared_in_order_of_appearance():
    runs = seeds(0.93, precision="tf32") + seeds(0.90) + seeds(0.88, precision="bf16")
    differences = precision_differences(runs)
    assert [(difference.precision, difference.mean) for difference in differences] == [
        ("tf32", 0.03),
        ("bf16", -0.02),
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "plain20"),
        ("recipe", "paper"),
        ("iterations", 100),
        ("data", "synthetic"),
        ("environment_sha256", "another torch, code or number of threads"),
        ("spec", '{"recipe": {"name": "short", "batch_size": 64}, "seed": 0, "precision": "bf16"}'),
    ],
)
def test_runs_that_differ_in_more_than_seed_and_precision_are_not_paired(field, value):
    assert precision_differences([run(), run(**{"precision": "bf16", field: value})]) == []


@pytest.mark.parametrize("field", ["model", "environment_sha256"])
def test_groups_are_compared_each_by_itself_in_order_of_appearance(field):
    runs = [
        run(**{field: "z"}, test_accuracy=0.90),
        run(**{field: "a"}, test_accuracy=0.80),
        run(**{field: "a"}, test_accuracy=0.81, precision="bf16"),
        run(**{field: "z"}, test_accuracy=0.92, precision="bf16"),
    ]
    differences = precision_differences(runs)
    assert [(difference.n, difference.mean) for difference in differences] == [(1, 0.02), (1, 0.01)]


def rates(*values, **changes):
    """Completed runs of seeds 0, 1, ... at so many images per second."""
    return [run(seed=seed, images_per_second=value, **changes) for seed, value in enumerate(values)]


@pytest.mark.parametrize(
    ("of_fp32", "of_bf16", "ratio"),
    [
        ((100.0, 100.0, 200.0), (150.0, 900.0, 400.0), 2.0),  # 1.5, 9, 2
        ((100.0, 200.0), (150.0, 400.0), 1.75),  # 1.5, 2
        ((100.0, None, 100.0), (None, 500.0, 125.0), 1.25),
        ((None,), (500.0,), None),
        ((500.0,), (None,), None),
    ],
)
def test_ratio_of_speed_is_the_median_over_pairs(of_fp32, of_bf16, ratio):
    [difference] = precision_differences(rates(*of_fp32) + rates(*of_bf16, precision="bf16"))
    assert difference.n == len(of_fp32)
    assert difference.speed_ratio == ratio


def test_no_runs_make_no_differences():
    assert precision_differences([]) == []


def test_scipy_is_imported_only_for_an_interval():
    code = "import sys, harness.analysis.paired, harness.cli; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
