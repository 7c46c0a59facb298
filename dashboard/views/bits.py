"""Same bits? Runs repeated, knobs turned, precisions compared, and published weights evaluated."""

from __future__ import annotations

import streamlit as st
from parts.filters import chosen_shelf
from parts.show import show_table
from parts.tables import group_columns, per_cent

from harness.analysis.paired import precision_differences
from harness.report.provenance import outcome_of

st.title("Same bits?")
shelf = chosen_shelf()
repeated = [row for row in shelf.verifications if row["knob"] is None]
turned = [row for row in shelf.verifications if row["knob"] is not None]

st.header("Runs, repeated in a fresh process")
if repeated:
    show_table(
        [
            {
                "run": row["run_id"],
                "outcome": outcome_of(row),
                "epochs": row["num_epochs"],
                "all of it": row["complete"],
                "iterations": row["num_iterations"],
                "seconds then": row["seconds_then"],
                "seconds now": row["seconds_now"],
                "device": row["device_name"],
            }
            for row in repeated
        ],
        "verifications",
    )
else:
    st.info("No run was repeated yet. This repeats one:")
    st.code("harness verify RUN", language="shell")

if turned:
    st.header("With one knob turned")
    show_table(
        [
            {
                "knob": row["knob"],
                "turned": f"{row['knob_then']} to {row['knob_now']}",
                "outcome": outcome_of(row),
                "time of an update, turned over not": row["time_ratio"],
                "from": row["time_ratio_low"],
                "to": row["time_ratio_high"],
                "run": row["run_id"],
                "device": row["device_name"],
            }
            for row in turned
        ],
        "knobs",
        {
            "from": "95 % interval of the ratio",
            "to": "95 % interval",
        },
    )

differences = precision_differences(shelf.runs)
if differences:
    st.header("Precisions, paired by seed")
    show_table(
        [
            {
                "accuracy minus float32, points": per_cent(paired.difference.mean),
                "from": per_cent(paired.difference.low),
                "to": per_cent(paired.difference.high),
                "speed ratio": None if paired.speed_ratio is None else round(paired.speed_ratio, 2),
                **group_columns(paired.first),
            }
            for paired in differences
        ],
        "precisions",
    )

if shelf.audits:
    st.header("Published weights")
    show_table(
        [
            {
                "checkpoint": row["model"],
                "claimed, %": per_cent(row["claimed_accuracy"]),
                "measured, %": per_cent(row["accuracy"]),
                "through our class, %": per_cent(row["counterpart_accuracy"]),
                "predictions differing": row["num_predictions_differing"],
                "of": row["num_images"],
                "source": row["model_source"],
            }
            for row in shelf.audits
        ],
        "audits",
    )
