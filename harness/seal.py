"""The digest that a file holds of its own bytes."""

from __future__ import annotations

import hashlib
import re

__all__ = ["NO_DIGEST", "is_sealed", "seal"]

NO_DIGEST = "0" * 64
"""What stands in the place of the digest while it is made."""


def seal(content: bytes, place: re.Match[bytes] | None) -> bytes:
    """The file with the SHA-256 of its bytes in it, of which those of the digest itself count as zeros.

    Args:
        content: the file, with `NO_DIGEST` where the digest is to stand.
        place: where that is: group 1.
    """
    assert place is not None
    return content[: place.start(1)] + _digest(content, place) + content[place.end(1) :]


def is_sealed(content: bytes, place: re.Match[bytes]) -> bool:
    """Whether the digest that a file holds is that of its bytes.

    Args:
        content: the file.
        place: where the digest stands: group 1.
    """
    return _digest(content, place) == place[1]


def _digest(content: bytes, place: re.Match[bytes]) -> bytes:
    digest = hashlib.sha256(content[: place.start(1)])
    digest.update(NO_DIGEST.encode())
    digest.update(content[place.end(1) :])
    return digest.hexdigest().encode()
