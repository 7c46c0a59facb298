import typing

import pytest

from harness.analysis.summary import summarize
from harness.analysis.verdicts import Verdict, verdict_board
from harness.charts import color_of, optimism_figure, verdict_figure
from harness.charts.verdicts import VERDICT_COLORS
from harness.claims import claims

CLAIMED = 0.9125
"""Of he2015-resnet20."""


@pytest.fixture
def board_of():
    """A function from runs to the rows of the board on ResNet-20."""

    def make(runs, cards=()):
        wanted = [claims()[key] for key in ("he2015-resnet20", "he2015-plain20")]
        return verdict_board(wanted, runs, cards)

    return make


def test_every_verdict_has_a_colour():
    assert set(VERDICT_COLORS) == set(typing.get_args(Verdict))


def test_measured_error_minus_claimed_with_both_intervals(board_of, make_seeds, traces_of):
    board = board_of(make_seeds(0.9105, 0.9125, recipe="paper"))
    chart = verdict_figure(board, 0.005)
    thick, point = traces_of(chart)
    # of 90 %: the quantile of one degree of freedom is tan(0.45 pi)
    assert list(thick["x"]) == pytest.approx([0.1 - 6.3138 * 0.1, 0.1 + 6.3138 * 0.1], rel=1e-4)
    assert list(thick["y"]) == list(point["y"]) * 2
    assert thick["line"]["width"] > 2 * point["error_x"]["thickness"]
    assert "The thick one decides" in chart.alt
    # an accuracy 0.1 points below the claim is an error 0.1 points above it
    assert list(point["x"]) == pytest.approx([0.1])
    assert list(point["error_x"]["array"]) == pytest.approx([12.7062 * 0.1], rel=1e-4)
    assert list(point["y"]) == ["he2015-resnet20<br>resnet20, fp32, 2 seeds"]
    assert point["marker"]["color"] == VERDICT_COLORS["inconclusive"]
    band, line = chart.figure.to_plotly_json()["layout"]["shapes"]
    assert (band["x0"], band["x1"]) == (-0.5, 0.5)
    assert (line["x0"], line["x1"]) == (0, 0)


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((0.912, 0.9125, 0.913), "reproduced"),
        ((0.92, 0.921, 0.922), "better"),
        ((0.90, 0.901, 0.902), "worse"),
    ],
)
def test_points_are_coloured_by_their_verdict(board_of, make_seeds, traces_of, accuracies, verdict):
    thick, point = traces_of(verdict_figure(board_of(make_seeds(*accuracies, recipe="paper")), 0.005))
    assert point["marker"]["color"] == thick["line"]["color"] == VERDICT_COLORS[verdict]
    # the thick interval lies within the margin or beyond it, as the verdict has it
    within = [abs(end) < 0.5 for end in thick["x"]]
    assert within == [verdict == "reproduced"] * 2
    assert point["hovertemplate"].startswith(verdict)
    assert list(point["x"]) == pytest.approx([100 * (CLAIMED - accuracies[1])])


def test_single_seed_has_no_bar(board_of, make_seeds, traces_of):
    [point] = traces_of(verdict_figure(board_of(make_seeds(0.91, recipe="paper")), 0.005))
    assert not point.get("error_x")
    assert list(point["y"]) == ["he2015-resnet20<br>resnet20, fp32, 1 seed"]


def test_what_was_not_judged_is_left_out(board_of, make_seeds, traces_of):
    assert traces_of(verdict_figure(board_of(make_seeds(0.9, 0.91)), 0.005)) == []
    assert traces_of(verdict_figure(board_of([]), 0.005)) == []


@pytest.mark.parametrize("change", [{"device_name": "Some GPU"}, {"precision": "bf16"}])
def test_rows_of_other_places_do_not_fall_on_each_other(board_of, make_seeds, traces_of, change):
    runs = make_seeds(0.91, 0.912, recipe="paper") + make_seeds(0.90, 0.901, recipe="paper", **change)
    points = [its for its in traces_of(verdict_figure(board_of(runs), 0.005)) if its["mode"] == "markers"]
    assert len(points) == len({point["y"][0] for point in points}) == 2


def test_rows_with_the_same_bits_are_drawn_once(board_of, make_seeds, make_card, traces_of):
    runs = make_seeds(0.91, 0.912, recipe="paper")
    runs += [run | {"run_id": run["run_id"] + "b", "device_name": "Some GPU"} for run in runs]
    chart = verdict_figure(board_of(runs), 0.005)
    assert [trace["mode"] for trace in traces_of(chart)] == ["lines", "markers"]
    [_, point] = traces_of(chart)
    assert point["y"][0].endswith("2 seeds; 1 more with the same bits")
    assert "1 measurement with" in chart.alt


def test_device_stands_after_the_precision_where_there_are_several(board_of, make_seeds, traces_of):
    runs = make_seeds(0.91, 0.912, recipe="paper") + make_seeds(0.90, recipe="paper", device_name="Some GPU")
    judged, added = verdict_figure(board_of(runs), 0.005), optimism_figure(summarize(runs))
    assert [point["y"][0] for point in traces_of(judged) if point["mode"] == "markers"] == [
        "he2015-resnet20<br>resnet20, fp32, Some CPU, 2 seeds",
        "he2015-resnet20<br>resnet20, fp32, Some GPU, 1 seed",
    ]
    assert [point["y"][0] for point in traces_of(added)] == [
        "resnet20, fp32, Some CPU<br>paper, 64,000 iterations",
        "resnet20, fp32, Some GPU<br>paper, 64,000 iterations",
    ]


def test_optimism_is_best_minus_last(make_seeds, traces_of):
    runs = make_seeds(0.90, 0.91, test_accuracy_best=0.92)
    [point] = traces_of(optimism_figure(summarize(runs)))
    assert list(point["x"]) == pytest.approx([1.5])
    assert list(point["error_x"]["array"]) == pytest.approx([12.7062 * 0.5], rel=1e-4)
    assert list(point["error_x"]["arrayminus"]) == pytest.approx([12.7062 * 0.5], rel=1e-4)
    assert list(point["y"]) == ["resnet20, fp32<br>short, 1,563 iterations"]
    assert point["marker"]["color"] == color_of("resnet20")


def test_interval_that_is_not_symmetric_is_not_mirrored(make_seeds, traces_of):
    runs = make_seeds(*[0.9] * 25)
    for seed, run in enumerate(runs):
        run["test_accuracy_best"] = round(0.9 + 0.05 * (seed > 22), 4)
    summaries = summarize(runs)
    assert summaries[0].optimism.method == "bootstrap"  # else it shows nothing
    [point] = traces_of(optimism_figure(summaries))
    [x], [up], [down] = point["x"], point["error_x"]["array"], point["error_x"]["arrayminus"]
    found = summaries[0].optimism
    assert (x - down, x + up) == pytest.approx((100 * found.low, 100 * found.high))
    assert up > 1.1 * down


def test_optimism_of_a_single_seed_has_no_bar_and_unknown_is_left_out(make_seeds, traces_of):
    runs = make_seeds(0.90, test_accuracy_best=0.92) + make_seeds(
        0.8, model="plain20", test_accuracy_best=None
    )
    [point] = traces_of(optimism_figure(summarize(runs)))
    assert list(point["x"]) == pytest.approx([2])
    assert not point.get("error_x")


def test_optimism_on_two_devices_does_not_fall_on_one_row(make_seeds, traces_of):
    runs = make_seeds(0.9) + make_seeds(0.9, device_name="Some GPU")
    points = traces_of(optimism_figure(summarize(runs)))
    assert len(points) == len({point["y"][0] for point in points}) == 2


def test_texts_of_others_are_no_markup(board_of, make_seeds, make_card, traces_of):
    mine = {"model": "<b>x:make", "model_source": "<i>mine</i>"}
    card = make_card("<b>x:make", counterpart="resnet20", equivalence="equal", model_source="<i>mine</i>")
    runs = [
        run | {"precision": "<u>fp32", "recipe": "<s>paper"}
        for run in make_seeds(0.91, 0.912, recipe="paper", **mine)
    ]
    [_, judged] = traces_of(verdict_figure(board_of(runs, [card]), 0.005))
    [added] = traces_of(optimism_figure(summarize(runs)))
    for place in (judged["y"][0], added["y"][0]):
        assert "&lt;b&gt;x:make" in place
        assert "<" not in place.replace("<br>", "", 1)


def test_nothing_gives_an_empty_figure(traces_of):
    assert traces_of(verdict_figure([], 0.005)) == []
    assert traces_of(optimism_figure([])) == []
