"""The two calls that everything else in the harness makes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness.data.cache import Cache, cache_folder
from harness.data.digests import BatchReport
from harness.data.imageset import ImageSet
from harness.data.progress import Progress, SilentProgress
from harness.data.sources import Source, resolve_sources
from harness.data.synthetic import synthetic
from harness.errors import UnknownNameError, printable

__all__ = ["DATA_NAMES", "load", "verify"]

DATA_NAMES = ("cifar10", "synthetic")
"""What `load` knows."""


def load(
    name: str = "cifar10", *, source: str | os.PathLike[str] = "auto", progress: Progress | None = None
) -> ImageSet:
    """Load a data set; CIFAR-10 is fetched first where the cache has no good copy of it.

    A cached copy is verified against the SHA-256 of every batch on each call, which takes a few tenths of a
    second, and is used whatever `source` says, which is told: the bytes are the same from everywhere.

    Args:
        name: one of `DATA_NAMES`.
        source: where to fetch from: ``"auto"``, one of `SOURCE_NAMES`, or a path to one of `ACCEPTED_PATHS`.
            ``"auto"`` honours the environment's ``HARNESS_DATA_SOURCE``, then tries every source in turn. A
            source asked for by name is the only one tried, and is waited for however slow.
        progress: hears of fetching, waiting and damage; nobody does unless given.

    Returns:
        The images, read-only; those of CIFAR-10 memory-mapped from the cache.

    Raises:
        UnknownNameError: there is no such data set.
        UsageError: `source` is neither a name nor an existing path.
        DataError: the data set cannot be had.
    """
    if name == "synthetic":
        return synthetic()
    if name != "cifar10":
        raise UnknownNameError("data set", name, DATA_NAMES)
    cache, progress, asked = Cache(cache_folder()), progress or SilentProgress(), False

    def sources() -> Sequence[Source]:
        nonlocal asked
        asked = True
        return resolve_sources(source)

    images = cache.load(sources, progress)
    if source != "auto" and not asked:
        progress.message(
            f"already cached in {printable(cache.root)}; source {printable(repr(os.fspath(source)))} was not used"
        )
    return images


def verify() -> list[BatchReport]:
    """Compare the cached CIFAR-10 with its digests, batch by batch, in official order; nothing is fetched.

    Raises:
        DataError: nothing is cached.
    """
    return Cache(cache_folder()).verify()
