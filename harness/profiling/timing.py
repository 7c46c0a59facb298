"""The one place where functions are timed: warmed up until they are steady, then in turn with each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

from harness.training.device import mark, seconds_between

__all__ = ["calls_per_visit", "in_turn", "seconds_of", "visit", "warm_up"]

_Key = TypeVar("_Key", bound=Hashable)
_Call = Callable[[], object]

STILL_WARMING_UP = 0.9
"""A call that takes less than this share of the fastest one before it shows that things still become faster."""
MAX_WARMUP_CALLS = 20
MAX_CALLS_PER_VISIT = 100


def seconds_of(call: _Call, device: torch.device) -> float:
    """The time of one call, until the device has done its work; on CUDA between two events."""
    start = mark(device)
    call()
    return seconds_between(start, mark(device))


def warm_up(call: _Call, device: torch.device) -> list[float]:
    """Call until it becomes no faster: the last call is the first that is not 10 % faster than all before it.

    Returns:
        Seconds of every call; there are at least 2.
    """
    seconds = [seconds_of(call, device)]
    while len(seconds) < MAX_WARMUP_CALLS:
        fastest = min(seconds)
        seconds.append(seconds_of(call, device))
        if seconds[-1] >= STILL_WARMING_UP * fastest:
            break
    return seconds


def calls_per_visit(seconds: float, seconds_per_visit: float) -> int:
    """How often a function that takes so long is called in a row, to last about that long together."""
    return min(MAX_CALLS_PER_VISIT, max(1, math.ceil(seconds_per_visit / seconds)))


def visit(call: _Call, device: torch.device, num_calls: int = 1) -> list[float]:
    """Seconds of so many calls in a row."""
    return [seconds_of(call, device) for _ in range(num_calls)]


def in_turn(calls: Mapping[_Key, _Call], device: torch.device, *, num_rounds: int) -> dict[_Key, list[float]]:
    """Seconds of every function in every round; all are warmed up first, then called in turn.

    What slows the machine down for a while slows all of them, and the ratio of their medians can be believed.
    """
    for call in calls.values():
        warm_up(call, device)
    seconds: dict[_Key, list[float]] = {key: [] for key in calls}
    for _ in range(num_rounds):
        for key, call in calls.items():
            seconds[key] += visit(call, device)
    return seconds
