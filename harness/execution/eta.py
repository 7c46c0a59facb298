"""When runs will be done, from the speed seen so far where there is any, and how sure that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import Final

import numpy as np

from harness.execution.forecast import (
    SPEED,
    WEIGHT,
    Array,
    TimeLeft,
    draw_kinds,
    hand_out,
    noise_of,
    time_left,
)
from harness.execution.job import Advanced, Ended, EpochEnded, Event, Job, Started
from harness.execution.plan import PlannedRun

__all__ = ["Eta", "iteration_of"]

_NUM_EXACT: Final = 64
"""Runs that wait are handed out one by one at the end, or half as many as there are lanes."""
_FIRST_LOOK: Final = 1 / 32
"""Of a run, before which its speed says little."""
_SHORTEST_SUSPENSION: Final = 60.0
"""Seconds."""
_SHORTEST_ITERATION: Final = 1e-6
"""Seconds; of shorter ones, planned or actual, the other cannot be foretold."""
_USUAL_SILENCES: Final = 100
"""The longest that was usual; before a test of the network it is an update's, and a test takes some dozens of these."""


@dataclass
class _Running:
    """A run in progress; times are since it began, or went on, here, without those in which it was suspended.

    It was if nothing was heard of it for more than a minute, and more than a hundred times as long as ever before. Such a
    silence counts as long as the longest before it.
    """

    kind: int
    planned: float
    """Seconds an iteration."""
    first: int
    total: int
    since: float
    iteration: int = field(init=False)
    seconds: float = 0.0
    """Until that iteration was heard of."""
    longest_silence: float = 0.0
    looked_at: tuple[int, float] | None = None
    """Iterations and seconds."""
    images_per_second: float | None = None

    def __post_init__(self) -> None:
        self.iteration = self.first

    @property
    def observation(self) -> tuple[float, float] | None:
        """Logarithm of actual over planned time, and its weight: the share of the run that it is of."""
        done = self.iteration - self.first
        if done <= 0 or min(self.seconds / done, self.planned) < _SHORTEST_ITERATION:
            return None
        return math.log(self.seconds / (done * self.planned)), done / self.total

    def hear(self, iteration: int, now: float) -> None:
        """So many iterations are done."""
        silence = now - self.since - self.seconds
        if self.longest_silence > 0 and silence > max(
            _SHORTEST_SUSPENSION, _USUAL_SILENCES * self.longest_silence
        ):
            self.since += silence - self.longest_silence
        else:
            self.longest_silence = max(self.longest_silence, silence)
        self.iteration, self.seconds = iteration, now - self.since

    def compare(self) -> float | None:
        """Once it has done twice as much: the logarithm of its speed since then over that before."""
        done = self.iteration - self.first
        if self.looked_at is None:
            if done >= _FIRST_LOOK * self.total:
                self.looked_at = (done, self.seconds)
            return None
        before, seconds = self.looked_at
        if done < 2 * before:
            return None
        self.looked_at = (done, self.seconds)
        if not 0 < seconds < self.seconds:
            return None
        return math.log((self.seconds - seconds) / (done - before) / (seconds / before))


class Eta:
    """How far runs are, and the time that is left of them; it must hear of every event before it is asked.

    Args:
        planned: the runs, of which those that are recorded already take no time.
        num_lanes: how many are in progress at a time, as far as that is known; once a run is completed it is the most
            that there were.
    """

    def __init__(self, planned: Sequence[PlannedRun], num_lanes: int) -> None:
        to_do = [run for run in planned if run.to_do]
        self.num_runs = len(to_do)
        """That are or were to do."""
        self._planned = {run.run_id: run for run in to_do}
        self._numbers = {run.run_id: number for number, run in enumerate(to_do)}
        self._left = {run.run_id: run.estimated_seconds for run in to_do}
        self._waiting = dict(self._left)
        self._running: dict[str, _Running] = {}
        self._ended: Counter[str] = Counter()
        self._num_completed_here = 0

        kinds: dict[tuple[str, str], int] = {}
        self._kinds = {
            run.run_id: kinds.setdefault((run.spec.model, run.spec.precision), len(kinds)) for run in to_do
        }
        self._seen = np.zeros((3, len(kinds)))
        """Of runs that are no longer in progress, by kind: weights, and weighted sums of logarithms and of their squares."""
        self._waiting_by_kind = np.zeros(len(kinds))
        """Seconds as planned."""
        for run_id, seconds in self._waiting.items():
            self._waiting_by_kind[self._kinds[run_id]] += seconds
        self._speed_changes = (WEIGHT, WEIGHT * SPEED**2)
        """Their number, and the sum of their squares."""

        self._num_lanes, self._most_running = max(1, num_lanes), 0
        self._began = monotonic()
        self._free_since = [self._began] * self._num_lanes
        """Lanes in which nothing runs, the latest last."""
        self._pauses = (0, 0.0)
        """Between runs in a lane: how many, and seconds in all."""

    @property
    def num_ended(self) -> int:
        """However they did."""
        return self._ended.total()

    @property
    def num_running(self) -> int:
        """Now."""
        return len(self._running)

    @property
    def num_completed(self) -> int:
        """By this call of the harness, or meanwhile by another."""
        return self._ended["completed"]

    @property
    def num_failed(self) -> int:
        """Or diverged."""
        return self._ended["failed"] + self._ended["diverged"]

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return monotonic() - self._began

    @property
    def runs_per_hour(self) -> float | None:
        """Completed by this call of the harness; None before the first."""
        if not self._num_completed_here or self.seconds <= 0:
            return None
        return self._num_completed_here / self.seconds * 3600

    @property
    def images_per_second(self) -> float | None:
        """In training, of all runs in progress that have ended an epoch here; None if there are none."""
        rates = [run.images_per_second for run in self._running.values() if run.images_per_second is not None]
        return sum(rates) if rates else None

    def hear(self, job: Job, event: Event) -> None:
        """Take note of an event; an observer of runs."""
        if isinstance(event, Started):
            self._hear_start(job.run_id, event)
        elif isinstance(event, Ended):
            self._hear_end(job.run_id, event)
        elif (iteration := iteration_of(event)) is not None and job.run_id in self._running:
            run = self._running[job.run_id]
            done = iteration - run.first
            if done > 0:
                run.hear(iteration, monotonic())
                self._left[job.run_id] = run.seconds / done * (run.total - iteration)
                self._compare_speeds(run)
            if isinstance(event, EpochEnded):
                run.images_per_second = event.row["images_per_second"]

    def left(self, run_id: str) -> float:
        """Seconds until a run ends."""
        return self._left[run_id]

    def left_in_all(self) -> TimeLeft:
        """Until all end.

        What is left is drawn many times, and handed out to the lanes in order; see `harness.execution.forecast`. Known
        are the seconds an iteration of runs that were in progress here, over those planned, in so far as they were and
        however they ended. A run in progress goes on at its own speed, as sure as runs have kept theirs whenever they
        had done twice as much. Before runs there are pauses like those until now. Of many runs that wait all but the
        last few are taken as work that can be divided at will.

        It assumes that what is to come is like what was, and knows of no run that will fail.
        """
        lanes = max(self._believed_lanes(), len(self._running))
        last = list(islice(reversed(self._waiting), max(_NUM_EXACT, lanes // 2)))[::-1]
        seen = self._seen.copy()
        _add(seen, self._running.values())
        kinds, spread = draw_kinds(seen)
        pause = self._pauses[1] / max(1, self._pauses[0])

        begun = [run_id for run_id, run in self._running.items() if run.iteration > run.first]
        others = [run_id for run_id, run in self._running.items() if run.iteration == run.first]
        speed = math.sqrt(self._speed_changes[1] / self._speed_changes[0])
        own = self._left_now(begun) * np.exp(speed * self._noise(begun))
        running = np.concatenate([own, self._draw(others, kinds, spread)], axis=1)

        before = self._waiting_by_kind.copy()
        for run_id in last:
            before[self._kinds[run_id]] -= self._waiting[run_id]
        if len(last) == len(self._waiting):
            before[:] = 0  # but for rounding it is
        mean = math.exp(spread**2 / 2)  # of exp(run)
        work = np.exp(kinds) @ before.clip(min=0) * mean + (len(self._waiting) - len(last)) * pause
        return time_left(hand_out(running, work, self._draw(last, kinds, spread) + pause, lanes))

    def _hear_start(self, run_id: str, event: Started) -> None:
        now = monotonic()
        before = self._running.pop(run_id, None)
        if before is not None:  # its process was lost
            _add(self._seen, [before])
        elif self._free_since:
            number, seconds = self._pauses
            self._pauses = (number + 1, seconds + now - self._free_since.pop())
        run = self._planned[run_id]
        if run_id in self._waiting:
            self._waiting_by_kind[self._kinds[run_id]] -= self._waiting.pop(run_id)
        # a run that was interrupted was planned from there, and any other from its beginning
        num_planned = event.num_iterations - (event.iteration if run.state == "interrupted" else 0)
        planned = run.estimated_seconds / max(1, num_planned) if before is None else before.planned
        self._left[run_id] = planned * (event.num_iterations - event.iteration)
        self._running[run_id] = _Running(
            kind=self._kinds[run_id],
            planned=planned,
            first=event.iteration,
            total=event.num_iterations,
            since=now,
        )
        self._most_running = max(self._most_running, len(self._running))

    def _hear_end(self, run_id: str, event: Ended) -> None:
        self._left[run_id] = 0.0
        self._ended[event.status] += 1
        run = self._running.pop(run_id, None)
        if run is None:  # it never began here
            if run_id in self._waiting:
                self._waiting_by_kind[self._kinds[run_id]] -= self._waiting.pop(run_id)
            return
        self._free_since.append(monotonic())
        if event.status == "completed":
            self._num_completed_here += 1
            run.hear(run.total, monotonic())
        _add(self._seen, [run])

    def _compare_speeds(self, run: _Running) -> None:
        change = run.compare()
        if change is not None:
            number, squares = self._speed_changes
            self._speed_changes = (number + 1, squares + change**2)

    def _believed_lanes(self) -> int:
        return self._most_running if self._num_completed_here else self._num_lanes

    def _left_now(self, run_ids: Sequence[str]) -> Array:
        """Seconds; less those since something was heard, up to an iteration, as more of them would have been heard."""
        now = monotonic()
        runs = [self._running[run_id] for run_id in run_ids]
        silence = [
            min(now - run.since - run.seconds, run.seconds / (run.iteration - run.first)) for run in runs
        ]
        return (np.array([self._left[run_id] for run_id in run_ids]) - silence).clip(min=0)

    def _draw(self, run_ids: Sequence[str], kinds: Array, spread: float) -> Array:
        """Seconds of runs of which nothing is known yet, (draws, runs)."""
        seconds = np.array([self._left[run_id] for run_id in run_ids])
        logarithms = kinds[:, [self._kinds[run_id] for run_id in run_ids]]
        drawn: Array = seconds * np.exp(logarithms + spread * self._noise(run_ids))
        return drawn

    def _noise(self, run_ids: Sequence[str]) -> Array:
        return noise_of([self._numbers[run_id] for run_id in run_ids])


def _add(seen: Array, runs: Iterable[_Running]) -> None:
    for run in runs:
        if (observation := run.observation) is not None:
            logarithm, weight = observation
            seen[:, run.kind] += weight * np.array([1.0, logarithm, logarithm**2])


def iteration_of(event: Event) -> int | None:
    """How many iterations are done, if the event tells."""
    if isinstance(event, Advanced):
        return event.iteration
    if isinstance(event, EpochEnded):
        return int(event.row["iteration"])
    return None
