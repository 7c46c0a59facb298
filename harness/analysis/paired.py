"""What another precision does to the test accuracy, seed by seed. No torch."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from harness.config import Precision

__all__ = ["PairedDifference", "precision_differences"]

_CONFIDENCE = 0.95

_Run = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Runs in one precision beside those of the same seeds in another; all else is equal."""

    model: str
    recipe: str
    iterations: int
    device_name: str
    precision: str
    baseline: str
    """The precision that it is compared with."""
    n: int
    """Pairs."""
    mean: float
    """Of the differences of test accuracy, ``precision`` minus ``baseline``, as a fraction."""
    sd: float | None
    """Sample standard deviation of the differences (n - 1); none for a single pair."""
    interval: tuple[float, float] | None
    """95 % t-interval for the mean; none for a single pair."""
    speed_ratio: float | None
    """Images per second, ``precision`` over ``baseline``: the median of the pairs where both are known."""


_SHOWN = ("model", "recipe", "iterations", "device_name")


def precision_differences(runs: Sequence[_Run]) -> list[PairedDifference]:
    """Every precision against fp32, in order of first appearance.

    Completed runs are paired that differ in nothing but their precision; a run without its counterpart is
    left out.

    Args:
        runs: rows of the records of kind ``runs``.
    """
    groups: dict[str, dict[str, dict[int, _Run]]] = {}
    for run in runs:
        if run["status"] == "completed":
            by_precision = groups.setdefault(_all_but_seed_and_precision(run), {})
            by_precision.setdefault(run["precision"], {})[run["seed"]] = run
    differences = []
    for by_precision in groups.values():
        baseline = by_precision.pop(Precision.FP32, {})
        for by_seed in by_precision.values():
            pairs = [(by_seed[seed], baseline[seed]) for seed in by_seed if seed in baseline]
            if pairs:
                differences.append(_difference(pairs))
    return differences


def _all_but_seed_and_precision(run: _Run) -> str:
    """What else was asked, and where it ran."""
    spec = json.loads(run["spec"])
    del spec["seed"], spec["precision"]
    return json.dumps([spec, run["environment_sha256"]], sort_keys=True)


def _difference(pairs: Sequence[tuple[_Run, _Run]]) -> PairedDifference:
    first, first_of_baseline = pairs[0]
    # exact, so that equal differences of accuracies have no spread
    differences = [_as_written(run) - _as_written(counterpart) for run, counterpart in pairs]
    mean = float(statistics.mean(differences))
    sd = float(statistics.stdev(differences)) if len(differences) > 1 else None
    return PairedDifference(
        **{name: first[name] for name in _SHOWN},
        precision=first["precision"],
        baseline=first_of_baseline["precision"],
        n=len(pairs),
        mean=mean,
        sd=sd,
        interval=None if sd is None else _t_interval(mean, sd, len(pairs)),
        speed_ratio=_speed_ratio(pairs),
    )


def _as_written(run: _Run) -> Fraction:
    """The test accuracy that the float stands for: 0.9, not the nearest binary fraction."""
    return Fraction(str(run["test_accuracy"]))


def _t_interval(mean: float, sd: float, n: int) -> tuple[float, float]:
    from scipy.special import stdtrit  # scipy.stats has the same, and takes long to import

    half_width = float(stdtrit(n - 1, (1 + _CONFIDENCE) / 2)) * sd / math.sqrt(n)
    return mean - half_width, mean + half_width


def _speed_ratio(pairs: Sequence[tuple[_Run, _Run]]) -> float | None:
    rates = [(run["images_per_second"], counterpart["images_per_second"]) for run, counterpart in pairs]
    ratios = [rate / of_baseline for rate, of_baseline in rates if rate and of_baseline]
    return statistics.median(ratios) if ratios else None
