"""How large networks of one name are, and which of them are the same function."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go

from harness.charts.style import LIGHT, Chart, decades, label, new_figure

__all__ = ["SizedNetwork", "sizes_figure"]

_MARKERS: Final[Mapping[str, tuple[str, str, str]]] = {
    "identical": ("#3b82c4", "circle", "same function, bit for bit"),
    "equal": ("#2e9e8f", "diamond", "same function but for rounding"),
    "permuted": ("#8f7fd1", "square", "same function, channels in another order"),
    "different": ("#d55e00", "x", "another function"),
}
"""Colour, symbol and meaning."""
_UNKNOWN: Final = ("#8a8f98", "circle-open", "not known")
_UNIT: Final = 1e6
_ROW: Final = 16
_AROUND: Final = 104
_LONGEST: Final = 36
"""Letters of a name, of more the end is left out."""


@dataclass(frozen=True, kw_only=True)
class SizedNetwork:
    """A network as a row of the figure."""

    name: str
    parameters: int
    relation: str
    """To the paper's: identical, equal, permuted, different."""


def sizes_figure(groups: Mapping[str, Sequence[SizedNetwork]], of_paper: int | None = None) -> Chart:
    """Parameters of networks on a logarithmic axis, a row for each, by what they are to the paper's.

    Args:
        groups: by title, from above; those without a network are left out.
        of_paper: parameters of the paper's network, as a line across; None for no line.
    """
    shown = {title: [its for its in group if its.parameters > 0] for title, group in groups.items()}
    rows = [its for group in shown.values() for its in group]
    names = [_short(its.name) for its in rows]
    figure = new_figure(
        x="parameters, millions",
        y="",
        height=_AROUND + _ROW * max(1, len(rows)),
        margin={"l": 8, "r": 16 + 8 * max((len(title) for title, its in shown.items() if its), default=0)}
        | {"t": 32, "b": 8},
        xaxis=_axis([its.parameters / _UNIT for its in rows]),
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": names,
            "range": [len(rows) - 0.4, -0.6],
            "dtick": 1,
            "showgrid": False,
            "tickfont": {"size": 11},
        },
        legend={
            "orientation": "h",
            "xref": "container",
            "x": 0,
            "yref": "container",
            "yanchor": "top",
            "y": 1,
            "font": {"size": 12},
        },
    )
    if of_paper and rows:
        figure.add_scatter(
            x=[of_paper / _UNIT] * 2,
            y=[names[0], names[-1]],
            mode="lines",
            name="ResNet-20 of the paper",
            line={"color": LIGHT.paper, "width": 1, "dash": "dash"},
            meta="paper",
            hoverinfo="skip",
        )
    for relation in dict.fromkeys([*_MARKERS, *(its.relation for its in rows)]):
        _add(figure, [its for its in rows if its.relation == relation], relation)
    _add_titles(figure, shown)
    return Chart(figure, _told(shown))


def _axis(millions: Sequence[float]) -> dict[str, Any]:
    """With room for the numbers that stand beside the points."""
    axis = {**decades(millions), "tickfont": {"size": 11}}
    if millions:
        axis["range"] = [math.log10(min(millions)) - 0.12, math.log10(max(millions)) + 0.45]
    return axis


def _add(figure: go.Figure, rows: Sequence[SizedNetwork], relation: str) -> None:
    if not rows:
        return
    color, symbol, meaning = _MARKERS.get(relation, _UNKNOWN)
    figure.add_scatter(
        x=[its.parameters / _UNIT for its in rows],
        y=[_short(its.name) for its in rows],
        mode="markers+text",
        name=meaning,
        marker={"color": color, "symbol": symbol, "size": 9},
        text=[f" {its.parameters:,}" for its in rows],
        textposition="middle right",
        textfont={"size": 10},
        cliponaxis=False,
        hovertemplate="%{y}:%{text} parameters<extra></extra>",
    )


def _add_titles(figure: go.Figure, groups: Mapping[str, Sequence[SizedNetwork]]) -> None:
    """Of the groups, to the right of their first rows, with a line above each but the first."""
    at = 0
    for title, group in groups.items():
        if not group:
            continue
        if at:
            figure.add_hline(at - 0.5, line={"color": LIGHT.paper, "width": 0.5}, opacity=0.6)
        figure.add_annotation(
            x=1.01,
            xref="paper",
            xanchor="left",
            y=at,
            text=label(title),
            showarrow=False,
            font={"size": 11},
        )
        at += len(group)


def _told(groups: Mapping[str, Sequence[SizedNetwork]]) -> str:
    """By group, since one would hear many rows alike."""
    told = []
    for title, group in groups.items():
        if group:
            relations = Counter(its.relation for its in group)
            sizes = sorted({its.parameters for its in group})
            ends = " to ".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1])))
            counts = ", ".join(f"{number} {relation}" for relation, number in relations.items())
            told.append(f"{title}: {counts}, of {ends} parameters")
    return f"Parameters of networks, and whether they are the paper's function. {'; '.join(told)}."


def _short(name: str) -> str:
    return label(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…")
