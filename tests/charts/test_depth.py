from dataclasses import replace

import pytest

from harness import paper
from harness.analysis.depth import DepthPoint, depth_points, layer_profiles
from harness.analysis.protocol import Networks
from harness.charts import color_of, depth_figure, responses_figure


@pytest.fixture
def points(make_group, make_estimate):
    """Residual networks with intervals, a plain one of a single seed that the paper has no number for."""

    def point(network, depth, errors, stated):
        return DepthPoint(
            network=network,
            depth=depth,
            group=make_group(*(1 - error for error in errors), model=f"{network}{depth}"),
            test_error=make_estimate(*errors),
            paper_test_error=stated,
        )

    return [
        point("plain", 20, [0.10], None),
        point("resnet", 20, [0.08, 0.10], 0.0875),
        point("resnet", 56, [0.06, 0.07, 0.08], None),
    ]


def test_errors_stand_over_their_depths_with_half_widths(points, traces_of):
    plain, bars, resnet, of_paper = traces_of(depth_figure(points))
    assert (list(plain["x"]), list(plain["y"])) == ([20], [10])
    assert not plain.get("error_y")  # a single seed has no interval, and not even the caps of one
    assert (list(bars["x"]), list(bars["y"])) == (list(resnet["x"]), list(resnet["y"]))
    assert (list(resnet["x"]), list(resnet["y"])) == ([20, 56], pytest.approx([9, 7]))
    # Student's quantiles 12.7062 and 4.3027 over roots of 2 and 3, times standard deviations 1.4142 and 1
    assert list(bars["error_y"]["array"]) == pytest.approx([12.7062, 2.4841], rel=1e-4)
    assert list(bars["error_y"]["arrayminus"]) == pytest.approx([12.7062, 2.4841], rel=1e-4)
    assert (list(of_paper["x"]), list(of_paper["y"])) == ([20], pytest.approx([8.75]))
    assert [trace["name"] for trace in (plain, resnet, of_paper)] == [
        "plain, 1 or more seeds",
        "resnet, 2 or more seeds",
        "paper, resnet",
    ]
    assert [trace["line"]["color"] for trace in (plain, resnet)] == [
        color_of("plain20"),
        color_of("resnet20"),
    ]
    assert (of_paper["line"]["dash"], of_paper["meta"]) == ("dash", "paper")


def test_interval_that_is_not_symmetric_is_not_mirrored(points, traces_of):
    lopsided = replace(points[2], test_error=replace(points[2].test_error, low=0.06, high=0.10))
    bars = traces_of(depth_figure([lopsided]))[0]["error_y"]
    assert (list(bars["array"]), list(bars["arrayminus"])) == (pytest.approx([3]), pytest.approx([1]))
    assert bars["symmetric"] is False


def test_runs_of_the_paper_stand_beside_its_numbers(make_group, traces_of):
    groups = [make_group(0.91, 0.912, model=model, recipe="paper") for model in ("resnet20", "plain20")]
    traces = traces_of(depth_figure(depth_points(groups, Networks([]))))
    assert {trace["name"]: list(trace["y"]) for trace in traces if trace.get("meta") == "paper"} == {
        "paper, plain": pytest.approx([paper.FIGURE6_FINAL_TEST_ERROR_PERCENT[20]]),
        "paper, resnet": pytest.approx([paper.TABLE6_TEST_ERROR_PERCENT[20]]),
    }


def test_responses_are_means_over_seeds_before_figure_7(make_group, traces_of):
    in_paper = [point.response_std for point in paper.figure7() if point[:2] == ("resnet", 20)]
    responses = [[{"layer": str(n), "std": (n + 1) * by} for n in range(len(in_paper))] for by in (1.0, 3.0)]
    group = make_group(0.9, 0.91)
    for run, its in zip(group.runs, responses, strict=True):
        run["layer_responses"] = its
    of_paper, ours = traces_of(responses_figure(layer_profiles([group])))
    layers = list(range(1, len(in_paper) + 1))
    assert len(layers) > 15
    assert list(of_paper["x"]) == list(ours["x"]) == layers
    assert list(of_paper["y"]) == in_paper
    assert list(ours["y"]) == [2.0 * layer for layer in layers]
    assert (of_paper["name"], ours["name"]) == ("paper, resnet-20", "resnet-20, 2 seeds")


def test_layer_that_cannot_be_read_from_figure_7_is_a_gap(make_group, traces_of):
    group = make_group(0.9, model="resnet56")
    group.runs[0]["layer_responses"] = [{"layer": str(n), "std": 1.0} for n in range(55)]
    of_paper, _ = traces_of(responses_figure(layer_profiles([group])))
    assert [layer for layer, std in zip(of_paper["x"], of_paper["y"], strict=True) if std is None] == [18]


def test_network_that_the_paper_has_no_responses_of_stands_alone(make_group, traces_of):
    group = make_group(0.9, model="resnet32")
    group.runs[0]["layer_responses"] = [{"layer": "a", "std": 1.5}]
    [ours] = traces_of(responses_figure(layer_profiles([group])))
    assert (list(ours["y"]), ours["name"]) == ([1.5], "resnet-32, 1 seed")


@pytest.mark.parametrize("draw", [depth_figure, responses_figure])
def test_nothing_gives_an_empty_figure(draw, traces_of):
    assert traces_of(draw([])) == []
