"""What sections share: the order of settings, and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.analysis.groups import RunGroup
from harness.charts import Chart

__all__ = ["by_setting", "captioned"]


def by_setting(groups: Sequence[RunGroup]) -> list[list[RunGroup]]:
    """Groups by setting, the longest runs first, then those of most models."""
    settings: dict[tuple[object, ...], list[RunGroup]] = {}
    for group in groups:
        settings.setdefault(group.setting, []).append(group)
    return sorted(settings.values(), key=lambda its: (-its[0].iterations * its[0].batch_size, -len(its)))


def captioned(chart: Chart, caption: str) -> Chart:
    """The chart with what it is of below it."""
    return replace(chart, caption=caption)
