"""Folders of results, on this machine or in an object store; the rest of the harness asks for paths, and need not know which.

A folder in an object store is named by a URL: ``s3://bucket/folder``, ``gs://bucket/folder``,
``hf://datasets/owner/name``, or any other that fsspec knows. What is put there appears whole or not at all. What may be
there only once is put only if nothing is there (`create`): S3 and Google Cloud Storage let one of many that try succeed.

Whatever the library of a store raises becomes an `OSError` with its ``strerror``, or a `StorageError`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

from harness.errors import StorageError, UsageError, printable

__all__ = [
    "Listed",
    "changed_at",
    "create",
    "exists",
    "is_remote",
    "is_url",
    "listing",
    "open_folder",
    "open_to_read",
    "put",
    "read",
    "read_many",
    "remove",
]

_URL = re.compile(r"[a-z][a-z0-9+]+://")
_EXTRAS = {"s3": "s3", "gs": "gs", "gcs": "gs", "hf": "hf"}
"""Protocol -> the extra of the harness that brings its library."""
_AT_ONCE = 64
"""Objects that are asked for side by side."""
_MARKS_OF_OBJECTS = ("ETag", "etag", "md5Hash", "generation", "oid", "LastModified", "mtime", "created")


@dataclass(frozen=True)
class Listed:
    """A file or an object, as its folder lists it."""

    path: Path
    stamp: str | None
    """Tells it from what it was, and from what took its place; None if it is gone again."""


def is_url(text: str) -> bool:
    """Whether a folder is named as one of an object store is."""
    return _URL.match(text) is not None


def is_remote(path: Path) -> bool:
    """Whether a path is in an object store."""
    return not isinstance(path, PurePath)


def open_folder(name: str) -> Path:
    """The folder of a name; nothing is asked of it yet.

    Args:
        name: a path of this machine, or a URL.

    Raises:
        UsageError: nothing is known of such URLs, or what is needed for them is not installed.
    """
    if not is_url(name):
        return Path(name)
    protocol = name.partition("://")[0]
    extra = _EXTRAS.get(protocol)
    try:
        from upath import UPath

        # what others put there meanwhile is to be seen
        folder = UPath(name.rstrip("/"), use_listings_cache=False)
        _ = folder.fs
    except ImportError as error:
        wanted = f'install them with: pip install "resnet-repro-harness[{extra or "s3"}]"'
        raise UsageError(
            f"{printable(name)}: the libraries for {protocol}:// are not installed; {wanted}"
        ) from error
    except Exception as error:
        raise UsageError(
            f"{printable(name)}: cannot be opened ({printable(error)}); name a folder of this machine, or one such as s3://bucket/folder"
        ) from error
    return cast("Path", folder)


def exists(path: Path) -> bool:
    """Whether a file is there.

    Raises:
        StorageError: the store cannot be reached.
    """
    if not is_remote(path):
        return path.exists()
    try:
        with _reaching():
            return bool(_fs(path).exists(_key(path)))
    except OSError as error:
        raise _unreachable(path, error) from error


def read(path: Path) -> bytes:
    """All of a file.

    Raises:
        OSError: it cannot be read.
    """
    if not is_remote(path):
        return path.read_bytes()
    with _reaching():
        return cast("bytes", _fs(path).cat_file(_key(path)))


def read_many(paths: Sequence[Path]) -> Iterator[bytes | OSError]:
    """Each of many files, or why it cannot be read, in their order; from an object store many at a time."""
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        if is_remote(some[0]):
            yield from _read_side_by_side(some)
        else:
            yield from map(_read_or_error, some)


def open_to_read(path: Path) -> BinaryIO:
    """A file of which some parts are read; of an object, only those are fetched.

    Raises:
        OSError: it cannot be read.
    """
    if not is_remote(path):
        return path.open("rb")
    with _reaching():
        return cast("BinaryIO", _fs(path).open(_key(path), "rb"))


def put(path: Path, content: bytes) -> None:
    """Put an object of a store, in place of what is there.

    Raises:
        OSError: it cannot be put there.
    """
    with _reaching("there is no such bucket"):
        _fs(path).pipe_file(_key(path), content, mode="overwrite")


def create(path: Path, content: bytes) -> bool:
    """Put an object of a store if none of its name is there.

    Returns:
        Whether it was put: of several that try at a time, one is told so.

    Raises:
        OSError: the store cannot be reached, or is of a kind that cannot do that.
    """
    try:
        with _reaching("there is no such bucket"):
            _fs(path).pipe_file(_key(path), content, mode="create")
    except FileExistsError:
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file if it is there.

    Raises:
        OSError: it is there still.
    """
    if not is_remote(path):
        path.unlink(missing_ok=True)
        return
    try:
        with _reaching():
            _fs(path).rm_file(_key(path))
    except FileNotFoundError:
        pass


def listing(folder: Path, suffix: str) -> list[Listed]:
    """The files of a folder whose names end with a suffix, by name; not those that begin with a dot; none if it is not there.

    Raises:
        StorageError: the store cannot be reached.
    """
    if not is_remote(folder):
        # hidden files are half-written ones
        found = (path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
        return [Listed(path, _stamp(path)) for path in sorted(found)]
    try:
        with _reaching():
            entries = _fs(folder).ls(_key(folder), detail=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unreachable(folder, error) from error
    of_names = {entry["name"].rsplit("/", 1)[-1]: entry for entry in entries if entry["type"] == "file"}
    return [
        Listed(folder / name, _stamp_of_object(of_names[name]))
        for name in sorted(of_names)
        if name.endswith(suffix) and not name.startswith(".")
    ]


def changed_at(path: Path) -> datetime:
    """When a file was last written, by the clock of its store.

    Raises:
        OSError: it is not there.
    """
    if not is_remote(path):
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    with _reaching():
        changed: datetime = _fs(path).modified(_key(path))
    return changed


def _fs(path: Path) -> Any:
    return cast("Any", path).fs


def _key(path: Path) -> str:
    return str(cast("Any", path).path)


def _unreachable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot reach {path}: {error.strerror}; look to the network, the name of the bucket and your credentials for it"
    )


def _stamp(path: Path) -> str | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def _stamp_of_object(entry: dict[str, Any]) -> str:
    marks = [str(entry[name]) for name in _MARKS_OF_OBJECTS if entry.get(name)]
    return "-".join([str(entry.get("size")), *marks])


def _read_or_error(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def _read_side_by_side(paths: Sequence[Path]) -> Iterator[bytes | OSError]:
    keys = [_key(path) for path in paths]
    with _reaching():
        contents = _fs(paths[0]).cat(keys, on_error="return")
    for key in keys:
        found = contents.get(key)
        yield found if isinstance(found, bytes) else _os_error(found)


@contextmanager
def _reaching(missing: str = "No such file or directory") -> Iterator[None]:
    """Whatever goes wrong within is an `OSError` with its ``strerror``."""
    try:
        yield
    except Exception as error:
        raise _os_error(error, missing) from error


def _os_error(error: object, missing: str = "No such file or directory") -> OSError:
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, missing)
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return OSError(errno.EIO, printable(error or "the store did not answer", limit=500))
