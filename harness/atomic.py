"""Files that appear whole or not at all, and what writers leave that were killed."""

from __future__ import annotations

import errno
import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import storage
from harness.errors import StorageError

__all__ = ["half_written", "leftovers", "storing", "sync_folder", "write_atomically"]


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write ``content`` to ``path``, so that a reader or a crash meets the old file or the new, never a part.

    The bytes go to a hidden file in the same folder and onto the disk before the name changes hands.
    Missing folders are made. In an object store, they are put there at once.

    Args:
        path: the file.
        content: all of it.
        durable: whether it is on the disk when this returns, as a record must be.

    Raises:
        StorageError: it cannot be written.
    """
    if storage.is_remote(path):
        with storing(path):
            storage.put(path, content)
        return
    # hosts that share a folder may share process numbers
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if durable:
            sync_folder(path.parent)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Within it, what the system says against writing ``path`` is a `StorageError` that names the file and the remedy."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}; mend that and start again: what is recorded already is untouched"
        ) from error


def leftovers(path: Path) -> list[Path]:
    """What is left of attempts to write ``path`` that were killed, or are still being made."""
    if storage.is_remote(path):
        return []
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))


def half_written(folder: Path) -> list[Path]:
    """What is left in a folder of attempts to write any file."""
    return [] if storage.is_remote(folder) else sorted(folder.glob(".*.tmp"))


def sync_folder(folder: Path) -> None:
    """Make new names in a folder durable, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some file systems, of networks above all, do that for files only
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(descriptor)
