"""Is a mean over seeds the claimed one, within a margin? No torch.

Three regions are told apart: within the margin of the claim, below it, above it. A verdict is given for the one that the
truth is shown to lie in, by one-sided t-tests at the 5 % level: two of them for the margin (TOST, Schuirmann 1987), one for
each outside. So each verdict is wrong in at most 5 % of cases, if the number of seeds was fixed beforehand. Where none is
shown, it is inconclusive.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
from scipy.special import chdtri, ndtr, stdtr, stdtrit

from harness.analysis.estimates import as_written, t_interval

__all__ = ["ALPHA", "POWER", "Judgement", "Outcome", "further_seeds", "judge", "probabilities"]

ALPHA = 0.05
POWER = 0.8
_MAX_FURTHER_SEEDS = 1000
_NUM_NODES = 1024

Outcome = Literal["reproduced", "better", "worse", "inconclusive"]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Of a mean against a claimed value."""

    outcome: Outcome
    difference: float
    """Mean minus claim."""
    low: float | None
    """Lower end of the 95 % interval for the difference; none where there is no p."""
    high: float | None
    p_equivalent: float | None
    """The larger p of the two one-sided tests: small where the truth lies within the margin. None for a single value, and
    for two that are equal, as accuracies on 10,000 images now and then are: they have no spread to test with."""
    p_below: float | None
    """That the truth is not below the margin: small where it is."""
    p_above: float | None
    """That the truth is not above the margin: small where it is."""
    further_seeds: int | None
    """How many more would give a verdict with 80 % power, if difference and spread stay as they are; 0 where there is
    one; none where the present ones cannot tell, or it is more than 1,000. Testing again after so many is no test at 5 %
    any more; see ADR 0008."""


def judge(values: Sequence[float], claimed: float, margin: float) -> Judgement:
    """Test values against a claim.

    Args:
        values: one for each seed, greater being better; at least one.
        claimed: the value that their mean should have.
        margin: what does not matter, in either direction; positive.

    Raises:
        ValueError: there is no value, or the margin is not positive.
    """
    if not values:
        raise ValueError("there are no values to judge; give at least one")
    if not margin > 0:
        raise ValueError(f"the margin must be positive, not {margin}; say which difference does not matter")
    # exact, so that values without spread on the very edge of the margin are on neither side of it
    exact = [as_written(value) - as_written(claimed) for value in values]
    edge = as_written(margin)
    n, mean = len(values), statistics.mean(exact)
    difference = float(mean)
    sd = float(statistics.stdev(exact)) if n > 1 else 0.0
    if n == 1 or (n == 2 and sd == 0):
        return Judgement(
            outcome="inconclusive",
            difference=difference,
            low=None,
            high=None,
            p_equivalent=None,
            p_below=None,
            p_above=None,
            further_seeds=None,
        )
    p_not_below, p_below = _p_above(mean + edge, sd, n), _p_above(-mean - edge, sd, n)
    p_not_above, p_above = _p_above(edge - mean, sd, n), _p_above(mean - edge, sd, n)
    p_equivalent = max(p_not_below, p_not_above)
    outcome: Outcome = "inconclusive"
    if p_equivalent < ALPHA:
        outcome = "reproduced"
    elif p_below < ALPHA:
        outcome = "worse"
    elif p_above < ALPHA:
        outcome = "better"
    low, high = t_interval(difference, sd, n)
    return Judgement(
        outcome=outcome,
        difference=difference,
        low=low,
        high=high,
        p_equivalent=p_equivalent,
        p_below=p_below,
        p_above=p_above,
        further_seeds=further_seeds(difference, sd, n, margin) if outcome == "inconclusive" else 0,
    )


def _p_above(mean: Fraction, sd: float, n: int) -> float:
    """One-sided p that a mean is not above zero; without spread, 0 or 1."""
    if sd == 0:
        return float(mean <= 0)
    return float(stdtr(n - 1, -float(mean) * math.sqrt(n) / sd))


def probabilities(difference: float, sd: float, n: int, margin: float) -> dict[Outcome, float]:
    """How often each outcome comes of n seeds, if the truth is known.

    The mean is normal, and its sample deviation independent of it: over the deviation the probabilities are integrated
    numerically.

    Args:
        difference: true mean minus claim.
        sd: true standard deviation over seeds.
        n: seeds, at least 2.
        margin: as of `judge`.
    """
    error = sd / math.sqrt(n)
    shares = (np.arange(_NUM_NODES) + 0.5) / _NUM_NODES
    sample_sds = np.sqrt(chdtri(n - 1, shares) / (n - 1)) * sd
    reach = float(stdtrit(n - 1, 1 - ALPHA)) * sample_sds / math.sqrt(n)
    within = ndtr((margin - reach - difference) / error) - ndtr((reach - margin - difference) / error)
    reproduced = float(np.maximum(within, 0).mean())
    worse = float(ndtr((-margin - reach - difference) / error).mean())
    better = float(ndtr((difference - margin - reach) / error).mean())
    return {
        "reproduced": reproduced,
        "better": better,
        "worse": worse,
        "inconclusive": 1 - reproduced - better - worse,
    }


def further_seeds(difference: float, sd: float, n: int, margin: float) -> int | None:
    """How many seeds beyond n would give a verdict with 80 % power; see `Judgement.further_seeds`."""

    def settled(num: int) -> bool:
        return probabilities(difference, sd, num, margin)["inconclusive"] <= 1 - POWER

    if sd == 0 or not settled(n + _MAX_FURTHER_SEEDS):
        return None
    low, high = n, n + _MAX_FURTHER_SEEDS  # not settled, settled: at least one more is wanted
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if settled(middle) else (middle, high)
    return high - n
