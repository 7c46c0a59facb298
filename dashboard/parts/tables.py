"""Cells of tables."""

from __future__ import annotations

from typing import Any

from harness.analysis.groups import RunGroup

__all__ = ["group_columns", "per_cent"]


def per_cent(fraction: float | None) -> float | None:
    """A number that sorts, to the digits that 10,000 images have."""
    return None if fraction is None else round(100 * fraction, 2)


def group_columns(group: RunGroup) -> dict[str, Any]:
    """What runs are of that differ in nothing but their seed."""
    return {
        "seeds": len(group.runs),
        "model": group.model,
        "recipe": group.recipe,
        "iterations": group.iterations,
        "precision": group.precision,
        "device": group.device_name,
    }
