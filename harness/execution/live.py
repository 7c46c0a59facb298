"""Tells what runs are in progress, for whoever watches the folder of results; see `harness.records.live`."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from harness.errors import StorageError
from harness.execution.eta import Eta, iteration_of
from harness.execution.job import Ended, EpochEnded, Event, Job, RunObserver, Started
from harness.records.live import Live, LiveEpoch, LiveRun, LiveSweep

__all__ = ["tell_live"]

SECONDS_BETWEEN_WRITES = 1.0
SECONDS_BETWEEN_OBJECTS = 15.0
"""To an object store, where each takes time, and may cost money."""


@contextmanager
def tell_live(root: Path, experiment: str, eta: Eta) -> Iterator[RunObserver]:
    """An observer of runs that tells of them below a folder of results; what it cannot write is left untold.

    Args:
        root: of the store.
        experiment: name of what is run.
        eta: must hear of every event before the observer does.
    """
    teller = _Teller(Live(root), experiment, eta)
    try:
        yield teller.hear
    finally:
        teller.end()


class _Teller:
    def __init__(self, live: Live, experiment: str, eta: Eta) -> None:
        self._live, self._eta = live, eta
        self._experiment, self._host = experiment, socket.gethostname()
        self._sweep_id, self._started_at = secrets.token_hex(8), datetime.now(UTC)
        self._runs: dict[str, LiveRun] = {}
        self._seconds_between = SECONDS_BETWEEN_WRITES if live.is_here else SECONDS_BETWEEN_OBJECTS
        self._told: dict[str, float] = {}
        """When a run, or the sweep, was last written."""

    def hear(self, job: Job, event: Event) -> None:
        with suppress(StorageError, OSError, ValueError):  # of names that are no UTF-8
            if isinstance(event, Ended):
                self._hear_end(job.run_id, event)
            else:
                self._hear_progress(job, event)
            if self._is_due(self._sweep_id):
                self._tell_sweep()

    def end(self) -> None:
        with suppress(OSError):
            self._live.forget_sweep(self._sweep_id)

    def _hear_end(self, run_id: str, event: Ended) -> None:
        run = self._runs.pop(run_id, None)
        if run is None:  # it never began here: another process may be at it, and tells of it
            return
        if event.status in {"interrupted", "unwritable"}:
            self._live.tell_run(replace(run, state="interrupted", heard_at=datetime.now(UTC)))
        else:
            self._live.forget_run(run_id)

    def _hear_progress(self, job: Job, event: Event) -> None:
        now = datetime.now(UTC)
        if isinstance(event, Started):
            run = self._begin(job, event, now)
        elif (iteration := iteration_of(event)) is not None and job.run_id in self._runs:
            run = replace(
                self._runs[job.run_id],
                iteration=iteration,
                seconds_left=self._eta.left(job.run_id),
                heard_at=now,
            )
            if isinstance(event, EpochEnded):
                run = replace(run, epochs=(*run.epochs, _epoch(event.row)))
        else:
            return
        self._runs[job.run_id] = run
        if (
            self._is_due(job.run_id)
            or isinstance(event, Started)
            or (self._live.is_here and isinstance(event, EpochEnded))
        ):
            self._told[job.run_id] = monotonic()
            self._live.tell_run(run)

    def _begin(self, job: Job, event: Started, now: datetime) -> LiveRun:
        before = self._live.run(job.run_id) if event.iteration else None
        epochs = () if before is None else before.epochs
        return LiveRun(
            run_id=job.run_id,
            experiment=job.experiment,
            model=job.spec.model,
            recipe=job.spec.recipe.name,
            precision=job.spec.precision,
            seed=job.spec.seed,
            device=job.device,
            host=self._host,
            state="running",
            iteration=event.iteration,
            iterations=event.num_iterations,
            seconds_left=self._eta.left(job.run_id),
            heard_at=now,
            epochs=tuple(epoch for epoch in epochs if epoch.iteration <= event.iteration),
        )

    def _tell_sweep(self) -> None:
        self._told[self._sweep_id] = monotonic()
        left = self._eta.left_in_all()
        self._live.tell_sweep(
            LiveSweep(
                sweep_id=self._sweep_id,
                experiment=self._experiment,
                host=self._host,
                num_runs=self._eta.num_runs,
                num_running=self._eta.num_running,
                num_completed=self._eta.num_completed,
                num_failed=self._eta.num_failed,
                seconds_left=left.seconds,
                seconds_left_low=left.low,
                seconds_left_high=left.high,
                runs_per_hour=self._eta.runs_per_hour,
                started_at=self._started_at,
                heard_at=datetime.now(UTC),
            )
        )

    def _is_due(self, name: str) -> bool:
        return monotonic() - self._told.get(name, float("-inf")) >= self._seconds_between


def _epoch(row: dict[str, Any]) -> LiveEpoch:
    return LiveEpoch(**{name: row[name] for name in LiveEpoch.__dataclass_fields__})
