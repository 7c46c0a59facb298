"""Where two courses of one run part: epoch by epoch, and within an epoch by the losses of its mini-batches. No torch."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Divergence", "environment_differences", "first_divergence"]

_Row = Mapping[str, Any]

_COMPARED: Final = (
    *("iteration", "learning_rate", "losses", "train_loss", "train_error"),
    *("weights_sha256", "state_sha256", "test_loss", "test_error"),
)
"""Columns of the records of kind ``epochs``, in the order in which an epoch comes to them."""


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """The first thing that differs."""

    epoch: int
    """From 0."""
    iteration: int | None
    """Number of the mini-batch, from 1, whose loss is the first that differs; None where no loss does, or none is
    recorded."""
    column: str
    """Of the records of kind ``epochs``."""


def first_divergence(then: Sequence[_Row], now: Sequence[_Row]) -> Divergence | None:
    """Compare bit by bit, as far as both go; columns that one of them has not recorded are passed over.

    Args:
        then: rows of the records of kind ``epochs`` of a run, in order.
        now: those of the same run, repeated.
    """
    first = 0
    for before, after in zip(then, now, strict=False):
        for column in _COMPARED:
            one, other = before.get(column), after.get(column)
            if one is None or other is None or _same_bits(one, other):
                continue
            iteration = first + _first_difference(one, other) + 1 if column == "losses" else None
            return Divergence(epoch=before["epoch"], iteration=iteration, column=column)
        first = before["iteration"]
    return None


def environment_differences(then: _Row, now: _Row, columns: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """What was recorded of two environments and differs, by column: then and now."""
    return {name: (then[name], now[name]) for name in columns if then[name] != now[name]}


def _same_bits(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack("<d", one) == struct.pack("<d", other) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, Sequence) and not isinstance(one, str) and isinstance(other, Sequence):
        return len(one) == len(other) and all(map(_same_bits, one, other))
    return one == other


def _first_difference(one: Sequence[float], other: Sequence[float]) -> int:
    """Position of the first element that differs, or that only one has."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, pair in pairs if not _same_bits(*pair)), min(len(one), len(other)))
