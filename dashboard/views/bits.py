"""Same bits? Runs repeated, knobs turned, precisions compared, and published weights evaluated."""

from __future__ import annotations

import streamlit as st
from parts.filters import choose, chosen_shelf
from parts.show import show_table
from parts.tables import group_row, per_cent, rounded

from harness.analysis.paired import precision_differences
from harness.report.provenance import outcome_of

st.title("Same bits?")
shelf = chosen_shelf()
chosen = choose(shelf, "model", "recipe", "precision", "device")
verifications = chosen.among(
    shelf.verifications,
    model=lambda row: row["model"],
    recipe=lambda row: row["recipe"],
    precision=lambda row: row["precision"],
    device=lambda row: row["device_name"],
)
repeated = [row for row in verifications if row["knob"] is None]
turned = [row for row in verifications if row["knob"] is not None]

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
                "seconds then": rounded(row["seconds_then"], 1),
                "seconds now": rounded(row["seconds_now"], 1),
                "device": row["device_name"],
            }
            for row in repeated
        ],
        "verifications",
        {
            "outcome": "Losses, weights and state of every epoch are compared bit for bit; or where they first differ",
            "epochs": "So many were repeated",
        },
    )
else:
    st.info("No run that passes the filters was repeated yet. This repeats one:")
    st.code("harness verify RUN", language=None)

if turned:
    st.header("With one knob turned")
    show_table(
        [
            {
                "knob": row["knob"],
                "turned": f"{row['knob_then']} to {row['knob_now']}",
                "outcome": outcome_of(row),
                "time of an update, turned over not": rounded(row["time_ratio"], 3),
                "from": rounded(row["time_ratio_low"], 3),
                "to": rounded(row["time_ratio_high"], 3),
                "run": row["run_id"],
                "device": row["device_name"],
            }
            for row in turned
        ],
        "knobs",
        {
            "time of an update, turned over not": "Median of ratios that were measured in turn; what determinism costs is the inverse of "
            "turning it off",
            "from": "95 % interval of the ratio",
            "to": "95 % interval of the ratio",
        },
    )

differences = precision_differences(
    chosen.among(
        shelf.runs,
        model=lambda run: run["model"],
        recipe=lambda run: run["recipe"],
        device=lambda run: run["device_name"],
    )
)
if differences:
    st.header("Precisions, paired by seed")
    show_table(
        [
            group_row(
                paired.first,
                {
                    "accuracy minus float32, points": per_cent(paired.difference.mean),
                    "from": per_cent(paired.difference.low),
                    "to": per_cent(paired.difference.high),
                    "speed ratio": rounded(paired.speed_ratio, 2),
                },
            )
            for paired in differences
        ],
        "precisions",
        {
            "from": "95 % interval of the mean difference, paired by seed",
            "to": "95 % interval of the mean difference, paired by seed",
            "speed ratio": "Images per second in training over those in float32",
        },
    )

audits = chosen.among(shelf.audits, model=lambda row: row["model"])
if audits:
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
            for row in audits
        ],
        "audits",
        {
            "measured, %": "Accuracy on the test images through the class and preprocessing of the repository",
            "through our class, %": "Of the same weights in our network",
            "predictions differing": "Between the two",
        },
    )
