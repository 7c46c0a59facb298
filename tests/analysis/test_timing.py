import itertools
import math
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, t

from harness.analysis import timing as module
from harness.analysis.timing import (
    Comparison,
    Timing,
    agree,
    compare_apart,
    compare_paired,
    is_range,
    summarize_timing,
)

COMPARE = pytest.mark.parametrize("compare", [compare_paired, compare_apart])

SECONDS = st.floats(1e-7, 1e3)

FEW = settings(max_examples=40, deadline=None)


@st.composite
def equal_rounds(draw, min_rounds=5):
    """A cell of rounds of the same number of calls."""
    num_calls = draw(st.integers(1, 6))
    one_round = st.lists(SECONDS, min_size=num_calls, max_size=num_calls)
    return draw(st.lists(one_round, min_size=min_rounds, max_size=8))


def simulated(generator, rounds=12, calls=5, *, median=1.0, effect=0.1, noise=0.05):
    """Lognormal seconds: ``effect`` is shared by the calls of a round, ``noise`` is each call's own."""
    of_round = generator.normal(0, effect, (rounds, 1))
    return median * np.exp(of_round + generator.normal(0, noise, (rounds, calls)))


def scaled(rounds, factor):
    return [[factor * seconds for seconds in of_round] for of_round in rounds]


def share(outcomes):
    """The fraction that is true."""
    return statistics.fmean(list(outcomes))


# one cell


def test_timing_of_five_rounds_by_hand():
    # the median is 2 where the first round is drawn four or five times: 21 cases of 3,125, less than the 2.5 %
    # of a plain interval, which would begin at 3, and more than 0.1 %
    rounds = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [10.0, 11.0, 12.0], [13.0, 14.0, 15.0]]
    assert summarize_timing(rounds) == Timing(
        median=8.0, low=2.0, high=14.0, p50=8.0, p95=None, p99=None, num_calls=15, num_rounds=5
    )


def test_rounds_may_differ_in_length():
    timing = summarize_timing([[9.0], [4.0, 3.0], [6.0, 6.0], [7.0, 7.0], [1.0]])
    # 1, 3, 4, 6, 6, 7, 7, 9; the median is 1 where that round is drawn four or five times, or thrice and 9 twice:
    # 31 cases of 3,125, less than the 2.5 % of a plain interval and more than 0.1 %
    assert (timing.median, timing.low, timing.high) == (6.0, 1.0, 9.0)
    assert (timing.num_calls, timing.num_rounds) == (8, 5)


@pytest.mark.parametrize(
    "lengths",
    [
        (3, 3, 3, 3, 3),
        (1, 2, 3, 4, 7),
        (9, 1, 1, 1, 1),
        (4, 4, 4, 4, 4, 4),
        (3,) * 8,
        (1, 2, 3, 4, 7, 1, 2, 9),
    ],
)
def test_interval_is_that_of_all_possible_resamples(lengths):
    generator = np.random.default_rng(sum(lengths))
    rounds = [list(np.exp(generator.normal(0, 1, length))) for length in lengths]
    timing = summarize_timing(rounds)
    n = len(rounds)
    medians, cases = [], []
    for drawn in itertools.combinations_with_replacement(range(n), n):
        medians.append(statistics.median(itertools.chain.from_iterable(rounds[index] for index in drawn)))
        cases.append(math.factorial(n) / math.prod(map(math.factorial, Counter(drawn).values())))
    assert sum(cases) == n**n
    medians, cases = np.array(medians), np.array(cases)
    tail = norm.cdf(t.ppf(0.025, n - 1) * math.sqrt(n / (n - 1)))
    error = 3 * math.sqrt(tail / 4000)  # three standard errors of a share of 4,000 resamples
    for end, below in ((timing.low, tail), (timing.high, 1 - tail)):
        assert cases[medians < end - 1e-12].sum() / n**n <= below + error
        assert cases[medians <= end + 1e-12].sum() / n**n >= below - error


@pytest.mark.parametrize("num_rounds", [1, 2, 3, 4])
def test_fewer_than_five_rounds_have_no_interval(num_rounds):
    timing = summarize_timing([[1.0, 3.0, 2.0]] * num_rounds)
    assert (timing.median, timing.low, timing.high) == (2.0, None, None)


@pytest.mark.parametrize(
    ("num_calls", "p95", "p99"),
    [
        (19, None, None),
        (20, 19.05, None),  # 0.95 of the way from the first of 20 to the last, 1 + 0.95 * 19
        (99, 94.1, None),
        (100, 95.05, 99.01),
    ],
)
def test_quantiles_need_enough_calls(num_calls, p95, p99):
    seconds = [float(number) for number in range(num_calls, 0, -1)]
    timing = summarize_timing([seconds[:7], seconds[7:]])
    assert timing.p50 == timing.median == (num_calls + 1) / 2
    assert timing.p95 == (None if p95 is None else pytest.approx(p95))
    assert timing.p99 == (None if p99 is None else pytest.approx(p99))


@pytest.mark.parametrize("num_calls", [1, 2, 5])
def test_identical_rounds_have_an_interval_of_no_width(num_calls):
    of_round = [0.1, 0.3, 0.7, 0.2, 0.9][:num_calls]
    timing = summarize_timing([of_round] * 6)
    assert timing.low == timing.median == timing.high == pytest.approx(statistics.median(of_round))


def test_same_rounds_give_the_same_timing_and_arrays_will_do():
    rounds = simulated(np.random.default_rng(0))
    assert summarize_timing(rounds) == summarize_timing(rounds.tolist()) == summarize_timing(list(rounds))


def test_timing_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        summarize_timing([[1.0]]).median = 2.0


@given(equal_rounds())
@FEW
def test_median_is_in_its_interval(rounds):
    timing = summarize_timing(rounds)
    assert timing.low <= timing.median <= timing.high
    assert timing.median == pytest.approx(statistics.median(itertools.chain.from_iterable(rounds)))


@given(equal_rounds(), st.floats(1e-3, 1e3))
@FEW
def test_timing_scales_with_the_seconds(rounds, factor):
    timing, of_scaled = summarize_timing(rounds), summarize_timing(scaled(rounds, factor))
    for name in ("median", "low", "high", "p50", "p95", "p99"):
        value = getattr(timing, name)
        assert getattr(of_scaled, name) == (None if value is None else pytest.approx(factor * value))


@given(equal_rounds(min_rounds=1), st.randoms(use_true_random=False))
@FEW
def test_order_of_rounds_does_not_change_the_quantiles(rounds, random):
    shuffled = random.sample(rounds, len(rounds))
    timing, of_shuffled = summarize_timing(rounds), summarize_timing(shuffled)
    for name in ("median", "p50", "p95", "p99", "num_calls", "num_rounds"):
        assert getattr(timing, name) == getattr(of_shuffled, name)


@pytest.mark.parametrize("num_rounds", [5, 8, 15])
def test_interval_covers_the_true_median(num_rounds):
    generator = np.random.default_rng(1)
    timings = [summarize_timing(simulated(generator, num_rounds)) for _ in range(400)]
    assert 0.90 <= share(timing.low <= 1 <= timing.high for timing in timings) <= 0.99


@pytest.mark.parametrize("num_rounds", [5, 6, 7, 8, 9, 10, 15, 30])
def test_interval_of_few_rounds_of_a_call_is_their_range(num_rounds):
    generator = np.random.default_rng(num_rounds)
    for _ in range(20):
        rounds = simulated(generator, num_rounds, calls=1)
        ends = rounds.min(), rounds.max()
        timing, comparison = summarize_timing(rounds), compare_paired(rounds, [[1.0]] * num_rounds)
        assert ((timing.low, timing.high) == ends) is is_range(num_rounds)
        assert ((comparison.low, comparison.high) == ends) is is_range(num_rounds)


def test_of_fewer_rounds_than_have_an_interval_there_is_a_range_only():
    assert all(map(is_range, range(1, 5)))


def test_range_of_five_rounds_covers_less_than_95_percent():
    """At best 93.75 %, where the median is as likely above a round as below it."""
    generator = np.random.default_rng(1)
    timings = [summarize_timing(simulated(generator, 5, calls=1)) for _ in range(2000)]
    assert share(timing.low <= 1 <= timing.high for timing in timings) == pytest.approx(0.9375, abs=0.011)


def test_plain_percentile_interval_of_five_rounds_would_not():
    # the reason for reaching further into the tails
    generator = np.random.default_rng(1)
    drawn = np.random.default_rng(0).integers(5, size=(1000, 5))
    covered = []
    for _ in range(400):
        medians = np.median(simulated(generator, 5)[drawn].reshape(1000, -1), axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        covered.append(low <= 1 <= high)
    assert share(covered) < 0.9


def correlated(generator, num_rounds):
    """Rounds that are to 0.4 as the one before; see `simulated`."""
    effects = [generator.normal()]
    for _ in range(num_rounds - 1):
        effects.append(0.4 * effects[-1] + np.sqrt(1 - 0.4**2) * generator.normal())
    return np.exp(0.1 * np.array(effects)[:, np.newaxis] + generator.normal(0, 0.05, (num_rounds, 3)))


@pytest.mark.parametrize("num_rounds", [15, 30])
def test_interval_covers_the_true_median_where_neighbouring_rounds_are_alike(num_rounds, monkeypatch):
    generator = np.random.default_rng(1)
    all_rounds = [correlated(generator, num_rounds) for _ in range(300)]

    def covered():
        module._draws.cache_clear()
        module._summarized.cache_clear()
        timings = [summarize_timing(rounds) for rounds in all_rounds]
        return share(each.low <= 1 <= each.high for each in timings)

    assert covered() >= 0.9
    monkeypatch.setattr(module, "_block_length", lambda num_rounds: 1)  # the reason for drawing blocks
    assert covered() < 0.89
    module._draws.cache_clear()
    module._summarized.cache_clear()


def test_bootstrap_of_calls_would_not():
    # the reason for drawing rounds: calls of a round are alike, so there is less to learn from 60 than it seems
    generator = np.random.default_rng(1)
    drawn = np.random.default_rng(0).integers(60, size=(1000, 60))
    covered = []
    for _ in range(400):
        medians = np.median(simulated(generator).ravel()[drawn], axis=1)
        low, high = np.quantile(medians, [0.025, 0.975])
        covered.append(low <= 1 <= high)
    assert share(covered) < 0.8


# two cells


def test_paired_ratio_is_the_median_of_those_of_the_rounds():
    a = [[2.0, 4.0], [10.0], [8.0, 1.0, 9.0], [5.0, 7.0], [4.0]]  # medians 3, 10, 8, 6, 4
    b = [[2.0], [3.0, 5.0], [2.0, 2.0], [1.0, 3.0, 9.0], [2.0]]  # medians 2, 4, 2, 3, 2
    # ratios 1.5, 2.5, 4, 2, 2; the least is the median where it is drawn thrice, 5.8 % of cases, and so is the most
    assert compare_paired(a, b) == Comparison(ratio=2.0, low=1.5, high=4.0, is_noise=False)
    assert compare_paired(b, a) == Comparison(ratio=0.5, low=0.25, high=pytest.approx(2 / 3), is_noise=False)


def test_ratio_of_what_was_timed_apart_is_that_of_the_medians():
    a = [[10.0], [5.0, 4.0], [6.0, 7.0], [8.0, 8.0], [3.0]]  # 3, 4, 5, 6, 7, 8, 8, 10
    b = [[2.0], [2.0, 2.0]] * 15
    # of resamples of A, 1 % have a median of 3, and 1 % of 10: more than the tail for five rounds, 0.1 %,
    # and less than that for thirty, 1.9 %
    assert compare_apart(a, b) == Comparison(ratio=3.25, low=1.5, high=5.0, is_noise=False)
    assert compare_apart(b, a) == Comparison(
        ratio=pytest.approx(4 / 13), low=0.2, high=pytest.approx(2 / 3), is_noise=False
    )


def test_sides_timed_apart_are_drawn_independently():
    rounds = simulated(np.random.default_rng(2))
    comparison = compare_apart(rounds, rounds)
    assert comparison.ratio == 1
    assert comparison.low < 0.98
    assert comparison.high > 1.02


@pytest.mark.parametrize(("num_a", "num_b"), [(1, 1), (2, 2), (3, 3), (4, 4), (4, 9), (9, 4)])
def test_ratio_of_fewer_than_five_rounds_is_noise(num_a, num_b):
    a, b = [[3.0, 3.0]] * num_a, [[2.0]] * num_b
    assert compare_apart(a, b) == Comparison(ratio=1.5, low=None, high=None, is_noise=True)
    if num_a == num_b:
        assert compare_paired(a, b) == Comparison(ratio=1.5, low=None, high=None, is_noise=True)


@COMPARE
def test_equal_cells_have_ratio_one(compare):
    rounds = [[0.1, 0.3]] * 5
    assert compare(rounds, rounds) == Comparison(ratio=1.0, low=1.0, high=1.0, is_noise=True)


def test_numbers_of_paired_rounds_must_be_equal():
    with pytest.raises(ValueError, match=r"A has 3 rounds and B has 2; give those in which both were timed"):
        compare_paired([[1.0]] * 3, [[1.0]] * 2)


@COMPARE
@given(rounds=equal_rounds(), factor=st.floats(1e-3, 1e3), random=st.randoms(use_true_random=False))
@FEW
def test_scaling_both_leaves_the_ratio(compare, rounds, factor, random):
    others = random.sample(rounds, len(rounds))
    comparison = compare(rounds, others)
    of_scaled = compare(scaled(rounds, factor), scaled(others, factor))
    for name in ("ratio", "low", "high"):
        assert getattr(of_scaled, name) == pytest.approx(getattr(comparison, name))
    assert comparison.low <= comparison.ratio <= comparison.high


@COMPARE
@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_what_is_equally_fast_differs_by_noise(compare, noise):
    generator = np.random.default_rng(3)
    comparisons = [
        compare(simulated(generator, noise=noise), simulated(generator, noise=noise)) for _ in range(300)
    ]
    assert 0.9 <= share(comparison.is_noise for comparison in comparisons) <= 0.99


@pytest.mark.parametrize(("highest", "is_noise"), [(0.9994, False), (0.9996, True)])
def test_interval_that_reaches_1_as_it_is_printed_is_noise(highest, is_noise):
    rounds = [[0.9], [0.91], [0.92], [0.93], [highest]]
    below = compare_paired(rounds, [[1.0]] * 5)
    assert (below.high, below.is_noise) == (highest, is_noise)
    above = compare_paired([[1.0]] * 5, rounds)
    assert (above.low, above.is_noise) == (1 / highest, is_noise)


@COMPARE
def test_twenty_percent_slower_is_found(compare):
    generator = np.random.default_rng(4)
    for _ in range(50):
        slower, other = (simulated(generator, median=median, effect=0.03) for median in (1.2, 1.0))
        comparison = compare(slower, other)
        assert comparison.ratio == pytest.approx(1.2, rel=0.08)
        assert comparison.low > 1
        assert not comparison.is_noise
        assert compare(other, slower).high < 1


def test_drift_of_whole_rounds_cancels_in_pairs_only():
    generator = np.random.default_rng(5)
    paired, apart = [], []
    for _ in range(100):
        drift = np.exp(generator.normal(0, 0.5, (12, 1)))
        a = drift * simulated(generator, median=1.1, effect=0, noise=0.02)
        b = drift * simulated(generator, effect=0, noise=0.02)
        paired.append(compare_paired(a, b))
        apart.append(compare_apart(a, b))
    for of_pairs in paired:
        assert of_pairs.ratio == pytest.approx(1.1, rel=0.03)
        assert of_pairs.high - of_pairs.low < 0.08
        assert not of_pairs.is_noise
    assert min(of_both.high - of_both.low for of_both in apart) > 0.2
    assert share(of_both.is_noise for of_both in apart) > 0.95


# two timings


def timing_between(low, high):
    return Timing(median=1.0, low=low, high=high, p50=1.0, p95=None, p99=None, num_calls=5, num_rounds=5)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((1.5, 3.0), True),
        ((1.2, 1.4), True),
        ((0.5, 9.0), True),
        ((2.0, 3.0), True),  # they touch
        ((2.1, 3.0), False),
    ],
)
def test_timings_agree_where_their_intervals_meet(other, expected):
    a, b = timing_between(1.0, 2.0), timing_between(*other)
    assert agree(a, b) is agree(b, a) is expected


def test_timing_without_an_interval_neither_agrees_nor_differs():
    a, b = timing_between(1.0, 2.0), summarize_timing([[1.0]] * 4)
    for pair in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=r"of 4 rounds has no interval .*; time more rounds, at least 5"):
            agree(*pair)


# bad input


@pytest.mark.parametrize(
    ("rounds", "message"),
    [
        ([], "there are no rounds"),
        (np.empty((0, 5)), "there are no rounds"),
        ([[]], r"round 0 \(from 0\) has no calls"),
        ([[1.0], [], [1.0]], r"round 1 \(from 0\) has no calls"),
        ([[1.0], [1.0, 0.0]], r"round 1 \(from 0\) took 0\.0 s"),
        ([[1.0, -0.25]], r"took -0\.25 s"),
        ([[float("nan")]], "took nan s"),
        ([[1.0], [1.0], [float("inf")]], r"round 2 \(from 0\) took inf s"),
    ],
)
def test_what_cannot_be_seconds_is_refused(rounds, message):
    good = [[1.0]] * max(1, len(rounds))
    for call in (
        lambda: summarize_timing(rounds),
        lambda: compare_paired(rounds, good),
        lambda: compare_paired(good, rounds),
        lambda: compare_apart(rounds, good),
        lambda: compare_apart(good, rounds),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_neither_the_slow_part_of_scipy_nor_pandas_nor_torch_is_needed():
    code = (
        "import sys, harness.analysis.timing; "
        "sys.exit(bool({'scipy.stats', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
