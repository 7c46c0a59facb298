"""Claims beside what was measured, and what quoting the best epoch is worth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from harness.analysis.groups import RunGroup
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Verdict, VerdictRow
from harness.charts.style import LIGHT, Chart, color_of, label, new_figure, symbol_of

__all__ = ["VERDICT_COLORS", "optimism_figure", "verdict_figure"]

VERDICT_COLORS: Final[dict[Verdict, str]] = {
    "reproduced": "#2e8b57",
    "better": "#1f78b4",
    "worse": "#c0392b",
    "inconclusive": "#b8860b",
    "not comparable": "#8a8f98",
    "not measured": "#8a8f98",
}
_ROW = 34
_AROUND = 110


def verdict_figure(board: Sequence[VerdictRow], margin: float) -> Chart:
    """What was measured minus what was claimed, in points of test error, for every row that was judged.

    Args:
        board: the rows; those without a judgement are left out.
        margin: that they were judged with, as a fraction.
    """
    judged = [row for row in board if row.judgement is not None]
    devices = {row.group.device_name for row in judged if row.group is not None}
    figure = new_figure(
        x="measured minus claimed test error, percentage points",
        y="",
        height=_AROUND + _ROW * max(1, len(judged)),
        yaxis={"autorange": "reversed", "type": "category"},
        showlegend=False,
    )
    figure.add_vrect(-100 * margin, 100 * margin, fillcolor="#2e8b57", opacity=0.12, line_width=0)
    figure.add_vline(0, line={"color": LIGHT.paper, "width": 1, "dash": "dash"})
    for row in judged:
        judgement, group, measured = row.judgement, row.group, row.measured
        assert judgement is not None
        assert group is not None
        assert measured is not None
        half = None if judgement.low is None else 100 * (judgement.difference - judgement.low)
        where = f"{row.claim.key}<br>{_named(group, devices)}, {measured.n} seed{'s' * (measured.n > 1)}"
        figure.add_scatter(
            x=[-100 * judgement.difference],
            y=[where],
            error_x=None if half is None else {"type": "data", "array": [half], "thickness": 2},
            mode="markers",
            marker={"color": VERDICT_COLORS[row.verdict], "size": 11, "symbol": symbol_of(group.model)},
            hovertemplate=f"{row.verdict}: %{{x:+.2f}} points<extra></extra>",
        )
    return Chart(
        figure,
        f"Measured minus claimed test error, {len(judged)} measurements with 95 % intervals, over the margin of "
        f"{100 * margin:g} points.",
    )


def optimism_figure(summaries: Sequence[Summary]) -> Chart:
    """Best-on-test minus last accuracy, for each group that knows both."""
    known = [summary for summary in summaries if summary.optimism is not None]
    devices = {summary.group.device_name for summary in known}
    figure = new_figure(
        x="test accuracy of the best epoch minus that of the last, percentage points",
        y="",
        height=_AROUND + _ROW * max(1, len(known)),
        yaxis={"autorange": "reversed", "type": "category"},
        xaxis={"rangemode": "tozero"},
        showlegend=False,
    )
    for summary in known:
        group, optimism = summary.group, summary.optimism
        assert optimism is not None
        half = None if optimism.high is None else 100 * (optimism.high - optimism.mean)
        figure.add_scatter(
            x=[100 * optimism.mean],
            y=[f"{_named(group, devices)}<br>{label(group.recipe)}, {group.iterations:,} iterations"],
            error_x=None if half is None else {"type": "data", "array": [half], "thickness": 2},
            mode="markers",
            marker={"color": color_of(group.model), "size": 10, "symbol": symbol_of(group.model)},
            hovertemplate=f"%{{x:+.2f}} points, {optimism.n} seeds<extra></extra>",
        )
    return Chart(
        figure, f"What quoting the best test epoch adds to the accuracy, for {len(known)} groups of runs."
    )


def _named(group: RunGroup, devices: Collection[str]) -> str:
    """Model and precision, and the device where there are several: rows of one name would lie on each other."""
    words = [group.model, group.precision, *([group.device_name] if len(devices) > 1 else [])]
    return label(", ".join(words))
