"""What people see: plans, summaries and lists on stdout, everything else on stderr.

Texts of others are among it, so no text is markup, and none does anything to a terminal. What is to have a style is a
`rich.text.Text`.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from harness.analysis.estimates import Estimate
from harness.analysis.groups import RunGroup
from harness.analysis.paired import PairedDifference, precision_differences
from harness.analysis.summary import Summary, count_repeated, summarize
from harness.errors import printable
from harness.formats import duration, interval, percent, points
from harness.plain_table import new_table

if TYPE_CHECKING:
    from harness.data import ImageSet
    from harness.execution.session import Session

__all__ = [
    "announce",
    "load_cifar10",
    "load_images",
    "print_differences",
    "print_json",
    "print_plan",
    "print_report",
    "say",
    "stderr",
    "stdout",
    "this_program",
]

JSON_VERSION = 1

PIPE_WIDTH = 240
"""Columns of text that goes to no terminal: wide enough for every table."""


class _Console(Console):
    """Shows what does not print as its escape, whatever it stands in; rich would let most of it pass."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Before rich lays it out: what does not print has no width."""
        return super().render_str(_printable_lines(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """After it, where it was a `rich.text.Text`."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(_printable_lines(text), style)


def _printable_lines(text: str) -> str:
    if text.isprintable():  # nearly all are
        return text
    return "\n".join(printable(line, limit=sys.maxsize) for line in text.split("\n"))


def _console(*, to_stderr: bool) -> Console:
    console = _Console(stderr=to_stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


stdout = _console(to_stderr=False)
stderr = _console(to_stderr=True)


def say(text: str) -> None:
    """A line on stderr, as it is."""
    stderr.print(text)


def print_json(**kinds: object) -> None:
    """One object on stdout: ``{"version": 1, "<kind>": ...}``; what is no number in JSON becomes null."""
    sys.stdout.write(json.dumps({"version": JSON_VERSION, **_plain(kinds)}, indent=1, allow_nan=False) + "\n")


def this_program() -> str:
    """How to call this program again from the same folder."""
    program = Path(sys.argv[0])
    if program.name == "__main__.py":
        return f"{sys.executable} -m harness"
    if "NOX_CURRENT_SESSION" in os.environ:  # there it is on the path; outside it is not
        return os.path.relpath(program)
    return program.name


def load_cifar10(source: str) -> ImageSet:
    """The data set, fetched first if need be, with its progress shown; see `harness.data.load`."""
    from harness.data import load, show_progress

    with show_progress() as progress:
        return load("cifar10", source=source, progress=progress)


def load_images(data: str) -> ImageSet:
    """What the option ``--data`` asks for, CIFAR-10 fetched first if need be."""
    from harness.data import load

    if data == "synthetic":
        return load("synthetic")
    return load_cifar10("auto" if data == "cifar10" else data)


def announce(session: Session) -> None:
    """Say what will be done, where, and how long it will take; and what will be skipped."""
    experiment, threads = session.experiment, session.num_threads
    stderr.print(Text.assemble((experiment.name, "bold"), f": {experiment.summary}"))
    if session.chosen_by_device:
        has_cuda = session.device.type == "cuda"
        stderr.print(
            f"No experiment was named: {'with' if has_cuda else 'without'} CUDA it is {experiment.name!r}; "
            f"{'shorter is' if has_cuda else 'the real length is'} {'quick' if has_cuda else 'paper'!r}."
        )
    stderr.print(
        f"{len(session.to_do)} of {len(session.planned)} runs to do on {session.environment.device_name}, {session.num_lanes} at "
        f"a time with {threads} thread{'s' * (threads > 1)} each: about {duration(session.estimated_seconds)}"
    )
    for run in session.planned:
        if run.note:
            stderr.print(f"{run.spec.label}: {run.note}{'' if run.to_do else '; skipped'}")


def print_plan(session: Session) -> None:
    """Table of every run, and the time they will take together."""
    experiment = session.experiment
    title = f"{experiment.name}: {experiment.summary}\n{session.environment.device_name}, {session.num_lanes} at a time"
    columns = ("model", "recipe", "seed", "precision", "iterations", "state", "time", "")
    table = new_table(*columns, title=title, details=("",))
    for run in session.planned:
        spec = run.spec
        length = f"{spec.iterations:,}" + (f" of {spec.recipe.num_iterations():,}" if spec.shortened else "")
        time = f"~{duration(run.estimated_seconds)}" if run.to_do else "-"
        state = run.state if run.to_do else f"skip: {run.state}"
        table.add_row(
            spec.model, spec.recipe.name, str(spec.seed), spec.precision, length, state, time, run.note
        )
    stdout.print(table)
    stdout.print(
        f"{len(session.to_do)} of {len(session.planned)} runs to do, about {duration(session.estimated_seconds)} "
        "on this machine."
    )


def print_report(
    session: Session, runs: Sequence[dict[str, Any]], published: Sequence[dict[str, Any]]
) -> None:
    """Summary of an experiment's runs, what it shows and what not, and where the records lie.

    Args:
        session: of the experiment.
        runs: its recorded runs, rows of the records of kind ``runs``.
        published: all runs that the project published.
    """
    stdout.print()
    print_summary(summarize(runs))
    print_differences(precision_differences(runs))
    if any(run["data"] == "synthetic" for run in runs):
        stdout.print("These are made-up images: the accuracies say nothing about any network.")
    else:
        stdout.print(f"This shows {session.experiment.shows}")
        stdout.print(f"It does not show {session.experiment.shows_not}")
    repeated, same = count_repeated(runs, published)
    if repeated:
        stdout.print(
            f"{repeated} of these runs were published by the project from such a machine; {same} of them have the "
            "same weights here, bit for bit."
        )
    stdout.print(
        f"Records: {session.store.root}/  ({this_program()} results list --results {session.store.root})"
    )


def print_summary(summaries: Sequence[Summary]) -> None:
    """Table of test accuracy over seeds."""
    table = new_table(
        *("model", "recipe", "iterations", "precision", "n", "mean", "sd", "95 % interval"),
        *("images/s", "time a run", ""),
        title="Test accuracy after the last iteration, per cent",
        details=("",),
    )
    for summary in summaries:
        group, accuracy = summary.group, summary.test_accuracy
        table.add_row(
            group.model,
            group.recipe,
            f"{group.iterations:,}",
            group.precision,
            str(accuracy.n if accuracy else 0),
            percent(accuracy.mean if accuracy else None),
            percent(accuracy.sd if accuracy else None),
            interval(accuracy.low, accuracy.high) if accuracy else "-",
            _mean(summary.images_per_second, "{:,.0f}"),
            duration(summary.seconds.mean) if summary.seconds else "-",
            ", ".join(_notes(group)),
        )
    stdout.print(table)


def _notes(group: RunGroup) -> list[str]:
    """What a mean of these runs is to be read with."""
    notes = ["shortened"] if group.shortened else []
    for number, what in (
        (group.num_diverged, "diverged"),
        (group.num_failed, "not completed"),
        (group.num_adopted, "went on after a change, left out"),
    ):
        notes += [f"{number} {what}"] if number else []
    return notes


def print_differences(differences: Sequence[PairedDifference]) -> None:
    """Table of what other precisions do to the test accuracy; nothing where there is none to compare."""
    if not differences:
        return
    table = new_table(
        *("model", "recipe", "precision", "n", "mean", "sd", "95 % interval", "speed ratio"),
        title="Difference of test accuracy to float32, paired by seed, percentage points",
    )
    for paired in differences:
        group, difference = paired.first, paired.difference
        table.add_row(
            group.model,
            group.recipe,
            group.precision,
            str(difference.n),
            points(difference.mean),
            percent(difference.sd),
            interval(difference.low, difference.high, signed=True),
            "-" if paired.speed_ratio is None else f"{paired.speed_ratio:.2f}",
        )
    stdout.print()
    stdout.print(table)


def _mean(values: Estimate | None, form: str) -> str:
    return form.format(values.mean) if values else "-"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if isinstance(value, datetime) else value
