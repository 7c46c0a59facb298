"""Runs summed up over seeds. No torch."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Group", "Spread", "count_repeated", "spread", "summarize"]


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
    """Of the runs, those that failed, diverged or were skipped; the rest is in the spreads."""
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


_SHOWN = ("model", "recipe", "iterations", "batch_size", "shortened", "precision", "data", "device_name")


def _all_but_seed(run: dict[str, Any]) -> str:
    """What was asked, the seed aside, and where it ran."""
    spec = json.loads(run["spec"])
    del spec["seed"]
    return json.dumps([spec, run["environment_sha256"]], sort_keys=True)


def summarize(runs: Sequence[dict[str, Any]]) -> list[Group]:
    """Rows of the records of kind ``runs``, grouped over seeds, in order of first appearance."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(_all_but_seed(run), []).append(run)
    summary = []
    for members in groups.values():
        completed = [run for run in members if run["status"] == "completed"]
        summary.append(
            Group(
                **{name: members[0][name] for name in _SHOWN},
                num_failed=len(members) - len(completed),
                test_accuracy=spread(run["test_accuracy"] for run in completed),
                images_per_second=spread(run["images_per_second"] for run in completed),
                seconds=spread(run["seconds"] for run in completed),
            )
        )
    return summary


def count_repeated(runs: Iterable[dict[str, Any]], earlier: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """How many runs repeat an earlier one: the same was asked, on the same device model with as many threads.

    Returns:
        Their number, and how many of them ended with the same weights as an earlier one, bit for bit.
    """
    known: dict[tuple[Any, ...], set[str | None]] = {}
    for run in earlier:
        known.setdefault(_question_and_device(run), set()).add(run["weights_sha256"])
    repeated = [run for run in runs if _question_and_device(run) in known]
    return len(repeated), sum(run["weights_sha256"] in known[_question_and_device(run)] for run in repeated)


def _question_and_device(run: dict[str, Any]) -> tuple[Any, ...]:
    return run["spec_sha256"], run["device_name"], run["threads"]
