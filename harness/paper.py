"""He, Zhang, Ren and Sun (2015), "Deep Residual Learning for Image Recognition", arXiv:1512.03385.

Constants of section 4.2 (CIFAR-10), each with the table, figure or sentence it stands in, and Figures 6
and 7 as data. The figures were read back from the vector curves of the PDF; the ends of the test curves of
ResNet-20/32/44/56 agree with Table 6 within 0.04 points, which is the check on the method.
"""

from __future__ import annotations

import csv
from importlib import resources
from typing import Any, Final, NamedTuple

__all__ = [
    "BLOCKS_PER_STAGE",
    "FIGURE6_FINAL_TEST_ERROR_PERCENT",
    "PARAMETERS_MILLION",
    "STAGE_CHANNELS",
    "TABLE6_TEST_ERROR_PERCENT",
    "CurvePoint",
    "LayerResponse",
    "depth_of",
    "figure6",
    "figure7",
]

STAGE_CHANNELS: Final = (16, 32, 64)
"""Filters at feature-map sizes 32, 16 and 8 (section 4.2, first table)."""

BLOCKS_PER_STAGE: Final = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18, 1202: 200}
"""The paper's n for each depth 6n+2 (section 4.2)."""

TABLE6_TEST_ERROR_PERCENT: Final = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}
"""ResNets (Table 6). ResNet-110 is the best of 5 runs; their mean and sd are 6.61 +- 0.16."""

PARAMETERS_MILLION: Final = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7, 1202: 19.4}
"""ResNets (Table 6)."""

FIGURE6_FINAL_TEST_ERROR_PERCENT: Final = {20: 9.68, 32: 10.08, 44: 11.42, 56: 13.23}
"""Plain networks: ends of the test curves of Figure 6 (left); they are tabulated nowhere."""


def depth_of(num_blocks_per_stage: int) -> int:
    """Weighted layers of the network with n blocks of two layers in each of three stages: 6n + 2."""
    return 6 * num_blocks_per_stage + 2


class CurvePoint(NamedTuple):
    """A point of Figure 6; curves start where they fall to about 20 %, the top of the paper's axis."""

    network: str
    """``"plain"`` or ``"resnet"``."""
    depth: int
    curve: str
    """``"train"`` or ``"test"``."""
    iteration: int
    error_percent: float


class LayerResponse(NamedTuple):
    """A point of Figure 7; layer 18 of ResNet-56 could not be read from it."""

    network: str
    depth: int
    layer: int
    response_std: float
    """Standard deviation of a 3x3 layer's output after BN, before nonlinearity and addition."""


def figure6() -> list[CurvePoint]:
    """Figure 6: training and test error of plain and residual networks over iterations."""
    return [
        CurvePoint(
            row["network"],
            int(row["depth"]),
            row["curve"],
            int(row["iteration"]),
            float(row["error_percent"]),
        )
        for row in _rows("he2015_figure6.csv")
    ]


def figure7() -> list[LayerResponse]:
    """Figure 7: standard deviations of layer responses."""
    return [
        LayerResponse(row["network"], int(row["depth"]), int(row["layer"]), float(row["response_std"]))
        for row in _rows("he2015_figure7.csv")
    ]


def _rows(name: str) -> list[dict[str, Any]]:
    text = resources.files("harness").joinpath("figures", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
