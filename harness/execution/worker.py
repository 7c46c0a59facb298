"""One run in a process of its own. Imports no torch before the allocator is set."""

from __future__ import annotations

import os
import signal
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import allocator
from harness.config import RunSpec
from harness.errors import HarnessError, InterruptedRunError
from harness.models import find
from harness.records import Store

if TYPE_CHECKING:
    from harness.data import ImageSet
    from harness.environment import Environment
    from harness.training.loop import Outcome

__all__ = ["Advanced", "Ended", "EpochEnded", "Event", "Job", "Started", "failed_row", "work"]

SECONDS_BETWEEN_REPORTS = 0.2


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
class Ended:
    """The last message of a worker."""

    status: str
    """``completed``, ``diverged``, ``failed``, ``interrupted`` or ``busy`` (another process has the run)."""
    reason: str | None = None
    test_accuracy: float | None = None
    traceback: str | None = None
    """Of an error that is no `HarnessError`."""


Event = Started | Advanced | EpochEnded | Ended


class _Line:
    """The worker's end of the line to its parent, and its ear for signals.

    Anything heard from the parent means stop, and so does its death.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopped = False
        self._last_report = 0.0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if hasattr(signal, "pthread_sigmask"):  # the parent held them back while this process began
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopped = True

    def should_stop(self) -> bool:
        if not self._stopped and self._connection.poll():
            self._stopped = True
        return self._stopped

    def send(self, event: Event) -> None:
        try:
            self._connection.send(event)
        except OSError:  # the parent is gone
            self._stopped = True

    def started(self, iteration: int, num_iterations: int) -> None:
        self.send(Started(iteration, num_iterations))

    def advanced(self, iteration: int) -> None:
        now = time.monotonic()
        if now - self._last_report > SECONDS_BETWEEN_REPORTS:
            self._last_report = now
            self.send(Advanced(iteration))

    def epoch_ended(self, row: dict[str, Any]) -> None:
        self.send(EpochEnded(row))


def work(job: Job, connection: Connection) -> None:
    """Do one job and report on the connection; the entry point of a spawned process."""
    line = _Line(connection)
    allocator_state = allocator.configure()
    os.environ["OMP_NUM_THREADS"] = str(job.num_threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        line.send(_run(job, line, allocator_state))
    except InterruptedRunError as stop:
        line.send(Ended("interrupted", str(stop)))
    except HarnessError as error:
        line.send(Ended("failed", str(error)))
    except Exception as error:  # noqa: BLE001 - whatever a run died of is recorded, and the others go on
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        line.send(Ended("failed", reason, traceback=traceback.format_exc()))


def _run(job: Job, line: _Line, allocator_state: str) -> Ended:
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
            row = _train_and_record(job, line, allocator_state, store)
        checkpoint.unlink(missing_ok=True)
        lock_file = Path(lock.lock_file)
        lock_file.unlink(missing_ok=True)
        return Ended(row["status"], row["reason"], row["test_accuracy"])
    finally:
        lock.release()


def _train_and_record(job: Job, line: _Line, allocator_state: str, store: Store) -> dict[str, Any]:
    import torch

    from harness import data, environment
    from harness.training.device import configure
    from harness.training.loop import train

    started_at = datetime.now(UTC)
    device = torch.device(job.device)
    configure(device, job.spec.precision, job.num_threads)
    images = data.load(job.spec.data)
    outcome = train(
        job.spec,
        images,
        device,
        run_id=job.run_id,
        checkpoint=store.checkpoint(job.run_id),
        checkpoint_seconds=job.checkpoint_seconds,
        listener=line,
        should_stop=line.should_stop,
    )
    here = environment.capture(device, num_threads=job.num_threads, allocator=allocator_state)
    row = {
        **_what_was_asked(job),
        **_what_came_of_it(outcome, images),
        **_where_it_ran(job, here),
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
