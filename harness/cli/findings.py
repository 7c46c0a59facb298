"""The command that says in sentences what is recorded. It needs no torch."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_RESULTS, ExistingResults, Json, no_records
from harness.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from harness.findings import Finding

__all__ = ["findings"]

KEYS = (
    "verdicts, paper, same-network, initial-weights, published-weights, what-is-reported, implementations, depth, "
    "best-epoch, precision, two-gpus, seeds, speed, shortcuts-cost, profiles-repeat, memory, harness-overhead, compaction, "
    "same-bits, what-decides-bits"
)
"""Of `harness.findings.QUESTIONS`, which takes too long to import for a help text."""


def findings(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help=f"Which ones, by default all: {KEYS}.")
    ] = None,
    *,
    brief: Annotated[bool, typer.Option("--brief", help="Only the answers, without details.")] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Show the pictures in this folder; those that are missing or of other records are drawn, which takes Chromium.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")
    ] = None,
    results: ExistingResults = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Say in sentences what the records show, each with the records behind it, as Markdown; on a terminal in brief."""
    from harness.atomic import write_atomically
    from harness.cli.verdicts import is_empty
    from harness.console import print_json, say, stdout
    from harness.findings import QUESTIONS, draw, find, in_brief, in_full
    from harness.records import Store
    from harness.report import gather

    _check(keys or [], alone=as_json, others=brief or pictures is not None or output is not None)
    evidence = gather(Store(results))
    for broken in evidence.broken:
        say(f"passed over {broken.path}: {broken.reason}")
    if not evidence.runs:
        say(no_records(results))
    asked = [QUESTIONS[key] for key in dict.fromkeys(keys or QUESTIONS)]
    answered = {question.key: find(question, evidence) for question in asked}
    found = [finding for finding in answered.values() if finding is not None]
    unanswered = [question for question in asked if answered[question.key] is None]
    if as_json:
        print_json(
            findings=[_row(finding) for finding in found],
            unanswered=[
                {"key": its.key, "question": its.text, "commands": its.commands} for its in unanswered
            ],
        )
        return
    if pictures is not None:
        for file in draw(found, pictures):
            say(f"drawn: {file}")
    page = output.parent if output is not None else Path()
    command = shlex.join(["harness", "findings", *(keys or [])])
    cut_short = stdout.is_terminal and not brief and pictures is None and output is None
    where = None if pictures is None else Path(os.path.relpath(pictures, page)).as_posix()
    if brief or cut_short:
        for question in unanswered if keys or not is_empty(evidence) else ():
            say(f"{question.key}: nothing is recorded; record it with: {'; '.join(question.commands)}")
        text = in_brief(found, where)
    else:
        text = in_full(found, unanswered, where, command)
    if output is None:
        stdout.file.write(text)
        if cut_short:
            say(
                f"Everything, with its records: {command} --results {shlex.quote(str(results))} --output FILE"
            )
    else:
        write_atomically(output, text.encode())
        stdout.print(f"Findings: {output}")


def _check(keys: Sequence[str], *, alone: bool, others: bool) -> None:
    """Whether what was asked for makes sense.

    Raises:
        UsageError: it does not.
    """
    from harness.findings import QUESTIONS

    for key in keys:
        if key not in QUESTIONS:
            raise UnknownNameError("finding", key, QUESTIONS)
    if alone and others:
        raise UsageError(
            "--json prints everything and nothing else; leave out --brief, --pictures and --output"
        )


def _row(finding: Finding) -> dict[str, object]:
    answer = finding.answer
    return {
        "key": finding.question.key,
        "question": finding.question.text,
        "statements": [{"text": its.text, "records": its.records} for its in answer.statements],
        "caveat": answer.caveat,
        "commands": finding.commands,
    }
