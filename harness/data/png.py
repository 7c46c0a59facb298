"""Decodes a PNG of a size known beforehand."""

from __future__ import annotations

import io

import numpy as np

from harness.data.imageset import UInt8Array
from harness.errors import SourceError

__all__ = ["decode_png"]


def decode_png(content: bytes, *, width: int, height: int) -> UInt8Array:
    """Decode an 8-bit RGB PNG.

    Args:
        content: the file.
        width: columns it must have.
        height: rows it must have. Both are compared with the header before anything is decompressed.

    Returns:
        uint8, shape (height, width, 3).

    Raises:
        SourceError: it is no PNG, a damaged one, or one of another size or mode.
    """
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content), formats=("PNG",))
        is_wanted = (image.size, image.mode) == ((width, height), "RGB")
        pixels = np.asarray(image) if is_wanted else None
    except Exception as error:
        # Pillow raises OSError, SyntaxError, ValueError, struct.error and more for damaged files
        raise SourceError(f"not a readable PNG ({type(error).__name__}: {error})") from error
    if pixels is None:
        found = f"{image.width} x {image.height}, mode {image.mode}"
        raise SourceError(f"a PNG of {found}; {width} x {height}, mode RGB is needed")
    return pixels
