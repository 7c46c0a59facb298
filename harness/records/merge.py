"""Stores brought together: what the other one has is taken, and no result that is here is changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from harness.errors import RecordError, printable
from harness.records.schema import ENVIRONMENT_COLUMNS, KINDS
from harness.records.store import PARTS_OF_RUNS, BrokenFile, Record, Store

__all__ = ["Conflict", "Merger", "merge"]

_RESULT_OF_RUN: Final = ("status", "test_accuracy", "weights_sha256", "trajectory_sha256")
"""The rest of a run differs each time that it is repeated, its times above all."""

_WITHOUT_RESULT: Final = {"failed", "skipped"}


@dataclass(frozen=True)
class Conflict:
    """Two records of the same name that say different things; each stays where it is."""

    path: Path
    """Of the other one."""
    reason: str


@dataclass
class Merger:
    """What came of a merge."""

    taken: list[Path] = field(default_factory=list)
    """Files of the other store, of records that were not here."""
    num_here: int = 0
    """Records that were here already."""
    conflicts: list[Conflict] = field(default_factory=list)
    broken: list[BrokenFile] = field(default_factory=list)
    """Files of the other store that are no records."""


def merge(into: Store, source: Store) -> Merger:
    """Take every record that another store has, its published ones too, and this one has not.

    Of a run that both have, ours stays if both came to the same, or if theirs came to nothing; theirs is taken if ours
    came to nothing; else they are in conflict. Each record is checked before it is taken, and appears whole or not at
    all: a merge that was interrupted can be done again.

    Args:
        into: where to.
        source: where from; it is only read.
    """
    merger = Merger()
    for kind in KINDS:
        if kind not in PARTS_OF_RUNS:
            for record in source.records(kind):
                try:
                    _merge_record(into, kind, record, merger)
                except RecordError as error:
                    merger.broken.append(BrokenFile(record.path, str(error)))
    return merger


def _merge_record(into: Store, kind: str, record: Record, merger: Merger) -> None:
    name, path, theirs = record.name, record.path, record.read()
    parts = {}
    if kind == "runs":
        found = {part: record.home.part(part, name) for part in PARTS_OF_RUNS}
        parts = {part: table for part, table in found.items() if table is not None}
    ours = into.find(kind, name)
    if ours is not None:
        reason = _conflict(kind, ours.to_pylist(), theirs.to_pylist())
        if reason is not None:
            merger.conflicts.append(Conflict(path, reason))
            return
        if not (kind == "runs" and _came_to_nothing(ours) and not _came_to_nothing(theirs)):
            merger.num_here += 1
            return
    for part, table in parts.items():
        into.write_table(part, name, table)
    into.write_table(kind, name, theirs)
    merger.taken.append(path)


def _came_to_nothing(run: pa.Table) -> bool:
    return run.column("status")[0].as_py() in _WITHOUT_RESULT


def _conflict(kind: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str | None:
    """What two records of the same name say differently, and both mean."""
    if kind == "runs" and _WITHOUT_RESULT & {ours[0]["status"], theirs[0]["status"]}:
        return None
    if len(ours) != len(theirs):
        return f"it has {len(ours)} rows here and {len(theirs)} there"
    for column in _RESULT_OF_RUN if kind == "runs" else _lasting_columns(kind):
        for one, other in zip(ours, theirs, strict=True):
            if repr(one[column]) != repr(other[column]):  # NaN is like NaN
                return f"its {column} is {printable(one[column])} here and {printable(other[column])} there"
    return None


def _lasting_columns(kind: str) -> list[str]:
    """Those that are no time of recording, and not of the environment."""
    return [
        name for name in KINDS[kind].names if not name.endswith("_at") and name not in ENVIRONMENT_COLUMNS
    ]
