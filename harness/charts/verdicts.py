"""Claims beside what was measured, and what quoting the best epoch is worth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from harness.analysis.estimates import t_interval
from harness.analysis.groups import RunGroup
from harness.analysis.summary import Summary
from harness.analysis.tost import ALPHA
from harness.analysis.verdicts import Verdict, VerdictRow, measured_once
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

    The 95 % interval is thin, and that of 90 %, by which the verdict is, thick. Rows of a claim with the same bits are one.

    Args:
        board: the rows; those without a judgement are left out.
        margin: that they were judged with, as a fraction.
    """
    judged = [row for row in board if row.judgement is not None]
    once = measured_once(judged)
    devices = {row.group.device_name for row in judged if row.group is not None}
    figure = new_figure(
        x="measured minus claimed test error, percentage points",
        y="",
        height=_AROUND + _ROW * max(1, len(once)),
        yaxis={"autorange": "reversed", "type": "category"},
        showlegend=False,
    )
    figure.add_vrect(-100 * margin, 100 * margin, fillcolor="#2e8b57", opacity=0.12, line_width=0)
    figure.add_vline(0, line={"color": LIGHT.paper, "width": 1, "dash": "dash"})
    for row, *others in once:
        judgement, group, measured = row.judgement, row.group, row.measured
        assert judgement is not None
        assert group is not None
        assert measured is not None
        half = None if judgement.low is None else 100 * (judgement.difference - judgement.low)
        seeds = f"{measured.n} seed{'s' * (measured.n > 1)}"
        same = f"; {len(others)} more with the same bits" if others else ""
        where = f"{row.claim.key}<br>{_named(group, devices)}, {seeds}{same}"
        color = VERDICT_COLORS[row.verdict]
        if half is not None and measured.sd is not None:
            ends = t_interval(-judgement.difference, measured.sd, measured.n, 1 - 2 * ALPHA)
            figure.add_scatter(
                x=[100 * end for end in ends],
                y=[where, where],
                mode="lines",
                line={"color": color, "width": 5},
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=[-100 * judgement.difference],
            y=[where],
            error_x=None if half is None else {"type": "data", "array": [half], "thickness": 1.5},
            mode="markers",
            marker={"color": color, "size": 11, "symbol": symbol_of(group.model)},
            hovertemplate=f"{row.verdict}: %{{x:+.2f}} points<extra></extra>",
        )
    return Chart(
        figure,
        f"Measured minus claimed test error, {len(once)} measurement{'s' * (len(once) != 1)} with intervals of 95 % (thin) and 90 % "
        f"(thick), over the margin of {100 * margin:g} points. The thick one decides: a number is reproduced where it lies within "
        "the margin.",
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
        bars = (
            None
            if optimism.high is None or optimism.low is None
            else {
                "type": "data",
                "symmetric": False,
                "array": [100 * (optimism.high - optimism.mean)],
                "arrayminus": [100 * (optimism.mean - optimism.low)],
                "thickness": 2,
            }
        )
        figure.add_scatter(
            x=[100 * optimism.mean],
            y=[f"{_named(group, devices)}<br>{label(group.recipe)}, {group.iterations:,} iterations"],
            error_x=bars,
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
