"""Errors over the course of training, with bands over seeds, on the paper's own Figure 6."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from harness import paper
from harness.analysis.estimates import t_interval
from harness.analysis.groups import RunGroup
from harness.charts.style import Chart, color_of, label, new_figure, symbol_of, translucent

__all__ = ["Band", "Over", "curves_figure", "seeds_figure"]

Over = Literal["iteration", "epoch", "seconds"]
Band = Literal["range", "interval", "sd"]

_Epochs = Mapping[str, Sequence[Mapping[str, Any]]]
_Floats = NDArray[np.float64]
_AXES: Final[dict[Over, str]] = {"iteration": "iteration", "epoch": "epoch", "seconds": "seconds of training"}
_DASHES = {"train": "dot", "test": "solid"}
_TOP_OF_FIGURE_6 = 20.0


def curves_figure(
    groups: Sequence[RunGroup],
    epochs: _Epochs,
    *,
    figure_6: Sequence[tuple[str, int]] = (),
    with_training: bool = True,
    over: Over = "iteration",
    band: Band = "range",
    smoothing: int = 1,
) -> Chart:
    """Test error (and training error, dotted) over the course of training: the mean over seeds, in a band.

    Args:
        groups: of one setting.
        epochs: rows of the records of kind ``epochs``, by run, in order.
        figure_6: networks of the paper whose curves are drawn behind, by kind and depth; the axis then ends at 20 % as
            there.
        with_training: whether training errors are shown.
        over: what the course is measured in; the paper's curves know nothing but iterations.
        band: from the least seed to the greatest; the 95 % interval of the mean (Student's, from two seeds on); or the
            standard deviation on either side of it.
        smoothing: epochs, of which each point is the mean with those before it; what is smoothed is drawn thin behind.

    Raises:
        ValueError: the paper's curves are wanted over something else than iterations.
    """
    if figure_6 and over != "iteration":
        raise ValueError(f"the paper's curves are over iterations, not over {over!r}; leave them out")
    figure = new_figure(x=_AXES[over], y="error, per cent", height=460, hovermode="x unified")
    curves: tuple[Literal["test", "train"], ...] = ("test", "train") if with_training else ("test",)
    for network, depth in figure_6:
        for curve in curves:
            points = [
                point
                for point in paper.figure6()
                if (point.network, point.depth, point.curve) == (network, depth, curve)
            ]
            figure.add_scatter(
                x=[point.iteration for point in points],
                y=[point.error_percent for point in points],
                mode="lines",
                name=f"paper, {network}-{depth}, {curve}",
                line={
                    "color": translucent(color_of(f"{network}{depth}"), 0.9),
                    "width": 1.3,
                    "dash": "dash" if curve == "test" else "dot",
                },
                hoverinfo="skip",
            )
    for group in groups:
        for curve in curves:
            _add_group(figure, group, epochs, curve, over=over, band=band, smoothing=smoothing)
    if figure_6:
        figure.update_yaxes(range=[0, _TOP_OF_FIGURE_6])
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(rangemode="tozero")
    names = [*(group.model for group in groups), *(f"the paper's {kind}-{depth}" for kind, depth in figure_6)]
    return Chart(figure, f"Error over the course of training of {', '.join(names)}.")


def _add_group(
    figure: Any, group: RunGroup, epochs: _Epochs, curve: str, *, over: Over, band: Band, smoothing: int
) -> None:
    courses = [epochs[run["run_id"]] for run in group.runs if run["run_id"] in epochs]
    if not courses:
        return
    length = min(map(len, courses))
    # seconds differ from seed to seed
    x = np.mean([[row[over] for row in course[:length]] for course in courses], axis=0)
    if over == "epoch":
        x = x + 1
    raw = 100 * np.array([[row[f"{curve}_error"] for row in course[:length]] for course in courses])
    errors = _smoothed(raw, smoothing)
    color, name = color_of(group.model), label(f"{group.model}, {curve}")
    if smoothing > 1:
        figure.add_scatter(
            x=x,
            y=raw.mean(axis=0),
            mode="lines",
            line={"color": translucent(color, 0.4), "width": 1},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
    if len(courses) > 1:
        low, high = _band(errors, band)
        figure.add_scatter(
            x=[*x, *x[::-1]],
            y=[*high, *low[::-1]],
            mode="lines",
            fill="toself",
            fillcolor=translucent(color, 0.18),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=name,
        )
    figure.add_scatter(
        x=x,
        y=errors.mean(axis=0),
        mode="lines" if length > 2 else "lines+markers",
        name=f"{name} ({len(courses)} seed{'s' * (len(courses) > 1)})",
        legendgroup=name,
        line={"color": color, "width": 2, "dash": _DASHES[curve]},
        hovertemplate="%{y:.2f} %",
    )


def _smoothed(errors: _Floats, epochs: int) -> _Floats:
    """Each column the mean with those before it, so many in all, or as many as there are."""
    sums = np.cumsum(np.pad(errors, ((0, 0), (1, 0))), axis=1)
    ends = np.arange(1, errors.shape[1] + 1)
    starts = np.maximum(0, ends - epochs)
    return np.asarray((sums[:, ends] - sums[:, starts]) / (ends - starts))


def _band(errors: _Floats, band: Band) -> tuple[_Floats, _Floats]:
    """Lower and upper end, of at least two seeds."""
    if band == "range":
        return errors.min(axis=0), errors.max(axis=0)
    mean, sd = errors.mean(axis=0), errors.std(axis=0, ddof=1)
    if band == "sd":
        return mean - sd, mean + sd
    half_width = t_interval(0.0, 1.0, len(errors))[1] * sd
    return mean - half_width, mean + half_width


def seeds_figure(groups: Sequence[RunGroup]) -> Chart:
    """Test error of every run after the last iteration, by model; the mean is a line.

    Args:
        groups: of settings that differ in length at most; then each is named with its own.
    """
    lengths = len({group.iterations for group in groups})
    figure = new_figure(
        x="test error, per cent",
        y="",
        height=110 + 34 * max(1, len(groups)),
        yaxis={"autorange": "reversed", "type": "category"},
        showlegend=False,
    )
    for group in groups:
        errors = [100 * (1 - accuracy) for accuracy in group.values("test_accuracy")]
        if not errors:
            continue
        name, color = label(group.model), color_of(group.model)
        if lengths > 1:
            name += f"<br>{group.iterations:,} iterations"
        figure.add_scatter(
            x=errors,
            y=[name] * len(errors),
            mode="markers",
            marker={"color": color, "size": 9, "symbol": symbol_of(group.model), "opacity": 0.75},
            customdata=list(group.seeds),
            hovertemplate="seed %{customdata}: %{x:.2f} %<extra></extra>",
        )
        figure.add_scatter(
            x=[sum(errors) / len(errors)],
            y=[name],
            mode="markers",
            marker={"color": color, "size": 22, "symbol": "line-ns", "line": {"color": color, "width": 3}},
            hovertemplate="mean %{x:.2f} %<extra></extra>",
        )
    return Chart(figure, f"Test error of every seed of {', '.join(group.model for group in groups)}.")
