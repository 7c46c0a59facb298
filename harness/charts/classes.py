"""Which classes are confused, and how often each is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.analysis.by_class import ClassAccuracy
from harness.charts.style import Chart, color_of, label, new_figure, symbol_of

__all__ = ["class_figure", "confusion_figure"]


def confusion_figure(matrix: NDArray[np.float64], classes: Sequence[str]) -> Chart:
    """How many images of each class are taken for another; right answers are left out, which would outshine the rest.

    Args:
        matrix: counts, (true class, answered class).
        classes: their names.
    """
    wrong = np.array(matrix, dtype=np.float64)
    np.fill_diagonal(wrong, np.nan)
    figure = new_figure(
        x="answered class",
        y="true class",
        height=520,
        xaxis={"type": "category", "showgrid": False},
        yaxis={"type": "category", "autorange": "reversed", "showgrid": False},
    )
    figure.add_heatmap(
        z=wrong,
        x=list(classes),
        y=list(classes),
        colorscale="Cividis",
        texttemplate="%{z:.0f}",
        hovertemplate="%{y} taken for %{x}: %{z:.1f} images<extra></extra>",
        showscale=False,  # the numbers stand in the cells
    )
    told = ""
    if np.nansum(wrong):
        true, answered = divmod(int(np.nanargmax(wrong)), wrong.shape[1])
        told = f" Most often {classes[true]} for {classes[answered]}."
    return Chart(
        figure, f"How many test images of each class are taken for which other, mean over seeds.{told}"
    )


def class_figure(accuracies: Mapping[str, Sequence[ClassAccuracy]], classes: Sequence[str]) -> Chart:
    """Error by class and model, with 95 % intervals.

    Args:
        accuracies: by model.
        classes: names of all.
    """
    figure = new_figure(
        x="class", y="test error, per cent", height=420, xaxis={"type": "category"}, scattermode="group"
    )
    for model, its in accuracies.items():
        errors = [100 * (1 - of_class.accuracy) for of_class in its]
        figure.add_scatter(
            x=[classes[of_class.label] for of_class in its],
            y=errors,
            error_y={
                "type": "data",
                "array": [
                    100 * (1 - its_low.low) - error for its_low, error in zip(its, errors, strict=True)
                ],
                "arrayminus": [
                    error - 100 * (1 - its_high.high) for its_high, error in zip(its, errors, strict=True)
                ],
                "thickness": 1.5,
            },
            mode="markers",
            name=label(model),
            marker={"color": color_of(model), "size": 9, "symbol": symbol_of(model)},
            hovertemplate="%{y:.1f} %",
        )
    figure.update_yaxes(rangemode="tozero")
    return Chart(figure, f"Test error by class of {', '.join(accuracies)}, with 95 % intervals.")
