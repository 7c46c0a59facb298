"""Runs in progress."""

from __future__ import annotations

from collections.abc import Sequence

from harness.charts.style import Chart, color_of, label, new_figure
from harness.records import LiveRun

__all__ = ["live_figure"]


def live_figure(runs: Sequence[LiveRun]) -> Chart:
    """Test error so far, and training error, dotted, of each run.

    Args:
        runs: with any number of epochs; the axis ends where the longest of them will.
    """
    figure = new_figure(x="iteration", y="error, per cent", height=460, hovermode="x unified")
    begun = [run for run in runs if run.epochs]
    for run in begun:
        name, color = (
            label(f"{run.model}, {run.recipe}, {run.precision}, seed {run.seed}"),
            color_of(run.model),
        )
        for curve, dash in (("test", "solid"), ("train", "dot")):
            figure.add_scatter(
                x=[epoch.iteration for epoch in run.epochs],
                y=[100 * getattr(epoch, f"{curve}_error") for epoch in run.epochs],
                mode="lines+markers" if len(run.epochs) < 3 else "lines",
                name=f"{name}, {curve}",
                legendgroup=name,
                line={"color": color, "width": 2, "dash": dash},
                hovertemplate="%{y:.2f} %",
            )
    if runs:
        figure.update_xaxes(range=[0, max(run.iterations for run in runs)])
    figure.update_yaxes(rangemode="tozero")
    return Chart(figure, f"Error so far of {', '.join(f'{run.model}, seed {run.seed}' for run in begun)}.")
