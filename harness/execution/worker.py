"""A process that trains one run, or several in turn on one GPU. Imports no torch before the allocator is set."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness import allocator, storage
from harness.atomic import storing
from harness.errors import HarnessError, InterruptedRunError, NotConcurrentError, StorageError
from harness.execution.job import Advanced, Ended, EpochEnded, Event, Job, Noted, Requeued, Started
from harness.execution.lock import Lock, lock_of_run
from harness.execution.recording import finished_row, predictions
from harness.models import find
from harness.records import Store

if TYPE_CHECKING:
    from harness.data import ImageSet
    from harness.environment import Environment
    from harness.training.batches import DeviceImages

__all__ = ["ConnectionLine", "Line", "differences", "do_jobs", "work"]

SECONDS_BETWEEN_REPORTS = 0.2
SECONDS_BETWEEN_POLLS = 0.02
"""Asking the line takes longer than an update on a GPU."""


class Line(Protocol):
    """To whoever has given a worker its jobs."""

    def should_stop(self) -> bool:
        """Whether the step is to be the last."""

    def send(self, run_id: str, event: Event) -> None:
        """Tell of a run."""


class ConnectionLine:
    """The worker's end of a connection. Anything heard on it means stop, and so does the death of who is at the other end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stopped = False
        self._last_poll = 0.0

    def should_stop(self) -> bool:
        """Whether anything was heard."""
        now = time.monotonic()
        if not self._stopped and now - self._last_poll > SECONDS_BETWEEN_POLLS:
            self._last_poll = now
            self._stopped = self._connection.poll()
        return self._stopped

    def send(self, run_id: str, event: Event) -> None:
        """Tell of a run."""
        try:
            self._connection.send((run_id, event))
        except OSError:  # the other end is gone
            self._stopped = True


class _PipeLine(ConnectionLine):
    """To the parent; with an ear for signals."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if hasattr(signal, "pthread_sigmask"):  # the parent held them back while this process began
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopped = True


class _RunOnLine:
    """Tells the parent of one of the worker's runs; a `harness.training.loop.Listener`."""

    def __init__(self, job: Job, line: Line) -> None:
        self._run_id, self._line = job.run_id, line
        self._epochs_left = job.num_epochs
        self._last_report = 0.0
        self.is_lost: Callable[[], bool] = lambda: False
        """Whether the run is another process's now."""

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
        return self._epochs_left == 0 or self._line.should_stop() or self.is_lost()


def work(jobs: Sequence[Job], connection: Connection, variables: Mapping[str, str]) -> None:
    """Do jobs in turn and report on the connection; the entry point of a worker process.

    Args:
        jobs: of one device and precision.
        connection: pairs of a run's id and an event go out; anything that comes in means stop.
        variables: environment variables of the parent; a forked process has those of when its server began.
    """
    line = _PipeLine(connection)
    os.environ.clear()
    os.environ.update(variables)
    do_jobs(jobs, line)


def do_jobs(jobs: Sequence[Job], line: Line) -> None:
    """Do jobs in turn in this process, and record them.

    Args:
        jobs: of one device and precision.
        line: hears of every event.
    """
    allocator_state = allocator.configure()
    os.environ["OMP_NUM_THREADS"] = str(jobs[0].num_threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # streams that share one of the GPU's queues wait for each other
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
    shared = _SharedByRuns(len(jobs), allocator_state)
    runs = {job.run_id: _run(job, _RunOnLine(job, line), shared) for job in jobs}
    while runs:
        for run_id in list(runs):
            end = _advance(runs[run_id])
            if end is not None:
                shared.num_runs -= isinstance(end, Requeued)
                del runs[run_id]
                line.send(run_id, end)


def differences(job: Job, here: Environment, model_source: str) -> list[str]:
    """What would give a run other bits than its name says, as it is and as it was planned.

    Args:
        job: the run; of one that says of no place where it was planned, nothing differs.
        here: where it would be trained.
        model_source: where its network comes from here.
    """
    place = here.deciding(model_source)
    return [
        f"{name} {place.get(name)}, not {value}"
        for name, value in job.place.items()
        if place.get(name) != value
    ]


_STATUS_OF_ERRORS: dict[type[HarnessError], str] = {
    InterruptedRunError: "interrupted",
    StorageError: "unwritable",
}


def _advance(run: _Turns) -> Ended | Requeued | None:
    """One turn of a run, or how it ended."""
    try:
        next(run)
    except StopIteration as stop:
        end: Ended = stop.value
        return end
    except NotConcurrentError as error:
        return Requeued(str(error))
    except HarnessError as error:
        return Ended(_STATUS_OF_ERRORS.get(type(error), "failed"), str(error))
    except Exception as error:  # noqa: BLE001 - whatever a run died of is recorded, and the others go on
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return Ended("failed", reason, traceback=traceback.format_exc())
    return None


class _SharedByRuns:
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


def _run(job: Job, listener: _RunOnLine, shared: _SharedByRuns) -> _Turns:
    store = Store(job.results)
    checkpoint = store.checkpoint(job.run_id)
    with lock_of_run(checkpoint) as lock:
        if lock is None:
            return Ended("busy", "another process is already training this run")
        store.remove_leftovers(job.run_id)
        row = store.ended_run(job.run_id)
        if row is None:
            listener.is_lost = lock.is_lost
            try:
                row = yield from _train_and_record(job, listener, shared, store)
            except InterruptedRunError:
                if lock.is_lost():
                    return Ended("busy", "another process took this run, which had been silent for long")
                raise
        _remove(checkpoint, lock)
        return Ended(row["status"], row["reason"], row["test_accuracy"])


def _remove(checkpoint: Path, lock: Lock) -> None:
    """What a run no longer needs; who holds its lock may."""
    with storing(checkpoint):
        storage.remove(checkpoint)
    lock.remove()


def _train_and_record(
    job: Job, listener: _RunOnLine, shared: _SharedByRuns, store: Store
) -> Generator[None, None, dict[str, Any]]:
    import torch

    from harness import environment
    from harness.training.device import configure
    from harness.training.loop import CheckpointPolicy, train_in_turns

    started_at = datetime.now(UTC)
    device = torch.device(job.device)
    configure(device, job.spec.precision, job.num_threads)
    images, on_device = shared.images(job)
    here = environment.capture(device, num_threads=job.num_threads, allocator=shared.allocator_state)
    model_source = find(job.spec.model).origin
    if others := differences(job, here, model_source):
        raise HarnessError(
            f"what decides its bits has changed since it was planned: {', '.join(others)}; undo that, or start the "
            "command again"
        )
    policy = CheckpointPolicy(
        run_id=job.run_id,
        place=job.place,
        checkpoint=store.checkpoint(job.run_id),
        seconds=job.checkpoint_seconds,
    )
    outcome = yield from train_in_turns(
        job.spec,
        on_device,
        device,
        policy,
        listener=listener,
        eager=job.eager,
        concurrent=shared.num_runs > 1,
    )
    row = finished_row(
        job,
        here,
        outcome,
        images,
        model_source=model_source,
        started_at=started_at,
        runs_at_once=shared.num_runs,
    )
    epochs = [{"run_id": job.run_id, **epoch} for epoch in outcome.epochs]
    if listener.is_lost():
        raise InterruptedRunError(f"{job.run_id}: another process took it")
    store.write_run(row, epochs, predictions(job.run_id, outcome, images))
    for note in outcome.resumed_from:
        adopted = store.checkpoint(note.run_id)
        with lock_of_run(adopted) as lock:
            if lock is not None:
                _remove(adopted, lock)
    return row
