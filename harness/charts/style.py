"""How figures look: one colour for each model wherever it appears, readable on light and dark, and by the colour-blind.

The hue says whose code a network is (of Okabe and Ito's palette, as far as it goes), the lightness how deep it is.
"""

from __future__ import annotations

import colorsys
import functools
import html
import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

__all__ = [
    "DARK",
    "LIGHT",
    "Chart",
    "Theme",
    "color_of",
    "decades",
    "label",
    "new_figure",
    "paint",
    "symbol_of",
    "translucent",
]


@dataclass(frozen=True)
class Chart:
    """A figure, and what it shows for those who do not see it."""

    figure: go.Figure
    alt: str
    caption: str = ""
    """What is seen in it, for those who see it; by default ``alt``."""


@dataclass(frozen=True)
class Theme:
    """Colours of what is no data."""

    text: str
    grid: str
    paper: str
    """Of the curves and points of the paper itself."""


LIGHT: Final = Theme(text="#24292f", grid="#e3e6ea", paper="#6e7781")
DARK: Final = Theme(text="#e6edf3", grid="#30363d", paper="#9aa4af")

_HUES: Final = {
    "resnet": "#0072b2",
    "plain": "#d55e00",
    "torchvision": "#009e73",
    "timm": "#cc79a7",
    "akamaster": "#b8860b",
    "kuangliu": "#8c564b",
    "chenyaofo": "#56b4e9",
    "yunjey": "#7f7f7f",
    "alvarobartt": "#6a51a3",
    "pytorchcv": "#d81b60",
    "bayesian": "#c44e52",
    "torchdistill": "#7a9a01",
}
_OTHERS: Final = ("#3b7dd8", "#b5651d", "#2e8b57", "#a64d79", "#808000", "#5f5fb0")
_DEPTHS: Final = (20, 32, 44, 56, 110)
_CONTRAST: Final = 2.45
"""With white, of the lightest of a hue."""
_RANGE: Final = 0.12
"""Of lightness, at least, from the shallowest to the deepest."""
_SYMBOLS: Final = {20: "circle", 32: "square", 44: "diamond", 56: "triangle-up", 110: "cross"}


def color_of(model: str) -> str:
    """The colour of a model, as ``#rrggbb``; always the same."""
    words = re.split(r"[-.:_\d]", model)
    plain = "plain" in words
    family = "plain" if words[0] == "plain" else words[0]
    number = zlib.crc32(family.encode(errors="surrogatepass"))
    base = _HUES.get(family) or _OTHERS[number % len(_OTHERS)]
    hue, lightness, saturation = colorsys.rgb_to_hls(*(int(base[at : at + 2], 16) / 255 for at in (1, 3, 5)))
    if plain and family != "plain":
        saturation /= 2
    depth = _depth(model)
    if depth in _DEPTHS:
        lightest = _lightest(hue, saturation)
        darkest = min(lightness, lightest - _RANGE)
        lightness = darkest + (lightest - darkest) * _DEPTHS.index(depth) / (len(_DEPTHS) - 1)
    return _hex(hue, lightness, saturation)


@functools.cache
def _lightest(hue: float, saturation: float) -> float:
    """The greatest lightness at which a colour still stands out on white."""
    steps = [step / 200 for step in range(200, 0, -1)]
    return next(step for step in steps if _contrast_with_white(_hex(hue, step, saturation)) >= _CONTRAST)


def _contrast_with_white(color: str) -> float:
    """Ratio of luminances as WCAG 2.2 defines it."""
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (luminance + 0.05)


def _hex(hue: float, lightness: float, saturation: float) -> str:
    channels = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def symbol_of(model: str) -> str:
    """Marker of a model: by its depth, so that colour is not all that tells models apart."""
    symbol = _SYMBOLS.get(_depth(model), "star")
    return f"{symbol}-open" if "plain" in model else symbol


def translucent(color: str, opacity: float) -> str:
    """A colour that lets through what is behind it.

    Args:
        color: ``#rrggbb``.
        opacity: from 0 to 1.
    """
    channels = ",".join(str(int(color[at : at + 2], 16)) for at in (1, 3, 5))
    return f"rgba({channels},{opacity})"


def label(text: str) -> str:
    """A text of others as plotly shows it as it is: it takes some tags for markup."""
    return html.escape(text, quote=False)


def new_figure(*, x: str, y: str, height: int = 420, **layout: Any) -> go.Figure:
    """An empty figure in the colours of `LIGHT`; who shows it changes those of text and grid.

    Args:
        x: title of the axis, with its unit.
        y: the same.
        height: pixels.
        layout: further properties of plotly's layout.
    """
    axis = {
        "gridcolor": LIGHT.grid,
        "zeroline": False,
        "automargin": True,
        "linecolor": LIGHT.grid,
        "ticklabeloverflow": "allow",  # the margins make room; to look whether they do takes a tenth of the time
    }
    return go.Figure(
        layout={
            "height": height,
            "margin": {"l": 8, "r": 12, "t": 12, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": LIGHT.text},
            "hoverlabel": {"align": "left"},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
            **layout,
            "xaxis": {**axis, "title": {"text": x}, **layout.get("xaxis", {})},
            "yaxis": {**axis, "title": {"text": y}, **layout.get("yaxis", {})},
        }
    )


def decades(values: Iterable[float]) -> dict[str, Any]:
    """Ticks of a logarithmic axis at 1, 2 and 5 of each decade, with all their digits.

    Args:
        values: what is shown; what is not positive has no place on such an axis.
    """
    known = [value for value in values if 0 < value < math.inf]
    if not known:
        return {"type": "log"}
    first, last = (math.floor(math.log10(end)) for end in (min(known), max(known)))
    ticks = [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:,.10g}" for tick in ticks]}


def paint(figure: go.Figure, theme: Theme) -> go.Figure:
    """The figure in the colours of a theme; it is changed."""
    figure.update_layout(font_color=theme.text)
    for axes in (figure.update_xaxes, figure.update_yaxes):
        axes(gridcolor=theme.grid, linecolor=theme.grid)
    figure.update_traces(line_color=theme.paper, selector={"meta": "paper"})
    return figure


def _depth(model: str) -> int:
    """The first number of a name that is a depth; 0 if there is none."""
    found = re.search(r"(?:resnet|plain)(\d+)", model)
    return int(found[1]) if found and len(found[1]) < 5 else 0
