"""Tables in a terminal, of whatever width; no number and no name in them is cut."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.text import Text

__all__ = ["PlainTable", "new_table"]

_NUMERIC = {
    "seed",
    "iterations",
    "time",
    "n",
    "mean",
    "sd",
    "95 % interval",
    "speed ratio",
    "images/s",
    "time a run",
    "test accuracy",
    "depth",
    "parameters",
    "MACs",
    "claimed",
    "batch",
    "p95",
    "p99",
    "calls",
    "self time",
    "share",
    "of ceiling",
    "peak MiB",
    "of it network",
    "then",
    "now",
    "median",
    "from",
    "to",
    "rounds",
    "ratio",
    "measured",
    "predictions differing",
    "difference",
    "p (Holm)",
    "p (McNemar)",
    "on other images",
    "detectable",
    "records",
    "epochs",
    "layers",
    "seconds then",
    "seconds now",
    "weighted layers",
    "kept for backward, KiB an image",
    "mJ an image",
    "kJ a run of the paper",
    "time of an update, turned over not",
    "files",
    "MiB",
}


_WHOLE = {"run", "claim", "model", "key", "checkpoint"}
"""What is cut short cannot be typed again."""
_DETAILS = {"recipe", "iterations", "precision", "device", "data"}
_SAID = {"device": "on {}"} | dict.fromkeys(("model", "recipe", "precision", "data", "status", "state"), "{}")
"""How a cell reads away from the name of its column; the others follow that name."""
_FOLDED = 12
"""Longer words are broken where nothing else helps."""


class PlainTable:
    """Rows under columns, without lines.

    Where it does not fit, details that all rows share are said above it, other details below each row; then texts take
    several lines, and at last the rightmost columns go below each row too. No number and no name is ever cut.
    """

    def __init__(
        self, columns: Sequence[str], title: str | None, numeric: Container[str], details: Container[str]
    ) -> None:
        self.columns, self.title = columns, title
        self.rows: list[tuple[str | Text, ...]] = []
        self._right = [name in _NUMERIC or name in numeric for name in columns]
        self._whole = [right or name in _WHOLE for name, right in zip(columns, self._right, strict=True)]
        self._detail = [
            place > 0 and (name in _DETAILS or name in details) for place, name in enumerate(columns)
        ]

    def add_row(self, *cells: str | Text) -> None:
        """A cell for each column."""
        assert len(cells) == len(self.columns)
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterable[RenderableType]:
        """As rich wants it."""
        header = [console.render_str(name, style="bold") for name in self.columns]
        rows = [
            [cell if isinstance(cell, Text) else console.render_str(cell) for cell in row]
            for row in self.rows
        ]
        sizes = [
            _sizes(console, header[place], [row[place] for row in rows], whole=whole)
            for place, whole in enumerate(self._whole)
        ]
        beside, above, below = self._lay_out(rows, sizes, options.max_width)
        widths = _fit([sizes[place] for place in beside], options.max_width)
        if self.title:
            yield _in_lines(console.render_str(self.title, style="bold"))
        if above:
            yield _in_lines(Text(f"All: {self._said(rows[0], above)}"))
        for row in [header, *rows]:
            yield from self._lines(console, [row[place] for place in beside], beside, widths)
            if row is not header and (said := self._said(row, below)):
                yield Padding(_in_lines(Text(said, "dim")), (0, 0, 0, 4), expand=False)

    def _lay_out(
        self, rows: Sequence[Sequence[Text]], sizes: Sequence[_Size], room: int
    ) -> tuple[list[int], list[int], list[int]]:
        """Places of the columns that stand beside each other, of those said above, and of those below each row."""
        beside = list(range(len(self.columns)))
        above: list[int] = []
        below: list[int] = []

        def is_too_wide(size: int) -> bool:
            return _total([sizes[place][size] for place in beside]) > room

        if is_too_wide(_NATURAL):
            details = [place for place in beside if self._detail[place]]
            if len(rows) > 1:
                above = [place for place in details if len({row[place].plain for row in rows}) == 1]
                beside = [place for place in beside if place not in above]
            if is_too_wide(_NATURAL):
                below = [place for place in details if place not in above]
                beside = [place for place in beside if place not in details]
        while is_too_wide(_SMALLEST) and len(beside) > 1:
            below.insert(0, beside.pop())
        return beside, above, below

    def _said(self, row: Sequence[Text], places: Sequence[int]) -> str:
        """Cells in words; empty ones are left out."""
        cells = ((self.columns[place], row[place].plain) for place in places)
        return ", ".join(_SAID.get(name, f"{name} {{}}").format(cell).strip() for name, cell in cells if cell)

    def _lines(
        self, console: Console, cells: Sequence[Text], places: Sequence[int], widths: Sequence[int]
    ) -> Iterable[Text]:
        """Of a row."""
        columns = [
            cell.wrap(console, width, justify="right" if self._right[place] else "left", overflow="fold")
            for cell, place, width in zip(cells, places, widths, strict=True)
        ]
        gap = Text("  ", no_wrap=True, overflow="ignore")
        blanks = [Text(" " * width) for width in widths]
        for number in range(max(map(len, columns))):
            line = gap.join(
                lines[number] if number < len(lines) else blank
                for lines, blank in zip(columns, blanks, strict=True)
            )
            line.rstrip()
            yield line


def _in_lines(text: Text) -> Text:
    """The same, to be broken between words; what the consoles here print is not."""
    text.no_wrap, text.overflow = False, "fold"
    return text


_Size = tuple[int, int, int]
"""Columns of text that one of the table wants, takes without a broken word, and takes at the least."""
_NATURAL, _SMALLEST = 0, 2


def _sizes(console: Console, name: Text, cells: Sequence[Text], *, whole: bool) -> _Size:
    measured = [cell.__rich_measure__(console, console.options) for cell in cells]
    longest, word = (
        max((getattr(size, end) for size in measured), default=0) for end in ("maximum", "minimum")
    )
    head = name.__rich_measure__(console, console.options)
    natural = max(longest, head.maximum)
    unbroken = max(longest if whole else word, head.minimum)
    return natural, unbroken, unbroken if whole else min(unbroken, _FOLDED)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _fit(sizes: Sequence[_Size], room: int) -> list[int]:
    """Widths, made smaller as far as there is no room, the widest first; words are broken last."""
    widths = [natural for natural, _, _ in sizes]
    for floors in zip(*(size[1:] for size in sizes), strict=True):
        while _total(widths) > room:
            can = [place for place, width in enumerate(widths) if width > floors[place]]
            if not can:
                break
            widths[max(can, key=widths.__getitem__)] -= 1
    return widths


def new_table(
    *columns: str, title: str | None = None, numeric: Container[str] = (), details: Container[str] = ()
) -> PlainTable:
    """A plain table; columns of numbers are flushed right.

    Args:
        columns: their names.
        title: above it.
        numeric: columns of numbers, beside those that are known as such.
        details: columns that may go elsewhere where there is no room, beside those that are known as such.
    """
    return PlainTable(columns, title, numeric, details)
