"""What records can be called, and what their columns can hold beyond the types of their schema.

Whatever else stands there nobody has measured.
"""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from harness.errors import RecordError, printable

__all__ = ["check_name", "check_values"]

_FRACTIONS: Final = frozenset(
    {
        *("test_accuracy", "test_accuracy_best", "test_accuracy_selected", "train_error", "test_error"),
        *("accuracy", "claimed_accuracy", "counterpart_accuracy", "share"),
    }
)
"""From 0 to 1. Losses are not among them: of a run that diverges they are infinite, or no numbers."""

_AMOUNTS: Final = frozenset(
    {
        *("seconds", "seconds_then", "seconds_now", "self_seconds", "images_per_second", "joules_per_image"),
        *("ceiling_flops", "ceiling_copy_bytes", "flops_share", "others_share"),
        *("time_ratio", "time_ratio_low", "time_ratio_high"),
    }
)
"""Finite, and not negative."""

_NUM_CLASSES: Final = 10

_MICROSECONDS = range(-62_135_596_800_000_000, 253_402_300_800_000_000)
"""Since 1970, of the years 1 to 9999, which Python knows."""


_NAME: Final = re.compile(r"[A-Za-z0-9-][A-Za-z0-9.-]{0,224}")
"""Of a record of any kind. It names a file, which is hidden under a longer name while it is written: 225 of 255 bytes are left."""


def check_name(name: str) -> None:
    """Refuse what is no name of a record, so that its file lies nowhere but in the folder of its kind.

    Raises:
        RecordError: it is none.
    """
    if not _NAME.fullmatch(name):
        raise RecordError(
            f"{printable(repr(name))} is no name of a record, which has letters, digits, hyphens and dots, but none in front"
        )


def check_values(table: pa.Table) -> None:
    """Refuse values that no measurement gives.

    Args:
        table: of the schema of any kind.

    Raises:
        RecordError: it holds some; the message names the column.
    """
    for field in table.schema:
        column = table.column(field.name)
        if pa.types.is_timestamp(field.type):
            ends = pc.min_max(column.cast(pa.int64())).values()
            if any(end.as_py() is not None and end.as_py() not in _MICROSECONDS for end in ends):
                raise RecordError(f"column {field.name!r} holds a time before the year 1 or after 9999")
        elif field.name in _FRACTIONS and not _lies_within(column, 1.0):
            raise RecordError(f"column {field.name!r} holds what is no fraction from 0 to 1")
        elif field.name in _AMOUNTS and not _lies_within(column, float("inf")):
            raise RecordError(f"column {field.name!r} holds what is negative, infinite or no number")
        elif pa.types.is_list(field.type) or pa.types.is_fixed_size_list(field.type):
            if _has_null(column):
                raise RecordError(f"column {field.name!r} holds a list in which something is missing")
        elif field.name == "label" and pa.types.is_uint8(field.type):
            largest = pc.max(column).as_py()
            if largest is not None and largest >= _NUM_CLASSES:
                raise RecordError(f"column {field.name!r} holds a class beyond {_NUM_CLASSES - 1}")


def _lies_within(column: pa.ChunkedArray, highest: float) -> bool:
    """Whether all that is there is finite, and from 0 to the highest."""
    if column.null_count == len(column):
        return True
    ends = pc.min_max(column)
    in_range = 0 <= ends["min"].as_py() <= ends["max"].as_py() <= highest
    return bool(in_range and pc.all(pc.is_finite(column)).as_py())


def _has_null(column: pa.ChunkedArray) -> bool:
    """Whether an element of a list is null, at any depth, or the measure in one of layers."""
    for chunk in column.chunks:
        values = chunk.flatten()
        if values.null_count:
            return True
        if pa.types.is_list(values.type) and _has_null(pa.chunked_array([values])):
            return True
        if pa.types.is_struct(values.type) and any(part.null_count for part in values.flatten()):
            return True
    return False
