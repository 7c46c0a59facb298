"""Every error the harness raises on purpose, on one screen.

    HarnessError                      exit code 1: a message on stderr, no traceback
    ├── UsageError                    exit code 2: what was asked for makes no sense
    │   ├── ConfigError               a recipe or experiment file, with its key and value
    │   └── UnknownNameError          a model, recipe, experiment or device that does not exist
    ├── DataError                     the data set cannot be had or is not the data set
    │   ├── SourceError               one source of it failed; the next one is tried
    │   └── DigestError               bytes that are not what their digest says
    ├── ModelError                    a model cannot be had or breaks the contract
    ├── RecordError                   a results file is broken, or a record breaks its schema
    ├── StorageError                  a file cannot be written: the disk is full, broken, not ours, or out of reach
    ├── CheckpointError               a checkpoint does not belong to the run, or is broken
    ├── NotConcurrentError                  a run cannot be trained beside others in one process; it is trained alone
    ├── BundleError                   a bundle for a machine without network cannot be made, or is not whole
    ├── PictureError                  a picture cannot be drawn: Chromium or what drives it is not there
    └── InterruptedRunError           exit code 130: a run was told to stop, and left a checkpoint

Messages name what is wrong, the value found, and the remedy. What others wrote, a path or a value of a file, stands
in them as `printable` shows it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BundleError",
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DigestError",
    "HarnessError",
    "InterruptedRunError",
    "ModelError",
    "NotConcurrentError",
    "PictureError",
    "RecordError",
    "SourceError",
    "StorageError",
    "UnknownNameError",
    "UsageError",
    "printable",
]

_MAX_MESSAGE = 10_000
_MAX_NAMES = 15


def printable(text: object, limit: int = 200) -> str:
    """A text of others as one line that does nothing to a terminal.

    What does not print is escaped as `repr` does it, and what is longer than ``limit`` characters is cut.
    """
    start = str(text)[: limit + 1]
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in start)
    return line if len(line) <= limit else f"{line[: limit - 3]}..."


class HarnessError(Exception):
    """Base of all errors meant for the person at the keyboard."""

    exit_code = 1

    def __str__(self) -> str:
        """The message, safe for a terminal whatever is quoted in it; line breaks stay."""
        lines = super().__str__()[:_MAX_MESSAGE].split("\n")
        return "\n".join(printable(line, _MAX_MESSAGE) for line in lines)


class UsageError(HarnessError):
    """What was asked for makes no sense."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe or experiment file says something impossible."""


class UnknownNameError(UsageError):
    """A name that is in no catalogue; the message names the nearest of those that are, or all of a few.

    Args:
        kind: what the name should have been, e.g. ``"model"``.
        name: the name given.
        known: the names that exist.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = list(known)
        if close := difflib.get_close_matches(name, names, n=3):
            hint = f"did you mean {' or '.join(close)}?"
        elif len(names) > _MAX_NAMES:
            near = difflib.get_close_matches(name, names, n=_MAX_NAMES, cutoff=0)
            hint = f"known: {', '.join(near)} and {len(names) - _MAX_NAMES} more"
        else:
            hint = f"known: {', '.join(names)}"
        if kind == "model" and not close:
            hint += "; see: harness models list"
        super().__init__(f"no {kind} named {printable(repr(name))}; {hint}")


class DataError(HarnessError):
    """The data set cannot be had, or is not the data set."""


class SourceError(DataError):
    """One source of the data set failed; another may still serve."""


class DigestError(DataError):
    """Bytes that are not what their digest says."""


class ModelError(HarnessError):
    """A model cannot be had, or breaks the contract of the catalogue."""


class RecordError(HarnessError):
    """A results file is broken, or a record breaks its schema."""


class StorageError(HarnessError):
    """A file cannot be written; what was there before is untouched."""


class CheckpointError(HarnessError):
    """A checkpoint does not belong to this run, or is broken."""


class NotConcurrentError(HarnessError):
    """A run cannot be trained in turn with others in one process; alone it can."""


class BundleError(HarnessError):
    """A bundle for a machine without network cannot be made, is not whole, or is not for this machine."""


class PictureError(HarnessError):
    """A picture cannot be drawn."""


class InterruptedRunError(HarnessError):
    """A run was told to stop before its last iteration; its checkpoint was written."""

    exit_code = 130
