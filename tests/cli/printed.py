"""What a command printed, without what is for the eye alone."""

from __future__ import annotations

import json
from typing import Any


def words(text: str) -> list[str]:
    """Its lines without what only aligns them."""
    return [" ".join(line.split()) for line in text.splitlines()]


def content_of(text: str) -> dict[str, Any]:
    """One JSON object without numbers that JSON lacks."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content: dict[str, Any] = json.loads(text, parse_constant=refuse)
    assert content.pop("version") == 1
    return content
