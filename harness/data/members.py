"""Named files out of a folder or a tar archive, in memory, with a limit on everything.

Nothing is ever unpacked onto the disk: an archive chooses its own path names, and no path name of an archive is
used here for anything but its last part.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from harness.errors import SourceError, printable

__all__ = ["MAX_MEMBER_BYTES", "is_archive", "iter_archive", "iter_folder"]

MAX_MEMBER_BYTES = 64 * 2**20
"""Largest file read; a batch has 31 MB in the official archive."""

_MAX_ARCHIVE_BYTES = 512 * 2**20
"""Most that an archive may unpack to; the official one has 186 MB."""

_MAX_MEMBERS = 1000

_MAX_HEADER_BYTES = 2**15
"""Most that an archive may have between two files, long names and all, and what is read ahead."""

_GZIP_MAGIC = b"\x1f\x8b"
_TAR_MAGIC_OFFSET = 257


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, gzipped or not, going by its first bytes."""
    with path.open("rb") as file:
        head = file.read(_TAR_MAGIC_OFFSET + 5)
    return head.startswith(_GZIP_MAGIC) or head[_TAR_MAGIC_OFFSET:] == b"ustar"


def iter_folder(folder: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The wanted files of a folder, in sorted order.

    Args:
        folder: searched itself, not its subfolders.
        wanted: file names.

    Yields:
        Name and content.

    Raises:
        SourceError: a file is larger than `MAX_MEMBER_BYTES` or cannot be read.
    """
    for name in sorted(wanted):
        path = folder / name
        try:
            if not path.is_file():
                continue
            _check_size(name, path.stat().st_size)
            content = path.read_bytes()
        except OSError as error:
            raise SourceError(f"{path} cannot be read ({error.strerror or error})") from error
        yield name, content


def iter_archive(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
    """The wanted members of a tar archive, in the archive's order, in one pass.

    Args:
        path: the archive, gzipped or not.
        wanted: last parts of member names; folders in front of them are ignored.

    Yields:
        Last part of the name, and content.

    Raises:
        SourceError: the archive is damaged, or unpacks to more than any copy of CIFAR-10 has.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            unpacked = gzip.GzipFile(fileobj=raw) if compressed else raw
            # The limits stand below tarfile, since a header alone can ask tarfile for any amount of memory.
            # "r|" reads strictly forward, so the archive is decompressed once.
            limited = _LimitedReader(cast("BinaryIO", unpacked), _MAX_ARCHIVE_BYTES)
            with tarfile.open(fileobj=cast("IO[bytes]", limited), mode="r|") as archive:
                yield from _iter_members(archive, limited, wanted)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        # ValueError: of tarfile, about nonsense in a header
        raise SourceError(f"{printable(path.name)} is damaged or cut short ({printable(error)})") from error


def _iter_members(
    archive: tarfile.TarFile, reader: _LimitedReader, wanted: Collection[str]
) -> Iterator[tuple[str, bytes]]:
    for count, member in enumerate(iter(archive.next, None)):
        if count >= _MAX_MEMBERS:
            raise SourceError(f"the archive has more than {_MAX_MEMBERS} members; no copy of CIFAR-10 has")
        if member.issparse():
            raise SourceError(f"{printable(member.name)} is a sparse file; no copy of CIFAR-10 has one")
        _check_size(member.name, member.size)
        reader.expect(member.size if member.isreg() else 0)
        archive.members.clear()  # type: ignore[attr-defined]  # all that were, each with its headers
        name = PurePosixPath(member.name).name
        file = archive.extractfile(member) if name in wanted and member.isreg() else None
        if file is not None:
            yield name, file.read()


def _check_size(name: str, size: int) -> None:
    if size > MAX_MEMBER_BYTES:
        raise SourceError(
            f"{printable(name)} has {size >> 20:,} MiB; no file of CIFAR-10 has more than {MAX_MEMBER_BYTES >> 20} MiB"
        )


class _LimitedReader:
    """A readable that refuses to deliver more than so many bytes in all, or before the next member."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._left = limit
        self.expect(0)

    def expect(self, num_bytes: int) -> None:
        """The content of a member comes, and the headers of the next."""
        self._left_of_member = num_bytes + _MAX_HEADER_BYTES

    def read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._left -= len(content)
        self._left_of_member -= len(content)
        if self._left_of_member < 0:
            raise SourceError(
                f"the archive has a header of more than {_MAX_HEADER_BYTES >> 10} KiB; no copy of CIFAR-10 has"
            )
        if self._left < 0:
            raise SourceError(
                f"the archive unpacks to more than {_MAX_ARCHIVE_BYTES // 2**20} MiB; no copy of CIFAR-10 does"
            )
        return content
