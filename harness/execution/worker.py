"""A process that trains one run, or several in turn on one GPU. Imports no torch before the allocator is set."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import allocator
from harness.config import RunSpec
from harness.errors import CompanyError, HarnessError, InterruptedRunError
from harness.models import find
from harness.records import Store

if TYPE_CHECKING:
    from harness.data import ImageSet
    from harness.environment import Environment
    from harness.training.batches import DeviceImages
    from harness.training.loop import Outcome

__all__ = [
    "Advanced",
    "Ended",
    "EpochEnded",
    "Event",
    "Job",
    "Noted",
    "PutBack",
    "Started",
    "failed_row",
    "work",
]

SECONDS_BETWEEN_REPORTS = 0.2
SECONDS_BETWEEN_POLLS = 0.02
"""Asking the line takes longer than an update on a GPU."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All a worker needs to know; travels to another process."""

    run_id: str
    spec: RunSpec
    experiment: str
    device: str
    num_threads: int
    results: Path
    checkpoint_seconds: float
    eager: bool = False
    """Launch the operations of a GPU one by one."""
    num_epochs: int | None = None
    """Interrupt it after so many."""


@dataclass(frozen=True)
class Started:
    """The run begins, or goes on, before ``iteration``."""

    iteration: int
    num_iterations: int


@dataclass(frozen=True)
class Advanced:
    """So many iterations are done."""

    iteration: int


@dataclass(frozen=True)
class EpochEnded:
    """A row of the records of kind ``epochs``."""

    row: dict[str, Any]


@dataclass(frozen=True)
class Noted:
    """Something that people should know of the run."""

    text: str


@dataclass(frozen=True)
class PutBack:
    """The run has not begun, and is to be trained alone; the last that is heard of it from this worker."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """The last that is heard of a run."""

    status: str
    """``completed``, ``diverged``, ``failed``, ``interrupted`` or ``busy`` (another process has the run)."""
    reason: str | None = None
    test_accuracy: float | None = None
    traceback: str | None = None
    """Of an error that is no `HarnessError`."""


Event = Started | Advanced | EpochEnded | Noted | PutBack | Ended


class _Line:
    """The worker's end of the line to its parent, and its ear for signals.

    Anything heard from the parent means stop, and so does its death.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopped = False
        self._last_poll = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if hasattr(signal, "pthread_sigmask"):  # the parent held them back while this process began
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopped = True

    def should_stop(self) -> bool:
        now = time.monotonic()
        if not self._stopped and now - self._last_poll > SECONDS_BETWEEN_POLLS:
            self._last_poll = now
            self._stopped = self._connection.poll()
        return self._stopped

    def send(self, run_id: str, event: Event) -> None:
        try:
            self._connection.send((run_id, event))
        except OSError:  # the parent is gone
            self._stopped = True


class _RunOnLine:
    """Tells the parent of one of the worker's runs; a `harness.training.loop.Listener`."""

    def __init__(self, job: Job, line: _Line) -> None:
        self._run_id, self._line = job.run_id, line
        self._epochs_left = job.num_epochs
        self._last_report = 0.0

    def noted(self, text: str) -> None:
        self._line.send(self._run_id, Noted(text))

    def started(self, iteration: int, num_iterations: int) -> None:
        self._line.send(self._run_id, Started(iteration, num_iterations))

    def advanced(self, iteration: int) -> None:
        now = time.monotonic()
        if now - self._last_report > SECONDS_BETWEEN_REPORTS:
            self._last_report = now
            self._line.send(self._run_id, Advanced(iteration))

    def epoch_ended(self, row: dict[str, Any]) -> None:
        self._line.send(self._run_id, EpochEnded(row))
        if self._epochs_left is not None:
            self._epochs_left -= 1

    def should_stop(self) -> bool:
        return self._epochs_left == 0 or self._line.should_stop()


def work(jobs: Sequence[Job], connection: Connection) -> None:
    """Do jobs in turn and report on the connection; the entry point of a spawned process.

    Args:
        jobs: of one device and precision.
        connection: pairs of a run's id and an event go out; anything that comes in means stop.
    """
    line = _Line(connection)
    allocator_state = allocator.configure()
    os.environ["OMP_NUM_THREADS"] = str(jobs[0].num_threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    company = _Company(len(jobs), allocator_state)
    runs = {job.run_id: _run(job, _RunOnLine(job, line), company) for job in jobs}
    while runs:
        for run_id in list(runs):
            end = _advance(runs[run_id])
            if end is not None:
                company.num_runs -= isinstance(end, PutBack)
                del runs[run_id]
                line.send(run_id, end)


def _advance(run: _Turns) -> Ended | PutBack | None:
    """One turn of a run, or how it ended."""
    try:
        next(run)
    except StopIteration as stop:
        end: Ended = stop.value
        return end
    except CompanyError as error:
        return PutBack(str(error))
    except InterruptedRunError as error:
        return Ended("interrupted", str(error))
    except HarnessError as error:
        return Ended("failed", str(error))
    except Exception as error:  # noqa: BLE001 - whatever a run died of is recorded, and the others go on
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Ended("failed", reason, traceback=traceback.format_exc())
    return None


class _Company:
    """What the runs of a process share."""

    def __init__(self, num_runs: int, allocator_state: str) -> None:
        self.num_runs, self.allocator_state = num_runs, allocator_state
        self._image_sets: dict[str, ImageSet] = {}
        self._on_device: dict[object, DeviceImages] = {}

    def images(self, job: Job) -> tuple[ImageSet, DeviceImages]:
        """The data set of a job, and the same on the device as its recipe wants to see it."""
        import torch

        from harness import data
        from harness.training.batches import DeviceImages

        name, recipe = job.spec.data, job.spec.recipe
        if name not in self._image_sets:
            self._image_sets[name] = data.load(name)
        key = (name, recipe.augmentation, recipe.normalization)
        if key not in self._on_device:
            self._on_device[key] = DeviceImages(
                self._image_sets[name], recipe.augmentation, recipe.normalization, torch.device(job.device)
            )
        return self._image_sets[name], self._on_device[key]


_Turns = Generator[None, None, Ended]


def _run(job: Job, listener: _RunOnLine, company: _Company) -> _Turns:
    from filelock import FileLock, Timeout

    store = Store(job.results)
    checkpoint = store.checkpoint(job.run_id)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(checkpoint.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return Ended("busy", "another process is at this run")
    try:
        row = store.local_run(job.run_id)
        if row is None or row["status"] in {"failed", "skipped"}:
            row = yield from _train_and_record(job, listener, company, store)
        checkpoint.unlink(missing_ok=True)
        lock_file = Path(lock.lock_file)
        lock_file.unlink(missing_ok=True)
        return Ended(row["status"], row["reason"], row["test_accuracy"])
    finally:
        lock.release()


def _train_and_record(
    job: Job, listener: _RunOnLine, company: _Company, store: Store
) -> Generator[None, None, dict[str, Any]]:
    import torch

    from harness import environment
    from harness.training.device import configure
    from harness.training.loop import train_in_turns

    started_at = datetime.now(UTC)
    device = torch.device(job.device)
    configure(device, job.spec.precision, job.num_threads)
    images, on_device = company.images(job)
    outcome = yield from train_in_turns(
        job.spec,
        on_device,
        device,
        run_id=job.run_id,
        checkpoint=store.checkpoint(job.run_id),
        checkpoint_seconds=job.checkpoint_seconds,
        listener=listener,
        eager=job.eager,
        in_company=company.num_runs > 1,
    )
    here = environment.capture(device, num_threads=job.num_threads, allocator=company.allocator_state)
    row = {
        **_what_was_asked(job),
        **_what_came_of_it(outcome, images),
        **_where_it_ran(job, here),
        "runs_at_once": company.num_runs,
        "peak_memory_bytes": _peak_memory_bytes(device),
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
    }
    epochs = [{"run_id": job.run_id, **epoch} for epoch in outcome.epochs]
    store.write_run(row, epochs, _predictions(job.run_id, outcome, images))
    return row


def failed_row(
    job: Job, here: Environment, reason: str, started_at: datetime, *, status: str = "failed"
) -> dict[str, Any]:
    """The record of a run that ended in an error, or was ``skipped`` because its network cannot be had."""
    from harness.records import KINDS

    row: dict[str, Any] = dict.fromkeys(KINDS["runs"].names)
    return row | {
        **_what_was_asked(job),
        **_where_it_ran(job, here),
        "status": status,
        "reason": reason,
        "resumed_at": [],
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
    }


def _what_was_asked(job: Job) -> dict[str, Any]:
    return {
        "run_id": job.run_id,
        "experiment": job.experiment,
        **job.spec.columns(),
        "spec": job.spec.model_dump_json(),
    }


def _what_came_of_it(outcome: Outcome, images: ImageSet) -> dict[str, Any]:
    last = outcome.epochs[-1]
    completed = outcome.status == "completed"
    best = min(row["test_error"] for row in outcome.epochs)

    def accuracy(error: float) -> float:
        """1 - error, as the nearest float to a fraction of the test set."""
        return (images.num_test - round(error * images.num_test)) / images.num_test

    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "resumed_at": outcome.resumed_at,
        "engine": outcome.engine,
        "engine_note": outcome.engine_note,
        "test_accuracy": accuracy(last["test_error"]) if completed else None,
        "test_accuracy_best": accuracy(best) if completed else None,
        "test_accuracy_selected": None,
        "test_loss": last["test_loss"],
        "train_loss": last["train_loss"],
        "train_error": last["train_error"],
        "seconds": outcome.seconds,
        "images_per_second": outcome.images_per_second,
        "parameters": outcome.num_parameters,
        "macs": outcome.num_macs,
        "initial_weights_sha256": outcome.initial_weights_sha256,
        "weights_sha256": outcome.weights_sha256,
        "trajectory_sha256": outcome.trajectory_sha256,
        "data_sha256": images.sha256,
    }


def _where_it_ran(job: Job, here: Environment) -> dict[str, Any]:
    origin = find(job.spec.model).origin
    return {"model_source": origin, "environment_sha256": here.fingerprint_with(origin), **here.columns()}


def _predictions(run_id: str, outcome: Outcome, images: ImageSet) -> Any:
    """Table of kind ``predictions``; None if the run diverged."""
    import numpy as np
    import pyarrow as pa

    if outcome.logits is None:
        return None
    num_images, num_classes = outcome.logits.shape
    return pa.table(
        {
            "run_id": pa.array([run_id] * num_images),
            "image": np.arange(num_images, dtype=np.int32),
            "label": np.asarray(images.test_labels),
            "logits": pa.FixedSizeListArray.from_arrays(pa.array(outcome.logits.reshape(-1)), num_classes),
        }
    )


def _peak_memory_bytes(device: Any) -> int | None:
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
