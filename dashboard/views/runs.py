"""Runs: every one with its status; two of them beside each other; and the command that repeats one."""

from __future__ import annotations

import json

import pandas as pd
import streamlit as st
from parts.filters import OF_GROUPS, choose, chosen_root, chosen_shelf
from parts.show import show_table
from parts.stores import run_of
from parts.tables import per_cent, rounded

from harness.report.provenance import command_of_run

_NO_SETTINGS = frozenset({"run_id", "spec", "layer_responses", "libraries"})

_NUM_OFFERED = 500


def offered(run_ids: list[str]) -> list[str]:
    """The first of them, and those that the address asks for; thousands would take the page a second."""
    asked = [st.query_params.get(name) for name in ("first", "second")]
    return list(dict.fromkeys([*run_ids[:_NUM_OFFERED], *(name for name in asked if name in run_ids)]))


st.title("Runs")
shelf = chosen_shelf()
runs = sorted(shelf.runs, key=lambda run: run["finished_at"], reverse=True)
shown = choose(shelf, "status", *OF_GROUPS).among(
    runs,
    status=lambda run: run["status"],
    model=lambda run: run["model"],
    recipe=lambda run: run["recipe"],
    precision=lambda run: run["precision"],
    device=lambda run: run["device_name"],
    experiment=lambda run: run["experiment"],
)
if not shown:
    st.info("No run passes these filters; remove one.")
    st.stop()
show_table(
    [
        {
            "run": run["run_id"],
            "status": run["status"],
            "test accuracy, %": per_cent(run["test_accuracy"]),
            "model": run["model"],
            "recipe": run["recipe"],
            "iterations": run["iterations"],
            "seed": run["seed"],
            "precision": run["precision"],
            "data": run["data"],
            "images/s": rounded(run["images_per_second"], 0),
            "seconds": rounded(run["seconds"], 1),
            "device": run["device_name"],
            "finished": run["finished_at"],
            "why": run["reason"],
        }
        for run in shown
    ],
    "runs",
    {
        "status": "Completed; failed, with the reason in the last column; or diverged: a loss was not finite",
        "test accuracy, %": "After the last iteration",
        "images/s": "In training, without warm-up and compilation",
    },
    lazy=True,
)

st.header("Two of them")
ids = [run["run_id"] for run in shown]
if len(ids) < 2:
    st.text("There are not two runs to compare.")
    st.stop()
left, right = st.columns(2)
names = offered(ids)
if len(names) < len(ids):
    st.caption(f"The latest {_NUM_OFFERED} can be chosen; filters bring up others.")
first = left.selectbox("First", names, index=0, key="first", bind="query-params")
second = right.selectbox("Second", names, index=1, key="second", bind="query-params")


def flat(run: dict) -> dict[str, str]:
    """Columns of a run, what was asked and the versions of libraries included, as texts."""
    cells = {name: value for name, value in run.items() if name not in _NO_SETTINGS}
    for name in ("spec", "libraries"):
        try:
            content = json.loads(run[name])
        except (KeyError, TypeError, ValueError, RecursionError):
            continue
        frame = pd.json_normalize(content) if isinstance(content, dict) else pd.DataFrame()
        cells |= (
            {f"{name}: {key}": value for key, value in frame.to_dict("records")[0].items()}
            if len(frame)
            else {}
        )
    return {name: "-" if value is None else str(value) for name, value in cells.items()}


recorded = {run_id: run_of(chosen_root(), run_id) for run_id in (first, second)}
one, other = flat(recorded[first]), flat(recorded[second])
only = st.toggle("Only what differs", value=True, key="differing", bind="query-params")
again = second if second != first else f"{second} again"
rows = [
    {"column": name, first: one.get(name, "-"), again: other.get(name, "-")}
    for name in dict.fromkeys([*one, *other])
    if not only or one.get(name) != other.get(name)
]
if rows:
    show_table(rows, "difference")
else:
    st.text("Nothing differs.")
for run_id, run in recorded.items():
    if not run:
        continue  # it has gone meanwhile
    st.text(f"Repeats {run_id}:")
    st.code(command_of_run(run), language=None, wrap_lines=True)
    st.code(f"harness verify {run_id}", language=None, wrap_lines=True)
