import io

import numpy as np
import pytest
from PIL import Image

from harness.data.png import decode_png
from harness.errors import SourceError


def png(array, file_format="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, file_format)
    return buffer.getvalue()


def test_decodes_losslessly():
    array = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(decode_png(png(array), width=7, height=5), array)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (png(np.zeros((32, 33, 3), np.uint8)), "33 x 32, mode RGB; 32 x 32"),
        (png(np.zeros((32, 32), np.uint8)), "mode L;"),
        (png(np.zeros((32, 32, 4), np.uint8)), "mode RGBA;"),
        (png(np.zeros((32, 32, 3), np.uint8), "BMP"), "not a readable PNG"),
        (png(np.zeros((32, 32, 3), np.uint8))[:-30], "not a readable PNG"),
        (b"", "not a readable PNG"),
        (b"\x89PNG\r\n\x1a\nnonsense", "not a readable PNG"),
    ],
)
def test_refuses_anything_else(content, complaint):
    with pytest.raises(SourceError, match=complaint):
        decode_png(content, width=32, height=32)


def test_a_bomb_is_refused_by_its_header():
    whole = bytearray(png(np.zeros((32, 32, 3), np.uint8)))
    whole[16:24] = (30_000).to_bytes(4, "big") * 2  # width and height in the header
    import zlib

    whole[29:33] = zlib.crc32(bytes(whole[12:29])).to_bytes(4, "big")
    with pytest.raises(SourceError, match="Decompression"):
        decode_png(bytes(whole), width=32, height=32)
