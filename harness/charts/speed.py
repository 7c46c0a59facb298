"""How many images a second ways to train get through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.analysis.cost import Measured
from harness.charts.style import LIGHT, Chart, color_of, label, new_figure

__all__ = ["Pace", "speed_figure"]

_ROW, _FRAME, _MOST = 30, 64, 380
"""Pixels: of a bar, of the axis below, of all."""
_OURS: Final = color_of("resnet20")
_INTERVAL: Final = "#e69f00"
"""Seen on both bars, and beside them on light and dark."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """A way to train, and its speed."""

    name: str
    speed: Measured
    """Images per second."""
    note: str = ""
    """To stand behind its bar."""
    ours: bool = True
    """Or what it is compared with."""


def speed_figure(paces: Sequence[Pace]) -> Chart:
    """A bar for each, with its interval, or the range of few rounds, and note.

    Args:
        paces: from top to bottom.
    """
    figure = new_figure(
        x="images per second in training",
        y="",
        height=min(_MOST, _FRAME + _ROW * len(paces)),
        showlegend=False,
        bargap=0.35,
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
    )
    for pace in paces:
        speed = pace.speed
        known = speed.low is not None and speed.high is not None
        figure.add_bar(
            x=[speed.value],
            y=[label(pace.name)],
            orientation="h",
            marker={"color": _OURS if pace.ours else LIGHT.paper, "line": {"width": 0}},
            error_x={
                "type": "data",
                "array": [speed.high - speed.value] if known and speed.high is not None else [],
                "arrayminus": [speed.value - speed.low] if known and speed.low is not None else [],
                "thickness": 1.5,
                "width": 4,
                "color": _INTERVAL,
            },
            hovertemplate="%{x:,.0f} images/s<extra></extra>",
        )
        figure.add_scatter(
            x=[speed.high or speed.value],
            y=[label(pace.name)],
            mode="text",
            text=[f" {speed.value:,.0f}{f' ({label(pace.note)})' if pace.note else ''}"],
            textposition="middle right",
            hoverinfo="skip",
        )
    longest = max((pace.speed.high or pace.speed.value for pace in paces), default=1.0)
    figure.update_xaxes(range=[0, 1.4 * longest], tickformat=",")
    told = "; ".join(f"{pace.name}: {pace.speed.value:,.0f}" for pace in paces)
    return Chart(figure, f"Images per second in training, by contestant. {told}.")
