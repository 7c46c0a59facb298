import pytest

from harness.analysis.cost import CostPoint
from harness.charts import color_of, cost_figure


@pytest.fixture
def make_point(make_group, make_estimate):
    """A function from a model, its errors, speed and interval to a point."""

    def make(model, errors, speed, low=None, high=None, *, on_front=True):
        return CostPoint(
            model=model,
            group=make_group(*(1 - error for error in errors), model=model),
            test_error=make_estimate(*errors),
            images_per_second=speed,
            low=low,
            high=high,
            batch_size=128,
            parameters=None,
            macs=None,
            joules_per_image=None,
            busy=False,
            on_front=on_front,
        )

    return make


def test_point_stands_at_its_speed_and_error_with_both_intervals(make_point, traces_of):
    [point] = traces_of(cost_figure([make_point("resnet20", (0.08, 0.10), 1000, 900, 1200)]))
    assert (list(point["x"]), list(point["y"])) == ([1000], pytest.approx([9]))
    assert list(point["error_x"]["array"]) == [200]
    assert list(point["error_x"]["arrayminus"]) == [100]
    assert list(point["error_y"]["array"]) == pytest.approx([12.7062], rel=1e-4)  # Student's, of one degree
    assert (point["name"], point["marker"]["color"]) == ("resnet20", color_of("resnet20"))


def test_what_has_no_interval_has_no_bar(make_point, traces_of):
    [point] = traces_of(cost_figure([make_point("resnet20", (0.08,), 1000)]))
    assert not {"error_x", "error_y"} & {name for name, value in point.items() if value}


def test_front_is_drawn_by_speed(make_point, traces_of):
    points = [
        make_point("resnet20", (0.09,), 1000),
        make_point("plain20", (0.10,), 900, on_front=False),
        make_point("resnet32", (0.08,), 600),
        make_point("resnet44", (0.07,), 300),
    ]
    *_, front = traces_of(cost_figure(points))
    assert list(front["x"]) == [300, 600, 1000]
    assert list(front["y"]) == pytest.approx([7, 8, 9])
    assert front["meta"] == "paper"
    assert len(traces_of(cost_figure(points[:2]))) == 2  # one point is no line


def test_names_of_others_are_no_markup(make_point, traces_of):
    [point] = traces_of(cost_figure([make_point("<i>x:make", (0.1,), 10)]))
    assert point["name"] == "&lt;i&gt;x:make"


def test_nothing_gives_an_empty_figure(traces_of):
    assert traces_of(cost_figure([])) == []
