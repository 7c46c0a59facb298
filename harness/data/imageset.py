"""What the package hands out: one immutable set of images and labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["CLASSES", "IMAGE_SHAPE", "PIXELS_PER_IMAGE", "ImageSet", "UInt8Array"]

UInt8Array: TypeAlias = npt.NDArray[np.uint8]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The class names; a label is an index into them (``batches.meta`` of the official archive)."""

IMAGE_SHAPE = (3, 32, 32)
"""Channels (red, green, blue), rows, columns."""

PIXELS_PER_IMAGE = 3 * 32 * 32
"""Values in one image, in the layout of a row of an official batch."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageSet:
    """Training and test images in canonical order, read-only.

    The arrays of CIFAR-10 are memory-mapped: they cost nothing until read, and the processes of one machine
    share them. Copy them (``np.array(images)``) before handing them to a library that wants writable memory.
    Load the set anew in a worker process instead of pickling it, which would copy every byte.

    Raises:
        ValueError: an array has the wrong dtype or shape, is writable, or images and labels differ in number.
    """

    name: str
    """``"cifar10"`` or ``"synthetic"``."""

    train_images: UInt8Array = field(repr=False)
    """uint8, shape (num_train, 3, 32, 32)."""

    train_labels: UInt8Array = field(repr=False)
    """uint8, shape (num_train,), indices into `CLASSES`."""

    test_images: UInt8Array = field(repr=False)
    """uint8, shape (num_test, 3, 32, 32)."""

    test_labels: UInt8Array = field(repr=False)
    """uint8, shape (num_test,), indices into `CLASSES`."""

    sha256: str
    """Digest of the whole: SHA-256 over the hex digests of each batch's pixels and labels, in order."""

    def __post_init__(self) -> None:
        _check_split("train", self.train_images, self.train_labels)
        _check_split("test", self.test_images, self.test_labels)

    @property
    def num_train(self) -> int:
        """Number of training images."""
        return len(self.train_labels)

    @property
    def num_test(self) -> int:
        """Number of test images."""
        return len(self.test_labels)

    @property
    def num_classes(self) -> int:
        """Number of classes, 10."""
        return len(CLASSES)


def _check_split(split: str, images: UInt8Array, labels: UInt8Array) -> None:
    expected = {f"{split}_images": (len(labels), *IMAGE_SHAPE), f"{split}_labels": (len(labels),)}
    for (name, shape), array in zip(expected.items(), (images, labels), strict=True):
        if array.dtype != np.uint8 or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype} {array.shape}; it must be uint8 {shape}")
        if array.flags.writeable:
            raise ValueError(f"{name} is writable; call setflags(write=False) so that no run can alter it")
