"""The unfinished file of a download, and what is known about it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

__all__ = ["PartFile"]


class PartFile:
    """``<target>.part`` beside the target, with a note of the URL and of the server's validator.

    Args:
        target: what the file is called once complete.
        url: where it comes from; a part of another URL is dropped.
    """

    def __init__(self, target: Path, url: str) -> None:
        self.url = url
        self._target = target
        self._path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self._validator = self._read_validator()
        if self._validator is None:
            self.drop()

    @property
    def num_bytes(self) -> int:
        """Bytes on the disk, 0 where there is no part."""
        return self._path.stat().st_size if self._path.exists() else 0

    def range_headers(self) -> dict[str, str]:
        """Request headers that ask for the rest, if the file is still the same; none where there is no part."""
        if not self.num_bytes:
            return {}
        headers = {"Range": f"bytes={self.num_bytes}-"}
        if self._validator:
            headers["If-Range"] = self._validator
        return headers

    def open(self, headers: Mapping[str, str], *, append: bool) -> BinaryIO:
        """Open for writing, at the end or anew.

        Args:
            headers: of the response; its validator is noted for the next request.
            append: keep what is there.
        """
        if not append:
            self.drop()
            etag = headers.get("ETag", "")
            # a weak validator promises equal meaning, not equal bytes, and is not allowed in If-Range
            self._validator = etag if etag.startswith('"') else headers.get("Last-Modified", "")
            self._note.write_text(json.dumps({"url": self.url, "validator": self._validator}), "utf-8")
        return self._path.open("ab" if append else "wb")

    def drop(self) -> None:
        """Forget what is there."""
        self._path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Put the complete file in its place."""
        with self._path.open("rb+") as file:
            os.fsync(file.fileno())
        self._path.replace(self._target)
        self._note.unlink(missing_ok=True)

    def _read_validator(self) -> str | None:
        """The noted validator, empty where the server gave none; None where the part is not of this URL."""
        try:
            note = json.loads(self._note.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(note, dict) or note.get("url") != self.url:
            return None
        validator = note.get("validator")
        return validator if isinstance(validator, str) else None
