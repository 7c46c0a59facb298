import numpy as np
import pytest

from harness.analysis.by_class import ClassAccuracy
from harness.charts import class_figure, color_of, confusion_figure

CLASSES = ["cat", "dog", "frog"]


def test_right_answers_are_left_out_and_the_largest_confusion_is_told():
    matrix = np.array([[90, 7, 3], [12, 85, 3], [1, 2, 97]])
    chart = confusion_figure(matrix, CLASSES)
    [trace] = chart.figure.data
    assert np.isnan(np.diag(trace.z)).all()
    assert trace.z[1][0] == 12
    assert (list(trace.x), list(trace.y)) == (CLASSES, CLASSES)
    assert chart.alt.endswith("Most often dog for cat.")
    assert matrix[0, 0] == 90  # what was given is left as it is


def test_no_confusion_is_no_error():
    assert "Most often" not in confusion_figure(np.diag([5.0, 5.0, 5.0]), CLASSES).alt


def test_errors_stand_by_class_with_their_intervals():
    its = [ClassAccuracy(0, 10, 0.8, 0.5, 0.9), ClassAccuracy(2, 10, 1.0, 0.7, 1.0)]
    chart = class_figure({"resnet20": its, "<b>": []}, CLASSES)
    trace = chart.figure.data[0]
    assert list(trace.x) == ["cat", "frog"]
    assert list(trace.y) == pytest.approx([20, 0])
    assert list(trace.error_y.array) == pytest.approx([30, 30])
    assert list(trace.error_y.arrayminus) == pytest.approx([10, 0])
    assert trace.marker.color == color_of("resnet20")
    assert chart.figure.data[1].name == "&lt;b&gt;"
