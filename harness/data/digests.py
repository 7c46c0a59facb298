"""The SHA-256 digests that say what CIFAR-10 is, and the check of arrays against them."""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from harness.data.imageset import UInt8Array

__all__ = ["BatchDigest", "BatchReport", "DigestTable", "check_batches", "combined_sha256", "sha256_hex"]


def sha256_hex(array: UInt8Array) -> str:
    """SHA-256 of a C-contiguous array's bytes, as 64 hex digits. Releases the GIL while it works."""
    return hashlib.sha256(array.reshape(-1).data).hexdigest()


def combined_sha256(digests: Iterable[tuple[str, str]]) -> str:
    """One digest for a whole set: SHA-256 over the concatenated hex digests (pixels, labels) of its batches."""
    joined = "".join(pixels + labels for pixels, labels in digests)
    return hashlib.sha256(joined.encode("ascii")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class BatchDigest:
    """What one official batch must hash to."""

    name: str
    pixels: str
    labels: str

    def __post_init__(self) -> None:
        for key, value in (("pixels", self.pixels), ("labels", self.labels)):
            if len(value) != 64 or not set(value) <= set("0123456789abcdef"):
                raise ValueError(f"{self.name}.{key} is {value!r}; a SHA-256 is 64 lower-case hex digits")


@dataclass(frozen=True)
class DigestTable:
    """The batches of a data set in official order; the last one is the test set.

    Everything that reads a source takes its table as an argument, so that small fakes travel the same road
    as the real data.
    """

    batch_size: int
    """Images per batch."""

    batches: tuple[BatchDigest, ...]

    def __post_init__(self) -> None:
        if self.batch_size < 1 or len(self.batches) < 2:
            raise ValueError(
                f"a table of {len(self.batches)} batches of {self.batch_size} images; "
                "it needs at least one training and one test batch, of at least one image"
            )

    @classmethod
    def from_toml(cls, text: str) -> DigestTable:
        """Read the layout of ``digests.toml``."""
        content = tomllib.loads(text)
        batches = (BatchDigest(name=name, **digests) for name, digests in content["batches"].items())
        return cls(content["batch_size"], tuple(batches))

    @staticmethod
    @cache
    def cifar10() -> DigestTable:
        """The table of the real data set, shipped with the package."""
        return DigestTable.from_toml((files("harness.data") / "digests.toml").read_text("utf-8"))

    @property
    def names(self) -> tuple[str, ...]:
        """Batch names in official order."""
        return tuple(batch.name for batch in self.batches)

    @property
    def num_train(self) -> int:
        """Number of training images."""
        return self.batch_size * (len(self.batches) - 1)

    @property
    def num_images(self) -> int:
        """Number of images in training and test set together."""
        return self.batch_size * len(self.batches)

    @property
    def sha256(self) -> str:
        """One digest over the whole set, see `combined_sha256`."""
        return combined_sha256((batch.pixels, batch.labels) for batch in self.batches)

    def place(self, index: int) -> tuple[str, slice]:
        """The split (``"train"`` or ``"test"``) and the rows of it that batch `index` fills."""
        if index == len(self.batches) - 1:
            return "test", slice(0, self.batch_size)
        return "train", slice(index * self.batch_size, (index + 1) * self.batch_size)


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """How one cached batch compares with its digests."""

    name: str
    pixels_match: bool
    labels_match: bool

    pixels_sha256: str | None
    """What the cached pixels hash to; None where the file cannot be read."""

    labels_sha256: str | None
    """What the cached labels hash to; None where the file cannot be read."""

    @property
    def ok(self) -> bool:
        """Whether pixels and labels are both what they should be."""
        return self.pixels_match and self.labels_match


def check_batches(arrays: Mapping[str, UInt8Array | None], table: DigestTable) -> list[BatchReport]:
    """Hash every batch of `arrays` and compare it with the table.

    Args:
        arrays: ``train_images``, ``train_labels``, ``test_images`` and ``test_labels`` in the shapes of
            `ImageSet`; None stands for one that could not be read.
        table: what they should hash to.

    Returns:
        One report per batch, in official order.
    """

    def digest(kind: str, index: int) -> str | None:
        split, rows = table.place(index)
        array = arrays[f"{split}_{kind}"]
        return None if array is None else sha256_hex(array[rows])

    # hashlib lets go of the GIL, so a few threads bring 184 MB down to a blink; more would only wait for memory
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        indices = range(len(table.batches))
        pixels = pool.map(lambda index: digest("images", index), indices)
        labels = pool.map(lambda index: digest("labels", index), indices)
        return [
            BatchReport(
                name=batch.name,
                pixels_match=pixels_sha256 == batch.pixels,
                labels_match=labels_sha256 == batch.labels,
                pixels_sha256=pixels_sha256,
                labels_sha256=labels_sha256,
            )
            for batch, pixels_sha256, labels_sha256 in zip(table.batches, pixels, labels, strict=True)
        ]
