"""What a finding is: a question, its answer, and the records behind every sentence."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from harness.analysis.inventory import Batch, batches_of_runs, batches_of_verifications
from harness.charts import Chart
from harness.records import KINDS
from harness.report import Evidence
from harness.report.document import Table
from harness.report.inventory import command_of

__all__ = ["Answer", "Finding", "Question", "Statement", "find", "names_of"]

_Row = Mapping[str, Any]


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
    made_by: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Kind of record -> commands that made those behind the summary, of kinds that tell."""

    @property
    def commands(self) -> list[str]:
        """That made what is behind the summary; where its records do not tell, such as make records like them."""
        told = tuple(start for kind in self.made_by for start in _MAKERS[kind].begin)
        others = (command for command in self.question.commands if not command.startswith(told))
        return [*itertools.chain.from_iterable(self.made_by.values()), *others]


@dataclass(frozen=True)
class _Maker:
    """How records of a kind are made."""

    rows: Callable[[Evidence], Sequence[_Row]]
    batches: Callable[[Iterable[_Row]], Iterable[Batch]]
    """By command."""
    begin: Sequence[str]
    """How such commands begin."""


_MAKERS: Final = {
    "runs": _Maker(attrgetter("runs"), batches_of_runs, ("harness reproduce ", "harness run ")),
    "verifications": _Maker(attrgetter("verifications"), batches_of_verifications, ("harness verify ",)),
}


def find(question: Question, evidence: Evidence) -> Finding | None:
    """What is recorded to a question; None where that says nothing to it."""
    answer = question.answer(evidence)
    if answer is None:
        return None
    named, made_by = set(answer.summary.records), {}
    for kind, maker in _MAKERS.items():
        behind = [row for row in maker.rows(evidence) if named.intersection(names_of(kind, [row]))]
        if commands := dict.fromkeys(map(command_of, maker.batches(behind))):
            made_by[kind] = list(commands)
    return Finding(question, answer, made_by)


def names_of(kind: str, rows: Iterable[_Row]) -> tuple[str, ...]:
    """Names of the records that rows come from, each once: ``runs/resnet20-short-s0-...``.

    Args:
        kind: of record.
        rows: of that kind; the first column of a kind names the record, and its file.
    """
    column = KINDS[kind].names[0]
    return tuple(sorted({f"{kind}/{row[column]}" for row in rows}))
