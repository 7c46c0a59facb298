"""A small learnable stand-in for CIFAR-10, for trials and tests; never used in its place unasked.

Each class is an orientation and a colour of a grating, with random phase, contrast, brightness and mirroring under
heavy noise. All arithmetic is on integers drawn from Philox, whose raw output is fixed by its definition, so the
bytes are the same on every machine and with every version of numpy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.data.digests import combined_sha256, sha256_hex
from harness.data.imageset import CLASSES, IMAGE_SHAPE, PIXELS_PER_IMAGE, ImageSet, UInt8Array
from harness.errors import UsageError

__all__ = ["synthetic"]

_Int32Array = npt.NDArray[np.int32]

# phase per column and per row, in 1/256 of a period, of gratings of 8 pixels turned by 0, 22.5, 45, 67.5, 90 degrees
_STEPS = np.array([(32, 0), (30, 12), (23, 23), (12, 30), (0, 32)], np.int32)

# weight of red, green and blue in the grating: two colours for five orientations make ten classes
_COLOURS = np.array([(3, 2, 1), (1, 2, 3)], np.int32)

_TRAIN_STREAM, _TEST_STREAM = 0, 1


def synthetic(num_train: int = 2048, num_test: int = 512, seed: int = 0) -> ImageSet:
    """Draw the synthetic set.

    Args:
        num_train: number of training images; the classes are balanced as far as it allows.
        num_test: number of test images, likewise.
        seed: 0 or more; another seed gives other images of the same classes.

    Returns:
        The images, in memory, in the shapes and dtypes of CIFAR-10.

    Raises:
        UsageError: a number is out of range.
    """
    if num_train < 1 or num_test < 1:
        raise UsageError(f"num_train={num_train} and num_test={num_test}; both must be at least 1")
    if seed < 0:
        raise UsageError(f"seed={seed}; it must be 0 or more")
    train_images, train_labels = _draw(num_train, seed, _TRAIN_STREAM)
    test_images, test_labels = _draw(num_test, seed, _TEST_STREAM)
    digests = [
        (sha256_hex(images), sha256_hex(labels))
        for images, labels in ((train_images, train_labels), (test_images, test_labels))
    ]
    return ImageSet(
        name="synthetic",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        sha256=combined_sha256(digests),
    )


def _draw(num_images: int, seed: int, stream: int) -> tuple[UInt8Array, UInt8Array]:
    # the highest word of the counter parts the streams, so that the size of one cannot shift the other
    source = np.random.Philox(key=seed, counter=[0, 0, 0, stream])
    order = np.argsort(source.random_raw(num_images), kind="stable")
    labels = (order % len(CLASSES)).astype(np.uint8)
    images = np.empty((num_images, *IMAGE_SHAPE), np.uint8)
    for index, label in enumerate(labels):
        images[index] = _image(int(label), source)
    for array in (images, labels):
        array.setflags(write=False)
    return images, labels


def _image(label: int, source: np.random.Philox) -> _Int32Array:
    phase, contrast, brightness, mirror = (int(byte) for byte in _bytes(source, 4))
    column_step, row_step = _STEPS[label % len(_STEPS)]
    if mirror & 1:
        # training flips its images at random: a class must not turn into another by that
        column_step = -column_step
    rows, columns = np.arange(32, dtype=np.int32)[:, None], np.arange(32, dtype=np.int32)
    grating = _wave(phase + column_step * columns + row_step * rows)
    coloured = _COLOURS[label // len(_STEPS)][:, None, None] * grating * contrast >> 9
    # the sum of two bytes has a triangular distribution, close enough to a bell
    noise = _bytes(source, 2 * PIXELS_PER_IMAGE).reshape(2, *IMAGE_SHAPE).sum(axis=0, dtype=np.int32) - 255
    image: _Int32Array = np.clip(96 + (brightness >> 2) + coloured + (3 * noise >> 2), 0, 255)
    return image


def _bytes(source: np.random.Philox, num_bytes: int) -> _Int32Array:
    words = source.random_raw(-(-num_bytes // 8))
    # "<u8" fixes the order of the bytes within a word on machines of either kind
    return words.astype("<u8").view(np.uint8)[:num_bytes].astype(np.int32)


def _wave(phase: _Int32Array) -> _Int32Array:
    """A sine of integers, of period 256 and amplitude 128: two parabolas, one upside down."""
    within = phase & 127
    bump = within * (128 - within) >> 5
    wave: _Int32Array = np.where(phase & 128, -bump, bump)
    return wave
