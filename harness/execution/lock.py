"""Who may write the files of a run: one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from harness.atomic import storing

__all__ = ["lock_of_run"]


@contextmanager
def lock_of_run(checkpoint: Path) -> Iterator[Path | None]:
    """Hold the lock of a run, which the system takes from a process that dies.

    Args:
        checkpoint: of the run; the lock lies beside it.

    Yields:
        The file of the lock, which the holder removes when the run is recorded; None if another process holds it.

    Raises:
        StorageError: it cannot be made.
    """
    path = checkpoint.with_suffix(".lock")
    lock = FileLock(path)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout):
            lock.acquire(timeout=0)
    try:
        yield path if lock.is_locked else None
    finally:
        lock.release()
