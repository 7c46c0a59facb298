import pytest

from harness.analysis.roofline import Roofline
from harness.charts import color_of, operators_figure, roofline_figure, scaling_figure
from harness.charts.style import symbol_of

# by size of the mini-batch


def cell(model, size, *seconds):
    """Each round is of one call."""
    return {"model": model, "batch_size": size, "round_seconds": [[call] for call in seconds]}


def test_each_model_is_a_line_over_its_sizes_in_order(traces_of):
    cells = [
        cell("resnet20", 512, 2.0),
        cell("plain20", 64, 0.25),
        cell("resnet20", 32, 0.5),
        cell("resnet20", 128, 1.0),
        cell("plain20", 32, 0.125),
    ]
    chart = scaling_figure(cells)
    resnet, plain = sorted(traces_of(chart), key=lambda trace: trace["name"], reverse=True)
    # images over seconds
    assert (list(resnet["x"]), list(resnet["y"])) == ([32, 128, 512], [64, 128, 256])
    assert (list(plain["x"]), list(plain["y"])) == ([32, 64], [256, 256])
    for model, trace in (("resnet20", resnet), ("plain20", plain)):
        assert trace["name"] == model
        assert trace["line"]["color"] == color_of(model)
        assert trace["marker"]["symbol"] == symbol_of(model)
        assert model in chart.alt


def test_ticks_are_at_the_sizes_there_are():
    cells = [cell(model, size, 1.0) for model, size in (("plain20", 512), ("resnet20", 96), ("plain20", 96))]
    figure = scaling_figure(cells).figure
    assert list(figure.layout.xaxis.tickvals) == [96, 512]
    assert list(figure.layout.xaxis.ticktext) == ["96", "512"]
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")


def test_speeds_have_their_intervals(traces_of):
    # of five rounds of one call, the interval of the median reaches from the shortest to the longest:
    # 8 images in 0.2 s are 40 a second, in 0.4 s 20, in 0.1 s 80
    timed = cell("resnet20", 8, 0.25, 0.1, 0.2, 0.4, 0.16)
    few = cell("resnet20", 4, 0.1, 0.2, 0.4)  # fewer rounds have none
    [line] = traces_of(scaling_figure([timed, few]))
    assert list(line["y"]) == pytest.approx([20, 40])
    assert list(line["error_y"]["array"]) == pytest.approx([0, 40])
    assert list(line["error_y"]["arrayminus"]) == pytest.approx([0, 20])


# by operator


def rows_of(shares):
    """Rows of the records of kind ``operators`` from shares by operator by model."""
    return [
        {"model": model, "operator": operator, "share": share}
        for model, its in shares.items()
        for operator, share in its.items()
    ]


def bars(traces):
    """Per cent by operator by model."""
    return {
        trace["name"]: dict(zip(trace["y"], map(pytest.approx, trace["x"]), strict=True)) for trace in traces
    }


def test_others_are_what_is_left_of_each_model(traces_of):
    shares = {"resnet20": {"aten::conv": 0.5, "aten::add": 0.25}, "plain20": {"aten::conv": 0.75}}
    chart = operators_figure(rows_of(shares))
    assert bars(traces_of(chart)) == {
        "conv": {"resnet20": 50, "plain20": 75},
        "add": {"resnet20": 25, "plain20": 0},
        "others": {"resnet20": 25, "plain20": 25},
    }
    assert chart.alt.endswith("of resnet20, plain20: conv, add, and others.")


def test_eight_largest_operators_of_all_models_stand_for_themselves(traces_of):
    # together, the operators have shares of 2, 3, ..., 9, 1 and 1 of 36, and 1, 2, ..., 8, 0 and 0 of 36
    first = {f"aten::op{n}": (n + 2) / 36 for n in range(7)} | {"aten::a": 1 / 72}
    second = {f"aten::op{n}": (n + 1) / 36 for n in range(8)} | {"aten::b": 1 / 36 - 1e-9}
    traces = traces_of(operators_figure(rows_of({"resnet20": first, "plain20": second})))
    assert [trace["name"] for trace in traces] == [
        *("op6", "op5", "op4", "op3", "op7", "op2", "op1", "op0"),
        "others",
    ]
    drawn = bars(traces)
    assert drawn["op6"] == {"resnet20": 100 * 8 / 36, "plain20": 100 * 7 / 36}
    assert drawn["op7"] == {"resnet20": 0, "plain20": 100 * 8 / 36}
    # 2 + 3 + ... + 8 = 35 of 36, and 1 + 2 + ... + 8 = 36 of 36
    assert drawn["others"] == {"resnet20": 100 / 36, "plain20": 0}


def test_bars_of_each_model_make_up_a_hundred_per_cent(traces_of):
    # twelve operators of shares 1, 2, ..., 12 of 78, in one model the other way round
    shares = {
        "resnet20": {f"aten::op{n}": n / 78 for n in range(1, 13)},
        "plain20": {f"aten::op{n}": (13 - n) / 78 for n in range(1, 13)},
        "resnet32": {"aten::op1": 0.3},
    }
    traces = traces_of(operators_figure(rows_of(shares)))
    assert len(traces) == 9
    for number in range(len(shares)):
        assert sum(trace["x"][number] for trace in traces) == pytest.approx(100)
    assert all(value >= 0 for trace in traces for value in trace["x"])


def test_shares_that_are_rounded_up_leave_nothing_less_than_nothing(traces_of):
    *_, others = traces_of(operators_figure(rows_of({"resnet20": {"a": 0.6, "b": 0.4 + 1e-9}})))
    assert list(others["x"]) == [0]


def test_models_are_in_order_from_above_and_stacked():
    models = ["resnet32", "plain20", "resnet20"]
    figure = operators_figure(rows_of({model: {"aten::conv": 1.0} for model in models})).figure
    assert all(list(trace.y) == models for trace in figure.data)
    assert all(trace.orientation == "h" for trace in figure.data)
    assert figure.layout.barmode == "stack"
    assert (figure.layout.yaxis.autorange, figure.layout.xaxis.range) == ("reversed", (0, 100))


def test_operators_are_told_apart_by_colour(traces_of):
    many = {f"aten::op{n}": 0.1 for n in range(9)}
    *largest, others = traces_of(operators_figure(rows_of({"resnet20": many})))
    colors = {trace["marker"]["color"] for trace in largest}
    assert len(colors) == len(largest) == 8
    assert others["marker"]["color"] not in colors
    # the others have the same colour however many operators there are
    for number in (1, 2, 8):
        few = dict(list(many.items())[:number])
        *largest, fewer = traces_of(operators_figure(rows_of({"resnet20": few})))
        assert len(largest) == number
        assert (fewer["name"], fewer["marker"]) == ("others", others["marker"])


def test_only_the_namespace_of_torch_is_left_out(traces_of):
    shares = {"aten::add": 0.4, "cudnn::add": 0.3, "my::aten::mul": 0.2}
    traces = traces_of(operators_figure(rows_of({"resnet20": shares})))
    assert [trace["name"] for trace in traces] == ["add", "cudnn::add", "my::aten::mul", "others"]


def test_no_operators_give_no_bars(traces_of):
    assert all(list(trace["x"]) == list(trace["y"]) == [] for trace in traces_of(operators_figure([])))


# under the roof


@pytest.fixture
def make_at():
    """A function from operations a byte, billions of them a second, and more to a point.

    The roof is 80 billion operations and 20 billion bytes per second: its knee is at 4 operations a byte.
    """

    def make(intensity, billions=1.0, **changes):
        fields = {
            "model": "resnet20",
            "mode": "train",
            "batch_size": 128,
            "ceiling_flops": 80e9,
            "ceiling_bytes": 20e9,
        }
        return Roofline(intensity=intensity, flops=billions * 1e9, **fields | changes)

    return make


def test_points_stand_at_their_operations_beside_what_they_could_reach(make_at, traces_of):
    points = [
        make_at(2, 30),
        make_at(3, 10, model="plain20"),
        make_at(16, 60, mode="infer", batch_size=1),
    ]
    chart = roofline_figure(points)
    resnet, plain, _ = traces_of(chart)
    assert (list(resnet["x"]), list(resnet["y"])) == ([2, 16], [30, 60])
    # 2 operations a byte are 40 billion a second, 16 are more than the 80 of the ceiling
    assert list(resnet["customdata"]) == [40, 80]
    assert list(resnet["text"]) == ["train, mini-batch 128", "infer, mini-batch 1"]
    assert (list(plain["x"]), list(plain["y"]), list(plain["customdata"])) == ([3], [10], [60])
    for model, trace in (("resnet20", resnet), ("plain20", plain)):
        assert trace["name"] == model
        assert (trace["marker"]["color"], trace["marker"]["symbol"]) == (color_of(model), symbol_of(model))
    assert "of resnet20, plain20, under" in chart.alt
    assert (chart.figure.layout.xaxis.type, chart.figure.layout.yaxis.type) == ("log", "log")


@pytest.mark.parametrize(
    ("intensities", "ends"),
    [((2, 16), (2, 16)), ((16, 8), (4, 16)), ((1, 2), (1, 4)), ((4,), (4, 4))],
    ids=["on both sides", "right of the knee", "left of the knee", "at the knee"],
)
def test_roof_has_its_knee_where_the_ceilings_meet_and_reaches_beyond_all_points(
    make_at, traces_of, intensities, ends
):
    *_, roof = traces_of(roofline_figure([make_at(intensity) for intensity in intensities]))
    left, right = ends[0] / 1.5, ends[1] * 1.5
    assert list(roof["x"]) == pytest.approx([left, 4, right])
    # bytes a second times operations a byte, and flat from the knee
    assert list(roof["y"]) == pytest.approx([20 * left, 80, 80])
    assert (roof["mode"], roof["meta"], roof["line"]["dash"]) == ("lines", "paper", "dash")


def test_roof_is_that_of_the_last_point(make_at, traces_of):
    points = [make_at(2, ceiling_flops=800e9), make_at(2)]
    *_, roof = traces_of(roofline_figure(points))
    assert list(roof["x"])[1] == 4
    *_, roof = traces_of(roofline_figure(points[::-1]))
    assert list(roof["x"])[1] == 40


# all of them


def test_names_of_others_are_no_markup(make_at, traces_of):
    hostile, escaped = "<i>x:make", "&lt;i&gt;x:make"
    [line] = traces_of(scaling_figure([cell(hostile, 8, 1.0)]))
    [point, _] = traces_of(roofline_figure([make_at(2, model=hostile)]))
    assert line["name"] == point["name"] == escaped
    first, others = traces_of(operators_figure(rows_of({hostile: {"<b>op": 0.5}})))
    assert list(first["y"]) == list(others["y"]) == [escaped]
    assert first["name"] == "&lt;b&gt;op"


@pytest.mark.parametrize("draw", [scaling_figure, roofline_figure])
def test_nothing_gives_an_empty_figure(draw, traces_of):
    assert traces_of(draw([])) == []
