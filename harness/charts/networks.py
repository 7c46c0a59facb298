"""Which networks are the same function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from harness.analysis.equivalence import RELATIONS, Relation
from harness.charts.style import Chart, label, new_figure

__all__ = ["relations_figure"]

_COLORS: Final[dict[Relation, str]] = {
    "identical": "#0b5cad",
    "equal": "#4f9bd9",
    "permuted": "#a9d0f0",
    "different": "#d55e00",
    "not compared": "#9aa4af",
}


def relations_figure(
    relations: Mapping[tuple[str, str], Relation], rows: Sequence[str], columns: Sequence[str]
) -> Chart:
    """A matrix of what networks are to each other; a cell is empty where nothing is known.

    Args:
        relations: by row and column.
        rows: their names, from above.
        columns: their names.
    """
    # names of columns stand upright above them, those of relations below, in as many lines as a phone needs
    above, below = 16 + 7 * max(map(len, columns), default=0), 24 + 20 * len(set(relations.values()))
    figure = new_figure(
        x="",
        y="",
        height=above + 26 * len(rows) + below,
        margin={"l": 8, "r": 12, "t": above, "b": below},
        xaxis={"type": "category", "showgrid": False, "side": "top", "tickangle": -90, "dtick": 1},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False, "dtick": 1},
    )
    numbers = [
        [
            RELATIONS.index(relations[row, column]) if (row, column) in relations else None
            for column in columns
        ]
        for row in rows
    ]
    steps = [step for number, relation in enumerate(RELATIONS) for step in _band(number, _COLORS[relation])]
    figure.add_heatmap(
        z=numbers,
        x=list(map(label, columns)),
        y=list(map(label, rows)),
        zmin=-0.5,
        zmax=len(RELATIONS) - 0.5,
        colorscale=steps,
        showscale=False,
        xgap=2,
        ygap=2,
        text=[[relations.get((row, column), "") for column in columns] for row in rows],
        hovertemplate="%{y} and %{x}: %{text}<extra></extra>",
    )
    for relation in RELATIONS:
        if relation in relations.values():
            figure.add_scatter(
                x=[None],
                y=[None],
                mode="markers",
                name=relation,
                marker={"color": _COLORS[relation], "symbol": "square", "size": 12},
            )
    figure.update_xaxes(tickfont={"size": 11})
    figure.update_layout(
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0.0, "x": 0}
    )
    told = [f"{row} and {column}: {found}" for (row, column), found in relations.items() if row != column]
    return Chart(figure, f"What networks are to each other. {'; '.join(told)}.")


def _band(number: int, color: str) -> list[tuple[float, str]]:
    """Of a colour scale that has steps: a colour from one edge to the next."""
    return [(edge / len(RELATIONS), color) for edge in (number, number + 1)]
