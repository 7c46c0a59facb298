"""From blocks in whatever order a source has them to arrays in official order.

The order of the images decides what a seed means, so it must not depend on where the data came from. Each block
of a source is hashed and put where the digest table says it belongs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from harness.data.digests import DigestTable, sha256_hex
from harness.data.imageset import CLASSES, IMAGE_SHAPE, PIXELS_PER_IMAGE, UInt8Array
from harness.data.progress import Progress
from harness.errors import DigestError, SourceError, printable

__all__ = ["Block", "canonicalise", "check_labels", "shown", "to_planes"]


@dataclass(frozen=True, eq=False)
class Block:
    """One batch as a source delivered it, not yet trusted."""

    where: str
    """Where in the source it stood, for messages."""

    pixels: UInt8Array
    """uint8, shape (batch_size, 3072): red plane, green plane, blue plane, each row-major."""

    labels: UInt8Array
    """uint8, shape (batch_size,)."""


def check_labels(labels: object) -> UInt8Array:
    """Labels as read from a source, as an array.

    Args:
        labels: what the source has; only a list of integers from 0 to 9 is taken.

    Returns:
        uint8, shape (n,).

    Raises:
        SourceError: it is anything else.
    """
    known = range(len(CLASSES))
    if not isinstance(labels, list):
        raise SourceError(f"the labels are a {type(labels).__name__}; a list of integers is needed")
    for label in labels:
        if not isinstance(label, int) or label not in known:
            raise SourceError(f"a label is {shown(label)}; labels are integers from 0 to {known[-1]}")
    return np.array(labels, np.uint8)


def shown(value: object) -> str:
    """A value of a source for a message: a short one itself, else its type, since a repr can take for ever."""
    if isinstance(value, str | bytes):
        return printable(repr(value[:40]))
    is_short = value is None or (isinstance(value, int | float) and abs(value) < 2**63)
    return repr(value) if is_short else f"something of type {type(value).__name__}"


def to_planes(images: UInt8Array) -> UInt8Array:
    """From interleaved colours, shape (n, 1024, 3) or (n, 32, 32, 3), to rows of planes, shape (n, 3072)."""
    interleaved = images.reshape(len(images), -1, 3)
    return np.ascontiguousarray(interleaved.transpose(0, 2, 1)).reshape(len(images), PIXELS_PER_IMAGE)


def canonicalise(
    blocks: Iterable[Block], table: DigestTable, *, description: str, progress: Progress
) -> dict[str, UInt8Array]:
    """Put the blocks of a source into official order, each verified by its digests.

    Args:
        blocks: one per batch, in any order; read one at a time.
        table: the digests, which also fix the order.
        description: what the progress is reported as.
        progress: hears of the pixels read, in bytes.

    Returns:
        ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``, as in `ImageSet`.

    Raises:
        DigestError: a block is no batch of the data set.
        SourceError: the source ended before every batch was seen.
    """
    num_test = table.batch_size
    arrays = {
        "train_images": np.empty((table.num_train, *IMAGE_SHAPE), np.uint8),
        "train_labels": np.empty(table.num_train, np.uint8),
        "test_images": np.empty((num_test, *IMAGE_SHAPE), np.uint8),
        "test_labels": np.empty(num_test, np.uint8),
    }
    missing = set(table.names)
    total = table.num_images * PIXELS_PER_IMAGE
    progress.advance(description, 0, total)
    for block in blocks:
        index = _identify(block, table)
        split, rows = table.place(index)
        arrays[f"{split}_images"][rows] = block.pixels.reshape(-1, *IMAGE_SHAPE)
        arrays[f"{split}_labels"][rows] = block.labels
        missing.discard(table.names[index])
        done = len(table.batches) - len(missing)
        progress.advance(description, done * table.batch_size * PIXELS_PER_IMAGE, total)
    if missing:
        raise SourceError(f"lacks {', '.join(sorted(missing))}; a complete copy has {', '.join(table.names)}")
    return arrays


def _identify(block: Block, table: DigestTable) -> int:
    """The index of the batch that a block is."""
    pixels, labels = sha256_hex(block.pixels), sha256_hex(block.labels)
    for index, batch in enumerate(table.batches):
        if batch.pixels != pixels:
            continue
        if batch.labels != labels:
            raise DigestError(
                f"{block.where}: the pixels are those of {batch.name}, but the labels have SHA-256 {labels[:12]}… "
                f"instead of {batch.labels[:12]}…; this copy is altered, use another"
            )
        return index
    raise DigestError(
        f"{block.where}: pixels with SHA-256 {pixels[:12]}… are no batch of CIFAR-10; "
        "this copy is damaged or altered, use another"
    )
