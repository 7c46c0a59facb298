"""Tries one source after the other until one has delivered the whole data set, verified."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data.canonical import canonicalise
from harness.data.digests import DigestTable
from harness.data.imageset import UInt8Array
from harness.data.progress import Progress
from harness.data.rate import SlowSourceError
from harness.data.readers import read_blocks
from harness.data.sources import SOURCE_NAMES, Source
from harness.errors import DataError

__all__ = ["fetch"]


def fetch(
    sources: Sequence[Source], downloads: Path, table: DigestTable, progress: Progress
) -> dict[str, UInt8Array]:
    """Get the data set from the first source that has it.

    A source that is slow is left for the next, and taken up again, however slow, where all others fail. The only
    one, or the last with no slow one before it, is never left.

    Args:
        sources: in the order to try them.
        downloads: where sources keep their transfers; need not exist.
        table: what the data must hash to.
        progress: hears of transfers, and a line of every source given up.

    Returns:
        The canonical arrays, see `canonicalise`.

    Raises:
        DataError: none of several sources delivered; the message has the reason of each and what to do.
        SourceError: the only source did not deliver.
        DigestError: the only source delivered something else.
    """
    failures: dict[str, DataError] = {}
    slow: list[Source] = []
    for index, source in enumerate(sources):
        following = sources[index + 1 :]
        try:
            return _fetch_from(source, downloads, table, progress, patient=not following and not slow)
        except DataError as error:
            failures[source.name] = error
            if isinstance(error, SlowSourceError):
                slow.append(source)
            if len(sources) > 1:
                progress.message(f"{source.name}: {error}; {_next_step(following, slow)}")
    for index, source in enumerate(slow):
        try:
            return _fetch_from(source, downloads, table, progress, patient=True)
        except DataError as error:
            failures[source.name] = error
            progress.message(f"{source.name}: {error}; {_next_step(slow[index + 1 :], [])}")
    raise _summary(failures)


def _fetch_from(
    source: Source, downloads: Path, table: DigestTable, progress: Progress, *, patient: bool
) -> dict[str, UInt8Array]:
    path = source.obtain(downloads, progress, patient=patient)
    try:
        description = f"{source.name}: reading and verifying"
        return canonicalise(read_blocks(path, table), table, description=description, progress=progress)
    except DataError:
        # whole, and wrong: nothing of it is worth resuming
        source.discard(downloads)
        raise


def _next_step(following: Sequence[Source], slow: Sequence[Source]) -> str:
    if following:
        return f"trying {following[0].name}"
    return f"going back to {slow[0].name}, however slow" if slow else "no source is left"


def _summary(failures: dict[str, DataError]) -> DataError:
    if len(failures) == 1:
        ((name, error),) = failures.items()
        return type(error)(f"{name}: {error}; other sources are {', '.join(SOURCE_NAMES)} or a path")
    reasons = "".join(f"\n  {name}: {error}" for name, error in failures.items())
    return DataError(
        f"CIFAR-10 cannot be had from any source:{reasons}\n"
        "Download cifar-10-python.tar.gz by hand and run `harness data fetch --source PATH`, "
        "or use `--data synthetic` for a trial without it."
    )
