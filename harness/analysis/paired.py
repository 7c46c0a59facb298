"""Groups of runs compared seed by seed: the same seed means the same images in the same order and views. No torch."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.estimates import Estimate, estimate, exact_difference, p_of_zero
from harness.analysis.groups import RunGroup, group_runs
from harness.analysis.multiplicity import holm
from harness.config import Precision

__all__ = ["PairedDifference", "adjusted", "model_differences", "paired_difference", "precision_differences"]

_Run = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Two groups of runs, on the seeds that both have."""

    first: RunGroup
    second: RunGroup
    seeds: tuple[int, ...]
    difference: Estimate
    """Of test accuracy after the last iteration, first minus second, as a fraction."""
    p: float | None
    """Two-sided p of Student's test that there is none; None for a single seed."""
    speed_ratio: float | None
    """Images per second, first over second: the median of the pairs where both are known."""


def paired_difference(first: RunGroup, second: RunGroup) -> PairedDifference | None:
    """Compare two groups; None if they have no seed in common."""
    others = {run["seed"]: run for run in second.runs if run["test_accuracy"] is not None}
    pairs = [
        (run, others[run["seed"]])
        for run in first.runs
        if run["seed"] in others and run["test_accuracy"] is not None
    ]
    values = [
        exact_difference(run["test_accuracy"], counterpart["test_accuracy"]) for run, counterpart in pairs
    ]
    summed_up = estimate(values)
    if summed_up is None:
        return None
    return PairedDifference(
        first=first,
        second=second,
        seeds=tuple(run["seed"] for run, _ in pairs),
        difference=summed_up,
        p=p_of_zero(values),
        speed_ratio=_speed_ratio(pairs),
    )


def precision_differences(runs: Iterable[_Run]) -> list[PairedDifference]:
    """Every precision against fp32, in order of first appearance; groups that differ in nothing else.

    Args:
        runs: rows of the records of kind ``runs``.
    """
    groups = [group for group in group_runs(runs) if group.runs]
    baselines = {_all_but_precision(group): group for group in groups if group.precision == Precision.FP32}
    found = [
        paired_difference(group, baselines[_all_but_precision(group)])
        for group in groups
        if group.precision != Precision.FP32 and _all_but_precision(group) in baselines
    ]
    return [difference for difference in found if difference is not None]


def model_differences(groups: Sequence[RunGroup], baseline: str) -> list[PairedDifference]:
    """Every model against one, wherever both were trained in the same setting, in order of the groups.

    Args:
        groups: of any models and settings.
        baseline: key of the model that the others are compared with.
    """
    baselines = {group.setting: group for group in groups if group.model == baseline and group.runs}
    found = [
        paired_difference(group, baselines[group.setting])
        for group in groups
        if group.model != baseline and group.setting in baselines
    ]
    return [difference for difference in found if difference is not None]


def adjusted(differences: Sequence[PairedDifference]) -> list[float | None]:
    """The p-values of a table, adjusted by Holm; None for those that have none."""
    known = [difference.p for difference in differences if difference.p is not None]
    of_known = iter(holm(known))
    return [None if difference.p is None else next(of_known) for difference in differences]


def _all_but_precision(group: RunGroup) -> tuple[Any, ...]:
    protocol, iterations, _, data, device_name = group.setting
    return group.model, group.model_source, protocol, iterations, data, device_name


def _speed_ratio(pairs: Sequence[tuple[_Run, _Run]]) -> float | None:
    rates = [(run["images_per_second"], counterpart["images_per_second"]) for run, counterpart in pairs]
    ratios = [rate / of_baseline for rate, of_baseline in rates if rate and of_baseline]
    return statistics.median(ratios) if ratios else None
