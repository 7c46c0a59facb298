"""What a finding is: a question, its answer, and the records behind every sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.charts import Chart
from harness.records import KINDS
from harness.report import Evidence
from harness.report.document import Table

__all__ = ["Answer", "Finding", "Question", "Statement", "names_of"]


@dataclass(frozen=True)
class Statement:
    """A sentence or two, all of whose numbers follow from the records that it names."""

    text: str
    records: tuple[str, ...]
    """Names, ``kind/name``, as `names_of` gives them."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the records of a store say to a question."""

    summary: Statement
    """What to remember, with its interval or the number of cases."""
    details: Sequence[Statement] = ()
    tables: Sequence[Table] = ()
    chart: Chart | None = None
    caveat: str = ""
    """What one might take it for that it is not, as a sentence."""

    @property
    def statements(self) -> list[Statement]:
        """All sentences, the summary first."""
        return [self.summary, *self.details]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What people ask of these networks, and how it is answered."""

    key: str
    text: str
    commands: Sequence[str]
    """That make the records it takes."""
    answer: Callable[[Evidence], Answer | None]
    """From what is recorded; None where that says nothing to it."""


@dataclass(frozen=True)
class Finding:
    """A question and its answer."""

    question: Question
    answer: Answer


def names_of(kind: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of the records that rows come from, each once: ``runs/resnet20-short-s0-...``.

    Args:
        kind: of record.
        rows: of that kind; the first column of a kind names the record, and its file.
    """
    column = KINDS[kind].names[0]
    return tuple(sorted({f"{kind}/{row[column]}" for row in rows}))
