"""Many small files of records brought into a few large ones, which are read faster and take less room."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from harness import storage
from harness.atomic import storing, write_atomically
from harness.errors import RecordError, StorageError
from harness.records.files import decode, encode
from harness.records.packs import PACKED, Pack, list_packs
from harness.records.schema import ENDED
from harness.records.store import BrokenFile, Store, read_named
from harness.records.values import check_name

__all__ = ["Compaction", "compact"]

MAX_BYTES = 32 * 2**20
"""Of the files that come into one."""
MAX_RECORDS = 1000


@dataclass
class Compaction:
    """What came of it."""

    num_files: int = 0
    """That were brought together, and are gone."""
    packs: list[Path] = field(default_factory=list)
    """That were written."""
    num_kept: int = 0
    """Files of runs that failed, and so may be done again, or that say other than a pack has it."""
    broken: list[BrokenFile] = field(default_factory=list)


@dataclass(frozen=True)
class _Single:
    file: storage.Listed
    table: pa.Table
    num_bytes: int


def compact(store: Store) -> Compaction:
    """Bring the runs of a store together, with what belongs to them; not those that it ships as published.

    A file is removed once the one that has its records was read back and holds the same, and only if nobody has
    written the file anew since. An interrupted compaction can be done again: what is in both is read once.

    Args:
        store: runs may go on in it meanwhile; only those that ended are touched.

    Raises:
        StorageError: it cannot be written.
    """
    outcome = Compaction()
    ended = _ended(store)
    for kind in reversed(PACKED):  # runs last: what belongs to a run that is not there counts as broken
        for singles in _in_parts(_singles(store, kind, ended, outcome)):
            path = _write_pack(store, kind, singles)
            outcome.packs.append(path)
            _remove([single.file for single in singles], outcome)
    return outcome


def _ended(store: Store) -> set[str]:
    """Runs that will not be done again."""
    table = Store(store.root).read("runs")[0].select(["run_id", "status"])
    return {row["run_id"] for row in table.to_pylist() if row["status"] in ENDED}


def _singles(store: Store, kind: str, ended: set[str], outcome: Compaction) -> Iterator[_Single]:
    """Files that are to come into packs; of those that are in one already, what is there twice is removed."""
    packs = list_packs(store.root, kind)
    twice: list[storage.Listed] = []
    for file in storage.listing(store.root / kind, ".parquet"):
        name = file.path.stem
        if name not in ended:
            outcome.num_kept += 1
            continue
        try:
            content = storage.read(file.path)
            table = decode(content, kind)
            read_named(file.path, kind)
            check_name(name)
            packed = _packed(packs, name)
        except OSError:  # another process has removed it
            continue
        except RecordError as error:
            outcome.broken.append(BrokenFile(file.path, str(error)))
            continue
        single = _Single(file, table, len(content))
        if packed is None:
            yield single
        elif _is_same(packed, table, kind):
            twice.append(file)
        else:
            outcome.num_kept += 1
    _remove(twice, outcome)


def _packed(packs: Sequence[Pack], name: str) -> pa.Table | None:
    for pack in packs:
        if name in pack.names():
            return pack.read_some([name])
    return None


def _in_parts(singles: Iterator[_Single]) -> Iterator[list[_Single]]:
    part: list[_Single] = []
    num_bytes = 0
    for single in singles:
        if part and (len(part) == MAX_RECORDS or num_bytes + single.num_bytes > MAX_BYTES):
            yield part
            part, num_bytes = [], 0
        part.append(single)
        num_bytes += single.num_bytes
    if part:
        yield part


def _write_pack(store: Store, kind: str, singles: Sequence[_Single]) -> Path:
    tables = [single.table for single in singles]
    whole = pa.concat_tables(tables)
    content = encode(kind, [whole] if kind == "runs" else tables)
    path = store.root / "compacted" / kind / f"{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    write_atomically(path, content)
    with storing(path):
        written = storage.read(path)
    if not _is_same(decode(written, kind), whole, kind):
        raise StorageError(f"{path}: does not hold what was written; nothing was removed")
    return path


def _is_same(one: pa.Table, other: pa.Table, kind: str) -> bool:
    """Whether two tables hold the same, also where that is no number, which arrow takes for unequal to itself."""
    return one.equals(other) or _bytes(one, kind) == _bytes(other, kind)


def _bytes(table: pa.Table, kind: str) -> bytes:
    """A file of it, whose pages do not depend on how the table came together."""
    return encode(kind, [table.combine_chunks()])


def _remove(files: Sequence[storage.Listed], outcome: Compaction) -> None:
    """Those of a folder that are still what was read."""
    if not files:
        return
    now = {file.path.name: file.stamp for file in storage.listing(files[0].path.parent, ".parquet")}
    for file in files:
        if file.stamp is not None and now.get(file.path.name) == file.stamp:
            with storing(file.path):
                storage.remove(file.path)
            outcome.num_files += 1
