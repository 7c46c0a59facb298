"""How fetching and checking tell a person what they are doing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

__all__ = ["LineProgress", "Progress", "SilentProgress", "show_progress"]


class Progress(Protocol):
    """Hears of everything worth telling."""

    def message(self, text: str) -> None:
        """Take one line for the person: a source given up, a damaged copy, a wait."""

    def advance(self, description: str, done: int, total: int | None) -> None:
        """Take the state of one piece of work.

        Args:
            description: names the work; the same text means the same piece.
            done: bytes done so far.
            total: bytes in all; None where nobody knows.
        """


class SilentProgress:
    """Tells nobody."""

    def message(self, text: str) -> None:
        """Drop it."""

    def advance(self, description: str, done: int, total: int | None) -> None:
        """Drop it."""


class LineProgress:
    """Whole lines for a log or a pipe: the start, every quarter and the end of each piece of work.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._quarters: dict[str, int] = {}

    def message(self, text: str) -> None:
        """Write the line."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def advance(self, description: str, done: int, total: int | None) -> None:
        """Write a line where a quarter is completed."""
        quarter = 4 * done // total if total else 0
        if quarter == self._quarters.get(description):
            return
        self._quarters[description] = quarter
        if total:
            self.message(f"{description}: {25 * quarter} % of {total / 1e6:.1f} MB")
        else:
            self.message(f"{description}: started, size not known yet")


class _BarProgress:
    """Live bars with amount, rate and time left, messages above them."""

    def __init__(self, bars: RichBars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def message(self, text: str) -> None:
        """Print the line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def advance(self, description: str, done: int, total: int | None) -> None:
        """Move the bar of this piece of work, or start it."""
        if description in self._tasks:
            self._bars.update(self._tasks[description], completed=done, total=total)
        else:
            # bytes that were there before, from a download taken up again, must not count as speed
            self._tasks[description] = self._bars.add_task(description, completed=done, total=total)


@contextmanager
def show_progress(stream: TextIO | None = None) -> Iterator[Progress]:
    """Progress for a person: live bars on a terminal, whole lines elsewhere.

    Args:
        stream: where to write; standard error unless given, since standard output is for data.
    """
    stream = stream or sys.stderr
    if not stream.isatty():
        yield LineProgress(stream)
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}", markup=False),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(file=stream)) as bars:
        yield _BarProgress(bars)
