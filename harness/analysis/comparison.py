"""Two models beside each other: seed by seed, and image by image. No torch."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.analysis.by_image import McNemar, Predicted, churn, image_interval, mcnemar
from harness.analysis.groups import RunGroup
from harness.analysis.multiplicity import holm
from harness.analysis.noise import detectable_paired
from harness.analysis.paired import PairedDifference, paired_difference

__all__ = ["ByImage", "ModelComparison", "SeedByImage", "comparable_groups", "compare_groups", "detectable"]


@dataclass(frozen=True, kw_only=True)
class SeedByImage:
    """Two runs of one seed."""

    seed: int
    test: McNemar
    p_adjusted: float
    """Of the test, by Holm over all seeds of the comparison."""
    churn: float
    """Share of images that the two answer differently."""


@dataclass(frozen=True, kw_only=True)
class ByImage:
    """What the stored predictions of two groups say."""

    num_images: int
    low: float
    """Lower end of the 95 % interval for the difference of mean accuracies, had the test set been another."""
    high: float
    seeds: tuple[SeedByImage, ...]
    churn: float
    """Between the two models, mean over seeds that both have."""
    churn_of_first: float | None
    """Between seeds of the first model, mean over pairs of them: what another seed alone does. None for one seed."""
    churn_of_second: float | None


@dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """Two groups of runs in one setting."""

    paired: PairedDifference
    detectable: float | None
    """Smallest difference that so many pairs of seeds would show with 80 % power in the paired test at 5 %, at the spread
    of their differences; None for a single seed, and where the bits are the same."""
    by_image: ByImage | None
    """None where predictions are missing."""


def comparable_groups(groups: Sequence[RunGroup], first: str, second: str) -> list[tuple[RunGroup, RunGroup]]:
    """Groups of two models in the same setting, in order of the first's."""
    return [
        (group, other)
        for group in groups
        for other in groups
        if group.model == first and other.model == second and group.setting == other.setting
    ]


def compare_groups(
    first: RunGroup, second: RunGroup, predictions: Mapping[str, Predicted]
) -> ModelComparison | None:
    """Compare two groups; None if they have no seed in common.

    Args:
        first: of one model.
        second: of another, in the same setting.
        predictions: by run; see `harness.analysis.by_image.predicted`.
    """
    paired = paired_difference(first, second)
    if paired is None:
        return None
    return ModelComparison(
        paired=paired,
        detectable=detectable(paired),
        by_image=_by_image(paired, predictions),
    )


def detectable(paired: PairedDifference, among: int = 1) -> float | None:
    """See `ModelComparison.detectable`.

    Args:
        paired: the comparison.
        among: comparisons that its p-value is adjusted for.
    """
    spread = paired.difference.sd
    return None if paired.p is None or not spread else detectable_paired(spread, paired.difference.n, among)


def _by_image(paired: PairedDifference, predictions: Mapping[str, Predicted]) -> ByImage | None:
    firsts, seconds = (
        {run["seed"]: predictions[run["run_id"]] for run in group.runs if run["run_id"] in predictions}
        for group in (paired.first, paired.second)
    )
    seeds = [seed for seed in paired.seeds if seed in firsts and seed in seconds]
    if not seeds:
        return None
    tests = [mcnemar(firsts[seed].correct, seconds[seed].correct) for seed in seeds]
    adjusted = holm([test.p for test in tests])
    of_seeds = tuple(
        SeedByImage(
            seed=seed,
            test=test,
            p_adjusted=p,
            churn=churn(firsts[seed].classes, seconds[seed].classes),
        )
        for seed, test, p in zip(seeds, tests, adjusted, strict=True)
    )
    low, high = image_interval(
        [firsts[seed].correct for seed in seeds], [seconds[seed].correct for seed in seeds]
    )
    return ByImage(
        num_images=len(firsts[seeds[0]].labels),
        low=low,
        high=high,
        seeds=of_seeds,
        churn=statistics.fmean(its.churn for its in of_seeds),
        churn_of_first=_churn_between(list(firsts.values())),
        churn_of_second=_churn_between(list(seconds.values())),
    )


def _churn_between(runs: Sequence[Predicted]) -> float | None:
    pairs = [churn(one.classes, other.classes) for one, other in itertools.combinations(runs, 2)]
    return statistics.fmean(pairs) if pairs else None
