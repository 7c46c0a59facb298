"""Who may write the files of a run: one process at a time.

In a folder, it is who holds a lock of the system, which takes it from a process that dies. An object store has no locks.
There, it is who put an object that was not there: a claim, beside the checkpoint, which its holder writes anew every
half minute. One that has been silent for some minutes is dead, and who then puts the next claim of its run, which again
only one can, has the run. Whoever was only asleep finds that next claim, and lets go.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from harness import storage
from harness.atomic import storing

__all__ = ["Lock", "is_held", "lock_of_run"]

SECONDS_BETWEEN_BEATS: Final = 30.0
SILENCE: Final = timedelta(minutes=3)
"""After which a claim is dead. The clocks of machine and store may differ by less than this; where they differ by more, a run
may be done twice, with the same result."""
_CLAIM: Final = re.compile(r"\.(\d{1,6})\.claim$")


@dataclass(frozen=True)
class Lock:
    """The right to write the files of a run."""

    path: Path
    """Of the lock itself."""
    is_lost: Callable[[], bool] = lambda: False
    """Whether another process has taken it, because this one was silent for long."""

    def remove(self) -> None:
        """Of a run that is recorded, the lock is no longer needed."""
        with suppress(OSError):  # Windows keeps it until it is released
            storage.remove(self.path)


@contextmanager
def lock_of_run(checkpoint: Path) -> Iterator[Lock | None]:
    """Hold the lock of a run.

    Args:
        checkpoint: of the run; the lock lies beside it.

    Yields:
        The lock, which the holder removes when the run is recorded; None if another process holds it.

    Raises:
        StorageError: it cannot be made.
    """
    with _claim(checkpoint) if storage.is_remote(checkpoint) else _file_lock(checkpoint) as lock:
        yield lock


def is_held(checkpoint: Path) -> bool:
    """Whether a process holds the lock of a run.

    Raises:
        StorageError: that cannot be found out.
    """
    if storage.is_remote(checkpoint):
        claims = _claims(checkpoint)
        return bool(claims) and not _is_dead(claims[-1])
    if not checkpoint.with_suffix(".lock").exists():
        return False
    with lock_of_run(checkpoint) as lock:
        return lock is None


@contextmanager
def _file_lock(checkpoint: Path) -> Iterator[Lock | None]:
    path = checkpoint.with_suffix(".lock")
    # where a file system has no locks, that is said: a file in place of one would outlive its process
    lock = FileLock(path, fallback_to_soft=False)
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(Timeout):
            lock.acquire(timeout=0)
    try:
        yield Lock(path) if lock.is_locked else None
    finally:
        lock.release()


@contextmanager
def _claim(checkpoint: Path) -> Iterator[Lock | None]:
    before = _claims(checkpoint)
    if before and not _is_dead(before[-1]):
        yield None
        return
    number = _number(before[-1]) + 1 if before else 0
    path = checkpoint.with_name(f"{checkpoint.stem}.{number:06}.claim")
    with storing(path):
        is_ours = storage.create(path, _signature())
    if not is_ours:
        yield None
        return
    ended, lost = threading.Event(), threading.Event()
    heart = threading.Thread(target=_beat, args=(checkpoint, path, ended, lost), daemon=True)
    heart.start()
    try:
        yield Lock(path, lost.is_set)
    finally:
        ended.set()
        heart.join()
        for claim in [*before, path]:  # the dead are no longer needed once nobody follows them
            if not lost.is_set():
                with suppress(OSError):
                    storage.remove(claim)


def _beat(checkpoint: Path, path: Path, ended: threading.Event, lost: threading.Event) -> None:
    """Write a claim anew until its holder ends, or another process has made the next one."""
    while not ended.wait(SECONDS_BETWEEN_BEATS):
        with suppress(Exception):  # of an object store that cannot be reached: the next beat may reach it
            names = [claim.name for claim in _claims(checkpoint)]
            if not names or names[-1] != path.name:
                lost.set()
                return
            storage.put(path, _signature())


def _claims(checkpoint: Path) -> list[Path]:
    """Of a run, the first made first."""
    of_folder = storage.listing(checkpoint.parent, ".claim")
    found = [listed.path for listed in of_folder if _CLAIM.sub("", listed.path.name) == checkpoint.stem]
    return sorted(found, key=_number)


def _number(claim: Path) -> int:
    named = _CLAIM.search(claim.name)
    return int(named[1]) if named else 0


def _is_dead(claim: Path) -> bool:
    try:
        return datetime.now(UTC) - storage.changed_at(claim) > SILENCE
    except OSError:  # it was removed meanwhile
        return False


def _signature() -> bytes:
    """For people who look; what counts is that the object is there, and when it was written."""
    return f"{socket.gethostname()} {datetime.now(UTC).isoformat()}".encode()
