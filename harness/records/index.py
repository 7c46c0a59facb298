"""What was read of the files of a folder already, so that a store of thousands of runs is read at once.

An index is made by a reader, holds nothing that the files do not, and can be removed at any time. A file counts as read as
long as its stamp is what it was: size, time of change and number in the file system, or what an object store says of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harness import storage
from harness.atomic import write_atomically
from harness.errors import StorageError

__all__ = ["Index", "Indexed", "write_index"]

_ENTRIES = b"harness.index"
_DIGEST_LENGTH = 64


@dataclass(frozen=True)
class Indexed:
    """A file, and where its rows are."""

    file: str
    """Its path in the store."""
    stamp: str | None
    num_rows: int


class Index:
    """Rows of files of one kind.

    Args:
        table: of all files, one after another.
        entries: in that order.
    """

    def __init__(self, table: pa.Table, entries: Iterable[Indexed]) -> None:
        self._table = table
        self._places: dict[tuple[str, str | None], tuple[int, int]] = {}
        start = 0
        for entry in entries:
            self._places[entry.file, entry.stamp] = start, entry.num_rows
            start += entry.num_rows

    @classmethod
    def empty(cls, schema: pa.Schema) -> Index:
        """Of no file."""
        return cls(pa.Table.from_batches([], schema=schema), [])

    @classmethod
    def read(cls, path: Path, schema: pa.Schema) -> Index:
        """The index at a path; an empty one if there is none of this schema, or it is broken."""
        nothing = cls.empty(schema)
        try:
            content = storage.read(path)
        except OSError:
            return nothing
        if hashlib.sha256(content[_DIGEST_LENGTH:]).hexdigest().encode() != content[:_DIGEST_LENGTH]:
            return nothing
        try:
            with pa.ipc.open_file(pa.BufferReader(content[_DIGEST_LENGTH:])) as reader:
                table = reader.read_all()
            entries = [Indexed(*entry) for entry in json.loads(table.schema.metadata[_ENTRIES])]
            table = table.replace_schema_metadata()
            table.validate(full=True)
        except (OSError, pa.ArrowException, ValueError, TypeError, KeyError, RecursionError):
            return nothing
        is_whole = sum(entry.num_rows for entry in entries) == len(table)
        return cls(table, entries) if is_whole and table.schema.equals(schema) else nothing

    def find(self, file: str, stamp: str | None) -> tuple[int, int] | None:
        """Where the rows of a file are, first and number; None if it was not read as it is now."""
        return None if stamp is None else self._places.get((file, stamp))

    def rows(self, places: Sequence[tuple[int, int]]) -> list[pa.Table]:
        """Rows at several places, in their order; neighbours in one piece."""
        joined: list[list[int]] = []
        for start, number in places:
            if joined and sum(joined[-1]) == start:
                joined[-1][1] += number
            else:
                joined.append([start, number])
        return [self._table.slice(start, number) for start, number in joined]


def write_index(path: Path, table: pa.Table, entries: Sequence[Indexed]) -> None:
    """Keep what was read; where that cannot be written, it is read again next time."""
    listed = json.dumps([[entry.file, entry.stamp, entry.num_rows] for entry in entries])
    buffer = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    schema = table.schema.with_metadata({_ENTRIES: listed})
    with pa.ipc.new_file(buffer, schema, options=options) as writer:
        writer.write_table(table.replace_schema_metadata(schema.metadata).combine_chunks())
    content = buffer.getvalue().to_pybytes()
    with suppress(StorageError):
        write_atomically(path, hashlib.sha256(content).hexdigest().encode() + content)
