"""The only code that reads or writes results.

    results/<kind>/<name>.parquet                what was run or measured here
    results/published/<kind>/<name>.parquet      what the project ships as evidence, read-only
    results/compacted/<kind>/<digest>.parquet    many records in one file, see `harness.records.packs`
    results/checkpoints/<run id>.safetensors     runs that were interrupted
    results/.index/                              what was read of them already; can be removed at any time

One file per record, named after its first column. A run's records of the kinds ``runs``, ``epochs`` and
``predictions`` have the same name, and that of kind ``runs`` is written last, so a run is recorded once all of it is.
Each file holds the digest of its own bytes. What is not a record is passed over; what is broken is named and passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness import storage
from harness.atomic import half_written, leftovers, write_atomically
from harness.errors import RecordError
from harness.records.files import decode, encode
from harness.records.index import Index, Indexed, write_index
from harness.records.packs import Pack, list_packs
from harness.records.schema import ENDED, KINDS, conform, to_table
from harness.records.values import check_name

__all__ = ["PARTS_OF_RUNS", "BrokenFile", "Record", "Store", "read_named"]

_INDEXED = frozenset({"runs"})
"""Kinds that may have thousands of files, each with little in it."""
_WORTH_AN_INDEX = 200
"""So many files take longer to read than an index to write."""

PARTS_OF_RUNS = ("epochs", "predictions")
"""Kinds that are written before the run that they belong to."""


@dataclass(frozen=True)
class BrokenFile:
    """A file that should be a record and is none."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Record:
    """One that was found, and not read yet."""

    home: Store
    """That it is in itself, if only as published."""
    path: Path
    name: str
    read: Callable[[], pa.Table]
    """Raises `RecordError` if it is broken."""


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
            RecordError: it holds what nobody can have measured, or the name is none of a record.
        """
        check_name(name)
        write_atomically(self.root / kind / f"{name}.parquet", encode(kind, [table]))

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
        packed: list[pa.Table] = []
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
            for pack in list_packs(home, kind):
                try:
                    names = [name for name in pack.names() if name not in known]
                    names = names if wanted is None else [name for name in names if name in wanted]
                    table = pack.read_some(names)
                except RecordError as error:
                    broken.append(BrokenFile(pack.path, str(error)))
                    continue
                packed.append(table)
                known.update(names)
        found = pa.concat_tables([*tables, *index.rows(places)])
        if kind in _INDEXED and wanted is None and num_read >= _WORTH_AN_INDEX:
            write_index(self._index(kind), found, entries)
        return pa.concat_tables([found, *packed]), broken

    def _index(self, kind: str) -> Path:
        return self.root / ".index" / f"{kind}.arrow"

    def local_run(self, run_id: str) -> dict[str, Any] | None:
        """The run as it was recorded here, not as published; None if it was not, or its file is broken."""
        found = self._find_in(self.root, "runs", run_id)
        row: dict[str, Any] | None = found.to_pylist()[0] if found is not None and len(found) else None
        return row

    def ended_run(self, run_id: str) -> dict[str, Any] | None:
        """The run as it was recorded here, if it came to its end: one that is not run again."""
        row = self.local_run(run_id)
        return None if row is None or row["status"] not in ENDED else row

    def find(self, kind: str, name: str) -> pa.Table | None:
        """The record of a name, ours or else the published one; None if there is none, or its file is broken."""
        found = self._find_in(self.root, kind, name)
        return self._find_in(self.root / "published", kind, name) if found is None else found

    def part(self, kind: str, run_id: str) -> pa.Table | None:
        """What belongs to a run that is recorded here, not as published; None if there is none.

        Raises:
            RecordError: its file is broken.
        """
        path = self.root / kind / f"{run_id}.parquet"
        if storage.exists(path):
            return read_named(path, kind)
        packs = (pack for pack in list_packs(self.root, kind) if run_id in pack.names())
        return next((pack.read_some([run_id]) for pack in packs), None)

    def _find_in(self, home: Path, kind: str, name: str) -> pa.Table | None:
        path = home / kind / f"{name}.parquet"
        if storage.exists(path):
            with suppress(RecordError):
                return decode(_content(path), kind)
        for pack in list_packs(home, kind):
            with suppress(RecordError):
                if name in pack.names():
                    return pack.read_some([name])
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
            for home, path, names_in in self._files_with_names(kind):
                try:
                    names = names_in()
                    if kind == "runs":
                        recorded.setdefault(home, set()).update(names)
                    elif kind in PARTS_OF_RUNS and names - recorded.get(home, set()):
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

    def _files_with_names(self, kind: str) -> Iterator[tuple[Path, Path, Callable[[], set[str]]]]:
        """Every file of a kind, with the folder that it is in and a function that reads all of it and tells what it records."""
        for home in (self.root, self.root / "published"):
            for file in storage.listing(home / kind, ".parquet"):
                yield home, file.path, partial(_names_of_file, file.path, kind)
            for pack in list_packs(home, kind):
                yield home, pack.path, partial(_names_of_pack, pack)

    def records(self, kind: str) -> Iterator[Record]:
        """Every record of a kind, ours first, also those of one name; of a broken file of many records, one."""
        for home in (self, self.published()):
            for file in storage.listing(home.root / kind, ".parquet"):
                yield Record(home, file.path, file.path.stem, partial(read_named, file.path, kind))
            for pack in list_packs(home.root, kind):
                try:
                    names = list(pack.names())
                except RecordError:
                    yield Record(home, pack.path, pack.path.stem, pack.read)
                else:
                    for name in names:
                        yield Record(home, pack.path, name, partial(pack.read_some, [name]))

    def names(self, kind: str) -> set[str]:
        """Of the records of a kind, ours and the published ones."""
        return {record.name for record in self.records(kind)}

    def names_here(self, kind: str) -> set[str]:
        """Of the records of a kind that are recorded here, not as published; of broken files too."""
        names = {file.path.stem for file in storage.listing(self.root / kind, ".parquet")}
        for pack in list_packs(self.root, kind):
            with suppress(RecordError):
                names.update(pack.names())
        return names

    def files(self, kind: str) -> Iterator[Path]:
        """Where records of a kind lie that have a file of their own, ours first; what is broken among them."""
        for home in (self.root, self.root / "published"):
            yield from (file.path for file in storage.listing(home / kind, ".parquet"))


def read_named(path: Path, kind: str) -> pa.Table:
    """One file of records as `harness.records.files.decode` reads it, which must hold the record that it is named after.

    Raises:
        RecordError: it does not, or as of `harness.records.files.decode`.
    """
    return _read_named(path, _content(path), kind)


def _read_named(path: Path, content: bytes | OSError, kind: str) -> pa.Table:
    table = decode(content, kind)
    if table.column(0).unique().to_pylist() != [path.stem]:
        raise RecordError("holds another record than its name says")
    return table


def _names_of_file(path: Path, kind: str) -> set[str]:
    return set(read_named(path, kind).column(0).unique().to_pylist())


def _names_of_pack(pack: Pack) -> set[str]:
    return set(pack.read().column(0).unique().to_pylist())


def _content(path: Path) -> bytes | OSError:
    try:
        return storage.read(path)
    except OSError as error:
        return error


def _name_in(root: Path, file: storage.Listed) -> str:
    return file.path.relative_to(root).as_posix()
