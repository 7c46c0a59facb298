import math
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from statsmodels.stats import contingency_tables

from harness.analysis.by_image import McNemar, churn, image_interval, mcnemar, predicted
from harness.records.schema import to_table


def answers(both, only_first, only_second, neither=3):
    """Two classifiers that are right on so many images, in an order that is not that of the counts."""
    pairs = [(True, True)] * both + [(True, False)] * only_first
    pairs += [(False, True)] * only_second + [(False, False)] * neither
    shuffled = np.random.default_rng(0).permutation(np.array(pairs))
    return shuffled[:, 0], shuffled[:, 1]


def one_hot(answer, height=1.0):
    return [height if number == answer else 0.0 for number in range(10)]


def rows_of(run_id, answered, labels=None):
    """Rows of the records of kind ``predictions``, the images in order."""
    labels = answered if labels is None else labels
    return [
        {"run_id": run_id, "image": image, "label": label, "logits": one_hot(answer)}
        for image, (answer, label) in enumerate(zip(answered, labels, strict=True))
    ]


# the test of McNemar


@pytest.mark.parametrize(
    ("only_first", "only_second"),
    [(1, 0), (0, 1), (5, 3), (3, 5), (10, 10), (0, 12), (12, 0), (30, 55), (101, 64), (400, 401)],
)
def test_p_is_that_of_the_exact_test_of_statsmodels(only_first, only_second):
    found = mcnemar(*answers(20, only_first, only_second))
    expected = contingency_tables.mcnemar([[20, only_first], [only_second, 3]], exact=True)
    assert (found.only_first, found.only_second) == (only_first, only_second)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (5, 1, 14 / 64),  # two tails of 1 + 6 cases each
        (1, 5, 14 / 64),
        (0, 6, 2 / 64),
        (6, 0, 2 / 64),
        (1, 0, 1.0),
        (3, 3, 1.0),  # both tails together, 84 of 64 cases, are no probability
        (4, 4, 1.0),
    ],
)
def test_p_by_hand(only_first, only_second, p):
    found = mcnemar(*answers(7, only_first, only_second))
    assert found == McNemar(only_first, only_second, pytest.approx(p, rel=1e-12))
    assert found.p <= 1


@pytest.mark.parametrize(("both", "neither"), [(0, 3), (5, 0), (5, 3)])
def test_without_a_discordant_pair_there_is_no_difference(both, neither):
    assert mcnemar(*answers(both, 0, 0, neither)) == McNemar(0, 0, 1.0)


def test_what_both_have_right_or_wrong_does_not_matter():
    assert mcnemar(*answers(0, 9, 2, 0)) == mcnemar(*answers(900, 9, 2, 100))


def test_answers_to_other_images_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\) answers beside \(4,\); give those to the same images"):
        mcnemar(np.ones(3, dtype=bool), np.ones(4, dtype=bool))


# the interval over images


def simulated(seed, num_runs, num_images, error):
    """Runs of a model: harder images are wrong more often, in all of them."""
    hardness = np.random.default_rng(0).uniform(0, 2 * error, num_images)
    return list(np.random.default_rng(seed).uniform(size=(num_runs, num_images)) >= hardness)


@pytest.mark.parametrize(("num_first", "num_second"), [(3, 2), (1, 4)])
def test_interval_is_that_of_a_bootstrap_over_images(num_first, num_second):
    first, second = simulated(1, num_first, 500, 0.10), simulated(2, num_second, 500, 0.15)
    differences = np.mean(first, axis=0) - np.mean(second, axis=0)
    expected = stats.bootstrap(
        (differences,),
        np.mean,
        method="percentile",
        n_resamples=9999,
        rng=np.random.default_rng(3),
        batch=500,
    ).confidence_interval
    # the ends of 9,999 resamples have a standard error of 2.7 % of this
    error = differences.std(ddof=1) / math.sqrt(500)
    found = image_interval(first, second)
    assert found == pytest.approx((expected.low, expected.high), abs=0.15 * error)


def test_interval_of_many_images_is_that_of_the_normal_distribution():
    first, second = simulated(1, 3, 10_000, 0.08), simulated(2, 2, 10_000, 0.10)
    differences = np.mean(first, axis=0) - np.mean(second, axis=0)
    error = differences.std(ddof=1) / 100
    expected = differences.mean() + np.array([-1.96, 1.96]) * error
    low, high = image_interval(first, second)
    assert (low, high) == pytest.approx(tuple(expected), abs=0.1 * error)
    assert 0 < low < high  # first minus second: the first is the better


def test_exchanged_models_have_the_opposite_interval():
    first, second = simulated(1, 2, 2000, 0.10), simulated(2, 2, 2000, 0.15)
    low, high = image_interval(first, second)
    assert image_interval(second, first) == pytest.approx((-high, -low), abs=0.1 * (high - low))


def test_images_are_drawn_with_the_answers_of_both_models():
    # drawn for each model by itself, equal answers would give an interval around zero
    answered = simulated(1, 3, 300, 0.3)
    assert image_interval(answered, answered) == (0.0, 0.0)


def test_runs_stay_as_they_are():
    first, second = simulated(1, 2, 300, 0.2), simulated(2, 2, 300, 0.3)
    assert image_interval(first * 4, second * 4) == pytest.approx(image_interval(first, second), abs=1e-12)


def test_models_that_differ_alike_on_all_images_have_no_width():
    assert image_interval([np.ones(50, dtype=bool)], [np.zeros(50, dtype=bool)]) == (1.0, 1.0)


def test_the_same_answers_give_the_same_interval():
    first, second = simulated(1, 2, 300, 0.2), simulated(2, 3, 300, 0.3)
    assert image_interval(first, second) == image_interval(first, second)


# churn


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [1, 2, 3, 4], 0.0),
        ([1, 2, 3, 4], [1, 2, 3, 5], 0.25),
        ([1, 2, 3, 4], [2, 1, 4, 3], 1.0),
        ([0, 255, 0, 0, 0], [255, 0, 0, 0, 0], 0.4),
    ],
)
def test_churn_is_the_share_of_images_with_another_answer(first, second, expected):
    first, second = np.array(first, dtype=np.uint8), np.array(second, dtype=np.uint8)
    assert churn(first, second) == churn(second, first) == expected


# stored predictions


def test_runs_are_told_apart():
    rows = rows_of("a", [3, 1, 4], labels=[3, 1, 1]) + rows_of("b", [0, 1, 9], labels=[3, 1, 1])
    found = predicted(to_table("predictions", rows))
    assert list(found) == ["a", "b"]
    assert found["a"].classes.tolist() == [3, 1, 4]
    assert found["b"].classes.tolist() == [0, 1, 9]
    assert found["a"].labels.tolist() == found["b"].labels.tolist() == [3, 1, 1]
    assert found["a"].correct.tolist() == [True, True, False]
    assert found["b"].correct.tolist() == [False, True, False]


def test_images_are_put_in_order():
    labels, of_a, of_b = [5, 0, 7, 2, 8, 1], [5, 1, 7, 2, 9, 1], [5, 0, 6, 2, 8, 3]
    rows = rows_of("a", of_a, labels) + rows_of("b", of_b, labels)
    mixed = [rows[index] for index in (4, 9, 0, 11, 2, 6, 8, 1, 10, 3, 7, 5)]
    found = predicted(to_table("predictions", mixed))
    assert found["a"].classes.tolist() == of_a
    assert found["b"].classes.tolist() == of_b
    assert found["a"].labels.tolist() == found["b"].labels.tolist() == labels


def test_table_may_be_of_several_pieces():
    rows = rows_of("a", [3, 1, 4, 1], labels=[3, 1, 4, 2]) + rows_of("b", [2, 7, 1, 8], labels=[3, 1, 4, 2])
    pieces = [
        to_table("predictions", [rows[index] for index in piece]) for piece in ((6, 0), (3,), (7, 2, 5, 1, 4))
    ]
    # a slice shares its buffers with what is left out
    whole = pa.concat_tables([pieces[0], pieces[1], to_table("predictions", rows).slice(8), pieces[2]])
    found = predicted(whole)
    assert found["a"].classes.tolist() == [3, 1, 4, 1]
    assert found["b"].classes.tolist() == [2, 7, 1, 8]
    assert predicted(whole.slice(1, 2))["a"].classes.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([0.0] * 10, 0),
        ([-1.0, 2.5, 0.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 2.5], 1),
        ([-9.0] * 8 + [-1.0, -1.0], 8),
    ],
)
def test_of_equal_logits_the_first_class_is_the_answer(logits, expected):
    table = to_table("predictions", [{"run_id": "a", "image": 0, "label": 9, "logits": logits}])
    assert predicted(table)["a"].classes.tolist() == [expected]


def test_without_records_there_is_no_run():
    assert predicted(to_table("predictions", [])) == {}


def test_labels_and_answers_are_small_integers():
    found = predicted(to_table("predictions", rows_of("a", [3, 9])))["a"]
    assert (found.labels.dtype, found.classes.dtype, found.correct.dtype) == (np.uint8, np.uint8, np.bool_)


def test_neither_torch_nor_the_slow_part_of_scipy_is_needed():
    code = (
        "import sys, harness.analysis.by_image; sys.exit(bool({'scipy.stats', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
