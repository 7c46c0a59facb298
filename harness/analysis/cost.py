"""Accuracy beside what it costs. No torch."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.analysis.estimates import Estimate, estimate
from harness.analysis.groups import RunGroup
from harness.analysis.timing import summarize_timing

__all__ = [
    "OTHERS",
    "Cost",
    "CostPoint",
    "Measured",
    "cost_points",
    "front_of",
    "latest_cells",
    "latest_operators",
    "speed_of",
]

_Row = Mapping[str, Any]

Cost = Literal["throughput", "latency", "parameters", "MACs", "energy"]
"""Images per second in training; seconds of inference of one image; joules of an image in training. Throughput is the better
the more of it there is, the others the less."""

OTHERS: Final = "(others)"
"""The name under which the records of kind ``operators`` have all the small ones together."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A figure, with its 95 % interval if there is one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """A model in one setting."""

    model: str
    group: RunGroup
    test_error: Estimate
    """Fraction, after the last iteration."""
    costs: Mapping[Cost, Measured]
    """Those that are known. Throughput is the median of the latest profile on the same device in the same precision."""
    batch_size: int
    """Of that profile: the one that most models of the setting were profiled with, of several that of the recipe."""
    busy: bool
    """Whether others used the machine so much during the profile that its times are not to be trusted."""


def latest_cells(profiles: Iterable[_Row]) -> dict[tuple[Any, ...], _Row]:
    """The latest measured cell by device, model, mode, size of mini-batch and precision.

    Args:
        profiles: rows of the records of kind ``profiles``.
    """
    cells: dict[tuple[Any, ...], _Row] = {}
    for row in sorted(profiles, key=lambda row: row["measured_at"]):
        if row["batch_size"] > 0 and _are_times(row["round_seconds"]):
            cell = (row["device_name"], row["model"], row["mode"], row["batch_size"], row["precision"])
            cells[cell] = row
    return cells


def latest_operators(
    operators: Iterable[_Row], profiles: Iterable[_Row]
) -> dict[tuple[Any, ...], list[_Row]]:
    """The operators of the latest session that has some, by device, model, mode, size of mini-batch and precision.

    Args:
        operators: rows of the records of kind ``operators``.
        profiles: rows of the records of kind ``profiles``, of the same sessions.
    """
    by_session: dict[tuple[Any, ...], list[_Row]] = defaultdict(list)
    for row in operators:
        by_session[row["session_id"], row["model"], row["mode"], row["batch_size"], row["precision"]].append(
            row
        )
    found: dict[tuple[Any, ...], list[_Row]] = {}
    for row in sorted(profiles, key=lambda row: row["measured_at"]):
        cell = row["model"], row["mode"], row["batch_size"], row["precision"]
        if (row["session_id"], *cell) in by_session:
            found[row["device_name"], *cell] = by_session[row["session_id"], *cell]
    return found


def _are_times(round_seconds: Sequence[Sequence[float | None]]) -> bool:
    """Whether there are any, and all are such as a clock gives."""
    return bool(round_seconds) and all(
        calls and all(seconds is not None and 0 < seconds < math.inf for seconds in calls)
        for calls in round_seconds
    )


def cost_points(groups: Sequence[RunGroup], profiles: Iterable[_Row]) -> list[CostPoint]:
    """Every group whose model was profiled where it was trained, in order of the groups.

    Args:
        groups: of any settings.
        profiles: rows of the records of kind ``profiles``.
    """
    cells = latest_cells(profiles)
    by_setting: dict[tuple[Any, ...], list[RunGroup]] = defaultdict(list)
    for group in groups:
        by_setting[group.setting].append(group)
    trained = [cell for cell in cells if cell[2] == "train"]
    sizes = {setting: _common_size(its, trained) for setting, its in by_setting.items()}
    costs: dict[tuple[Any, ...], dict[Cost, Measured]] = {}
    points = []
    for group in groups:
        batch_size = sizes[group.setting]
        place = group.device_name, group.model, "train", batch_size, group.precision
        cell = cells.get(place)
        errors = estimate(1 - accuracy for accuracy in group.values("test_accuracy"))
        if cell is None or errors is None or batch_size is None:
            continue
        if place not in costs:
            costs[place] = _costs(
                cell, cells.get((group.device_name, group.model, "infer", 1, group.precision))
            )
        points.append(
            CostPoint(
                model=group.model,
                group=group,
                test_error=errors,
                costs=costs[place],
                batch_size=batch_size,
                busy=bool(cell["busy"]),
            )
        )
    return points


def _costs(training: _Row, one_image: _Row | None) -> dict[Cost, Measured]:
    """Of a cell of training, and of inference of one image if that was measured."""
    costs: dict[Cost, Measured] = {"throughput": speed_of(training)}
    if one_image is not None:
        timing = summarize_timing(one_image["round_seconds"])
        costs["latency"] = Measured(value=timing.median, low=timing.low, high=timing.high)
    columns: dict[Cost, str] = {"parameters": "parameters", "MACs": "macs", "energy": "joules_per_image"}
    return costs | {
        cost: Measured(value=training[column])
        for cost, column in columns.items()
        if training[column] is not None
    }


def speed_of(cell: _Row) -> Measured:
    """Images per second of a measured cell.

    Args:
        cell: a row of the records of kind ``profiles``, with rounds.
    """
    size, timing = cell["batch_size"], summarize_timing(cell["round_seconds"])
    return Measured(
        value=size / timing.median,
        low=None if timing.high is None else size / timing.high,
        high=None if timing.low is None else size / timing.low,
    )


def front_of(points: Iterable[CostPoint], cost: Cost) -> list[CostPoint]:
    """The points that no other of their setting beats both in accuracy and in a cost, the worst in that cost first.

    Args:
        points: of any settings; those whose cost is not known are left out.
        cost: of which kind.
    """
    better = 1 if cost == "throughput" else -1
    ranked = sorted(
        (point for point in points if cost in point.costs), key=lambda point: better * point.costs[cost].value
    )
    return [
        point
        for point in ranked
        if not any(
            other.group.setting == point.group.setting
            and better * other.costs[cost].value > better * point.costs[cost].value
            and other.test_error.mean < point.test_error.mean
            for other in ranked
        )
    ]


def _common_size(groups: Sequence[RunGroup], trained: Sequence[tuple[Any, ...]]) -> int | None:
    """The size of mini-batch in which most of the models were profiled in training; None if none was.

    Args:
        groups: of one setting.
        trained: measured cells of training.
    """
    first = groups[0]
    models = {group.model for group in groups}
    counts = Counter(
        size
        for device, model, _, size, precision in trained
        if model in models and device == first.device_name and precision == first.precision
    )
    return max(counts, key=lambda size: (counts[size], size == first.batch_size, size), default=None)
