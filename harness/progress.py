"""The progress of runs on stderr: live bars on a terminal, a line per epoch elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from harness.console import stderr
from harness.execution.job import Advanced, Ended, EpochEnded, Event, Job, Noted, PutBack, Started
from harness.execution.plan import PlannedRun, makespan
from harness.formats import duration

__all__ = ["RunObserver", "StepObserver", "observe_runs", "observe_steps"]

RunObserver = Callable[[Job, Event], None]
"""Shows the events of runs."""

StepObserver = Callable[[str, int, int], None]
"""Shows what is being done, how much of it is done, and how much there is."""

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def observe_runs(planned: Sequence[PlannedRun], num_lanes: int) -> Iterator[RunObserver]:
    """Live bars on a terminal, a line per epoch elsewhere; both with the time that is left.

    Args:
        planned: the runs.
        num_lanes: how many are in progress at a time.
    """
    clock = _Clock(planned, num_lanes)
    if stderr.is_terminal:
        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            console=stderr,
            refresh_per_second=4,
            transient=True,
        ) as progress:
            yield _Bars(progress, clock)
    else:
        yield _Lines(clock)


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


class _Clock:
    """Estimates what is left, from the speed seen so far where there is any."""

    def __init__(self, planned: Sequence[PlannedRun], num_lanes: int) -> None:
        self._to_do = [run for run in planned if run.to_do]
        self._num_lanes = num_lanes
        self._estimated = {run.run_id: run.estimated_seconds for run in self._to_do}
        self._left = dict(self._estimated)
        self._started: dict[str, tuple[float, int, int]] = {}
        self.num_ended = 0

    @property
    def num_runs(self) -> int:
        return len(self._to_do)

    def hear(self, job: Job, event: Event) -> None:
        if isinstance(event, Started):
            self._started[job.run_id] = (monotonic(), event.iteration, event.num_iterations)
        elif isinstance(event, Ended):
            self._left[job.run_id] = 0.0
            self.num_ended += 1
        elif (iteration := _iteration(event)) is not None and job.run_id in self._started:
            since, first, total = self._started[job.run_id]
            done = iteration - first
            if done > 0:
                self._left[job.run_id] = (monotonic() - since) / done * (total - iteration)

    def left(self, run_id: str) -> float:
        """Seconds until a run ends."""
        return self._left[run_id]

    def left_in_all(self) -> float:
        """Seconds until all end; runs that have not begun are as much faster or slower as those that have."""
        running = [run_id for run_id in self._started if self._left[run_id] > 0]
        fractions = [
            self._left[run_id] / (self._estimated[run_id] * (1 - self._share_done(run_id)))
            for run_id in running
            if self._estimated[run_id] and self._share_done(run_id) < 1
        ]
        factor = sum(fractions) / len(fractions) if fractions else 1.0
        waiting = [self._left[run.run_id] * factor for run in self._to_do if run.run_id not in self._started]
        return makespan([self._left[run_id] for run_id in running] + waiting, self._num_lanes)

    def _share_done(self, run_id: str) -> float:
        since, _, _ = self._started[run_id]
        elapsed = monotonic() - since
        return elapsed / (elapsed + self._left[run_id])


def _iteration(event: Event) -> int | None:
    if isinstance(event, Advanced):
        return event.iteration
    if isinstance(event, EpochEnded):
        return int(event.row["iteration"])
    return None


class _Lines:
    def __init__(self, clock: _Clock) -> None:
        self._clock = clock

    def __call__(self, job: Job, event: Event) -> None:
        self._clock.hear(job, event)
        label = job.spec.label
        if isinstance(event, EpochEnded):
            total, left = job.spec.iterations, duration(self._clock.left_in_all())
            stderr.print(
                f"{label}: {event.row['iteration']:,}/{total:,}  {_results(event.row)}  all done in ~{left}"
            )
        else:
            _print_words(label, event, self._clock)


class _Bars:
    def __init__(self, progress: Progress, clock: _Clock) -> None:
        self._progress, self._clock = progress, clock
        self._tasks: dict[str, TaskID] = {}
        self._results: dict[str, str] = {}
        self._all = progress.add_task("all runs", total=clock.num_runs, state="")

    def __call__(self, job: Job, event: Event) -> None:
        self._clock.hear(job, event)
        if isinstance(event, Started):
            self._tasks[job.run_id] = self._progress.add_task(
                job.spec.label, total=event.num_iterations, completed=event.iteration, state=""
            )
        elif isinstance(event, Ended):
            task = self._tasks.pop(job.run_id, None)
            if task is not None:
                self._progress.remove_task(task)
        elif (iteration := _iteration(event)) is not None:
            if isinstance(event, EpochEnded):
                self._results[job.run_id] = _results(event.row)
            left = duration(self._clock.left(job.run_id))
            state = f"{iteration:,}/{job.spec.iterations:,}, {left} left  {self._results.get(job.run_id, '')}"
            self._progress.update(self._tasks[job.run_id], completed=iteration, state=state)
        _print_words(job.spec.label, event, self._clock)
        left = duration(self._clock.left_in_all())
        state = f"{self._clock.num_ended}/{self._clock.num_runs}, about {left} left"
        self._progress.update(self._all, completed=self._clock.num_ended, state=state)


def _print_words(label: str, event: Event, clock: _Clock) -> None:
    """What people are told in a line of its own: how a run ended, and what is special about it."""
    if isinstance(event, Noted):
        stderr.print(f"{label}: {event.text}")
    elif isinstance(event, PutBack):
        stderr.print(f"{label}: will be trained alone: {event.reason}")
    elif isinstance(event, Ended):
        _print_end(label, event, clock)


def _print_end(label: str, event: Ended, clock: _Clock) -> None:
    count = f"{clock.num_ended}/{clock.num_runs}"
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
