"""Files that hold many records of a kind, as `harness.records.compact` writes them; records never change in them.

    results/compacted/<kind>/<digest>.parquet

Of kinds with many rows a record, each record is a row group, so that some are taken without the others, once the digest of
the file was found to be right.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness import storage
from harness.errors import RecordError, printable
from harness.records.files import check_marks, check_seal, decode, to_present
from harness.records.schema import KINDS
from harness.records.values import check_name

__all__ = ["PACKED", "Pack", "list_packs"]

PACKED = ("runs", "epochs", "predictions")
"""Kinds that a store may have thousands of records of."""
_NUM_PACKS_KEPT = 64


@dataclass(frozen=True)
class Pack:
    """One such file.

    Attributes:
        kind: of its records.
        file: as its folder lists it.
    """

    kind: str
    file: storage.Listed

    @property
    def path(self) -> Path:
        """Where it lies."""
        return self.file.path

    def names(self) -> dict[str, list[int]]:
        """The records, each with its row groups, or rows where all are in one group.

        Raises:
            RecordError: it is broken.
        """
        return _names(self) if self.file.stamp is None else _known_names(self)

    def read(self) -> pa.Table:
        """All of its records.

        Raises:
            RecordError: it is broken.
        """
        table = decode(_content(self.path), self.kind)
        for name in table.column(0).unique().to_pylist():
            check_name(name)
        return table

    def read_some(self, names: Sequence[str]) -> pa.Table:
        """Some of its records, of those that it has.

        Raises:
            RecordError: it is broken.
        """
        places = self.names()
        wanted = [place for name in names for place in places.get(name, [])]
        if not wanted:
            return pa.Table.from_batches([], schema=KINDS[self.kind])
        if self.kind == "runs":
            return _runs(self).take(wanted)
        if len(names) == len(places):
            return self.read()
        _check_bytes(self) if self.file.stamp is None else _check_bytes_once(self)
        with _opened(self) as parquet:
            table = parquet.read_row_groups(wanted, use_threads=False)
            table.validate(full=True)
        return to_present(table, self.kind, check_marks(table.schema, self.kind))


def list_packs(home: Path, kind: str) -> list[Pack]:
    """Those of a folder of results; none of a kind that is never packed."""
    if kind not in PACKED:
        return []
    return [Pack(kind, file) for file in storage.listing(home / "compacted" / kind, ".parquet")]


def _names(pack: Pack) -> dict[str, list[int]]:
    places: dict[str, list[int]] = {}
    if pack.kind == "runs":
        for row, name in enumerate(_runs(pack).column(0).to_pylist()):
            places.setdefault(name, []).append(row)
        return places
    with _opened(pack) as parquet:
        check_marks(parquet.schema_arrow, pack.kind)
        for group in range(parquet.num_row_groups):
            statistics = parquet.metadata.row_group(group).column(0).statistics
            if statistics is None or statistics.min != statistics.max:
                raise RecordError("has a row group of several records")
            name = str(statistics.min)
            check_name(name)
            places.setdefault(name, []).append(group)
    return places


@functools.lru_cache(maxsize=_NUM_PACKS_KEPT)
def _known_names(pack: Pack) -> dict[str, list[int]]:
    return _names(pack)


def _runs(pack: Pack) -> pa.Table:
    return pack.read() if pack.file.stamp is None else _known_runs(pack)


@functools.lru_cache(maxsize=_NUM_PACKS_KEPT)
def _known_runs(pack: Pack) -> pa.Table:
    """Of a sweep, each run asks whether it is recorded."""
    return pack.read()


def _check_bytes(pack: Pack) -> None:
    check_seal(_content(pack.path))


@functools.lru_cache(maxsize=_NUM_PACKS_KEPT)
def _check_bytes_once(pack: Pack) -> None:
    _check_bytes(pack)


def _content(path: Path) -> bytes | OSError:
    try:
        return storage.read(path)
    except OSError as error:
        return error


@contextmanager
def _opened(pack: Pack) -> Iterator[pq.ParquetFile]:
    try:
        with storage.open_to_read(pack.path) as file:
            yield pq.ParquetFile(file, page_checksum_verification=True)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise RecordError(f"cannot be read: {printable(error)}") from error
