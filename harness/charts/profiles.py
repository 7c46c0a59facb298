"""What a step takes: by size of the mini-batch, by operator, and against what the machine can do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.analysis.cost import OTHERS, speed_of
from harness.analysis.roofline import Roofline
from harness.charts.style import LIGHT, Chart, color_of, decades, label, new_figure, symbol_of

__all__ = ["operators_figure", "roofline_figure", "scaling_figure"]

_OPERATORS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#7f7f7f", "#b8a200")
"""Of Okabe and Ito, as far as it goes; as many are named."""
_NUM_OPERATORS: Final = len(_OPERATORS)
_REST: Final = "#bdbdbd"


def scaling_figure(cells: Sequence[Mapping[str, Any]]) -> Chart:
    """Images per second by size of the mini-batch, with 95 % intervals, which of few rounds are ranges.

    Args:
        cells: rows of the records of kind ``profiles``, of one device, mode and precision, with rounds.
    """
    figure = new_figure(
        x="images in a mini-batch",
        y="images per second",
        xaxis={"type": "log"},
        yaxis=decades(speed_of(cell).value for cell in cells),
    )
    by_model: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell["batch_size"]):
        by_model[cell["model"]].append(cell)
    sizes = sorted({cell["batch_size"] for cell in cells})
    figure.update_xaxes(tickvals=sizes, ticktext=list(map(str, sizes)))
    for model, its in by_model.items():
        speeds = [speed_of(cell) for cell in its]
        figure.add_scatter(
            x=[cell["batch_size"] for cell in its],
            y=[speed.value for speed in speeds],
            error_y={
                "type": "data",
                "array": [0 if speed.high is None else speed.high - speed.value for speed in speeds],
                "arrayminus": [0 if speed.low is None else speed.value - speed.low for speed in speeds],
                "thickness": 1.5,
            },
            mode="lines+markers",
            name=label(model),
            line={"color": color_of(model), "width": 2},
            marker={"symbol": symbol_of(model), "size": 8},
            hovertemplate="%{x} images: %{y:,.0f} images/s",
        )
    return Chart(figure, f"Images per second by size of the mini-batch of {', '.join(by_model)}.")


def operators_figure(rows: Sequence[Mapping[str, Any]]) -> Chart:
    """The share of each operator in the time of a step, by model; the small ones together.

    Args:
        rows: of the records of kind ``operators``, of one mode, size and precision; of each model, of one session.
    """
    totals: dict[str, float] = defaultdict(float)
    shares: dict[tuple[str, str], float] = defaultdict(float)
    for row in rows:
        totals[row["operator"]] += row["share"]
        shares[row["model"], row["operator"]] += row["share"]
    models = list(dict.fromkeys(row["model"] for row in rows))
    named = [operator for operator in totals if operator != OTHERS]
    largest = sorted(named, key=lambda operator: -totals[operator])[:_NUM_OPERATORS]
    figure = new_figure(
        x="share of a step, per cent",
        y="",
        height=270 + 34 * max(1, len(models)),
        barmode="stack",
        xaxis={"range": [0, 100]},
        yaxis={"autorange": "reversed", "type": "category"},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "traceorder": "normal"},
    )

    def add(name: str, color: str, its: Sequence[float]) -> None:
        figure.add_bar(
            x=[100 * share for share in its],
            y=[label(model) for model in models],
            orientation="h",
            name=label(name),
            marker={"color": color},
            hovertemplate="%{x:.1f} %",
        )

    for operator, color in zip(largest, _OPERATORS, strict=False):
        add(_short(operator), color, [shares[model, operator] for model in models])
    rest = [max(0.0, 1 - sum(shares[model, operator] for operator in largest)) for model in models]
    add("others", _REST, rest)
    told = ", ".join([*map(_short, largest), "and others"])
    return Chart(figure, f"Share of operators in the time of a step of {', '.join(models)}: {told}.")


def _short(operator: str) -> str:
    return operator.removeprefix("aten::")


def roofline_figure(points: Sequence[Roofline]) -> Chart:
    """Floating-point operations per second against operations per byte, under the roof of the machine.

    Args:
        points: of one device and precision; the roof is that of the last.
    """
    figure = new_figure(
        x="operations per byte, at most",
        y="billion operations per second",
        height=460,
        xaxis=decades(point.intensity for point in points),
        yaxis=decades(
            flops / 1e9 for point in points for flops in (point.flops, point.ceiling_flops, point.attainable)
        ),
    )
    for model in dict.fromkeys(point.model for point in points):
        its = [point for point in points if point.model == model]
        figure.add_scatter(
            x=[point.intensity for point in its],
            y=[point.flops / 1e9 for point in its],
            mode="markers",
            name=label(model),
            marker={"color": color_of(model), "symbol": symbol_of(model), "size": 9},
            text=[f"{point.mode}, mini-batch {point.batch_size}" for point in its],
            hovertemplate="%{text}: %{y:,.1f} of %{customdata:,.0f} billion/s",
            customdata=[point.attainable / 1e9 for point in its],
        )
    if points:
        roof = points[-1]
        knee = roof.ceiling_flops / roof.ceiling_bytes
        ends = [point.intensity for point in points]
        xs = sorted({min(*ends, knee) / 1.5, knee, max(*ends, knee) * 1.5})
        figure.add_scatter(
            x=xs,
            y=[min(roof.ceiling_flops, x * roof.ceiling_bytes) / 1e9 for x in xs],
            mode="lines",
            name="what the machine does at most",
            line={"color": LIGHT.paper, "dash": "dash", "width": 1.5},
            meta="paper",
            hoverinfo="skip",
        )
    names = ", ".join(dict.fromkeys(point.model for point in points))
    return Chart(
        figure, f"Operations per second against operations per byte of {names}, under the machine's roof."
    )
