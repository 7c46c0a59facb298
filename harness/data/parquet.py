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
from harness.errors import SourceError, printable

__all__ = ["PARQUET_FILES", "PARQUET_MAGIC", "parquet_blocks"]

PARQUET_FILES = ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet")
"""Training and test set, as they are called there."""

PARQUET_MAGIC = b"PAR1"

_MAX_ROW_BYTES = 8192  # a PNG of 32 x 32 pixels has 3,200 at most
_ROWS_AT_ONCE = 10  # few, since a cell may stand in every row and be stored once


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
        # as a dictionary, a cell that stands in every row stays one
        with pq.ParquetFile(path, read_dictionary=["img.bytes"]) as file:
            metadata = file.metadata
            num_rows = metadata.num_rows
            if num_rows % table.batch_size or num_rows > table.num_images:
                raise SourceError(
                    f"{path.name} has {num_rows} rows, which is no multiple of {table.batch_size}"
                )
            groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > num_rows * _MAX_ROW_BYTES:
                raise SourceError(
                    f"{path.name} unpacks to more than {_MAX_ROW_BYTES} bytes per row; no image of CIFAR-10 does"
                )
            # img.path is left out: nothing needs it
            batches = file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=["img.bytes", "label"])
            rows = (row for batch in batches for row in batch.to_pylist())
            for start in range(0, num_rows, table.batch_size):
                where = f"{path.name}, rows {start} to {start + table.batch_size - 1}"
                yield _block(where, rows, table.batch_size)
    except KeyError as error:
        raise SourceError(f"{path.name} has no column img with the bytes of a PNG") from error
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path.name} is damaged or cut short ({printable(error)})") from error


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
