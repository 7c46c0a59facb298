"""Findings as Markdown."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from harness.errors import printable
from harness.findings.finding import Finding, Question, Statement
from harness.report.document import Code
from harness.report.rendering import markdown_cell, markdown_table

__all__ = ["in_brief", "in_full"]

_FEW = 3
_BLOCK = re.compile(r"^(\d{1,9})?(#{1,6}|[-+.)])(?=\s|$)")
"""What makes a heading or a list of a line that begins with it."""
_MEANING_NOTHING = re.compile(r"[\w /.:,@-]", re.ASCII)


def in_full(
    findings: Sequence[Finding], unanswered: Sequence[Question], pictures: str | None, command: str
) -> str:
    """A page of findings, every sentence with its records.

    Args:
        findings: in their order.
        unanswered: questions to which nothing is recorded.
        pictures: the folder of pictures, relative to the page; None for a page without.
        command: that makes this page.
    """
    lines = [
        "# Findings",
        "",
        f"Written by `{command}`: every number on this page follows from the records named below it, and changes with them.",
        "",
        *(f"- [{markdown_cell(its.question.text)}](#{_anchor(its.question.text)})" for its in findings),
    ]
    for finding in findings:
        answer = finding.answer
        lines += ["", f"## {markdown_cell(finding.question.text)}", ""]
        lines += [f"**{markdown_cell(answer.summary.text)}**", ""]
        lines += [*_picture(finding, pictures), ""]
        lines += [*itertools.chain.from_iterable(map(_item, answer.details)), ""]
        for table in answer.tables:
            lines += [*markdown_table(table), ""]
        lines += [markdown_cell(answer.caveat), ""] if answer.caveat else []
        lines += [_by(finding.commands), "", *_records(answer.summary)]
    if unanswered:
        lines += ["", "## Not answered yet", ""]
        lines += [f"- {markdown_cell(its.text)} {_by(its.commands)}" for its in unanswered]
    return _joined(lines)


def in_brief(findings: Sequence[Finding], pictures: str | None) -> str:
    """The summaries alone, each with its picture, its caveat and the commands behind it.

    Args:
        findings: in their order.
        pictures: as for `in_full`.
    """
    lines: list[str] = []
    for finding in findings:
        question = finding.question
        lines += [f"**{markdown_cell(question.text)}** {markdown_cell(finding.answer.summary.text)}", ""]
        lines += [*_picture(finding, pictures), ""]
        lines += [markdown_cell(finding.answer.caveat), ""] if finding.answer.caveat else []
        lines += [f"{_by(finding.commands)} Worked out by `harness findings {question.key}`.", ""]
    return _joined(lines)


def _joined(lines: Sequence[str]) -> str:
    """Never two empty lines, and none at the end."""
    kept = [line for line, following in itertools.pairwise([*lines, ""]) if line or following]
    return "\n".join(kept) + "\n" if kept else ""


def _picture(finding: Finding, folder: str | None) -> list[str]:
    """One for light pages and one for dark ones."""
    chart = finding.answer.chart
    if chart is None or folder is None:
        return []
    light, dark = (PurePosixPath(folder, f"{finding.question.key}{suffix}.svg") for suffix in ("", "-dark"))
    alt = html.escape(" ".join(chart.alt.split()))
    return [
        "<picture>",
        f'  <source media="(prefers-color-scheme: dark)" srcset="{dark}">',
        f'  <img alt="{alt}" src="{light}">',
        "</picture>",
    ]


def _by(commands: Sequence[str]) -> str:
    return f"By {', '.join(markdown_cell(Code(command)) for command in commands)}."


def _item(statement: Statement) -> list[str]:
    text = _BLOCK.sub(r"\1\\\2", markdown_cell(statement.text))
    return [f"- {text}", *(f"  {line}" for line in _records(statement))]


def _records(statement: Statement) -> list[str]:
    """Names of records: few as they are, many folded away."""
    names = ", ".join(f"<code>{_inert(name)}</code>" for name in statement.records)
    if len(statement.records) <= _FEW:
        return [f"<sub>{names}</sub>"] if names else []
    return [f"<details><summary>{len(statement.records)} records</summary>{names}</details>"]


def _inert(name: str) -> str:
    """A name that is the same text in HTML and in Markdown."""
    letters = printable(name, len(name))
    return "".join(its if _MEANING_NOTHING.match(its) else f"&#{ord(its)};" for its in letters)


def _anchor(title: str) -> str:
    """As code hosts make it of a heading."""
    kept = "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")
