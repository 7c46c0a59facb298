"""Figures of what was recorded and what follows from it, for the report and the dashboard. No torch."""

from harness.charts.classes import class_figure, confusion_figure
from harness.charts.cost import cost_figure
from harness.charts.curves import curves_figure, seeds_figure
from harness.charts.depth import depth_figure, responses_figure
from harness.charts.live import live_figure
from harness.charts.networks import relations_figure
from harness.charts.profiles import operators_figure, roofline_figure, scaling_figure
from harness.charts.sizes import SizedNetwork, sizes_figure
from harness.charts.speed import Pace, speed_figure
from harness.charts.style import DARK, LIGHT, Chart, Theme, color_of, paint
from harness.charts.verdicts import optimism_figure, verdict_figure

__all__ = [
    "DARK",
    "LIGHT",
    "Chart",
    "Pace",
    "SizedNetwork",
    "Theme",
    "class_figure",
    "color_of",
    "confusion_figure",
    "cost_figure",
    "curves_figure",
    "depth_figure",
    "live_figure",
    "operators_figure",
    "optimism_figure",
    "paint",
    "relations_figure",
    "responses_figure",
    "roofline_figure",
    "scaling_figure",
    "seeds_figure",
    "sizes_figure",
    "speed_figure",
    "verdict_figure",
]
