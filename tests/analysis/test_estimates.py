"""Means over seeds and their intervals, against scipy and by hand."""

import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harness.analysis.estimates import Estimate, estimate, p_of_zero, t_interval
from harness.analysis.multiplicity import holm

T_OF_ONE_DEGREE = math.tan(0.475 * math.pi)  # Student's t with one degree of freedom is Cauchy's distribution
VALUES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)
FEW = settings(max_examples=50, deadline=None)


def accuracies(n, *, seed=0):
    """Of n seeds, as they are on 10,000 images."""
    return np.round(np.random.default_rng(seed).normal(0.9125, 0.002, n), 4).tolist()


def skewed(n, *, seed=0):
    return np.random.default_rng(seed).exponential(1, n).tolist()


SAMPLES = {
    "two": [0.90, 0.93],
    "three": [0.90, 0.91, 0.93],
    "three with a tie": [0.90, 0.90, 0.93],
    "ten": accuracies(10),
    "ten with an outlier": [*accuracies(9), 0.10],
    "nineteen with an outlier": [*accuracies(18), 0.10],
    "twenty": accuracies(20),
    "a thousand": accuracies(1000),
    "large": [1e12 + 1, 1e12 + 2, 1e12 + 4],
    "around zero": [-0.001, 0.0, 0.002, -0.0005],
}
OF_SAMPLES = pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)


@pytest.mark.parametrize(
    ("values", "n", "mean", "sd", "ends"),
    [
        ([2.0, 4.0, 9.0], 3, 5.0, math.sqrt(13), (2.0, 9.0)),
        ([9.0, 4.0, 2.0], 3, 5.0, math.sqrt(13), (2.0, 9.0)),
        ([None, 2.0, math.nan, 4.0], 2, 3.0, math.sqrt(2), (2.0, 4.0)),
        ([-1.0, -1.0, 5.0], 3, 1.0, math.sqrt(12), (-1.0, 5.0)),
        ([1e12 + 1, 1e12 + 2, 1e12 + 3], 3, 1e12 + 2, 1.0, (1e12 + 1, 1e12 + 3)),
        (range(1, 1001), 1000, 500.5, math.sqrt(1000 * 1001 / 12), (1, 1000)),
    ],
)
def test_moments_by_hand(values, n, mean, sd, ends):
    found = estimate(values)
    assert (found.n, found.mean, found.minimum, found.maximum) == (n, mean, *ends)
    assert found.sd == pytest.approx(sd, rel=1e-12)


@pytest.mark.parametrize("values", [[], [None], [math.nan, None], [None] * 1000])
def test_no_values_have_no_estimate(values):
    assert estimate(values) is None


@pytest.mark.parametrize("values", [[0.9], [None, 0.9], [0.9, math.nan], [math.nan, None, 0.9, None]])
def test_single_value_has_neither_deviation_nor_interval(values):
    assert estimate(values) == Estimate(
        n=1, mean=0.9, sd=None, low=None, high=None, minimum=0.9, maximum=0.9, method="none"
    )


@pytest.mark.parametrize("n", [2, 3, 19, 20, 1000])
@pytest.mark.parametrize("value", [0.0, 0.9, 0.1, -1 / 3])
def test_equal_values_have_an_interval_of_no_width(n, value):
    found = estimate([value] * n)
    assert (found.n, found.sd, found.method) == (n, 0.0, "t")
    assert found.low == found.mean == found.high == pytest.approx(value, rel=1e-15)  # a sum is rounded
    assert (found.minimum, found.maximum) == (value, value)


def test_interval_of_two_by_hand():
    found = estimate([1.0, 3.0])
    assert found.sd == pytest.approx(math.sqrt(2), rel=1e-15)
    # the standard error is 1
    assert (found.low, found.high) == pytest.approx((2 - T_OF_ONE_DEGREE, 2 + T_OF_ONE_DEGREE), rel=1e-12)


def test_interval_of_three_by_hand():
    found = estimate([0.0, 3.0, 6.0])
    # with two degrees of freedom, the quantile of p is (2 p - 1) / sqrt(2 p (1 - p)); the standard error is
    # sqrt(3)
    half_width = 0.95 / math.sqrt(2 * 0.975 * 0.025) * math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((3 - half_width, 3 + half_width), rel=1e-12)


@OF_SAMPLES
def test_interval_is_that_of_scipy(values):
    found = estimate(values)
    expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.method == "t"
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9)
    assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-9)
    assert found.mean == pytest.approx(np.mean(values), rel=1e-15)


@OF_SAMPLES
def test_missing_values_change_nothing(values):
    spaced = [None, *(each for value in values for each in (value, math.nan)), None]
    assert estimate(spaced) == estimate(values)
    assert estimate(iter(spaced)) == estimate(values)


@given(VALUES, st.randoms(use_true_random=False))
@FEW
def test_order_does_not_matter(values, random):
    assert estimate(random.sample(values, len(values))) == estimate(values)


@given(VALUES)
@FEW
def test_mean_is_between_the_ends(values):
    found = estimate(values)
    assert found.low <= found.mean <= found.high
    # the mean of equal values may be a rounding away from them
    assert found.minimum - 1e-9 <= found.mean <= found.maximum + 1e-9


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_interval_for_any_confidence(n, confidence):
    expected = stats.t.interval(confidence, n - 1, loc=0.9, scale=0.002 / math.sqrt(n))
    assert t_interval(0.9, 0.002, n, confidence) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_interval_covers_the_truth_in_95_percent(n):
    samples = np.random.default_rng(2015).normal(0.9125, 0.002, (20_000, n))
    found = [estimate(values) for values in samples.tolist()]
    assert 0.93 <= statistics.fmean(each.low <= 0.9125 <= each.high for each in found) <= 0.97


# values that are not normal


@pytest.mark.parametrize(
    ("values", "method"),
    [
        (skewed(19), "t"),
        (skewed(20), "bootstrap"),
        ([0.9125] * 18 + [0.1], "t"),
        ([0.9125] * 19 + [0.1], "bootstrap"),
        ([*accuracies(19), 0.1], "bootstrap"),
        (accuracies(20), "t"),
        (skewed(1000), "bootstrap"),
        (accuracies(1000, seed=2015), "t"),
        ([0.0, 1.0] * 10, "bootstrap"),
        ([*skewed(19), None, math.nan], "t"),
    ],
)
def test_bootstrap_is_for_twenty_and_more_values_that_are_not_normal(values, method):
    assert estimate(values).method == method


def test_level_of_the_test_of_normality_is_one_percent():
    samples = [accuracies(30, seed=seed) for seed in range(60)] + [skewed(30, seed=seed) for seed in range(5)]
    refused = {stats.shapiro(values).pvalue < 0.01 for values in samples}
    assert refused == {True, False}
    # between 1 and 5 %, so that the level shows
    assert any(0.01 < stats.shapiro(values).pvalue < 0.05 for values in samples)
    for values in samples:
        expected = "bootstrap" if stats.shapiro(values).pvalue < 0.01 else "t"
        assert estimate(values).method == expected


@pytest.mark.parametrize(
    "values",
    [skewed(20), skewed(50), skewed(1000), [*accuracies(29), 0.8], [0.1, 0.1, 0.1, 0.7] * 6],
    ids=["20", "50", "1000", "outlier", "ties"],
)
def test_bootstrap_is_that_of_scipy(values):
    found = estimate(values)
    assert found.method == "bootstrap"
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    # other draws than those of the harness: ends of 9,999 resamples agree to a few hundredths of the width
    within = 0.06 * (expected.high - expected.low)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=within)


def test_bootstrap_of_one_outlier_by_hand():
    # how often the outlier is drawn is binomial, of 20 draws with probability 1/20. Below the mean, 1, are
    # 35.8 % of resamples, and at most there 73.6 %: the bias is the quantile of their middle, 0.117. The
    # acceleration from leaving out one value each is 0.154. So the ends are the quantiles of 9.4 % and
    # 99.92 %: none (35.8 %), and five (four are 99.74 %, five 99.97 %)
    found = estimate([0.0] * 19 + [1.0])
    assert (found.mean, found.method) == (0.05, "bootstrap")
    assert (found.low, found.high) == pytest.approx((0.0, 5 / 20), abs=1e-15)


def test_bootstrap_follows_the_skew():
    found = estimate(skewed(50))
    assert found.high - found.mean > 1.1 * (found.mean - found.low)


def test_same_values_give_the_same_bootstrap():
    assert estimate(skewed(30)) == estimate(skewed(30))


# the test that a mean is zero


@pytest.mark.parametrize("values", [[], [0.0], [0.3]])
def test_single_value_has_no_p(values):
    assert p_of_zero(values) is None


@pytest.mark.parametrize("n", [3, 1000])
@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (-0.0, 1.0), (0.1, 0.0), (-1e-4, 0.0)])
def test_values_without_spread_are_zero_or_not(n, value, p):
    assert p_of_zero([value] * n) == p


@pytest.mark.parametrize("value", [0.0, 0.1, -1e-4])
def test_two_equal_values_have_no_spread_to_test_with(value):
    assert p_of_zero([value] * 2) is None


def test_in_a_table_of_twenty_a_difference_that_is_none_is_seldom_found():
    # of two seeds, on 10,000 images
    differences = np.random.default_rng(2015).normal(0, 0.003, (1000, 20, 2)).round(4)
    assert np.mean((differences[..., 0] == differences[..., 1]).any(axis=1)) > 0.1  # so often p would be 0
    wrong = 0
    for table in differences.tolist():
        p_values = [p for its in table if (p := p_of_zero(its)) is not None]
        wrong += min(holm(p_values)) < 0.05
    assert wrong / len(differences) <= 0.06


@pytest.mark.parametrize(
    ("values", "p"),
    [
        ([1.0, 3.0], 1 - 2 * math.atan(2) / math.pi),  # t is 2
        ([-1.0, -3.0], 1 - 2 * math.atan(2) / math.pi),
        ([-1.0, 1.0], 1.0),
        ([0.0, 3.0, 6.0], 1 - math.sqrt(3) / math.sqrt(2 + 3)),  # t is sqrt(3)
        ([0.0, 0.0, 1.0], 1 - 1 / math.sqrt(2 + 1)),  # t is 1
    ],
)
def test_p_by_hand(values, p):
    assert p_of_zero(values) == pytest.approx(p, rel=1e-12)


@OF_SAMPLES
@pytest.mark.parametrize("shift", [0.0, 0.9, 0.9125])
def test_p_is_that_of_scipy(values, shift):
    differences = [value - shift for value in values]
    assert p_of_zero(differences) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=1e-8)


def test_p_is_small_where_the_interval_leaves_zero_out():
    for seed in range(200):
        differences = np.random.default_rng(seed).normal(0.002, 0.002, 5).tolist()
        found = estimate(differences)
        assert (p_of_zero(differences) < 0.05) == (not found.low <= 0 <= found.high)


def test_neither_numpy_nor_scipy_is_imported_before_they_are_needed():
    code = (
        "import sys, harness.analysis.estimates; "
        "sys.exit(bool({'numpy', 'scipy', 'torch', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
