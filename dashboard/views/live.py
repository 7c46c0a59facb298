"""Live: runs in progress, when they will be done, and their curves as they grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import streamlit as st
from parts.filters import chosen_root
from parts.show import show_chart, show_table
from parts.stores import open_shelf, tell_broken
from parts.tables import per_cent, rounded

from harness.charts import live_figure
from harness.formats import duration, duration_range
from harness.records import Live, LiveRun, LiveSweep

_SECONDS = 2
_NUM_RECENT = 10


def state_of(run: LiveRun) -> str:
    """In words."""
    if not run.is_silent:
        return run.state
    return f"silent for {duration((datetime.now(UTC) - run.heard_at).total_seconds())}"


def left_of(sweep: LiveSweep) -> str:
    """As a range, where it is known."""
    if sweep.is_silent:
        return "?"
    low, high = sweep.seconds_left_low, sweep.seconds_left_high
    return duration(sweep.seconds_left) if low is None or high is None else duration_range(low, high)


def ends_of(sweep: LiveSweep) -> str:
    """When all will be done, in UTC."""
    now = datetime.now(UTC)
    first, last = (
        now + timedelta(seconds=sweep.seconds_left if seconds is None else seconds)
        for seconds in (sweep.seconds_left_low, sweep.seconds_left_high)
    )
    early, late = f"{first:%Y-%m-%d %H:%M}", f"{last:%Y-%m-%d %H:%M}"
    if early == late:
        return f"About {early} UTC"
    return f"Between {early} and {late[11:] if early[:10] == late[:10] else late} UTC"


def show_sweep(sweep: LiveSweep) -> None:
    """How far one call of the harness is."""
    st.text(f"Experiment {sweep.experiment} on {sweep.host}, since {sweep.started_at:%Y-%m-%d %H:%M:%S} UTC")
    done = sweep.num_completed + sweep.num_failed
    with st.container(horizontal=True):
        st.metric("done", f"{done} of {sweep.num_runs}", width="content")
        st.metric("running", sweep.num_running, width="content")
        st.metric("failed or diverged", sweep.num_failed, width="content")
        st.metric("left", left_of(sweep), width="content")
        if sweep.runs_per_hour is not None:
            st.metric("runs an hour", f"{sweep.runs_per_hour:,.1f}", width="content")
    elapsed = max(0.0, (sweep.heard_at - sweep.started_at).total_seconds())
    st.progress(elapsed / max(1e-9, elapsed + sweep.seconds_left))
    if sweep.is_silent:
        st.text(
            f"Nothing was heard of it since {sweep.heard_at:%Y-%m-%d %H:%M:%S} UTC; it has probably died."
        )
    else:
        st.text(f"{ends_of(sweep)} all will be done, if the rest goes on as until now.")


@st.fragment(run_every=_SECONDS)
def show_live() -> None:
    """What is in progress now; runs by itself every few seconds."""
    root = chosen_root()
    live = Live(root)
    runs, sweeps = live.runs(), live.sweeps()
    if not runs and not sweeps:
        st.info("Nothing is in progress. This starts something, and shows it here:")
        st.code("nox -s reproduce -- quick", language=None)
    for sweep in sweeps:
        show_sweep(sweep)
    if runs:
        show_table(
            [
                {
                    "run": run.run_id,
                    "state": state_of(run),
                    "done, %": rounded(run.iteration / max(1, run.iterations), 1, 100),
                    "left": duration(run.seconds_left) if state_of(run) == "running" else None,
                    "iteration": run.iteration,
                    "of": run.iterations,
                    "test error, %": per_cent(run.epochs[-1].test_error) if run.epochs else None,
                    "images/s": rounded(run.epochs[-1].images_per_second, 0) if run.epochs else None,
                    "model": run.model,
                    "recipe": run.recipe,
                    "seed": run.seed,
                    "precision": run.precision,
                    "device": run.device,
                    "host": run.host,
                }
                for run in runs
            ],
            "live",
            {
                "state": "Interrupted: it goes on from its checkpoint when it is started again",
                "left": "At the pace since it was started",
                "test error, %": "After the last whole epoch; no result of the run",
            },
        )
        if any(run.epochs for run in runs):
            show_chart(live_figure(runs), "progress")
    recent = sorted(open_shelf(root).runs, key=lambda run: run["finished_at"], reverse=True)[:_NUM_RECENT]
    if recent:
        st.header("Recorded last")
        show_table(
            [
                {
                    "run": run["run_id"],
                    "status": run["status"],
                    "test accuracy, %": per_cent(run["test_accuracy"]),
                    "seconds": rounded(run["seconds"], 1),
                    "finished": run["finished_at"],
                }
                for run in recent
            ],
            "recent",
        )


st.title("Live")
tell_broken(open_shelf(chosen_root()).broken)
show_live()
