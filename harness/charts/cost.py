"""Accuracy against what it costs."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.cost import CostPoint
from harness.charts.style import LIGHT, Chart, color_of, label, new_figure, symbol_of

__all__ = ["cost_figure"]


def cost_figure(points: Sequence[CostPoint]) -> Chart:
    """Test error against images per second in training, with 95 % intervals of both; the front of the best is dashed.

    Args:
        points: of one setting.
    """
    figure = new_figure(x="images per second in training", y="test error, per cent")
    for point in points:
        error, speed = point.test_error, point.images_per_second
        figure.add_scatter(
            x=[speed],
            y=[100 * error.mean],
            error_y=None
            if error.high is None
            else {"type": "data", "array": [100 * (error.high - error.mean)], "thickness": 1.5},
            error_x=None
            if point.high is None or point.low is None
            else {
                "type": "data",
                "array": [point.high - speed],
                "arrayminus": [speed - point.low],
                "thickness": 1.5,
            },
            mode="markers",
            name=label(point.model),
            marker={"color": color_of(point.model), "size": 11, "symbol": symbol_of(point.model)},
            hovertemplate="%{x:,.0f} images/s, %{y:.2f} %",
        )
    front = sorted((point for point in points if point.on_front), key=lambda point: point.images_per_second)
    if len(front) > 1:
        figure.add_scatter(
            x=[point.images_per_second for point in front],
            y=[100 * point.test_error.mean for point in front],
            mode="lines",
            name="none is both faster and more accurate",
            line={"color": LIGHT.paper, "dash": "dash", "width": 1},
            meta="paper",
            hoverinfo="skip",
        )
    return Chart(
        figure, f"Test error against training speed of {', '.join(point.model for point in points)}."
    )
