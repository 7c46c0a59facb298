"""Which runs of an execution are still to be done, and how the others ended; whoever executes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.environment import Environment
from harness.errors import StorageError
from harness.execution.job import Ended, Event, Job, Requeued, RunObserver
from harness.execution.lock import lock_of_run
from harness.execution.recording import failed_row
from harness.records import Store

__all__ = ["Execution", "Ledger", "record_failure"]


@dataclass
class Execution:
    """What came of a set of jobs."""

    ended: dict[str, Ended]
    """Run id -> how it ended; runs never started are missing."""
    signal_number: int | None
    """The signal that ended it before its time."""


class Ledger:
    """Hands out jobs, and takes what is said of them.

    Args:
        jobs: what to run, in order.
        environment: of the workers, for the records of runs that died without a word.
        observer: is told of every event.
        give_up: is called once, when nothing can be recorded.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        environment: Environment,
        observer: RunObserver,
        give_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._waiting = list(jobs)
        self._put_back: list[Job] = []
        self._busy: list[Job] = []
        """Those that another process is at; they are asked for once more after all others."""
        self._asking_again = False
        self._environment, self._observer, self._give_up = environment, observer, give_up
        self.ended: dict[str, Ended] = {}
        self.signal_number: int | None = None
        self.error: StorageError | None = None
        """Why nothing can be recorded."""

    def has_work(self, num_in_progress: int) -> bool:
        """Whether more is to be started.

        Args:
            num_in_progress: started, and not yet ended.
        """
        if self.signal_number is not None or self.error is not None:
            return False
        self._pass_over_recorded()
        if not (self._waiting or self._put_back or num_in_progress or self._asking_again):
            self._waiting, self._busy, self._asking_again = self._busy, [], True
            self._pass_over_recorded()
        return bool(self._waiting or self._put_back)

    def next_jobs(self, at_once: int = 1) -> list[Job]:
        """For one process: one that must be alone, or several of the same precision, which a process has but one of."""
        if not self._waiting:
            return [self._put_back.pop(0)]
        alike = [job for job in self._waiting if job.spec.precision == self._waiting[0].spec.precision]
        jobs = alike[:at_once]
        taken = set(map(id, jobs))
        self._waiting = [job for job in self._waiting if id(job) not in taken]
        return jobs

    def again(self, job: Job, event: Event) -> None:
        """A job whose process was lost is to be done elsewhere."""
        self._waiting.insert(0, job)
        self._observer(job, event)

    def take(self, job: Job, event: Event, started_at: datetime) -> None:
        """What is said of a job.

        Args:
            job: that was handed out.
            event: the last of a job is `Ended` or `Requeued`.
            started_at: when its process began.
        """
        if isinstance(event, Requeued):
            self._put_back.append(job)
        elif isinstance(event, Ended):
            if event.status == "busy" and not self._asking_again:
                self._busy.append(job)
                return
            if event.status == "failed":
                row = failed_row(job, self._environment, event.reason or "", started_at)
                try:
                    event = record_failure(Store(job.results), row) or event
                except StorageError as error:
                    self._give_up_for(error)
            elif event.status == "unwritable":
                self._give_up_for(StorageError(event.reason))
            self.ended[job.run_id] = event
        self._observer(job, event)

    def execution(self) -> Execution:
        """What came of it.

        Raises:
            StorageError: results cannot be written.
        """
        if self.error is not None:
            raise self.error
        return Execution(self.ended, self.signal_number)

    def _pass_over_recorded(self) -> None:
        """Those next in line that another process has recorded since they were planned."""
        while self._waiting:
            job = self._waiting[0]
            row = Store(job.results).ended_run(job.run_id)
            if row is None:
                return
            del self._waiting[0]
            self.ended[job.run_id] = _end_of(row)
            self._observer(job, _end_of(row))

    def _give_up_for(self, error: StorageError) -> None:
        if self.error is None:
            self.error = error
            self._give_up()


def _end_of(row: dict[str, Any]) -> Ended:
    """How a recorded run ended."""
    return Ended(row["status"], row["reason"], row["test_accuracy"])


def record_failure(store: Store, row: dict[str, Any]) -> Ended | None:
    """Record that a run failed or was skipped, unless another process has taken it up since.

    Returns:
        How it ended, if it was recorded before it failed, or since then by another process.

    Raises:
        StorageError: it cannot be recorded.
    """
    with lock_of_run(store.checkpoint(row["run_id"])) as lock:
        ended = store.ended_run(row["run_id"])
        if lock is not None and ended is None:
            store.write_run(row)
    return None if ended is None else _end_of(ended)
