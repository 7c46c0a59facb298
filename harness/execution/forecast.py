"""When pieces of work will be done, as a range: what is known of their times, drawn many times and handed out to lanes.

A run takes as long as planned times exp(kind + run), both normal. A kind, which is a network in a precision, lies around
what all have in common. Kinds and what they have in common are estimated by a normal model with normal priors (Gelman et
al., Bayesian Data Analysis, 3rd ed., section 5.4); the variance of runs within kinds is pooled with the one assumed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["SPEED", "WEIGHT", "Array", "TimeLeft", "draw_kinds", "hand_out", "noise_of", "time_left"]

Array = npt.NDArray[np.float64]

# What is assumed until runs show it; factors that nine of ten lie within, of logarithms that are normal.
_Z: Final = 1.645
_PLAN: Final = math.log(2.0) / _Z
"""Estimates of a plan, all together; they begin as guesses of the machine, see `harness.execution.plan`."""
_KIND: Final = math.log(1.3) / _Z
"""A network in a precision beside the others; never learnt, as many plans have but one or two."""
_RUN: Final = math.log(1.3) / _Z
"""A run beside others of its kind."""
SPEED: Final = math.log(1.05) / _Z
"""What is left of a run in progress, by its speed so far."""
WEIGHT: Final = 2.0
"""Weight of the priors of the last two of these, in observations."""
_MACHINE: Final = math.log(1.1) / _Z
"""All that is to come beside all that was: other work comes and goes. Never learnt, so no range is narrower."""

_NUM_DRAWS: Final = 32


def _draw_noise(num_columns: int) -> Array:
    """Standard normal, (_NUM_DRAWS, columns), the same each time; every column has mean 0 and variance 1."""
    half = np.random.default_rng(0).standard_normal((_NUM_DRAWS // 2, num_columns))
    half /= np.sqrt(np.mean(half**2, axis=0))
    return np.concatenate([half, -half])


_NOISE: Final = _draw_noise(1024)
_NOISE_OF_KINDS: Final = _draw_noise(2048)[:, 1024:]


@dataclass(frozen=True)
class TimeLeft:
    """Of the remaining seconds, the median and the ends of a 90 % interval."""

    seconds: float
    low: float
    high: float


def noise_of(numbers: Sequence[int]) -> Array:
    """Standard normal, (draws, runs): of the same number the same at all times, so that forecasts do not flicker."""
    return _NOISE[:, [number % _NOISE.shape[1] for number in numbers]]


def draw_kinds(seen: Array) -> tuple[Array, float]:
    """What is known of kinds, and of runs within them.

    Args:
        seen: (3, kinds); sums of weights, of weighted logarithms of actual over planned time, and of their weighted squares.

    Returns:
        Logarithms of every kind, (draws, kinds), and the standard deviation of runs within a kind.
    """
    weights, sums, squares = seen
    means = np.divide(sums, weights, out=np.zeros_like(sums), where=weights > 0)
    within = (squares - sums * means).clip(min=0).sum()
    variance = (WEIGHT * _RUN**2 + within) / (WEIGHT + (weights - 1).clip(min=0).sum())

    precisions = weights / (weights * _KIND**2 + variance)  # of means around what all have in common
    common_variance = 1 / (1 / _PLAN**2 + precisions.sum())
    common = common_variance * (precisions @ means) + math.sqrt(common_variance) * _NOISE_OF_KINDS[:, 0]
    own_variances = 1 / (weights / variance + 1 / _KIND**2)
    own = own_variances * (sums / variance + common[:, np.newaxis] / _KIND**2)
    columns = (1 + np.arange(len(weights))) % _NOISE_OF_KINDS.shape[1]
    return own + np.sqrt(own_variances) * _NOISE_OF_KINDS[:, columns], math.sqrt(variance)


def hand_out(running: Array, work: Array, waiting: Array, num_lanes: int) -> Array:
    """When all is done, in every draw.

    Args:
        running: (draws, runs) seconds, each run in a lane of its own.
        work: (draws,) seconds that can be divided among lanes at will, to be done next.
        waiting: (draws, runs) seconds; after that, in this order, each in whichever lane is free first.
        num_lanes: at least as many as are running.
    """
    free = np.zeros((len(work), num_lanes))
    free[:, : running.shape[1]] = running
    free.sort(axis=1)
    # filled to the same level: that of the n earliest lanes, whichever n makes it lowest
    levels = (work[:, np.newaxis] + free.cumsum(axis=1)) / np.arange(1, num_lanes + 1)
    lanes: list[list[float]] = np.maximum(free, levels.min(axis=1, keepdims=True)).tolist()
    for lane, pieces in zip(lanes, waiting.tolist(), strict=True):
        for piece in pieces:
            heapq.heapreplace(lane, lane[0] + piece)
    return np.array([max(lane) for lane in lanes])


def time_left(ends: Array) -> TimeLeft:
    """Of drawn ends, whose logarithms have about a normal distribution."""
    if not ends.all():
        return TimeLeft(0.0, 0.0, 0.0)
    logarithms = np.log(ends)
    middle, half = float(logarithms.mean()), _Z * math.hypot(logarithms.std(), _MACHINE)
    return TimeLeft(math.exp(middle), math.exp(middle - half), math.exp(middle + half))
