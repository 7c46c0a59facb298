"""Runs summed up over seeds. No torch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Group", "Spread", "spread", "summarize"]


@dataclass(frozen=True)
class Spread:
    """Values over seeds."""

    n: int
    mean: float
    sd: float | None
    """Sample standard deviation (n - 1); none for a single value."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that differ in nothing but their seed."""

    model: str
    recipe: str
    iterations: int
    batch_size: int
    shortened: bool
    precision: str
    data: str
    device_name: str
    num_failed: int
    """Of the runs, those that failed or diverged; the rest is in the spreads."""
    test_accuracy: Spread | None
    """Fraction, after the last iteration."""
    images_per_second: Spread | None
    seconds: Spread | None


def spread(values: Iterable[float | None]) -> Spread | None:
    """Count, mean and standard deviation of the values that are there; none if none is."""
    present = [value for value in values if value is not None and not math.isnan(value)]
    if not present:
        return None
    sd = statistics.stdev(present) if len(present) > 1 else None
    return Spread(n=len(present), mean=statistics.fmean(present), sd=sd)


_SAME = ("model", "recipe", "iterations", "batch_size", "shortened", "precision", "data", "device_name")


def summarize(runs: Sequence[dict[str, Any]]) -> list[Group]:
    """Rows of the records of kind ``runs``, grouped over seeds, in order of first appearance."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(tuple(run[name] for name in _SAME), []).append(run)
    summary = []
    for key, members in groups.items():
        completed = [run for run in members if run["status"] == "completed"]
        summary.append(
            Group(
                **dict(zip(_SAME, key, strict=True)),
                num_failed=len(members) - len(completed),
                test_accuracy=spread(run["test_accuracy"] for run in completed),
                images_per_second=spread(run["images_per_second"] for run in completed),
                seconds=spread(run["seconds"] for run in completed),
            )
        )
    return summary
