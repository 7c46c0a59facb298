"""Cost: accuracy against speed, what a step takes by size of the mini-batch, and which operators take it."""

from __future__ import annotations

import streamlit as st
from parts.filters import chosen_groups, chosen_shelf
from parts.show import show_chart, show_table
from parts.tables import group_columns, per_cent

from harness.analysis.cost import cost_points, latest_cells
from harness.analysis.timing import summarize_timing
from harness.charts import cost_figure

st.title("Cost")
shelf = chosen_shelf()
groups = chosen_groups(shelf)
points = cost_points(groups, shelf.profiles)
by_setting = {}
for point in points:
    by_setting.setdefault(point.group.setting_name, []).append(point)

st.header("Accuracy against speed")
if by_setting:
    names = sorted(by_setting, key=lambda name: -len(by_setting[name]))
    chosen = st.selectbox("Setting", names, key="cost-setting", bind="query-params")
    show_chart(cost_figure(by_setting[chosen]), "cost")
    st.caption(
        "Speed is the median of the latest profile of a training step on the same device in the same precision; bars are 95 % "
        "intervals. No model on the dashed line is beaten in both by another."
    )
    show_table(
        [
            {
                "test error, %": per_cent(point.test_error.mean),
                "images/s": round(point.images_per_second),
                "from": None if point.low is None else round(point.low),
                "to": None if point.high is None else round(point.high),
                "mini-batch": point.batch_size,
                "parameters": point.parameters,
                "MACs": point.macs,
                "mJ an image": None if point.joules_per_image is None else 1000 * point.joules_per_image,
                "others at work": point.busy,
                **group_columns(point.group),
            }
            for point in points
        ],
        "cost",
    )
else:
    st.info("No model that passes the filters was profiled where it was trained. This profiles some:")
    st.code("harness profile resnet20 plain20", language="shell")

st.header("A step, by size of the mini-batch")
cells = latest_cells(shelf.profiles)
models = {group.model for group in groups}
rows = []
for (device, model, mode, batch_size, precision), cell in cells.items():
    if model in models:
        timing = summarize_timing(cell["round_seconds"])
        rows.append(
            {
                "model": model,
                "mode": mode,
                "mini-batch": batch_size,
                "precision": precision,
                "median, ms": round(1000 * timing.median, 3),
                "from": None if timing.low is None else round(1000 * timing.low, 3),
                "to": None if timing.high is None else round(1000 * timing.high, 3),
                "p95, ms": None if timing.p95 is None else round(1000 * timing.p95, 3),
                "p99, ms": None if timing.p99 is None else round(1000 * timing.p99, 3),
                "calls": timing.num_calls,
                "images/s": round(batch_size / timing.median),
                "share of ceiling, %": None
                if cell["flops_share"] is None
                else round(100 * cell["flops_share"], 1),
                "peak memory, MiB": None
                if cell["peak_memory_bytes"] is None
                else round(cell["peak_memory_bytes"] / 2**20),
                "others at work": bool(cell["busy"]),
                "device": device,
            }
        )
if rows:
    show_table(rows, "steps")
else:
    st.text("No profile of these models is recorded.")
