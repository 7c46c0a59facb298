"""Reads Hugging Face's form of the data set: parquet with one PNG per row.

The layout is that of https://huggingface.co/datasets/uoft-cs/cifar10: column ``img``, a struct of ``bytes`` and
``path``, and column ``label``, int64.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from harness.data.canonical import Block, check_labels, to_planes
from harness.data.digests import DigestTable
from harness.data.png import decode_png
from harness.errors import SourceError

__all__ = ["PARQUET_FILES", "PARQUET_MAGIC", "parquet_blocks"]

PARQUET_FILES = ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet")
"""Training and test set, as they are called there."""

PARQUET_MAGIC = b"PAR1"


def parquet_blocks(path: Path, table: DigestTable) -> Iterator[Block]:
    """Read one parquet file.

    The rows follow the member order of the official archive, which does not start with data_batch_1, but each
    run of `batch_size` rows is one batch.

    Args:
        path: the file.
        table: gives the size of a batch.

    Yields:
        One block per batch.

    Raises:
        SourceError: the file is damaged, or has other columns or another number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            num_rows = file.metadata.num_rows
            if num_rows % table.batch_size or num_rows > table.num_images:
                raise SourceError(
                    f"{path.name} has {num_rows} rows, which is no multiple of {table.batch_size}"
                )
            # img.path is left out: nothing needs it
            batches = file.iter_batches(batch_size=1000, columns=["img.bytes", "label"])
            rows = (row for batch in batches for row in batch.to_pylist())
            for start in range(0, num_rows, table.batch_size):
                where = f"{path.name}, rows {start} to {start + table.batch_size - 1}"
                yield _block(where, rows, table.batch_size)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path.name} is damaged or cut short ({error})") from error


def _block(where: str, rows: Iterator[dict[str, Any]], num_images: int) -> Block:
    images = np.empty((num_images, 32 * 32, 3), np.uint8)
    labels: list[object] = []
    try:
        for index in range(num_images):
            row = next(rows, {})
            images[index] = decode_png(_png_bytes(row), width=32, height=32).reshape(32 * 32, 3)
            labels.append(row.get("label"))
        return Block(where, to_planes(images), check_labels(labels))
    except SourceError as error:
        raise SourceError(f"{where}: {error}") from error


def _png_bytes(row: dict[str, Any]) -> bytes:
    image = row.get("img")
    content = image.get("bytes") if isinstance(image, dict) else None
    if not isinstance(content, bytes):
        raise SourceError("no column img with the bytes of a PNG")
    return content
