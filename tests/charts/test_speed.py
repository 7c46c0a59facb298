import pytest

from harness.analysis.cost import Measured
from harness.charts import Pace, color_of, speed_figure


@pytest.fixture
def paces():
    return [
        Pace(name="today", speed=Measured(value=400, low=380, high=450), ours=False),
        Pace(name="ours", speed=Measured(value=1000, low=900, high=1200), note="2.50x"),
    ]


def bars_of(traces):
    return [trace for trace in traces if trace["type"] == "bar"]


def test_bar_is_as_long_as_the_speed_with_its_interval(paces, traces_of):
    today, ours = bars_of(traces_of(speed_figure(paces)))
    assert (list(today["x"]), list(ours["x"])) == ([400], [1000])
    assert (list(ours["error_x"]["array"]), list(ours["error_x"]["arrayminus"])) == ([200], [100])
    assert (list(today["error_x"]["array"]), list(today["error_x"]["arrayminus"])) == ([50], [20])


def test_ours_is_told_from_what_it_is_compared_with(paces, traces_of):
    today, ours = bars_of(traces_of(speed_figure(paces)))
    assert ours["marker"]["color"] == color_of("resnet20") != today["marker"]["color"]


def test_number_and_note_stand_behind_the_interval(paces, traces_of):
    texts = [trace for trace in traces_of(speed_figure(paces)) if trace["type"] == "scatter"]
    assert [(list(its["x"]), list(its["text"])) for its in texts] == [
        ([450], [" 400"]),
        ([1200], [" 1,000 (2.50x)"]),
    ]


def test_what_has_no_interval_has_no_bar_of_error(traces_of):
    [bar] = bars_of(traces_of(speed_figure([Pace(name="ours", speed=Measured(value=10))])))
    assert not bar["error_x"]["array"]
    assert not bar["error_x"]["arrayminus"]


def test_all_is_within_the_picture(paces):
    chart = speed_figure(paces)
    low, high = chart.figure.layout.xaxis.range
    assert (low, high > 1200) == (0, True)
    assert chart.alt.endswith("today: 400; ours: 1,000.")
    heights = [speed_figure(paces[:1] * number).figure.layout.height for number in (1, 8, 40)]
    assert heights[0] < heights[1] < heights[2] == 380


def test_names_of_others_are_no_markup(traces_of):
    [bar] = bars_of(traces_of(speed_figure([Pace(name="<i>x", speed=Measured(value=10))])))
    assert list(bar["y"]) == ["&lt;i&gt;x"]


def test_nothing_gives_an_empty_figure(traces_of):
    assert traces_of(speed_figure([])) == []
