"""Timings as findings tell them: sessions of benchmarks, and ratios of times with what is known of their error."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from harness.analysis.cost import Measured
from harness.analysis.timing import Comparison, compare_paired, is_range, summarize_timing
from harness.errors import printable
from harness.findings.words import counted
from harness.formats import listed

__all__ = [
    "Ratio",
    "Session",
    "are_times",
    "extra_of",
    "machine_of",
    "median_and_range",
    "number_of",
    "parameter_of",
    "ratio_of",
    "same_machine",
    "sessions_of",
    "speed_of",
    "told",
]

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class Ratio:
    """What takes how much of the time of what, timed in turn."""

    comparison: Comparison
    rounds: Sequence[float]
    """The ratio of each round."""

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return self.comparison.ratio

    @property
    def ends(self) -> tuple[float, float]:
        """Of the 95 % interval; of too few rounds for one, the least and the greatest."""
        low, high = self.comparison.low, self.comparison.high
        return (min(self.rounds), max(self.rounds)) if low is None or high is None else (low, high)

    @property
    def has_interval(self) -> bool:
        """Whether there are rounds enough for one that is more than their range."""
        return not is_range(len(self.rounds))

    @property
    def kind(self) -> str:
        """What `ends` are."""
        return "95 % interval" if self.has_interval else f"range of {counted(len(self.rounds), 'round')}"

    def doubt(self, digits: int = 3) -> str:
        """What is to be said where the two may take the same time, by `ends` as they are printed; else nothing."""
        if self.comparison.low is None:
            return "too few rounds for an interval"
        low, high = (round(end, digits) for end in self.ends)
        return "not significant" if low <= 1 <= high else ""

    def full(self, digits: int = 3) -> str:
        """``2.683 (95 % interval 2.455 to 2.976, 15 rounds)``, ``2.683 (range 2.455 to 2.976, 5 rounds)``."""
        kind = "95 % interval" if self.has_interval else "range"
        return f"{self.value:.{digits}f} ({kind} {_range(*self.ends, digits)}, {counted(len(self.rounds), 'round')})"

    def brief(self, digits: int = 3) -> str:
        """``2.683 (2.455 to 2.976)``."""
        return f"{self.value:.{digits}f} ({_range(*self.ends, digits)})"


def told(ratios: Sequence[Ratio], digits: int = 3) -> str:
    """The ratio of one session in full, and what the same gave in others.

    Args:
        ratios: by session, that in full first; at least one.
        digits: after the decimal point.
    """
    first, others = ratios[0], ratios[1:]
    doubt = f", {its}" if (its := first.doubt(digits)) else ""
    if not others:
        return f"{first.full(digits)}{doubt}"
    alike = all(len(its.rounds) == len(first.rounds) for its in others)
    texts = listed([its.brief(digits) if alike else its.full(digits) for its in others])
    where = f"in {counted(len(others), 'other session')}{' of as many rounds' * alike}"
    return f"{first.full(digits)}{doubt}; {where} {texts}"


@dataclass(frozen=True, kw_only=True)
class Session:
    """What was timed with each other in one call of the benchmarks."""

    session_id: str
    group: str
    measured_at: datetime
    machine: str
    """In words."""
    rows: Mapping[str, _Row]
    """Of the records of kind ``benchmarks``, by the benchmark's parameter ``name``, or else by its own name."""

    def times(self, name: str) -> list[float] | None:
        """Seconds of each round; None where it was not timed."""
        return None if name not in self.rows else list(self.rows[name]["round_seconds"])

    def ratio(self, first: str, second: str) -> Ratio | None:
        """Seconds of the first over those of the second, round by round; None where one of them was not timed.

        Of as many images, where both say how many a round has.
        """
        of_first, of_second = self.times(first), self.times(second)
        if of_first is None or of_second is None:
            return None
        images = [self.rows[name]["images"] or 0 for name in (first, second)]
        scale = images[1] / images[0] if min(images) > 0 else 1.0
        return ratio_of([scale * seconds for seconds in of_first], of_second)


def sessions_of(benchmarks: Iterable[_Row], group: str) -> list[Session]:
    """Sessions with benchmarks of a group, the newest first.

    Args:
        benchmarks: rows of the records of kind ``benchmarks``; those without times are passed over.
        group: a regular expression for the whole name.
    """
    found: dict[tuple[str, str], list[_Row]] = {}
    for row in benchmarks:
        if re.fullmatch(group, row["group"]) and are_times([row["round_seconds"]]):
            found.setdefault((row["session_id"], row["group"]), []).append(row)
    sessions = [
        Session(
            session_id=session_id,
            group=name,
            measured_at=rows[0]["measured_at"],
            machine=machine_of(rows[0], gpu=name.endswith("on a GPU")),
            rows={parameter_of(row, "name") or row["name"]: row for row in rows},
        )
        for (session_id, name), rows in found.items()
    ]
    return sorted(sessions, key=lambda session: (session.measured_at, session.session_id), reverse=True)


def same_machine(sessions: Sequence[Session]) -> list[Session]:
    """Of sessions, those on the machine of the first of them, and of the same group."""
    return [its for its in sessions if (its.machine, its.group) == (sessions[0].machine, sessions[0].group)]


def machine_of(row: _Row, *, gpu: bool) -> str:
    """The machine of a record, in words: its GPU, or its processor and how many cores of it there were.

    Args:
        row: of any kind with an environment.
        gpu: whether what was measured ran on the GPU; benchmarks of the CPU name a GPU too where there is one.
    """
    if gpu:
        return printable(row["device_name"])
    return f"{printable(row['cpu_name'])} with {counted(row['cpu_cores'], 'core')}"


def are_times(round_seconds: Sequence[Sequence[float | None] | None] | None) -> bool:
    """Whether there are any, and all are such as a clock gives."""
    return bool(round_seconds) and all(
        bool(calls) and all(seconds is not None and 0 < seconds < math.inf for seconds in calls or ())
        for calls in round_seconds or ()
    )


def ratio_of(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Seconds of the first over those of the second, round by round as far as both have rounds.

    Args:
        first: a time for each round.
        second: the same, timed in turn with the first.
    """
    pairs = list(zip(first, second, strict=False))
    comparison = compare_paired([[a] for a, _ in pairs], [[b] for _, b in pairs])
    return Ratio(comparison, [a / b for a, b in pairs])


def speed_of(row: _Row) -> Measured | None:
    """Images per second of a benchmark, with the interval of its median; of too few rounds, the slowest and the fastest.

    Args:
        row: of the records of kind ``benchmarks``, with times; None where it does not say how many images a round has.
    """
    images = row["images"]
    if not images or images < 0:
        return None
    timing = summarize_timing([[seconds] for seconds in row["round_seconds"]])
    slowest, fastest = (timing.high, timing.low) if timing.high and timing.low else _extremes(row)
    return Measured(value=images / timing.median, low=images / slowest, high=images / fastest)


def _extremes(row: _Row) -> tuple[float, float]:
    return max(row["round_seconds"]), min(row["round_seconds"])


def parameter_of(row: _Row, name: str) -> str:
    """A parameter of a benchmark as text; nothing where it has none, or says so in no form that is known."""
    found = _parsed(row["parameters"]).get(name)
    return found if isinstance(found, str) else ""


def number_of(row: _Row, name: str) -> int | None:
    """A parameter of a benchmark that is a whole number; None where it has none."""
    found = _parsed(row["parameters"]).get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def extra_of(row: _Row) -> Mapping[str, Any]:
    """What a benchmark says of itself beside its times; nothing where that is in no form that is known."""
    return _parsed(row["extra"])


def _parsed(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _range(low: float, high: float, digits: int) -> str:
    return f"{low:.{digits}f} to {high:.{digits}f}"


def median_and_range(values: Sequence[float], form: str, unit: str = "") -> str:
    """``38.1 ms (36.5 to 41.2)``; of a single value, that."""
    if len(values) == 1:
        return f"{values[0]:{form}}{unit}"
    return f"{statistics.median(values):{form}}{unit} ({min(values):{form}} to {max(values):{form}})"
