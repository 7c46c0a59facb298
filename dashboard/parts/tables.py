"""Cells of tables."""

from __future__ import annotations

from typing import Any

from harness.analysis.groups import RunGroup

__all__ = ["group_row", "per_cent", "rounded"]


def per_cent(fraction: float | None) -> float | None:
    """A number that sorts, to the digits that 10,000 images have."""
    return rounded(fraction, 2, 100)


def rounded(value: float | None, digits: int, factor: float = 1) -> float | None:
    """A number that sorts, if there is one."""
    return None if value is None else round(factor * value, digits)


def group_row(group: RunGroup, cells: dict[str, Any]) -> dict[str, Any]:
    """A row about runs that differ in nothing but their seed: of which model, what is said of them, and which they are."""
    return {
        "model": group.model,
        **cells,
        "seeds": len(group.runs),
        "recipe": group.recipe,
        "iterations": group.iterations,
        "precision": group.precision,
        "device": group.device_name,
    }
