"""The only code that reads or writes results.

    results/<kind>/<name>.parquet                what was run or measured here
    results/published/<kind>/<name>.parquet      what the project ships as evidence, read-only
    results/checkpoints/<run id>.safetensors     runs that were interrupted
    results/.index/                              what was read of them already; can be removed at any time

One file per record, named after its first column. A run's records of the kinds ``runs``, ``epochs`` and
``predictions`` have the same name, and that of kind ``runs`` is written last, so a run is recorded once all of it is.
Each file holds the digest of its own bytes. What is not a record is passed over; what is broken is named and passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from harness import storage
from harness.atomic import half_written, leftovers, write_atomically
from harness.errors import RecordError, printable
from harness.records.index import Index, Indexed, write_index
from harness.records.schema import ENDED, KINDS, SCHEMA_VERSION, conform, to_table
from harness.records.values import check_values
from harness.seal import NO_DIGEST, is_sealed, seal

__all__ = ["PARTS_OF_RUNS", "BrokenFile", "Store", "read_named"]

# A row a file needs neither statistics nor dictionaries; the bytes of floats compress better side by side.
_ONE_ROW = {"write_statistics": False, "use_dictionary": False}
_WRITE_OPTIONS: dict[str, dict[str, Any]] = {
    "runs": _ONE_ROW,
    "identities": _ONE_ROW,
    "audits": _ONE_ROW,
    "benchmarks": {},
    "profiles": {},
    "operators": {},
    "verifications": _ONE_ROW,
    "epochs": {"use_dictionary": False, "use_byte_stream_split": ["losses.list.element"]},
    "predictions": {"use_dictionary": ["run_id", "label"], "use_byte_stream_split": ["logits.list.element"]},
}

_INDEXED = frozenset({"runs"})
"""Kinds that may have thousands of files, each with little in it."""
_WORTH_AN_INDEX = 200
"""So many files take longer to read than an index to write."""

PARTS_OF_RUNS = ("epochs", "predictions")
"""Kinds that are written before the run that they belong to."""

_KIND_KEY, _VERSION_KEY, _DIGEST_KEY = b"harness.kind", b"harness.schema_version", b"harness.sha256"
_FIRST_VERSION_WITH_DIGEST = 5
_MAX_DIGITS = 9
"""Of a version; Python reads no integer of thousands."""
_DIGEST = re.compile(re.escape(_DIGEST_KEY) + rb".{2}([0-9a-f]{64})", re.DOTALL)
"""As it stands in the footer: two bytes between key and value give the type and length of the value."""


@dataclass(frozen=True)
class BrokenFile:
    """A file that should be a record and is none."""

    path: Path
    reason: str


class Store:
    """A folder of records.

    Args:
        root: the folder, as `harness.storage.open_folder` opens it; it is made when the first record is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def checkpoint(self, run_id: str) -> Path:
        """Where the checkpoint of a run lies while it is not completed."""
        return self.root / "checkpoints" / f"{run_id}.safetensors"

    def checkpoints(self) -> Iterator[Path]:
        """Those that are there, of whichever run."""
        yield from (listed.path for listed in storage.listing(self.root / "checkpoints", ".safetensors"))

    def write_run(
        self, run: dict[str, Any], epochs: Sequence[dict[str, Any]] = (), predictions: pa.Table | None = None
    ) -> None:
        """Record a run: its epochs and predictions if there are any, then the run itself.

        Raises:
            RecordError: a row breaks the schema.
        """
        run_id = run["run_id"]
        run_table = to_table("runs", [run])
        if epochs:
            self.write_table("epochs", run_id, to_table("epochs", epochs))
        if predictions is not None:
            self.write_table("predictions", run_id, conform("predictions", predictions))
        self.write_table("runs", run_id, run_table)

    def write(self, kind: str, *rows: dict[str, Any]) -> None:
        """Record what is no part of a run, in place of a record of the same name if there is one.

        Raises:
            RecordError: a row breaks the schema.
        """
        self.write_table(kind, rows[0][KINDS[kind].names[0]], to_table(kind, rows))

    def write_table(self, kind: str, name: str, table: pa.Table) -> None:
        """Record a table of the present schema under a name, in place of what has it.

        Raises:
            RecordError: it holds what nobody can have measured.
        """
        check_values(table)
        table = table.replace_schema_metadata({_KIND_KEY: kind, _VERSION_KEY: str(SCHEMA_VERSION)})
        buffer = pa.BufferOutputStream()
        options = {"compression": "zstd", "write_page_checksum": True, **_WRITE_OPTIONS[kind]}
        with pq.ParquetWriter(buffer, table.schema, **options) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({_DIGEST_KEY: NO_DIGEST})
        content = buffer.getvalue().to_pybytes()
        write_atomically(self.root / kind / f"{name}.parquet", seal(content, _find_digest(content)))

    def read(self, kind: str, run_ids: Sequence[str] | None = None) -> tuple[pa.Table, list[BrokenFile]]:
        """All records of a kind, or those of some runs; where a run was repeated here, ours shadow the published.

        Returns:
            The records, and the files that are none.
        """
        wanted = None if run_ids is None else set(run_ids)
        index = Index.read(self._index(kind), KINDS[kind]) if kind in _INDEXED else Index.empty(KINDS[kind])
        # an empty table first, since concat_tables wants one, and empty_table() imports pandas for half a second
        tables = [pa.Table.from_batches([], schema=KINDS[kind])]
        places: list[tuple[int, int]] = []  # in the index, of files that follow one another
        entries: list[Indexed] = []
        broken, num_read, known = [], 0, set[str]()
        for home in (self.root, self.root / "published"):
            listed = [
                (file, index.find(_name_in(self.root, file), file.stamp))
                for file in storage.listing(home / kind, ".parquet")
                if file.path.stem not in known and (wanted is None or file.path.stem in wanted)
            ]
            contents = storage.read_many([file.path for file, place in listed if place is None])
            for file, place in listed:
                if place is None:
                    try:
                        table = _read_named(file.path, next(contents), kind)
                    except RecordError as error:
                        broken.append(BrokenFile(file.path, str(error)))
                        continue
                    tables += [*index.rows(places), table]
                    places, num_read, num_rows = [], num_read + 1, len(table)
                else:
                    places.append(place)
                    num_rows = place[1]
                known.add(file.path.stem)
                entries.append(Indexed(_name_in(self.root, file), file.stamp, num_rows))
        found = pa.concat_tables([*tables, *index.rows(places)])
        if kind in _INDEXED and wanted is None and num_read >= _WORTH_AN_INDEX:
            write_index(self._index(kind), found, entries)
        return found, broken

    def _index(self, kind: str) -> Path:
        return self.root / ".index" / f"{kind}.arrow"

    def local_run(self, run_id: str) -> dict[str, Any] | None:
        """The run as it was recorded here, not as published; None if it was not, or its file is broken."""
        path = self.root / "runs" / f"{run_id}.parquet"
        if not storage.exists(path):
            return None
        try:
            row: dict[str, Any] = _read_file(path, "runs").to_pylist()[0]
        except (RecordError, IndexError):
            return None
        return row

    def ended_run(self, run_id: str) -> dict[str, Any] | None:
        """The run as it was recorded here, if it came to its end: one that is not run again."""
        row = self.local_run(run_id)
        return None if row is None or row["status"] not in ENDED else row

    def find(self, kind: str, name: str) -> pa.Table | None:
        """The record of a name, ours or else the published one; None if there is none, or its file is broken."""
        for home in (self.root, self.root / "published"):
            path = home / kind / f"{name}.parquet"
            if storage.exists(path):
                try:
                    return _read_file(path, kind)
                except RecordError:
                    continue
        return None

    def remove_leftovers(self, run_id: str) -> None:
        """Remove what writers of a run left that were killed; only who holds the lock of the run may."""
        of_records = [self.root / kind / f"{run_id}.parquet" for kind in ("runs", *PARTS_OF_RUNS)]
        for path in (*of_records, self.checkpoint(run_id)):
            for leftover in leftovers(path):
                leftover.unlink(missing_ok=True)

    def published(self) -> Store:
        """What the project published, as a store of its own."""
        return Store(self.root / "published")

    def check(self) -> tuple[int, list[BrokenFile]]:
        """Read every file of every kind.

        Returns:
            The number of sound files, and what is broken: unreadable files, epochs or predictions
            whose run is not recorded, and what is left of writers that were killed.
        """
        num_files, broken = 0, []
        recorded: dict[Path, set[str]] = {}
        for kind in KINDS:
            for path in self.files(kind):
                home = path.parent.parent
                try:
                    read_named(path, kind)
                    if kind == "runs":
                        recorded.setdefault(home, set()).add(path.stem)
                    elif kind in PARTS_OF_RUNS and path.stem not in recorded.get(home, set()):
                        raise RecordError(
                            "belongs to a run that is not recorded: it was interrupted while being written; run it again, or remove the file"
                        )
                except RecordError as error:
                    broken.append(BrokenFile(path, str(error)))
                else:
                    num_files += 1
        for folder in (*KINDS, "checkpoints"):
            broken += [
                BrokenFile(path, "was not written to the end: whoever wrote it was killed; it can be removed")
                for path in half_written(self.root / folder)
            ]
        return num_files, broken

    def files(self, kind: str) -> Iterator[Path]:
        """Where records of a kind lie, ours first; what is broken among them."""
        for home in (self.root, self.root / "published"):
            yield from (file.path for file in storage.listing(home / kind, ".parquet"))


def read_named(path: Path, kind: str) -> pa.Table:
    """One file of records as `_read_record` reads it, which must hold the record that it is named after.

    Raises:
        RecordError: it does not, or as of `_read_record`.
    """
    return _read_named(path, _content(path), kind)


def _read_named(path: Path, content: bytes | OSError, kind: str) -> pa.Table:
    table = _read_record(content, kind)
    if table.column(0).unique().to_pylist() != [path.stem]:
        raise RecordError("holds another record than its name says")
    return table


def _read_file(path: Path, kind: str) -> pa.Table:
    return _read_record(_content(path), kind)


def _content(path: Path) -> bytes | OSError:
    try:
        return storage.read(path)
    except OSError as error:
        return error


def _read_record(content: bytes | OSError, kind: str) -> pa.Table:
    """The content of a file of records as a table of the present schema.

    Raises:
        RecordError: it is no record of this kind, is broken, or was written by a newer harness.
    """
    schema = KINDS[kind]
    if isinstance(content, OSError):
        raise RecordError(f"cannot be read: {content.strerror}") from content
    sealed = _find_digest(content)
    if sealed is not None and not is_sealed(content, sealed):
        raise RecordError("is damaged: its digest is not that of its bytes")
    try:
        # No threads: the files are small, and a thread of arrow's that lets go of Python's bytes while the
        # interpreter exits aborts the process.
        source = pa.BufferReader(content)
        table = pq.ParquetFile(source, page_checksum_verification=True).read(use_threads=False)
        table.validate(full=True)  # text is UTF-8, and lists lie within their values
    except (OSError, pa.ArrowException, ValueError) as error:  # OSError: of arrow, about its bytes
        raise RecordError(f"cannot be read: {printable(error)}") from error
    marks = table.schema.metadata or {}
    if marks.get(_KIND_KEY) != kind.encode():
        raise RecordError(f"is no record of kind {kind!r}")
    version = marks.get(_VERSION_KEY, b"").decode(errors="replace")
    if not version.isdecimal():
        raise RecordError(f"has no schema version, but {printable(repr(version))}")
    if len(version) > _MAX_DIGITS or int(version) > SCHEMA_VERSION:
        raise RecordError(
            f"has schema version {printable(version)}, this harness reads up to {SCHEMA_VERSION}; update the harness"
        )
    if int(version) >= _FIRST_VERSION_WITH_DIGEST and sealed is None:
        raise RecordError("is damaged: it has no digest")
    if table.schema.equals(schema):  # as this version writes it; conforming takes longer than reading
        table = table.replace_schema_metadata()
    else:
        for field in schema:
            if field.name not in table.column_names and int(version) < SCHEMA_VERSION:
                table = table.append_column(field, pa.nulls(len(table), field.type))
        table = conform(
            kind, table.drop_columns([name for name in table.column_names if name not in schema.names])
        )
    check_values(table)
    return table


def _name_in(root: Path, file: storage.Listed) -> str:
    return file.path.relative_to(root).as_posix()


def _find_digest(content: bytes) -> re.Match[bytes] | None:
    """Where the digest stands in a file: in its footer, so it is the last that looks like one."""
    return _DIGEST.search(content, max(0, content.rfind(_DIGEST_KEY)))
