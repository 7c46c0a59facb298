"""What depth does to plain and to residual networks, and how strongly their layers respond."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.depth import DepthPoint, LayerProfile
from harness.charts.style import LIGHT, Chart, color_of, new_figure, symbol_of

__all__ = ["depth_figure", "responses_figure"]


def depth_figure(points: Sequence[DepthPoint]) -> Chart:
    """Test error by depth, a line for plain and one for residual networks, with 95 % intervals; the paper's dashed.

    Args:
        points: of one setting.
    """
    figure = new_figure(
        x="depth, weighted layers", y="test error, per cent", xaxis={"dtick": 12, "tick0": 20}
    )
    for network in ("plain", "resnet"):
        its = [point for point in points if point.network == network]
        if not its:
            continue
        color = color_of(f"{network}20")
        errors = [point.test_error for point in its]
        marker = {"size": 9, "symbol": symbol_of(f"{network}20"), "color": color}
        bars = [
            (point.depth, error.mean, error.low, error.high)
            for point, error in zip(its, errors, strict=True)
            if error.low is not None and error.high is not None
        ]
        if bars:  # in a trace of their own: of a point without an interval plotly would draw the caps
            figure.add_scatter(
                x=[depth for depth, *_ in bars],
                y=[100 * mean for _, mean, _, _ in bars],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [100 * (high - mean) for _, mean, _, high in bars],
                    "arrayminus": [100 * (mean - low) for _, mean, low, _ in bars],
                    "thickness": 2,
                },
                mode="markers",
                line={"color": color},
                marker=marker,
                legendgroup=network,
                showlegend=False,
                hoverinfo="skip",
            )
        figure.add_scatter(
            x=[point.depth for point in its],
            y=[100 * error.mean for error in errors],
            mode="lines+markers",
            name=f"{network}, {min(error.n for error in errors)} or more seeds",
            legendgroup=network,
            line={"color": color},
            marker=marker,
            hovertemplate="%{y:.2f} %",
        )
        stated = [(point.depth, 100 * point.paper_test_error) for point in its if point.paper_test_error]
        if stated:
            figure.add_scatter(
                x=[depth for depth, _ in stated],
                y=[error for _, error in stated],
                mode="lines+markers",
                name=f"paper, {network}",
                line={"color": LIGHT.paper, "dash": "dash"},
                marker={"symbol": symbol_of(f"{network}20")},
                meta="paper",
                hovertemplate="%{y:.2f} %",
            )
    depths = sorted({point.depth for point in points})
    return Chart(
        figure, f"Test error of plain and residual networks of {', '.join(map(str, depths))} layers."
    )


def responses_figure(profiles: Sequence[LayerProfile]) -> Chart:
    """Standard deviation of responses by layer, the paper's Figure 7 dashed behind.

    Args:
        profiles: of one setting.
    """
    figure = new_figure(x="layer", y="standard deviation of its responses")
    for profile in profiles:
        layers = list(range(1, len(profile.stds) + 1))
        name = f"{profile.network}-{profile.depth}"
        if any(profile.paper_stds):
            figure.add_scatter(
                x=layers,
                y=list(profile.paper_stds),
                mode="lines",
                name=f"paper, {name}",
                line={"color": color_of(profile.group.model), "dash": "dash", "width": 1},
                hovertemplate="%{y:.2f}",
            )
        figure.add_scatter(
            x=layers,
            y=list(profile.stds),
            mode="lines",
            name=f"{name}, {profile.num_seeds} seed{'s' * (profile.num_seeds > 1)}",
            line={"color": color_of(profile.group.model), "width": 2},
            hovertemplate="%{y:.2f}",
        )
    figure.update_yaxes(rangemode="tozero")
    names = ", ".join(f"{profile.network}-{profile.depth}" for profile in profiles)
    return Chart(figure, f"Standard deviation of the responses of each layer of {names}.")
