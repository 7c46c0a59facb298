"""The canonical copy on this machine: kept once, verified on every use, replaced when damaged.

Layout of the cache folder::

    cifar10/            train_images.npy, train_labels.npy, test_images.npy, test_labels.npy
    cifar10.lock        held by the process that fetches
    cifar10.tmp/        the copy being written
    downloads/          transfers, one folder per source; gone once the copy is complete
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.atomic import sync_folder
from harness.data.digests import BatchReport, DigestTable, check_batches
from harness.data.fetch import fetch
from harness.data.imageset import IMAGE_SHAPE, ImageSet, UInt8Array
from harness.data.progress import Progress
from harness.data.sources import Source
from harness.errors import DataError, printable

__all__ = ["Cache", "cache_folder"]


def cache_folder() -> Path:
    """The folder of the cache: ``HARNESS_DATA_DIR`` where set, else the user's cache folder of this system.

    Raises:
        DataError: ``HARNESS_DATA_DIR`` can be no folder.
    """
    if chosen := os.environ.get("HARNESS_DATA_DIR"):
        try:
            folder = Path(chosen).expanduser()
            folder.joinpath("downloads").lstat()
        except FileNotFoundError:
            pass  # made when something is fetched
        except (OSError, ValueError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(
                f"HARNESS_DATA_DIR: {printable(chosen)} cannot be used ({reason}); "
                "set it to a folder with 500 MB of room"
            ) from error
        return folder
    import platformdirs

    return platformdirs.user_cache_path("resnet-repro-harness", appauthor=False)


@dataclass(frozen=True)
class Cache:
    """The copy below one folder."""

    root: Path

    table: DigestTable = field(default_factory=DigestTable.cifar10)
    """What the copy must hash to."""

    @property
    def folder(self) -> Path:
        """Where the arrays lie."""
        return self.root / "cifar10"

    def load(self, sources: Callable[[], Sequence[Source]], progress: Progress) -> ImageSet:
        """The verified copy, fetched first where there is none or a damaged one.

        Any number of processes may call this at once: one fetches, the others wait and use its result.

        Args:
            sources: gives the sources to try; asked only if something must be fetched.
            progress: hears of everything that takes time.

        Returns:
            The images, memory-mapped read-only.

        Raises:
            DataError: the data set cannot be had, or the cache cannot be written.
            UsageError: what `sources` raises.
        """
        arrays, reports = self._check()
        if not _all_ok(reports):
            try:
                with self._lock(progress):
                    self._renew(sources, progress)
            except OSError as error:
                raise DataError(
                    f"the cache {printable(self.root)} cannot be written ({error.strerror or error}); "
                    "set HARNESS_DATA_DIR to a folder with 500 MB of room"
                ) from error
            arrays, reports = self._check()
        return self._image_set(arrays, reports)

    def verify(self) -> list[BatchReport]:
        """Compare the copy with its digests, batch by batch, fetching nothing.

        Raises:
            DataError: there is no copy.
        """
        if not self.folder.is_dir():
            raise DataError(f"no CIFAR-10 in {printable(self.root)}; get it with `harness data fetch`")
        return self._check()[1]

    def _check(self) -> tuple[dict[str, UInt8Array | None], list[BatchReport]]:
        arrays = {
            f"{split}_{kind}": _map_array(self.folder / f"{split}_{kind}.npy", (num_images, *shape))
            for split, num_images in (("train", self.table.num_train), ("test", self.table.batch_size))
            for kind, shape in (("images", IMAGE_SHAPE), ("labels", ()))
        }
        return arrays, check_batches(arrays, self.table)

    def _image_set(self, arrays: Mapping[str, UInt8Array | None], reports: Sequence[BatchReport]) -> ImageSet:
        mapped = {name: array for name, array in arrays.items() if array is not None}
        if not _all_ok(reports) or len(mapped) != len(arrays):
            raise DataError(
                f"{printable(self.folder)} is damaged again ({_damage(reports)}) right after it was written; check the disk, "
                "or set HARNESS_DATA_DIR to a folder on another one"
            )
        return ImageSet(name="cifar10", sha256=self.table.sha256, **mapped)

    def _renew(self, sources: Callable[[], Sequence[Source]], progress: Progress) -> None:
        """Replace the copy, unless another process did so while this one waited for the lock."""
        if self.folder.exists():
            _, reports = self._check()
            if _all_ok(reports):
                return
            progress.message(
                f"the CIFAR-10 in {printable(self.folder)} is damaged ({_damage(reports)}); fetching it again"
            )
            shutil.rmtree(self.folder)
        downloads = self.root / "downloads"
        self._write(fetch(sources(), downloads, self.table, progress))
        shutil.rmtree(downloads, ignore_errors=True)

    def _write(self, arrays: Mapping[str, UInt8Array]) -> None:
        """Write the arrays beside their place and move them into it, so that they appear whole or not at all."""
        unfinished = self.folder.with_suffix(".tmp")
        # left by a process that was killed: only the holder of the lock gets here
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name, array in arrays.items():
            with (unfinished / f"{name}.npy").open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        sync_folder(unfinished)
        unfinished.rename(self.folder)
        sync_folder(self.root)

    @contextmanager
    def _lock(self, progress: Progress) -> Iterator[None]:
        from filelock import FileLock, Timeout

        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.message(
                f"another process is fetching CIFAR-10 into {printable(self.root)}; waiting for it"
            )
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def _map_array(path: Path, shape: tuple[int, ...]) -> UInt8Array | None:
    """The array in a file, mapped read-only; None where the file does not hold such an array.

    Its header is compared with the one that `numpy.save` writes, and never parsed.
    """
    expected = io.BytesIO()
    layout = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(expected, layout)
    header = expected.getvalue()
    try:
        with path.open("rb") as file:
            if file.read(len(header)) != header:
                return None
            return np.memmap(file, np.uint8, "r", len(header), shape)
    except (OSError, ValueError):
        return None


def _all_ok(reports: Sequence[BatchReport]) -> bool:
    return all(report.ok for report in reports)


def _damage(reports: Sequence[BatchReport]) -> str:
    return ", ".join(report.name for report in reports if not report.ok)
