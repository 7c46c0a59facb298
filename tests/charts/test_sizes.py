import math

from harness.charts import DARK, SizedNetwork, paint, sizes_figure


def sized(name, parameters=270_000, relation="identical"):
    return SizedNetwork(name=name, parameters=parameters, relation=relation)


def of(chart):
    return chart.figure.to_plotly_json()["layout"]


def test_each_relation_is_a_trace_with_its_networks_in_millions(traces_of):
    groups = {
        "option A": [sized("a"), sized("b", relation="equal")],
        "others": [sized("c", 11_000_000, "different")],
    }
    traces = traces_of(sizes_figure(groups))
    assert [(trace["y"], trace["x"]) for trace in traces] == [
        (["a"], [0.27]),
        (["b"], [0.27]),
        (["c"], [11.0]),
    ]
    assert [trace["text"] for trace in traces] == [[" 270,000"], [" 270,000"], [" 11,000,000"]]
    assert len({(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in traces}) == 3


def test_groups_have_titles_at_their_first_rows_and_lines_between_them():
    layout = of(sizes_figure({"one": [sized("a"), sized("b")], "none": [], "two": [sized("c")]}))
    assert [(its["text"], its["y"]) for its in layout["annotations"]] == [("one", 0), ("two", 2)]
    assert [line["y0"] for line in layout["shapes"]] == [1.5]
    assert list(layout["yaxis"]["categoryarray"]) == ["a", "b", "c"]
    first, last = layout["yaxis"]["range"]
    assert last < 0  # the first row is above, and all are within
    assert first > 2


def test_all_points_and_their_numbers_are_within_the_axis():
    low, high = of(sizes_figure({"g": [sized("a", 1_000), sized("b", 20_000_000)]}))["xaxis"]["range"]
    assert low < math.log10(0.001) < math.log10(20) < high - 0.3


def test_a_line_across_is_the_papers_and_is_painted_as_such(traces_of):
    groups = {"g": [sized("a"), sized("b")]}
    line, _ = traces_of(sizes_figure(groups, of_paper=500_000))
    assert (line["x"], line["y"], line["mode"]) == ([0.5, 0.5], ["a", "b"], "lines")
    painted = paint(sizes_figure(groups, of_paper=500_000).figure, DARK)
    assert painted.data[0].line.color == DARK.paper


def test_it_is_told_by_group():
    alt = sizes_figure({"g": [sized("a"), sized("b"), sized("c", 5, "equal")], "none": []}).alt
    assert alt.endswith("g: 2 identical, 1 equal, of 5 to 270,000 parameters.")


def test_nothing_unknown_relations_and_names_of_others_are_no_error(traces_of):
    assert traces_of(sizes_figure({}, of_paper=5)) == []
    assert traces_of(sizes_figure({"g": [sized("a", 0)]})) == []  # has no place on a logarithmic axis
    [trace] = traces_of(sizes_figure({"g": [sized("<b>|" + "x" * 1000, relation="nonsense")]}))
    assert trace["y"][0].startswith("&lt;b&gt;|x")
    assert len(trace["y"][0]) < 60
