"""Runs side by side on this machine, in processes of their own: one run each, or several in turn on a GPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from harness.environment import Environment
from harness.errors import StorageError
from harness.execution.job import Ended, Event, Job, PutBack, RunObserver
from harness.execution.lock import lock_of_run
from harness.execution.processes import process_context
from harness.execution.recording import failed_row
from harness.execution.worker import work
from harness.records import Store

__all__ = ["Execution", "execute"]


@dataclass
class Execution:
    """What came of a set of jobs."""

    ended: dict[str, Ended]
    """Run id -> how it ended; runs never started are missing."""
    signal_number: int | None
    """The signal that ended it before its time."""


@dataclass
class _Worker:
    jobs: dict[str, Job]
    """Those that have not ended, by run id."""
    process: BaseProcess
    line: Connection
    started_at: datetime


def execute(
    jobs: Sequence[Job],
    environment: Environment,
    *,
    num_workers: int,
    runs_at_once: int = 1,
    observer: RunObserver,
) -> Execution:
    """Run jobs and record those that fail; the others record themselves.

    The first SIGINT or SIGTERM lets every worker finish its step and write its checkpoint; the second kills
    them, which breaks no file.

    Args:
        jobs: what to run, in order.
        environment: of the workers, for the records of runs that died without a word.
        num_workers: processes at a time.
        runs_at_once: in turn in each process.
        observer: is told of every event.

    Raises:
        StorageError: results cannot be written; all workers have stopped.
    """
    pool = _Pool(jobs, environment, num_workers=num_workers, runs_at_once=runs_at_once, observer=observer)
    return pool.run()


class _Pool:
    def __init__(
        self,
        jobs: Sequence[Job],
        environment: Environment,
        *,
        num_workers: int,
        runs_at_once: int,
        observer: RunObserver,
    ) -> None:
        self.waiting = list(jobs)
        self.put_back: list[Job] = []
        self.environment, self.observer = environment, observer
        self.num_workers, self.runs_at_once = num_workers, runs_at_once
        self.workers: list[_Worker] = []
        self.busy: list[Job] = []
        """Those that another process is at; they are asked for once more after all others."""
        self.asking_again = False
        self.ended: dict[str, Ended] = {}
        self.signal_number: int | None = None
        self.given_up: StorageError | None = None

    def run(self) -> Execution:
        with _handle_signals(self._on_signal):
            while self._start_workers():
                ready = wait([worker.line for worker in self.workers])
                for worker in [worker for worker in self.workers if worker.line in ready]:
                    self._hear(worker)
        if self.given_up is not None:
            raise self.given_up
        return Execution(self.ended, self.signal_number)

    @property
    def _has_work(self) -> bool:
        return bool(self.waiting or self.put_back)

    def _start_workers(self) -> bool:
        """As many as there may be; whether there are any."""
        while self._goes_on() and len(self.workers) < self.num_workers:
            self.workers.append(_start(self._next_jobs()))
            if self.signal_number is not None:  # it came while the process was being made
                _tell_to_stop(self.workers[-1])
        return bool(self.workers)

    def _goes_on(self) -> bool:
        """Whether more is to be started."""
        if self.signal_number is not None or self.given_up is not None:
            return False
        self._pass_over_recorded()
        if not (self._has_work or self.workers or self.asking_again):
            self.waiting, self.busy, self.asking_again = self.busy, [], True
            self._pass_over_recorded()
        return self._has_work

    def _pass_over_recorded(self) -> None:
        """Those next in line that another process has recorded since they were planned."""
        while self.waiting:
            job = self.waiting[0]
            row = Store(job.results).ended_run(job.run_id)
            if row is None:
                return
            del self.waiting[0]
            self.ended[job.run_id] = _end_of(row)
            self.observer(job, _end_of(row))

    def _next_jobs(self) -> list[Job]:
        """For one process: one that must be alone, or several of the same precision, which a process has but one of."""
        if not self.waiting:
            return [self.put_back.pop(0)]
        alike = [job for job in self.waiting if job.spec.precision == self.waiting[0].spec.precision]
        jobs = alike[: self.runs_at_once]
        taken = set(map(id, jobs))
        self.waiting = [job for job in self.waiting if id(job) not in taken]
        return jobs

    def _hear(self, worker: _Worker) -> None:
        try:
            run_id, event = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            reason = f"the process died with exit code {worker.process.exitcode}"
            killed = self.signal_number is not None
            for job in list(worker.jobs.values()):
                self._take(worker, job, Ended("interrupted", "killed") if killed else Ended("failed", reason))
        else:
            self._take(worker, worker.jobs[run_id], event)
        if not worker.jobs:
            worker.process.join()
            worker.line.close()
            self.workers.remove(worker)

    def _take(self, worker: _Worker, job: Job, event: Event) -> None:
        """What a worker says of a job."""
        if isinstance(event, Ended | PutBack):
            del worker.jobs[job.run_id]
        if isinstance(event, PutBack):
            self.put_back.append(job)
        elif isinstance(event, Ended):
            if event.status == "busy" and not self.asking_again:
                self.busy.append(job)
                return
            if event.status == "failed":
                row = failed_row(job, self.environment, event.reason or "", worker.started_at)
                try:
                    event = _record_failure(Store(job.results), row) or event
                except StorageError as error:
                    self._give_up(error)
            elif event.status == "unwritable":
                self._give_up(StorageError(event.reason))
            self.ended[job.run_id] = event
        self.observer(job, event)

    def _give_up(self, error: StorageError) -> None:
        """Nothing can be recorded: let every worker stop."""
        if self.given_up is None:
            self.given_up = error
            for worker in self.workers:
                _tell_to_stop(worker)

    def _on_signal(self, number: int) -> None:
        if self.signal_number is None:
            self.signal_number = number
            for worker in self.workers:
                _tell_to_stop(worker)
        else:
            for worker in self.workers:
                worker.process.kill()


def _end_of(row: dict[str, Any]) -> Ended:
    """How a recorded run ended."""
    return Ended(row["status"], row["reason"], row["test_accuracy"])


def _record_failure(store: Store, row: dict[str, Any]) -> Ended | None:
    """Record that a run failed, unless another process has taken it up since.

    Returns:
        How it ended, if it was recorded before it failed, or since then by another process.
    """
    with lock_of_run(store.checkpoint(row["run_id"])) as lock:
        ended = store.ended_run(row["run_id"])
        if lock is not None and ended is None:
            store.write_run(row)
    return None if ended is None else _end_of(ended)


def _start(jobs: Sequence[Job]) -> _Worker:
    context = process_context(jobs[0].device)
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(jobs, theirs, dict(os.environ)), name=jobs[0].run_id)
    with _signals_held_back():
        process.start()
    theirs.close()
    return _Worker({job.run_id: job for job in jobs}, process, ours, datetime.now(UTC))


def _tell_to_stop(worker: _Worker) -> None:
    try:
        worker.line.send("stop")
    except OSError:  # it has just ended; its last message is still to be heard
        return


@contextmanager
def _handle_signals(handle: Callable[[int], None]) -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda received, _frame: handle(received)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """A new process inherits the mask, so that no signal meets it before it can handle one."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
