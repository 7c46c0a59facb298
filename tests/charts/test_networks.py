from harness.analysis.equivalence import RELATIONS
from harness.charts import relations_figure
from harness.charts.style import decades


def test_each_relation_has_its_colour_and_unknown_ones_are_empty(traces_of):
    relations = {("a", "x"): "identical", ("a", "y"): "different", ("b", "y"): "not compared"}
    chart = relations_figure(relations, ["a", "b"], ["x", "y"])
    matrix, *legend = traces_of(chart)
    assert (matrix["x"], matrix["y"]) == (["x", "y"], ["a", "b"])
    assert matrix["z"] == [[0, 3], [None, 4]]
    assert matrix["text"] == [["identical", "different"], ["", "not compared"]]
    assert [trace["name"] for trace in legend] == ["identical", "different", "not compared"]
    # a step of the scale for each relation, of the colour that the legend gives it
    steps = {round(edge * len(RELATIONS)): color for edge, color in matrix["colorscale"][::2]}
    assert [trace["marker"]["color"] for trace in legend] == [steps[0], steps[3], steps[4]]
    assert chart.alt.endswith("a and x: identical; a and y: different; b and y: not compared.")


def test_names_of_others_are_no_markup(traces_of):
    matrix, *_ = traces_of(relations_figure({("<b>", "<i>"): "equal"}, ["<b>"], ["<i>"]))
    assert (matrix["x"], matrix["y"]) == (["&lt;i&gt;"], ["&lt;b&gt;"])


def test_nothing_is_no_error(traces_of):
    assert [trace["type"] for trace in traces_of(relations_figure({}, [], []))] == ["heatmap"]


def test_ticks_are_at_one_two_and_five_of_each_decade():
    axis = decades([3, 1500, -1, 0, float("nan"), float("inf")])
    assert axis["ticktext"] == [
        "1",
        "2",
        "5",
        "10",
        "20",
        "50",
        "100",
        "200",
        "500",
        "1,000",
        "2,000",
        "5,000",
    ]
    assert axis["tickvals"] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]
    assert decades([0.5])["ticktext"] == ["0.1", "0.2", "0.5"]
    assert decades([]) == {"type": "log"}
