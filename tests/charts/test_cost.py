import typing

import pytest

from harness.analysis.cost import Cost, CostPoint, Measured
from harness.charts import color_of, cost_figure


@pytest.fixture
def make_point(make_group, make_estimate):
    """A function from a model, its errors, a cost of it, by default its speed, and the interval of that to a point."""

    def make(model, errors, value, low=None, high=None, *, cost="throughput"):
        return CostPoint(
            model=model,
            group=make_group(*(1 - error for error in errors), model=model),
            test_error=make_estimate(*errors),
            costs={cost: Measured(value=value, low=low, high=high)},
            batch_size=128,
            busy=False,
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
        make_point("plain20", (0.10,), 900),  # resnet20 is faster and better
        make_point("resnet32", (0.08,), 600),
        make_point("resnet44", (0.07,), 300),
    ]
    *_, front = traces_of(cost_figure(points))
    assert list(front["x"]) == [300, 600, 1000]
    assert list(front["y"]) == pytest.approx([7, 8, 9])
    assert front["meta"] == "paper"
    assert len(traces_of(cost_figure(points[:2]))) == 2  # one point is no line


IN_UNITS = {
    # value and its interval as they are kept; as they are drawn: value, bars above and below; the units of both
    "throughput": ((1000, 900, 1200), (1000, 200, 100), "images per second", "images/s"),
    "latency": ((0.002, 0.0015, 0.003), (2, 1, 0.5), "ms", "ms"),
    "parameters": ((270_000, 260_000, 300_000), (0.27, 0.03, 0.01), "millions", "million"),
    "MACs": ((41_000_000, 40_000_000, 43_000_000), (41, 2, 1), "millions", "million"),
    "energy": ((0.25, 0.2, 0.35), (250, 100, 50), "mJ", "mJ"),
}


def test_every_cost_is_tried():
    assert set(IN_UNITS) == set(typing.get_args(Cost))


@pytest.mark.parametrize("cost", IN_UNITS)
def test_cost_is_drawn_in_the_unit_of_its_axis(make_point, traces_of, cost):
    kept, (value, above, below), unit, short_unit = IN_UNITS[cost]
    chart = cost_figure([make_point("resnet20", (0.08, 0.10), *kept, cost=cost)], cost)
    [point] = traces_of(chart)
    assert list(point["x"]) == pytest.approx([value])
    assert list(point["error_x"]["array"]) == pytest.approx([above])
    assert list(point["error_x"]["arrayminus"]) == pytest.approx([below])
    assert list(point["y"]) == pytest.approx([9])
    title = chart.figure.layout.xaxis.title.text
    assert unit in title
    assert f"}} {short_unit}, %{{y" in point["hovertemplate"]
    assert chart.alt == f"Test error against {title} of resnet20."
    assert chart.figure.layout.yaxis.title.text == "test error, per cent"


def test_every_cost_has_an_axis_of_its_own():
    titles = {cost_figure([], cost).figure.layout.xaxis.title.text for cost in IN_UNITS}
    assert len(titles) == len(IN_UNITS)


@pytest.mark.parametrize("cost", IN_UNITS)
def test_cost_without_an_interval_has_no_bar(make_point, traces_of, cost):
    [point] = traces_of(cost_figure([make_point("resnet20", (0.08, 0.10), 10, cost=cost)], cost))
    assert not point.get("error_x")
    assert point["error_y"]


def test_front_of_what_should_be_little_is_drawn_from_the_costliest(make_point, traces_of):
    models = {
        "resnet20": (0.001, 0.09),
        "plain20": (0.002, 0.10),  # resnet20 is faster and better
        "resnet32": (0.003, 0.08),
    }
    points = [
        make_point(model, (error,), seconds, cost="latency") for model, (seconds, error) in models.items()
    ]
    *_, front = traces_of(cost_figure(points, "latency"))
    assert list(front["x"]) == pytest.approx([3, 1])
    assert list(front["y"]) == pytest.approx([8, 9])


def test_what_has_no_such_cost_is_not_drawn(make_point, traces_of):
    points = [make_point("resnet20", (0.09,), 1000), make_point("resnet32", (0.08,), 0.002, cost="latency")]
    chart = cost_figure(points, "latency")
    assert [trace["name"] for trace in traces_of(chart)] == ["resnet32"]
    assert chart.alt.endswith("of resnet32.")
    assert [trace["name"] for trace in traces_of(cost_figure(points))] == ["resnet20"]
    assert traces_of(cost_figure(points, "energy")) == []


def test_names_of_others_are_no_markup(make_point, traces_of):
    [point] = traces_of(cost_figure([make_point("<i>x:make", (0.1,), 10)]))
    assert point["name"] == "&lt;i&gt;x:make"


@pytest.mark.parametrize("cost", IN_UNITS)
def test_nothing_gives_an_empty_figure(traces_of, cost):
    assert traces_of(cost_figure([])) == traces_of(cost_figure([], cost)) == []
