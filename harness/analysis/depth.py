"""What depth does to plain and to residual networks, beside Figures 6 and 7 of He et al. (2015). No torch."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import paper
from harness.analysis.estimates import Estimate, estimate
from harness.analysis.groups import RunGroup, follows_paper
from harness.analysis.paired import PairedDifference, best_paired
from harness.analysis.protocol import Networks
from harness.claims import claims

__all__ = [
    "DepthGap",
    "DepthPoint",
    "LayerProfile",
    "depth_gaps",
    "depth_points",
    "layer_profiles",
    "papers_test_error",
]

_NAME = re.compile(r"(plain|resnet)(\d+)")


@dataclass(frozen=True, kw_only=True)
class DepthPoint:
    """A network of the paper at one depth, in one setting."""

    network: str
    """``plain`` or ``resnet``."""
    depth: int
    group: RunGroup
    test_error: Estimate
    """Fraction, after the last iteration."""
    paper_test_error: float | None
    """The paper's, as a fraction; None where the runs were not made as the paper's, or it has none."""


@dataclass(frozen=True, kw_only=True)
class DepthGap:
    """Plain beside residual at one depth, in one setting."""

    depth: int
    difference: PairedDifference
    """Test accuracy of the residual network minus that of the plain one: what shortcuts are worth."""
    paper_difference: float | None
    """The paper's, as a fraction."""


@dataclass(frozen=True, kw_only=True)
class LayerProfile:
    """Standard deviations of layer responses of one network, in one setting."""

    network: str
    depth: int
    group: RunGroup
    num_seeds: int
    stds: tuple[float, ...]
    """By layer, the mean over seeds."""
    paper_stds: tuple[float | None, ...]
    """The paper's, by layer; None where they cannot be read, or it has none."""


def depth_points(groups: Iterable[RunGroup], networks: Networks) -> list[DepthPoint]:
    """The paper's own networks among the groups, by setting, kind and depth.

    Args:
        groups: with completed runs.
        networks: says which are the paper's: ours, not those that equal them, which would count twice.
    """
    points = []
    for group in groups:
        named = _NAME.fullmatch(group.model)
        errors = estimate(1 - accuracy for accuracy in group.values("test_accuracy"))
        if named is None or errors is None or networks.network_of(group.model) != group.model:
            continue
        kind, depth = named[1], int(named[2])
        points.append(
            DepthPoint(
                network=kind,
                depth=depth,
                group=group,
                test_error=errors,
                paper_test_error=papers_test_error(kind, depth) if follows_paper(group) else None,
            )
        )
    return sorted(points, key=lambda point: (point.group.setting, point.network, point.depth))


def depth_gaps(points: Sequence[DepthPoint]) -> list[DepthGap]:
    """Residual minus plain wherever both are there, by setting and depth."""
    plain: dict[tuple[Any, ...], list[DepthPoint]] = {}
    for point in points:
        if point.network == "plain":
            plain.setdefault((point.group.setting, point.depth), []).append(point)
    gaps = []
    for point in points:
        if point.network != "resnet":
            continue
        counterparts = plain.get((point.group.setting, point.depth), [])
        difference = best_paired(point.group, (its.group for its in counterparts))
        if difference is None:
            continue
        errors = counterparts[0].paper_test_error, point.paper_test_error
        gaps.append(
            DepthGap(
                depth=point.depth,
                difference=difference,
                paper_difference=None if None in errors else errors[0] - errors[1],  # type: ignore[operator]
            )
        )
    return gaps


def layer_profiles(groups: Iterable[RunGroup]) -> list[LayerProfile]:
    """Responses of the paper's networks by layer, where runs have recorded them."""
    profiles = []
    for group in groups:
        named = _NAME.fullmatch(group.model)
        every = [run["layer_responses"] for run in group.runs if run["layer_responses"]]
        if named is None or not every:
            continue
        recorded = [its for its in every if len(its) == len(every[0])]
        by_layer = zip(*([response["std"] for response in its] for its in recorded), strict=True)
        kind, depth = named[1], int(named[2])
        in_paper = {
            point.layer: point.response_std
            for point in paper.figure7()
            if (point.network, point.depth) == (kind, depth)
        }
        stds = tuple(statistics.fmean(its) for its in by_layer)
        profiles.append(
            LayerProfile(
                network=kind,
                depth=depth,
                group=group,
                num_seeds=len(recorded),
                stds=stds,
                paper_stds=tuple(in_paper.get(layer) for layer in range(1, len(stds) + 1)),
            )
        )
    return profiles


def papers_test_error(network: str, depth: int) -> float | None:
    """What the paper states for single runs or their mean, as a fraction; None if it states the best of several only."""
    stated = [
        claim.test_error_percent
        for claim in claims().values()
        if claim.model == f"{network}{depth}"
        and "paper" in claim.recipes
        and claim.selection in {"last", "mean-of-5-runs"}
    ]
    return round(stated[0] / 100, 6) if stated else None
