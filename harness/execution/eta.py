"""When runs will be done, from the speed seen so far where there is any."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from harness.execution.job import Advanced, Ended, EpochEnded, Event, Job, Started
from harness.execution.plan import PlannedRun, makespan

__all__ = ["Eta", "iteration_of"]


class Eta:
    """The time that is left of runs; it must hear of every event before it is asked.

    Args:
        planned: the runs, of which those that are recorded already take no time.
        num_lanes: how many are in progress at a time.
    """

    def __init__(self, planned: Sequence[PlannedRun], num_lanes: int) -> None:
        self._to_do = [run for run in planned if run.to_do]
        self._num_lanes = num_lanes
        self._estimated = {run.run_id: run.estimated_seconds for run in self._to_do}
        self._left = dict(self._estimated)
        self._started: dict[str, tuple[float, int, int]] = {}
        self.num_ended = 0

    @property
    def num_runs(self) -> int:
        """That are or were to do."""
        return len(self._to_do)

    def hear(self, job: Job, event: Event) -> None:
        """Take note of an event; an observer of runs."""
        if isinstance(event, Started):
            self._started[job.run_id] = (monotonic(), event.iteration, event.num_iterations)
        elif isinstance(event, Ended):
            self._left[job.run_id] = 0.0
            self.num_ended += 1
        elif (iteration := iteration_of(event)) is not None and job.run_id in self._started:
            since, first, total = self._started[job.run_id]
            done = iteration - first
            if done > 0:
                self._left[job.run_id] = (monotonic() - since) / done * (total - iteration)

    def left(self, run_id: str) -> float:
        """Seconds until a run ends."""
        return self._left[run_id]

    def left_in_all(self) -> float:
        """Seconds until all end; runs that have not begun are as much faster or slower as those that have."""
        running = [run_id for run_id in self._started if self._left[run_id] > 0]
        fractions = [
            self._left[run_id] / (self._estimated[run_id] * (1 - self._share_done(run_id)))
            for run_id in running
            if self._estimated[run_id] and self._share_done(run_id) < 1
        ]
        factor = sum(fractions) / len(fractions) if fractions else 1.0
        waiting = [self._left[run.run_id] * factor for run in self._to_do if run.run_id not in self._started]
        return makespan([self._left[run_id] for run_id in running] + waiting, self._num_lanes)

    def _share_done(self, run_id: str) -> float:
        since, _, _ = self._started[run_id]
        elapsed = monotonic() - since
        return elapsed / (elapsed + self._left[run_id])


def iteration_of(event: Event) -> int | None:
    """How many iterations are done, if the event tells."""
    if isinstance(event, Advanced):
        return event.iteration
    if isinstance(event, EpochEnded):
        return int(event.row["iteration"])
    return None
