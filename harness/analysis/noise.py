"""Where the spread over seeds comes from, and which difference it hides. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, ndtr, stdtrit

from harness.analysis.estimates import CONFIDENCE
from harness.analysis.tost import POWER

__all__ = ["NoiseSplit", "detectable_difference", "detectable_paired", "noise_split"]

_ALPHA = 0.05
_NUM_NODES = 8192


@dataclass(frozen=True, kw_only=True)
class NoiseSplit:
    """The variance of the test accuracy over seeds, and how much of it is the test set's."""

    n: int
    """Seeds."""
    sd: float
    """Of the accuracy over seeds, as a fraction."""
    sampling_sd: float
    """What it would be if seeds differed in nothing but which images they happen to get right."""
    sampling_share: float
    """Sampling variance over variance; above 1 where seeds vary less than that, by chance."""
    low: float
    """Lower end of the 95 % interval for the share, by that of the variance over seeds (chi-squared)."""
    high: float
    between_sd: float
    """What is left: the standard deviation of accuracy on an endless test set; 0 if nothing is."""


def noise_split(correct: Sequence[NDArray[np.bool_]]) -> NoiseSplit | None:
    """Split the variance over seeds; None for fewer than two, if all have the same accuracy, or of different test sets.

    If an image is wrong in a share e of all seeds, independently of other images, the accuracy over N images varies by the
    sum of e (1 - e) / N^2 (Jordan 2023, arXiv:2304.01910). Shares over n seeds give that n / (n - 1) times too small.

    Args:
        correct: of each seed, whether each image of the test set is right, (N,).
    """
    n = len(correct)
    if n < 2 or len({len(its) for its in correct}) > 1:
        return None
    right = np.asarray(correct, dtype=np.float64)
    if np.ptp(right.sum(axis=1)) == 0:
        return None
    variance = float(right.mean(axis=1).var(ddof=1))
    wrong = 1 - right.mean(axis=0)
    sampling = float((wrong * (1 - wrong)).sum()) * n / (n - 1) / right.shape[1] ** 2
    # (n - 1) variance / true variance is chi-squared; chdtri takes the upper tail
    bounds = [chdtri(n - 1, tail) / (n - 1) for tail in ((1 + CONFIDENCE) / 2, (1 - CONFIDENCE) / 2)]
    share = sampling / variance
    return NoiseSplit(
        n=n,
        sd=math.sqrt(variance),
        sampling_sd=math.sqrt(sampling),
        sampling_share=share,
        low=share * float(bounds[0]),
        high=share * float(bounds[1]),
        between_sd=math.sqrt(max(0.0, variance - sampling)),
    )


def detectable_difference(sd: float, n: int) -> float | None:
    """Smallest difference of two means that n seeds each would show with 80 % power, two-sided at 5 %.

    Of Student's test for two samples with equal variance. None for a single seed, which shows nothing.

    Args:
        sd: standard deviation over seeds.
        n: seeds of each.
    """
    return None if n < 2 else _noncentrality(2 * n - 2, _ALPHA) * sd * math.sqrt(2 / n)


def detectable_paired(sd: float, n: int, among: int = 1) -> float | None:
    """Smallest mean difference that n pairs would show with 80 % power, two-sided at 5 %.

    Of Student's paired test. None for a single pair, which shows nothing.

    Args:
        sd: standard deviation of the differences.
        n: pairs.
        among: comparisons that the p-value is adjusted for by Holm, whose first step tests at 5 % / among.
    """
    return None if n < 2 else _noncentrality(n - 1, _ALPHA / among) * sd / math.sqrt(n)


def _noncentrality(freedom: int, alpha: float) -> float:
    """Of a two-sided t-test with 80 % power.

    By numerical integration over the sample deviation: `scipy.special.nctdtr` is not a number where the quantile is great.
    """
    critical = float(stdtrit(freedom, 1 - alpha / 2))
    shares = (np.arange(_NUM_NODES) + 0.5) / _NUM_NODES
    reach = critical * np.sqrt(chdtri(freedom, shares) / freedom)

    def power(noncentrality: float) -> float:
        return float((ndtr(noncentrality - reach) + ndtr(-noncentrality - reach)).mean())

    low, high = 0.0, 1.0
    while power(high) < POWER:
        high *= 2
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high
