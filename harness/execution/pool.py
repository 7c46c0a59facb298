"""Processes that do jobs side by side, wherever they are: they say on a line what becomes of each, and are told to stop."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection, wait
from typing import Protocol

from harness.environment import Environment
from harness.execution.job import Ended, Event, Job, Noted, Requeued, RunObserver
from harness.execution.ledger import Execution, Ledger

__all__ = ["Pool", "Process", "Worker", "handling_signals"]


class Process(Protocol):
    """What is at the other end of a line."""

    @property
    def exitcode(self) -> int | None:
        """None while it is at work, or if nobody knows."""

    def join(self) -> None:
        """Wait until it has ended."""

    def kill(self) -> None:
        """Without a word."""


@dataclass
class Worker:
    """A process at work on jobs."""

    jobs: dict[str, Job]
    """Those that have not ended, by run id."""
    process: Process
    line: Connection
    """Pairs of a run's id and an event come in; anything that goes out means stop."""
    started_at: datetime


class Pool:
    """Does jobs in processes; the first SIGINT or SIGTERM drains them, the second kills them, which breaks no file.

    Args:
        jobs: what to run, in order.
        environment: of the workers, for the records of runs that died without a word.
        observer: is told of every event.
        start: makes a worker of jobs.
        num_workers: at a time.
        runs_at_once: jobs of each.
        num_losses: so often a job may lose its worker before it has failed; it goes on from its checkpoint in another.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        environment: Environment,
        observer: RunObserver,
        start: Callable[[Sequence[Job]], Worker],
        *,
        num_workers: int,
        runs_at_once: int = 1,
        num_losses: int = 0,
    ) -> None:
        self._ledger = Ledger(jobs, environment, observer, give_up=self._tell_all_to_stop)
        self._start, self._num_workers, self._runs_at_once = start, num_workers, runs_at_once
        self._workers: list[Worker] = []
        self._num_losses, self._losses = num_losses, Counter[str]()

    def run(self) -> Execution:
        """Until all jobs have ended, or a signal came.

        Raises:
            StorageError: results cannot be written; all workers have stopped.

        Whatever else is raised, by the observer for one, all workers have stopped by then too, and left checkpoints.
        """
        with handling_signals(self._on_signal):
            try:
                while self._start_workers():
                    ready = wait([worker.line for worker in self._workers])
                    for worker in [worker for worker in self._workers if worker.line in ready]:
                        self._hear(worker)
            except BaseException:
                self._abandon()
                raise
        return self._ledger.execution()

    def _start_workers(self) -> bool:
        """As many as there may be; whether there are any."""
        while len(self._workers) < self._num_workers and self._ledger.has_work(len(self._workers)):
            self._workers.append(self._start(self._ledger.next_jobs(self._runs_at_once)))
            if self._ledger.signal_number is not None:  # it came while the process was being made
                _tell_to_stop(self._workers[-1])
        return bool(self._workers)

    def _hear(self, worker: Worker) -> None:
        try:
            run_id, event = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            for job in list(worker.jobs.values()):
                self._lose(worker, job)
        else:
            self._take(worker, worker.jobs[run_id], event)
        if not worker.jobs:
            worker.process.join()
            worker.line.close()
            self._workers.remove(worker)

    def _lose(self, worker: Worker, job: Job) -> None:
        """A worker has died with a job."""
        code = worker.process.exitcode
        reason = "the process was lost" if code is None else f"the process died with exit code {code}"
        if self._ledger.signal_number is not None:
            self._take(worker, job, Ended("interrupted", "killed"))
        elif self._losses[job.run_id] < self._num_losses:
            self._losses[job.run_id] += 1
            del worker.jobs[job.run_id]
            self._ledger.again(job, Noted(f"{reason}; goes on in another"))
        else:
            self._take(worker, job, Ended("failed", reason))

    def _take(self, worker: Worker, job: Job, event: Event) -> None:
        if isinstance(event, Ended | Requeued):
            del worker.jobs[job.run_id]
        self._ledger.take(job, event, worker.started_at)

    def _tell_all_to_stop(self) -> None:
        for worker in self._workers:
            _tell_to_stop(worker)

    def _abandon(self) -> None:
        """Let all workers end their step, and hear no more of them."""
        self._tell_all_to_stop()
        for worker in self._workers:
            with suppress(Exception):  # until it has ended; what it still says must not hold it up
                while True:
                    worker.line.recv()
            worker.line.close()
            worker.process.join()

    def _on_signal(self, number: int) -> None:
        if self._ledger.signal_number is None:
            self._ledger.signal_number = number
            self._tell_all_to_stop()
        else:
            for worker in self._workers:
                worker.process.kill()


def _tell_to_stop(worker: Worker) -> None:
    try:
        worker.line.send("stop")
    except OSError:  # it has just ended; its last message is still to be heard
        return


@contextmanager
def handling_signals(handle: Callable[[int], None]) -> Iterator[None]:
    """Within it, SIGINT and SIGTERM are told to a function, and do nothing else."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda received, _frame: handle(received)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, previous, strict=True):
            signal.signal(number, handler)
