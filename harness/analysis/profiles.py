"""Profiles set beside each other: two models of one session, or two sessions. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis.timing import Comparison, Timing, agree, compare_apart, compare_paired, summarize_timing
from harness.config import Recipe

__all__ = [
    "CellChange",
    "CellComparison",
    "compare_machines",
    "compare_models",
    "compare_sessions",
    "joules_per_run",
]

_Row = dict[str, Any]

Verdict = Literal["not told apart", "slower", "faster", "not told from the machine", "unknown"]
"""``not told apart``: the intervals overlap. ``slower``, ``faster``: they do not, and the change is beyond all that the machine
itself may have changed by. ``not told from the machine``: it is not, or nothing is known of the machine. ``unknown``: there is no
interval."""


def joules_per_run(row: Mapping[str, Any], recipe: Recipe) -> float | None:
    """Energy of training by a recipe, its evaluations not counted, at what an image of a cell has taken.

    Args:
        row: of the records of kind ``profiles``.
        recipe: for its number of images; its mini-batches may be of another size than the cell's.

    Returns:
        Joules; None of inference, and where energy was not measured.
    """
    if row["mode"] != "train" or row["joules_per_image"] is None:
        return None
    return float(row["joules_per_image"]) * recipe.batch_size * recipe.num_iterations()


@dataclass(frozen=True, kw_only=True)
class CellComparison:
    """Two models in one mode, size and precision, measured in turn."""

    mode: str
    batch_size: int
    precision: str
    comparison: Comparison
    """Seconds of the first over those of the second."""
    num_rounds: int
    """That both have."""


def compare_models(rows: Sequence[_Row], first: str, second: str) -> list[CellComparison]:
    """Every cell that both models have, round by round.

    Args:
        rows: of the records of kind ``profiles``, of one session.
        first: key of a model.
        second: key of another.
    """
    others = {_cell(row): row for row in rows if row["model"] == second and row["round_seconds"]}
    pairs = [
        (row, others[_cell(row)])
        for row in rows
        if row["model"] == first and row["round_seconds"] and _cell(row) in others
    ]
    return [
        CellComparison(
            mode=row["mode"],
            batch_size=row["batch_size"],
            precision=row["precision"],
            comparison=compare_paired(*rounds),
            num_rounds=len(rounds[0]),
        )
        for row, other in pairs
        for rounds in [_common_rounds(row, other)]
    ]


@dataclass(frozen=True, kw_only=True)
class CellChange:
    """A cell in two sessions."""

    model: str
    mode: str
    batch_size: int
    precision: str
    then: Timing
    now: Timing
    comparison: Comparison
    """Seconds now over those then."""
    verdict: Verdict


def compare_machines(now: Sequence[_Row], then: Sequence[_Row]) -> Comparison | None:
    """How much longer the reference takes, which no network is part of; None where a session has none.

    Args:
        now: rows of the records of kind ``profiles``, of one session.
        then: of an earlier session.
    """
    seconds_now, seconds_then = (rows[0]["reference_seconds"] if rows else None for rows in (now, then))
    if not seconds_now or not seconds_then:
        return None
    return compare_apart([[seconds] for seconds in seconds_now], [[seconds] for seconds in seconds_then])


def compare_sessions(now: Sequence[_Row], then: Sequence[_Row]) -> list[CellChange]:
    """Every cell that both sessions have.

    Args:
        now: rows of the records of kind ``profiles``.
        then: of an earlier session.
    """
    machines = compare_machines(now, then)
    earlier = {(row["model"], *_cell(row)): row for row in then if row["round_seconds"]}
    changes = []
    for row in now:
        before = earlier.get((row["model"], *_cell(row)))
        if before is None or not row["round_seconds"]:
            continue
        timings = summarize_timing(before["round_seconds"]), summarize_timing(row["round_seconds"])
        comparison = compare_apart(row["round_seconds"], before["round_seconds"])
        changes.append(
            CellChange(
                model=row["model"],
                mode=row["mode"],
                batch_size=row["batch_size"],
                precision=row["precision"],
                then=timings[0],
                now=timings[1],
                comparison=comparison,
                verdict=_verdict(*timings, comparison, machines),
            )
        )
    return changes


def _verdict(then: Timing, now: Timing, comparison: Comparison, machines: Comparison | None) -> Verdict:
    if comparison.low is None or comparison.high is None:
        return "unknown"
    if agree(then, now):
        return "not told apart"
    # that an interval contains 1 does not say that the machine is as it was: it may have changed by anything within
    least, most = 0.0, math.inf
    if machines is not None and machines.low is not None and machines.high is not None:
        least, most = machines.low, machines.high
    if comparison.low > max(1, most):
        return "slower"
    return "faster" if comparison.high < min(1, least) else "not told from the machine"


def _cell(row: _Row) -> tuple[str, int, str]:
    return row["mode"], row["batch_size"], row["precision"]


def _common_rounds(row: _Row, other: _Row) -> tuple[list[list[float]], list[list[float]]]:
    """An interrupted session ends in the middle of a round."""
    number = min(len(row["round_seconds"]), len(other["round_seconds"]))
    return row["round_seconds"][:number], other["round_seconds"][:number]
