"""The progress of runs on stderr: live bars on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from harness.console import stderr
from harness.execution.eta import Eta, iteration_of
from harness.execution.job import Ended, EpochEnded, Event, Job, Noted, Requeued, RunObserver, Started
from harness.formats import duration, duration_range

__all__ = ["StepObserver", "observe_runs", "observe_steps"]

StepObserver = Callable[[str, int, int], None]
"""Shows what is being done, how much of it is done, and how much there is."""

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FORECASTS = 0.5


@contextmanager
def observe_runs(eta: Eta) -> Iterator[RunObserver]:
    """Live bars on a terminal, a line per epoch elsewhere, both with the time that is left; then what came of all.

    Args:
        eta: of the runs; must hear of every event before the observer does.
    """
    if stderr.is_terminal:
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            console=stderr,
            refresh_per_second=4,
            transient=True,
        ) as progress:
            yield _Bars(progress, eta)
    else:
        yield _Lines(eta)
    _print_summary(eta)


@contextmanager
def observe_steps() -> Iterator[StepObserver]:
    """One live bar on a terminal, a line now and then elsewhere; both with the time that is left of a phase."""
    started: dict[str, float] = {}
    last_line = 0.0

    def state(what: str, done: int, total: int) -> str:
        elapsed = monotonic() - started.setdefault(what, monotonic())
        left = f", about {duration(elapsed / done * (total - done))} left" if done else ""
        return f"{what}: {done}/{total}{left}"

    if stderr.is_terminal:
        columns = (BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
        with Progress(*columns, console=stderr, refresh_per_second=4, transient=True) as progress:
            task = progress.add_task("")

            def show(what: str, done: int, total: int) -> None:
                progress.update(task, description=state(what, done, total), completed=done, total=total)

            yield show
    else:

        def print_line(what: str, done: int, total: int) -> None:
            nonlocal last_line
            text, is_new = state(what, done, total), done == 0
            if is_new or monotonic() - last_line > SECONDS_BETWEEN_LINES:
                last_line = monotonic()
                stderr.print(text)

        yield print_line


class _Lines:
    def __init__(self, eta: Eta) -> None:
        self._eta = eta

    def __call__(self, job: Job, event: Event) -> None:
        label = job.spec.label
        if isinstance(event, EpochEnded):
            total, left = job.spec.iterations, _left(self._eta)
            stderr.print(
                f"{label}: {event.row['iteration']:,}/{total:,}  {_results(event.row)}  {_counts(self._eta)}, all done in {left}"
            )
        else:
            _print_words(label, event, self._eta)


class _Bars:
    def __init__(self, progress: Progress, eta: Eta) -> None:
        self._progress, self._eta = progress, eta
        self._tasks: dict[str, TaskID] = {}
        self._results: dict[str, str] = {}
        self._forecast_at = float("-inf")
        self._all = progress.add_task("all runs", total=eta.num_runs, state="")

    def __call__(self, job: Job, event: Event) -> None:
        if isinstance(event, Started):
            self._remove(job.run_id)  # it is there if its process was lost
            self._tasks[job.run_id] = self._progress.add_task(
                job.spec.label, total=event.num_iterations, completed=event.iteration, state=""
            )
        elif isinstance(event, Ended):
            self._remove(job.run_id)
        elif (iteration := iteration_of(event)) is not None:
            if isinstance(event, EpochEnded):
                self._results[job.run_id] = _results(event.row)
            left = duration(self._eta.left(job.run_id))
            state = f"{iteration:,}/{job.spec.iterations:,}, {left} left  {self._results.get(job.run_id, '')}"
            self._progress.update(self._tasks[job.run_id], completed=iteration, state=state)
        _print_words(job.spec.label, event, self._eta)
        if isinstance(event, Started | Ended) or monotonic() - self._forecast_at >= SECONDS_BETWEEN_FORECASTS:
            self._forecast_at = monotonic()
            self._progress.update(self._all, completed=self._eta.num_ended, state=_state(self._eta))

    def _remove(self, run_id: str) -> None:
        task = self._tasks.pop(run_id, None)
        if task is not None:
            self._progress.remove_task(task)


def _state(eta: Eta) -> str:
    parts = [f"{_counts(eta)}, {_left(eta)} left"]
    if eta.runs_per_hour is not None:
        parts.append(f"{_rate(eta.runs_per_hour)} runs/h")
    if eta.images_per_second is not None:
        parts.append(f"{eta.images_per_second:,.0f} images/s")
    return "  ".join(parts)


def _counts(eta: Eta) -> str:
    failed = f", {eta.num_failed} failed" if eta.num_failed else ""
    return f"{eta.num_ended}/{eta.num_runs} runs, {eta.num_running} running{failed}"


def _left(eta: Eta) -> str:
    left = eta.left_in_all()
    return duration_range(left.low, left.high)


def _rate(per_hour: float) -> str:
    return f"{per_hour:,.0f}" if per_hour >= 100 else f"{per_hour:.1f}"


def _print_summary(eta: Eta) -> None:
    if not eta.num_ended:
        return
    failed = f", {eta.num_failed} failed" if eta.num_failed else ""
    rate = "" if eta.runs_per_hour is None else f", {_rate(eta.runs_per_hour)} runs/h"
    stderr.print(
        f"{eta.num_completed} of {eta.num_runs} runs completed{failed} in {duration(eta.seconds)}{rate}"
    )


def _print_words(label: str, event: Event, eta: Eta) -> None:
    """What people are told in a line of its own: how a run ended, and what is special about it."""
    if isinstance(event, Noted):
        stderr.print(f"{label}: {event.text}")
    elif isinstance(event, Requeued):
        stderr.print(f"{label}: will be trained alone: {event.reason}")
    elif isinstance(event, Ended):
        _print_end(label, event, eta)


def _print_end(label: str, event: Ended, eta: Eta) -> None:
    count = f"{eta.num_ended}/{eta.num_runs}"
    if event.traceback:
        stderr.print(event.traceback, style="dim")
    style = {"completed": "green", "interrupted": "yellow", "busy": "yellow"}.get(event.status, "red")
    if event.status == "completed":
        rest = f" ({count}), test accuracy {event.test_accuracy:.2%}"
    elif event.status == "interrupted":
        rest = "; what it had done is kept"
    else:
        rest = f" ({count}): {event.reason}"
    stderr.print(Text.assemble(f"{label}: ", (event.status, style), rest))


def _results(row: Mapping[str, Any]) -> str:
    rate = row["images_per_second"]
    speed = "" if rate is None else f"  {rate:,.0f} images/s"
    return f"train error {row['train_error']:.1%}  test error {row['test_error']:.1%}{speed}"
