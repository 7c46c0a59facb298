"""What a finding is: a question, its answer, and the records behind every sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.analysis.inventory import batches_of_runs
from harness.charts import Chart
from harness.records import KINDS
from harness.report import Evidence
from harness.report.document import Table
from harness.report.inventory import command_of

__all__ = ["Answer", "Finding", "Question", "Statement", "find", "names_of"]

_TRAINS: Final = ("harness reproduce ", "harness run ")
"""How a command begins that makes runs."""


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
    trained_by: Sequence[str] = ()
    """Commands that made the runs behind the summary, if there are any."""

    @property
    def commands(self) -> list[str]:
        """That made what is behind the summary: where runs are, those that made these."""
        if not self.trained_by:
            return list(self.question.commands)
        others = (command for command in self.question.commands if not command.startswith(_TRAINS))
        return [*self.trained_by, *others]


def find(question: Question, evidence: Evidence) -> Finding | None:
    """What is recorded to a question; None where that says nothing to it."""
    answer = question.answer(evidence)
    if answer is None:
        return None
    behind = {name.removeprefix("runs/") for name in answer.summary.records if name.startswith("runs/")}
    batches = batches_of_runs(run for run in evidence.runs if run["run_id"] in behind)
    return Finding(question, answer, list(dict.fromkeys(map(command_of, batches))))


def names_of(kind: str, rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Names of the records that rows come from, each once: ``runs/resnet20-short-s0-...``.

    Args:
        kind: of record.
        rows: of that kind; the first column of a kind names the record, and its file.
    """
    column = KINDS[kind].names[0]
    return tuple(sorted({f"{kind}/{row[column]}" for row in rows}))
