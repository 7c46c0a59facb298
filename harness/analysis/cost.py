"""Accuracy beside what it costs. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.analysis.estimates import Estimate, estimate
from harness.analysis.groups import RunGroup
from harness.analysis.timing import summarize_timing

__all__ = ["CostPoint", "cost_points", "latest_cells"]

_Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """A model in one setting."""

    model: str
    group: RunGroup
    test_error: Estimate
    """Fraction, after the last iteration."""
    images_per_second: float
    """In training: the median of the latest profile on the same device in the same precision."""
    low: float | None
    """Lower end of its 95 % interval."""
    high: float | None
    batch_size: int
    """Of that profile: the one that most models of the setting were profiled with, of several that of the recipe."""
    parameters: int | None
    macs: int | None
    joules_per_image: float | None
    busy: bool
    """Whether others used the machine so much during the profile that its times are not to be trusted."""
    on_front: bool
    """Whether no other model of the setting is both faster and more accurate."""


def latest_cells(profiles: Iterable[_Row]) -> dict[tuple[Any, ...], _Row]:
    """The latest measured cell by device, model, mode, size of mini-batch and precision.

    Args:
        profiles: rows of the records of kind ``profiles``.
    """
    cells: dict[tuple[Any, ...], _Row] = {}
    for row in sorted(profiles, key=lambda row: row["measured_at"]):
        if row["round_seconds"]:
            cell = (row["device_name"], row["model"], row["mode"], row["batch_size"], row["precision"])
            cells[cell] = row
    return cells


def cost_points(groups: Iterable[RunGroup], profiles: Iterable[_Row]) -> list[CostPoint]:
    """Every group whose model was profiled where it was trained, in order of the groups.

    Args:
        groups: of any settings.
        profiles: rows of the records of kind ``profiles``.
    """
    cells = latest_cells(profiles)
    listed = list(groups)
    sizes = {
        setting: _common_size([group for group in listed if group.setting == setting], cells)
        for setting in {group.setting for group in listed}
    }
    points = []
    for group in listed:
        batch_size = sizes[group.setting]
        cell = cells.get((group.device_name, group.model, "train", batch_size, group.precision))
        errors = estimate(1 - accuracy for accuracy in group.values("test_accuracy"))
        if cell is None or errors is None or batch_size is None:
            continue
        timing = summarize_timing(cell["round_seconds"])
        points.append(
            CostPoint(
                model=group.model,
                group=group,
                test_error=errors,
                images_per_second=batch_size / timing.median,
                low=None if timing.high is None else batch_size / timing.high,
                high=None if timing.low is None else batch_size / timing.low,
                batch_size=batch_size,
                parameters=cell["parameters"],
                macs=cell["macs"],
                joules_per_image=cell["joules_per_image"],
                busy=bool(cell["busy"]),
                on_front=False,
            )
        )
    return [replace(point, on_front=not _is_beaten(point, points)) for point in points]


def _common_size(groups: Sequence[RunGroup], cells: Mapping[tuple[Any, ...], _Row]) -> int | None:
    """The size of mini-batch in which most of the models were profiled in training; None if none was."""
    first = groups[0]
    models = {group.model for group in groups}
    counts = Counter(
        size
        for device, model, mode, size, precision in cells
        if model in models and (device, mode, precision) == (first.device_name, "train", first.precision)
    )
    return max(counts, key=lambda size: (counts[size], size == first.batch_size, size), default=None)


def _is_beaten(point: CostPoint, points: Sequence[CostPoint]) -> bool:
    return any(
        other.group.setting == point.group.setting
        and other.images_per_second > point.images_per_second
        and other.test_error.mean < point.test_error.mean
        for other in points
    )
