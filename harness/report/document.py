"""What a report is made of, whatever it is rendered to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from harness.charts import Chart

__all__ = ["Badge", "Cell", "Code", "Report", "Section", "Table"]


@dataclass(frozen=True)
class Badge:
    """A verdict, to be marked by its colour."""

    text: str


@dataclass(frozen=True)
class Code:
    """A command, or a digest."""

    text: str


Cell = str | Badge | Code


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of cells under columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    numeric: frozenset[str] = frozenset()
    """Columns that are flushed right."""
    wrapped: frozenset[str] = frozenset()
    """Columns of long texts, which may take several lines."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One question, and its answer."""

    key: str
    """Anchor in the page."""
    title: str
    paragraphs: Sequence[str] = ()
    charts: Sequence[Chart] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole page."""

    title: str
    made_at: datetime
    command: str
    """That made it."""
    headlines: Sequence[str]
    """What one should know who reads no further."""
    sections: Sequence[Section] = field(default_factory=list)
