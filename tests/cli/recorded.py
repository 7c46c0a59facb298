"""Runs and other records as commands find them in a store, made up, and files of it that are broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.records import KINDS

Row = dict[str, Any]
Record = Callable[..., None]

NEAR = (0.912, 0.9125, 0.913)
"""Accuracies at the 8.75 % of ResNet-20."""
IMAGES = range(8)

_PLACEHOLDERS = {
    pa.string(): "unknown",
    pa.int64(): 1,
    pa.bool_(): False,
    pa.float64(): 0.5,
    pa.timestamp("us", tz="UTC"): datetime(2026, 1, 1, tzinfo=UTC),
}


def complete(kind: str, row: Row) -> Row:
    """The same with something in every column that must not be null."""
    missing = {field.name: field.type for field in KINDS[kind] if not field.nullable}
    return {
        name: _PLACEHOLDERS.get(missing[name], []) if value is None and name in missing else value
        for name, value in row.items()
    }


def an_epoch(run: Row) -> Row:
    row = dict.fromkeys(KINDS["epochs"].names)
    return complete("epochs", row | {"run_id": run["run_id"], "iteration": run["iterations"]})


def predicted(run_id: str, classes: Sequence[int]) -> pa.Table:
    """Answers to images whose labels are 0, 1, 2, ..."""
    logits = [[float(number == answer) for number in range(10)] for answer in classes]
    return pa.table(
        {
            "run_id": [run_id] * len(classes),
            "image": pa.array(range(len(classes)), pa.int32()),
            "label": pa.array(range(len(classes)), pa.uint8()),
            "logits": pa.array(logits, pa.list_(pa.float32(), 10)),
        }
    )


def damage(results: Path, kind: str, name: str) -> Path:
    path = results / kind / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1 nothing")
    return path
