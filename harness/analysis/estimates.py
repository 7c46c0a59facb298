"""A mean over seeds, and how far it can be trusted. No torch."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

__all__ = ["CONFIDENCE", "Estimate", "as_written", "estimate", "exact_difference", "p_of_zero", "t_interval"]

CONFIDENCE = 0.95
_FOR_BOOTSTRAP = range(20, 5001)
"""So many values; of more the test of normality knows nothing, and their mean is normal whatever they are."""
_NORMALITY_LEVEL = 0.01
_RESAMPLES = 9999
_SEED = 20

Method = Literal["none", "t", "bootstrap"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Values over seeds, summed up."""

    n: int
    mean: float
    sd: float | None
    """Sample standard deviation (n - 1); none for a single value."""
    low: float | None
    """Lower end of the 95 % interval for the mean; none for a single value, which has no interval."""
    high: float | None
    minimum: float
    maximum: float
    method: Method
    """Of the interval: Student's t, or the bootstrap where the values are not normal."""

    @property
    def error_interval(self) -> tuple[float | None, float | None]:
        """The interval of 1 minus the mean, where the values are accuracies."""
        return (
            None if self.high is None else 1 - self.high,
            None if self.low is None else 1 - self.low,
        )


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Mean of the values that are there, with its 95 % interval; None if there is none.

    The interval is Student's. From 20 values on, where the test of Shapiro and Wilk (1965) refuses normality at the 1 %
    level, it is the bias-corrected and accelerated bootstrap (Efron 1987); of fewer values neither that test nor the
    bootstrap is worth anything, and the t-interval errs on the wide side where values have heavy tails.
    """
    present = [value for value in values if value is not None and math.isfinite(value)]
    if not present:
        return None
    n, mean = len(present), statistics.fmean(present)
    sd = _sd(present, mean) if n > 1 else None
    interval, method = _interval(present, mean, sd)
    low, high = interval
    return Estimate(
        n=n, mean=mean, sd=sd, low=low, high=high, minimum=min(present), maximum=max(present), method=method
    )


def _sd(values: Sequence[float], mean: float) -> float:
    """Of at least two values; zero where they are the same, whatever their mean was rounded to."""
    if min(values) == max(values):
        return 0.0
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def as_written(value: float) -> Fraction:
    """The decimal number that a float stands for: 0.9, not the nearest binary fraction."""
    return Fraction(str(value))


def exact_difference(first: float, second: float) -> float:
    """Of the decimal numbers that two floats stand for, so that equal differences of accuracies are the same float."""
    return float(Decimal(str(first)) - Decimal(str(second)))


def t_interval(mean: float, sd: float, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """For the mean of n normal values.

    Args:
        mean: of the values.
        sd: their sample standard deviation (n - 1).
        n: at least 2.
        confidence: probability that the interval covers the true mean.
    """
    from scipy.special import stdtrit  # here, because the command line starts without scipy

    half_width = float(stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)
    return mean - half_width, mean + half_width


def p_of_zero(values: Sequence[float]) -> float | None:
    """Two-sided p of Student's test that the mean is zero; None for a single value, and for two that are equal.

    Accuracies are multiples of 1/10,000, so that two differences of seeds that vary by 0.3 points are equal once in a hundred
    times, whatever their mean: p would be 0, and in a table of 20 such comparisons one is found in every sixth. (Holm cannot
    help, as nothing is as small as 0.) Three or more hardly ever are: without any spread they have p 1 if they are zero,
    else 0.
    """
    from scipy.special import stdtr

    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    sd = _sd(values, mean)
    if sd == 0 and len(values) == 2:
        return None
    if sd == 0:
        return float(mean == 0)
    return float(2 * stdtr(len(values) - 1, -abs(mean) * math.sqrt(len(values)) / sd))


def _interval(
    values: Sequence[float], mean: float, sd: float | None
) -> tuple[tuple[float | None, float | None], Method]:
    if sd is None:
        return (None, None), "none"
    if sd > 0 and len(values) in _FOR_BOOTSTRAP and not _looks_normal(values):
        return _bootstrap(values), "bootstrap"
    return t_interval(mean, sd, len(values)), "t"


def _looks_normal(values: Sequence[float]) -> bool:
    from scipy.stats import shapiro  # scipy.stats takes long to import, and is seldom needed

    with warnings.catch_warnings():  # of values that hardly differ
        warnings.simplefilter("ignore")
        return bool(shapiro(values).pvalue >= _NORMALITY_LEVEL)


def _bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """The same values give the same interval."""
    import numpy as np
    from scipy.stats import bootstrap

    found = bootstrap(
        (np.asarray(values),),
        np.mean,
        n_resamples=_RESAMPLES,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return float(found.low), float(found.high)
