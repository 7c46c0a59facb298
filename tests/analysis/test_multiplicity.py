"""Holm's correction, against statsmodels and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from harness.analysis.multiplicity import holm

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)
FEW = settings(max_examples=50, deadline=None)


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([0.01, 0.02, 0.03], [0.03, 0.04, 0.04]),  # the greatest may not fall below the one before it
        ([0.03, 0.001, 0.3, 0.02], [0.06, 0.004, 0.3, 0.06]),
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.02, 0.5, 0.02], [0.06, 0.5, 0.06]),
        ([0.4, 0.6, 0.9], [1.0, 1.0, 1.0]),
        ([0.0, 0.0, 1.0], [0.0, 0.0, 1.0]),
        ([1.0, 1.0], [1.0, 1.0]),
    ],
)
def test_adjusted_by_hand(p_values, expected):
    assert holm(p_values) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("digits", [2, 17])  # two digits make ties
@pytest.mark.parametrize("exponent", [1, 6])
def test_adjusted_as_statsmodels_does(n, digits, exponent):
    p_values = np.round(np.random.default_rng(n).random(n) ** exponent, digits).tolist()
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist(), rel=1e-12)


def test_the_list_is_left_as_it_was():
    p_values = [0.03, 0.01, 0.02]
    holm(p_values)
    assert p_values == [0.03, 0.01, 0.02]


@given(P_VALUES, st.randoms(use_true_random=False))
@FEW
def test_each_is_adjusted_alike_in_whatever_order(p_values, random):
    order = random.sample(range(len(p_values)), len(p_values))
    adjusted = holm(p_values)
    assert holm([p_values[index] for index in order]) == [adjusted[index] for index in order]


@given(P_VALUES)
@FEW
def test_adjusted_are_no_smaller_in_the_same_order_and_at_most_those_of_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, of_all in zip(p_values, adjusted, strict=True):
        assert p <= of_all <= min(1, len(p_values) * p)
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [of_all for _, of_all in pairs] == sorted(adjusted)


def test_of_ten_true_hypotheses_any_is_refused_in_at_most_five_percent():
    p_values = np.random.default_rng(2015).random((5000, 10))
    adjusted = [min(holm(row)) for row in p_values.tolist()]
    # 1 - 0.995^10 is 4.9 %; 5.6 % is its one-sided 99 % binomial bound
    assert np.mean(np.array(adjusted) < 0.05) <= 0.056
    assert np.mean(p_values.min(axis=1) < 0.05) > 0.35  # the reason for adjusting
