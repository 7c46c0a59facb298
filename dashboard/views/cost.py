"""Cost: accuracy against speed, size and energy; what a step takes, in which operators, and what the machine could do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from parts.filters import OF_GROUPS, choose, chosen_root, chosen_shelf, groups_among
from parts.show import show_chart, show_table
from parts.stores import operators_of
from parts.tables import group_row, per_cent, rounded

from harness.analysis.cost import CostPoint, cost_points, latest_cells, latest_operators, speed_of
from harness.analysis.roofline import rooflines
from harness.analysis.timing import summarize_timing
from harness.charts import cost_figure, operators_figure, roofline_figure, scaling_figure

_COSTS = ["throughput", "latency", "parameters", "MACs", "energy"]
_NUM_DRAWN = 8
_OF_THE_MEDIAN = (
    "95 % interval of the median: a bootstrap over rounds that were measured in turn with other models"
)


def show_accuracy_against_cost(points: Sequence[CostPoint]) -> None:
    """One setting as a chart, all of them as a table."""
    by_setting: dict[str, list[CostPoint]] = {}
    for point in points:
        by_setting.setdefault(point.group.setting_name, []).append(point)
    names = sorted(by_setting, key=lambda name: -len(by_setting[name]))
    chosen = by_setting[st.selectbox("Setting", names, key="cost-setting", bind="query-params")]
    against = st.segmented_control(
        "Against",
        _COSTS,
        default="throughput",
        required=True,
        key="against",
        bind="query-params",
        help="Images per second in training; seconds of inference of one image; joules of an image in training.",
    )
    if any(against in point.costs for point in chosen):
        show_chart(cost_figure(chosen, against), "pareto")
        st.caption(
            "Times are medians of the latest profile on the same device in the same precision; bars are 95 % intervals. No "
            "model on the dashed line is beaten in both by another."
        )
    else:
        st.info(f"No {against} was measured of these models in this setting.")
    show_table(
        [
            group_row(
                point.group,
                {
                    "test error, %": per_cent(point.test_error.mean),
                    "images/s": rounded(point.costs["throughput"].value, 0),
                    "from": rounded(point.costs["throughput"].low, 0),
                    "to": rounded(point.costs["throughput"].high, 0),
                    "mini-batch": point.batch_size,
                    "latency, ms": rounded(point.costs["latency"].value, 3, 1000)
                    if "latency" in point.costs
                    else None,
                    "parameters": point.costs["parameters"].value if "parameters" in point.costs else None,
                    "MACs": point.costs["MACs"].value if "MACs" in point.costs else None,
                    "mJ an image": rounded(point.costs["energy"].value, 3, 1000)
                    if "energy" in point.costs
                    else None,
                    "others at work": point.busy,
                },
            )
            for point in points
        ],
        "cost",
        {
            "images/s": "In training, with the mini-batch of its column",
            "from": _OF_THE_MEDIAN,
            "to": _OF_THE_MEDIAN,
            "latency, ms": "Inference of one image",
            "MACs": "Multiply-accumulates of convolutions and linear layers, for one image",
            "mJ an image": "In training; measured where the device tells its energy",
            "others at work": "Whether others used the machine so much meanwhile that its times are not to be trusted",
        },
    )


def show_steps(cells: Sequence[Mapping[str, Any]]) -> None:
    """What a step takes, by size of the mini-batch."""
    rows = []
    for cell in cells:
        timing, speed = summarize_timing(cell["round_seconds"]), speed_of(cell)
        rows.append(
            {
                "model": cell["model"],
                "mini-batch": cell["batch_size"],
                "median, ms": rounded(timing.median, 3, 1000),
                "from": rounded(timing.low, 3, 1000),
                "to": rounded(timing.high, 3, 1000),
                "p95, ms": rounded(timing.p95, 3, 1000),
                "p99, ms": rounded(timing.p99, 3, 1000),
                "calls": timing.num_calls,
                "images/s": rounded(speed.value, 0),
                "share of ceiling, %": rounded(cell["flops_share"], 1, 100),
                "peak memory, MiB": rounded(cell["peak_memory_bytes"], 0, 2**-20),
                "mJ an image": rounded(cell["joules_per_image"], 3, 1000),
                "others at work": bool(cell["busy"]),
                "device": cell["device_name"],
            }
        )
    show_table(
        rows,
        "steps",
        {
            "median, ms": "Of all calls after warm-up and compilation",
            "from": _OF_THE_MEDIAN,
            "to": _OF_THE_MEDIAN,
            "p95, ms": "95th percentile of the calls, where there are enough of them",
            "p99, ms": "99th percentile of the calls, where there are enough of them",
            "share of ceiling, %": "Of the operations per second that one large operation reached in the same session",
        },
    )


def show_operators(found: Mapping[tuple[Any, ...], Sequence[Mapping[str, Any]]]) -> None:
    """Which operators take the time of a step; nothing where none were recorded."""
    steps: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for (device, _, mode, batch_size, precision), rows in found.items():
        steps.setdefault((mode, batch_size, precision, device), []).extend(rows)
    if not steps:
        return
    st.header("Where the time of a step goes")
    # the largest mini-batches in training first
    ordered = sorted(steps, key=lambda step: (step[0] != "train", -step[1], step))
    names = {"{}, mini-batch {}, {}, {}".format(*step): steps[step] for step in ordered}
    rows = names[st.selectbox("Step", list(names), key="step", bind="query-params")]
    show_chart(operators_figure(rows), "operators")
    show_table(
        [
            {
                "operator": row["operator"],
                "model": row["model"],
                "share, %": rounded(row["share"], 1, 100),
                "self time, ms": rounded(row["self_seconds"], 3, 1000),
                "calls": row["calls"],
            }
            for row in rows
        ],
        "operators",
        {
            "share, %": "Of the time of all operators of the step",
            "self time, ms": "Without that of the operators it calls; profiling makes steps slower than they are",
        },
    )


st.title("Cost")
shelf = chosen_shelf()
chosen = choose(shelf, *OF_GROUPS)

st.header("Accuracy against cost")
groups = groups_among(shelf, chosen)
points = cost_points(groups, shelf.profiles)
if points:
    show_accuracy_against_cost(points)
else:
    st.info("No model that passes the filters was profiled where it was trained. This profiles some:")
    st.code("harness profile resnet20 plain20", language=None)

st.header("A step, by size of the mini-batch")
profiles = chosen.among(
    shelf.profiles,
    model=lambda row: row["model"],
    precision=lambda row: row["precision"],
    device=lambda row: row["device_name"],
)
cells = latest_cells(profiles)
if not cells:
    st.text("No profile that passes the filters is recorded.")
    st.stop()
kinds: dict[str, list[tuple[Any, ...]]] = {}
for cell in cells:
    device, _, mode, _, precision = cell
    kinds.setdefault(f"{mode}, {precision}, {device}", []).append(cell)
names = sorted(kinds, key=lambda name: (name.split(",")[0] != "train", -len(kinds[name])))
of_kind = kinds[st.selectbox("Mode, precision and device", names, key="kind", bind="query-params")]
its_cells = sorted((cells[cell] for cell in of_kind), key=lambda row: (row["model"], row["batch_size"]))
models = list(dict.fromkeys(row["model"] for row in its_cells))
trained = [model for model in models if model in {group.model for group in groups}]
drawn = st.multiselect(
    "Models in the charts",
    models,
    default=(trained or models)[:_NUM_DRAWN],
    key="drawn",
    bind="query-params",
)
drawn_cells = [row for row in its_cells if row["model"] in drawn]
if len({row["batch_size"] for row in drawn_cells}) > 1:
    show_chart(scaling_figure(drawn_cells), "scaling")
    st.caption("Bars are 95 % intervals; both axes are logarithmic.")
show_steps(its_cells)

points_under_roof = rooflines(drawn_cells)
if points_under_roof:
    st.header("Under the roof of the machine")
    show_chart(roofline_figure(points_under_roof), "roofline")
    st.caption(
        "A step can do no more operations than the machine (flat), nor wait for fewer bytes than travel to it (slope). Bytes are "
        "counted as if each activation travelled once each way and none stayed in a cache: a point above the slope was helped by caches. "
        "The roof was measured in the same session, with one large operation and one large copy."
    )

show_operators(
    latest_operators(
        operators_of(chosen_root(), sorted({row["session_id"] for row in profiles})),
        [row for row in profiles if row["model"] in drawn],
    )
)
