"""Runs one after another in this process, where a debugger reaches them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from harness.environment import Environment
from harness.execution.job import Event, Job, RunObserver
from harness.execution.ledger import Execution, Ledger
from harness.execution.pool import handling_signals
from harness.execution.worker import do_jobs

__all__ = ["execute"]


def execute(jobs: Sequence[Job], environment: Environment, *, observer: RunObserver) -> Execution:
    """Run jobs and record them.

    The first SIGINT or SIGTERM lets the run finish its step and write its checkpoint; the second stops it at once.

    Args:
        jobs: what to run, in order.
        environment: of this process.
        observer: is told of every event.

    Raises:
        StorageError: results cannot be written.
        KeyboardInterrupt: of the second signal.
    """
    ledger = Ledger(jobs, environment, observer)

    def on_signal(number: int) -> None:
        if ledger.signal_number is not None:
            raise KeyboardInterrupt
        ledger.signal_number = number

    with handling_signals(on_signal):
        while ledger.has_work(0):
            [job] = ledger.next_jobs()
            do_jobs([job], _Line(ledger, job))
    return ledger.execution()


class _Line:
    """Straight into the ledger."""

    def __init__(self, ledger: Ledger, job: Job) -> None:
        self._ledger, self._job, self._started_at = ledger, job, datetime.now(UTC)

    def should_stop(self) -> bool:
        return self._ledger.signal_number is not None

    def send(self, run_id: str, event: Event) -> None:
        assert run_id == self._job.run_id, "there is one job at a time"
        self._ledger.take(self._job, event, self._started_at)
