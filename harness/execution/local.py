"""Runs side by side on this machine, each in a freshly spawned process."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from harness.environment import Environment
from harness.execution.worker import Ended, Event, Job, failed_row, work
from harness.records import Store

__all__ = ["Execution", "execute"]

Observer = Callable[[Job, Event], None]


@dataclass
class Execution:
    """What came of a set of jobs."""

    ended: dict[str, Ended]
    """Run id -> how it ended; runs never started are missing."""
    signal_number: int | None
    """The signal that ended it before its time."""


@dataclass
class _Worker:
    job: Job
    process: BaseProcess
    line: Connection
    started_at: datetime


def execute(
    jobs: Sequence[Job], environment: Environment, *, num_workers: int, observer: Observer
) -> Execution:
    """Run jobs, ``num_workers`` at a time, and record those that fail; the others record themselves.

    The first SIGINT or SIGTERM lets every worker finish its step and write its checkpoint; the second kills
    them, which breaks no file.

    Args:
        jobs: what to run, in order.
        environment: of the workers, for the records of runs that died without a word.
        num_workers: processes at a time.
        observer: is told of every event.
    """
    return _Pool(jobs, environment, num_workers, observer).run()


class _Pool:
    def __init__(
        self, jobs: Sequence[Job], environment: Environment, num_workers: int, observer: Observer
    ) -> None:
        self.waiting = list(jobs)
        self.environment, self.num_workers, self.observer = environment, num_workers, observer
        self.workers: list[_Worker] = []
        self.ended: dict[str, Ended] = {}
        self.signal_number: int | None = None

    def run(self) -> Execution:
        with _handle_signals(self._on_signal):
            while self.workers or (self.waiting and self.signal_number is None):
                while self.waiting and self.signal_number is None and len(self.workers) < self.num_workers:
                    self.workers.append(_start(self.waiting.pop(0)))
                    if self.signal_number is not None:  # it came while the process was being made
                        _tell_to_stop(self.workers[-1])
                ready = wait([worker.line for worker in self.workers])
                for worker in [worker for worker in self.workers if worker.line in ready]:
                    self._hear(worker)
        return Execution(self.ended, self.signal_number)

    def _hear(self, worker: _Worker) -> None:
        try:
            event: Event = worker.line.recv()
        except (EOFError, OSError):
            worker.process.join()
            event = Ended("failed", f"the process died with exit code {worker.process.exitcode}")
            if self.signal_number is not None:
                event = Ended("interrupted", "killed")
        if isinstance(event, Ended):
            worker.process.join()
            worker.line.close()
            self.workers.remove(worker)
            self.ended[worker.job.run_id] = event
            if event.status == "failed":
                row = failed_row(worker.job, self.environment, event.reason or "", worker.started_at)
                Store(worker.job.results).write_run(row)
        self.observer(worker.job, event)

    def _on_signal(self, number: int) -> None:
        if self.signal_number is None:
            self.signal_number = number
            for worker in self.workers:
                _tell_to_stop(worker)
        else:
            for worker in self.workers:
                worker.process.kill()


def _start(job: Job) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(job, theirs), name=job.run_id)
    with _signals_held_back():
        process.start()
    theirs.close()
    return _Worker(job, process, ours, datetime.now(UTC))


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
