"""Groups of runs compared seed by seed: the same seed means the same images in the same order and views. No torch."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.estimates import Estimate, estimate, exact_difference, p_of_zero
from harness.analysis.groups import RunGroup, group_runs, requested
from harness.analysis.multiplicity import holm
from harness.config import Precision

__all__ = [
    "PairedDifference",
    "adjusted",
    "ghost_batch_differences",
    "ghost_batch_size",
    "model_differences",
    "paired_difference",
    "precision_differences",
]

_Run = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Two groups of runs, on the seeds that both have."""

    first: RunGroup
    second: RunGroup
    seeds: tuple[int, ...]
    difference: Estimate
    """Of test accuracy after the last iteration, first minus second, as a fraction."""
    same_bits: bool
    """Whether both end with the same weights for every seed: one measurement, made twice."""
    p: float | None
    """Two-sided p of Student's test that there is none; None for a single seed, and where the bits are the same, which
    leaves nothing to test."""
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
    same_bits = not any(values) and all(map(_same_bits, pairs))
    return PairedDifference(
        first=first,
        second=second,
        seeds=tuple(run["seed"] for run, _ in pairs),
        difference=summed_up,
        same_bits=same_bits,
        p=None if same_bits else p_of_zero(values),
        speed_ratio=_speed_ratio(pairs),
    )


def precision_differences(runs: Iterable[_Run]) -> list[PairedDifference]:
    """Every precision against fp32, in order of first appearance; groups that differ in nothing else.

    Args:
        runs: rows of the records of kind ``runs``.
    """
    return _against(
        group_runs(runs), lambda group: group.precision == Precision.FP32, besides=_all_but_precision
    )


def ghost_batch_differences(runs: Iterable[_Run]) -> list[PairedDifference]:
    """Batch normalisation over parts of the mini-batch against that over all of it; groups that differ in nothing else.

    Args:
        runs: rows of the records of kind ``runs``.
    """
    return _against(
        group_runs(runs), lambda group: ghost_batch_size(group) is None, besides=_all_but_ghost_batches
    )


def ghost_batch_size(group: RunGroup) -> int | None:
    """Images over which the runs of a group took the statistics of batch normalisation; None: over all."""
    spec = requested(group.runs[0])
    return None if spec is None else spec.recipe.ghost_batch_size


def _against(
    groups: Iterable[RunGroup],
    is_baseline: Callable[[RunGroup], bool],
    *,
    besides: Callable[[RunGroup], tuple[Any, ...]],
) -> list[PairedDifference]:
    """Every group against the baseline that has the rest in common with it, where there is one."""
    completed = [group for group in groups if group.runs]
    baselines = {besides(group): group for group in completed if is_baseline(group)}
    found = [
        paired_difference(group, baselines[besides(group)])
        for group in completed
        if not is_baseline(group) and besides(group) in baselines
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


def _all_but_ghost_batches(group: RunGroup) -> tuple[Any, ...]:
    spec = requested(group.runs[0])
    protocol = None
    if spec is not None:
        without = spec.recipe.model_copy(update={"ghost_batch_size": None})
        protocol = json.dumps(without.protocol(), sort_keys=True)
    return group.model, group.model_source, protocol, *group.setting[1:]


def _same_bits(pair: tuple[_Run, _Run]) -> bool:
    one, other = (run["weights_sha256"] for run in pair)
    return one is not None and one == other


def _speed_ratio(pairs: Sequence[tuple[_Run, _Run]]) -> float | None:
    rates = [(run["images_per_second"], counterpart["images_per_second"]) for run, counterpart in pairs]
    ratios = [rate / of_baseline for rate, of_baseline in rates if rate and of_baseline]
    return statistics.median(ratios) if ratios else None
