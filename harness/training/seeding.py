"""Named random streams from one seed.

Every random number of a run comes from a stream that has a name (``init``, ``order``, ``augment``) and an
index (the pass over the training set). The key of a stream is a hash of seed, name and index, so streams
are independent, need no state to resume, and are the same for every model and device. They are drawn on
the CPU from NumPy's Philox counter generator, whose raw output is fixed for all versions; permutations and
crops are derived from the raw 64-bit numbers here, so that anybody can recompute them.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

__all__ = ["image_stream", "permutation", "raw", "stream_key"]


def stream_key(seed: int, name: str, index: int = 0) -> int:
    """The 128-bit key of a stream: the first 16 bytes of SHA-256("seed/name/index"), big-endian."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}/{index}".encode()).digest()[:16], "big")


def raw(seed: int, name: str, index: int, size: int) -> npt.NDArray[np.uint64]:
    """The first ``size`` numbers of a stream, uniform over 64 bits."""
    return np.random.Philox(key=stream_key(seed, name, index)).random_raw(size)


def permutation(seed: int, index: int, size: int) -> npt.NDArray[np.int32]:
    """The order of pass ``index`` over ``size`` images: the ranking of that many random numbers."""
    return np.argsort(raw(seed, "order", index, size), kind="stable").astype(np.int32)


def image_stream(
    seed: int, start: int, stop: int, num_images: int, num_views: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """A stretch of the endless stream of training images, and the view of each.

    The stream is one permutation of the training set after another. Mini-batches are cut from it one after
    another, so all are full, and one may hold the end of a pass and the beginning of the next.

    Args:
        seed: of the run.
        start: first position, counted in images since the beginning of the run.
        stop: position after the last.
        num_images: size of the training set.
        num_views: number of equally likely views (crop and mirroring) of an image.

    Returns:
        Image numbers and view numbers, int32, both of shape ``(stop - start,)``.
    """
    images, views = [], []
    for index in range(start // num_images, -(-stop // num_images)):
        begin = index * num_images
        part = slice(max(start - begin, 0), min(stop - begin, num_images))
        images.append(permutation(seed, index, num_images)[part])
        views.append((raw(seed, "augment", index, num_images)[part] % np.uint64(num_views)).astype(np.int32))
    return np.concatenate(images), np.concatenate(views)
