"""Groups of runs compared seed by seed: the same seed means the same images in the same order and views. No torch."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.estimates import Estimate, estimate, exact_difference, p_of_zero
from harness.analysis.groups import RunGroup, distinct, group_runs, measurement_of, requested
from harness.analysis.multiplicity import holm
from harness.config import Precision

__all__ = [
    "PairedDifference",
    "adjusted",
    "best_paired",
    "ghost_batch_differences",
    "ghost_batch_size",
    "measurements",
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
    """Two-sided p of Student's test that there is none; None for a single seed, for two with the same difference, which
    have no spread to test it against, and where the bits are the same, which leaves nothing to test."""
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
    baselines: dict[tuple[Any, ...], list[RunGroup]] = {}
    others = []
    for group in groups:
        if is_baseline(group):
            baselines.setdefault(besides(group), []).append(group)
        elif group.runs:
            others.append(group)
    found = [best_paired(group, baselines.get(besides(group), ())) for group in others]
    return [difference for difference in found if difference is not None]


def best_paired(group: RunGroup, baselines: Iterable[RunGroup]) -> PairedDifference | None:
    """A group against that of several baselines with which it has the most seeds in common; None if with none."""
    found = [paired_difference(group, baseline) for baseline in baselines]
    return max(
        (difference for difference in found if difference is not None),
        key=lambda difference: difference.difference.n,
        default=None,
    )


def model_differences(groups: Sequence[RunGroup], baseline: str) -> list[PairedDifference]:
    """Every model against one, wherever both were trained in the same setting, in order of the groups.

    Args:
        groups: of any models and settings.
        baseline: key of the model that the others are compared with.
    """
    return _against(groups, lambda group: group.model == baseline, besides=lambda group: group.setting)


def measurements(differences: Iterable[PairedDifference]) -> list[list[PairedDifference]]:
    """Differences, each with those that are the same measurement: in the same setting, both sides with the same bits."""

    def bits(difference: PairedDifference) -> Hashable | None:
        both = tuple(
            measurement_of(group, difference.seeds) for group in (difference.first, difference.second)
        )
        return None if None in both else both

    return distinct(differences, bits)


def adjusted(differences: Sequence[PairedDifference]) -> list[float | None]:
    """The p-values of a table, adjusted by Holm for its measurements that have one; None for those that have none."""
    tested = [its for its in measurements(differences) if its[0].p is not None]
    p_values = holm([p for its in tested if (p := its[0].p) is not None])
    by_difference = {id(each): p for its, p in zip(tested, p_values, strict=True) for each in its}
    return [by_difference.get(id(difference)) for difference in differences]


def _all_but_precision(group: RunGroup) -> tuple[Any, ...]:
    protocol, iterations, _, data, device_name = group.setting
    return group.model, group.source, protocol, iterations, data, device_name


def _all_but_ghost_batches(group: RunGroup) -> tuple[Any, ...]:
    spec = requested(group.runs[0])
    protocol = None
    if spec is not None:
        without = spec.recipe.model_copy(update={"ghost_batch_size": None})
        protocol = json.dumps(without.protocol(), sort_keys=True)
    return group.model, group.source, protocol, *group.setting[1:]


def _same_bits(pair: tuple[_Run, _Run]) -> bool:
    one, other = (run["weights_sha256"] for run in pair)
    return one is not None and one == other


def _speed_ratio(pairs: Sequence[tuple[_Run, _Run]]) -> float | None:
    rates = [(run["images_per_second"], counterpart["images_per_second"]) for run, counterpart in pairs]
    ratios = [rate / of_baseline for rate, of_baseline in rates if rate and of_baseline]
    return statistics.median(ratios) if ratios else None
