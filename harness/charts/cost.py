"""Accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from harness.analysis.cost import Cost, CostPoint, Measured, front_of
from harness.charts.style import LIGHT, Chart, color_of, label, new_figure, symbol_of

__all__ = ["cost_figure"]

_AXES: Final[dict[Cost, tuple[str, float, str]]] = {
    "throughput": ("images per second in training", 1, "%{x:,.0f} images/s"),
    "latency": ("latency of one image, ms", 1e3, "%{x:.3g} ms"),
    "parameters": ("parameters, millions", 1e-6, "%{x:.3g} million"),
    "MACs": ("MACs of one image, millions", 1e-6, "%{x:.4g} million"),
    "energy": ("energy of an image in training, mJ", 1e3, "%{x:.3g} mJ"),
}
"""Title, factor, and how a value is told."""


def cost_figure(points: Sequence[CostPoint], against: Cost = "throughput") -> Chart:
    """Test error against a cost, with 95 % intervals of both; the front of the best is dashed.

    Args:
        points: of one setting; those whose cost is not known are left out.
        against: which cost.
    """
    title, factor, told = _AXES[against]
    figure = new_figure(x=title, y="test error, per cent")
    known = [point for point in points if against in point.costs]
    for point in known:
        error, cost = point.test_error, point.costs[against]
        figure.add_scatter(
            x=[factor * cost.value],
            y=[100 * error.mean],
            error_y=None
            if error.high is None
            else {"type": "data", "array": [100 * (error.high - error.mean)], "thickness": 1.5},
            error_x=_bar(cost, factor),
            mode="markers",
            name=label(point.model),
            marker={"color": color_of(point.model), "size": 11, "symbol": symbol_of(point.model)},
            hovertemplate=f"{told}, %{{y:.2f}} %",
        )
    front = front_of(known, against)
    if len(front) > 1:
        figure.add_scatter(
            x=[factor * point.costs[against].value for point in front],
            y=[100 * point.test_error.mean for point in front],
            mode="lines",
            name="none is better in both",
            line={"color": LIGHT.paper, "dash": "dash", "width": 1},
            meta="paper",
            hoverinfo="skip",
        )
    return Chart(figure, f"Test error against {title} of {', '.join(point.model for point in known)}.")


def _bar(cost: Measured, factor: float) -> dict[str, Any] | None:
    if cost.low is None or cost.high is None:
        return None
    return {
        "type": "data",
        "array": [factor * (cost.high - cost.value)],
        "arrayminus": [factor * (cost.value - cost.low)],
        "thickness": 1.5,
    }
