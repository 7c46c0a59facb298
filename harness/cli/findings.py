"""The command that says in sentences what is recorded. It needs no torch."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_RESULTS, Json, Results
from harness.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from harness.findings import Finding

__all__ = ["findings"]


def findings(
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY]...", help="Which ones; by default all.")
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
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Say in sentences what the records show, each with the records behind it, as Markdown."""
    from harness.atomic import write_atomically
    from harness.console import print_json, say, stdout
    from harness.findings import QUESTIONS, Finding, draw, in_brief, in_full
    from harness.records import Store
    from harness.report import gather

    for key in keys or []:
        if key not in QUESTIONS:
            raise UnknownNameError("finding", key, QUESTIONS)
    if as_json and (brief or pictures is not None or output is not None):
        raise UsageError(
            "--json prints everything and nothing else; leave out --brief, --pictures and --output"
        )
    evidence = gather(Store(results))
    for broken in evidence.broken:
        say(f"passed over {broken.path}: {broken.reason}")
    asked = [QUESTIONS[key] for key in dict.fromkeys(keys or QUESTIONS)]
    answers = {question.key: question.answer(evidence) for question in asked}
    found = [Finding(its, answer) for its in asked if (answer := answers[its.key]) is not None]
    unanswered = [question for question in asked if answers[question.key] is None]
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
    where = None if pictures is None else Path(os.path.relpath(pictures, page)).as_posix()
    if brief:
        for question in unanswered:
            say(f"{question.key}: nothing is recorded; record it with: {'; '.join(question.commands)}")
        text = in_brief(found, where)
    else:
        text = in_full(found, unanswered, where, shlex.join(["harness", "findings", *(keys or [])]))
    if output is None:
        stdout.file.write(text)
    else:
        write_atomically(output, text.encode())
        stdout.print(f"Findings: {output}")


def _row(finding: Finding) -> dict[str, object]:
    answer = finding.answer
    return {
        "key": finding.question.key,
        "question": finding.question.text,
        "statements": [{"text": its.text, "records": its.records} for its in answer.statements],
        "caveat": answer.caveat,
        "commands": finding.question.commands,
    }
