"""Runs side by side on this machine, in processes of their own: one run each, or several in turn on a GPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from harness.environment import Environment
from harness.execution.job import Job, RunObserver
from harness.execution.ledger import Execution
from harness.execution.pool import Pool, Worker
from harness.execution.processes import process_context
from harness.execution.worker import work

__all__ = ["execute"]


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
    pool = Pool(jobs, environment, observer, _start, num_workers=num_workers, runs_at_once=runs_at_once)
    return pool.run()


def _start(jobs: Sequence[Job]) -> Worker:
    context = process_context(jobs[0].device)
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(jobs, theirs, dict(os.environ)), name=jobs[0].run_id)
    with _signals_held_back():
        process.start()
    theirs.close()
    return Worker({job.run_id: job for job in jobs}, process, ours, datetime.now(UTC))


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
