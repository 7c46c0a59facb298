import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from harness.analysis.by_class import class_accuracies, confusion_matrix, wilson_interval
from harness.analysis.by_image import Predicted


def run(labels, classes):
    return Predicted(labels=np.array(labels, np.uint8), classes=np.array(classes, np.uint8))


@pytest.mark.parametrize(
    ("right", "num"), [(0, 1), (1, 1), (0, 1000), (1000, 1000), (500, 1000), (913, 1000), (3, 7)]
)
def test_interval_is_that_of_wilson(right, num):
    expected = proportion_confint(right, num, alpha=0.05, method="wilson")
    assert wilson_interval(right / num, num) == pytest.approx(expected, abs=1e-12)


def test_confusions_are_counted_by_true_and_answered_class():
    matrix = confusion_matrix([run([0, 0, 1, 2], [0, 1, 1, 0])], 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_confusions_are_means_over_runs():
    labels = [0, 0, 1]
    matrix = confusion_matrix([run(labels, [0, 1, 1]), run(labels, [0, 0, 0])], 2)
    assert matrix.tolist() == [[1.5, 0.5], [0.5, 0.5]]


def test_no_run_confuses_nothing():
    assert confusion_matrix([]).shape == (10, 10)
    assert not confusion_matrix([]).any()
    assert class_accuracies([]) == []


def test_accuracy_of_a_class_is_the_mean_over_runs():
    labels = [0, 0, 2, 2]
    first, second = class_accuracies([run(labels, [0, 1, 2, 2]), run(labels, [0, 0, 2, 2])])
    assert (first.label, first.num_images, first.accuracy) == (0, 2, 0.75)
    assert (second.label, second.num_images, second.accuracy) == (2, 2, 1.0)
    assert (first.low, first.high) == wilson_interval(0.75, 2)
