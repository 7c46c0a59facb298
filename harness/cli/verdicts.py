"""The commands that judge: verdicts, compare, report. They need no torch."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import (
    DEFAULT_RESULTS,
    EXIT_OUT_OF_TOLERANCE,
    ExistingResults,
    Json,
    no_records,
)
from harness.errors import RecordError, UnknownNameError, UsageError, printable

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.analysis.comparison import ModelComparison
    from harness.analysis.groups import RunGroup
    from harness.analysis.verdicts import VerdictRow
    from harness.report.evidence import Evidence

__all__ = ["compare", "default_reports", "is_empty", "report", "verdicts", "write_report"]

Margin = Annotated[
    float,
    typer.Option(
        help="Percentage points of accuracy that do not matter: shown to be nearer to a claim is reproduced."
    ),
]


def verdicts(
    *, margin: Margin = 0.5, results: ExistingResults = DEFAULT_RESULTS, as_json: Json = False
) -> None:
    """Hold the recorded runs against every published claim: reproduced, worse, better, or inconclusive.

    Runs that were not made as the claim was are not comparable. Exit code 3: something is worse than claimed.
    """
    from harness.analysis.verdicts import verdict_board
    from harness.claims import claims
    from harness.console import print_json, say
    from harness.tables import print_verdicts

    fraction = _fraction(margin)
    runs = _read("runs", results)
    board = verdict_board(claims().values(), runs, _read("identities", results), fraction)
    if as_json:
        print_json(margin=margin, verdicts=[_verdict_row(row) for row in board])
    elif runs:
        print_verdicts(board, fraction)
    else:
        say(no_records(results))
    if any(row.verdict == "worse" for row in board):
        raise typer.Exit(EXIT_OUT_OF_TOLERANCE)


def compare(
    first: Annotated[str, typer.Argument(help="A model.", metavar="A")],
    second: Annotated[str, typer.Argument(help="Another.", metavar="B")],
    *,
    results: ExistingResults = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """Set the accuracies of two models beside each other, by seed and by image, in every setting that both have."""
    from harness.analysis.by_image import predicted
    from harness.analysis.comparison import comparable_groups, compare_groups
    from harness.analysis.groups import group_runs
    from harness.analysis.paired import adjusted
    from harness.console import print_json
    from harness.tables import print_model_comparisons

    groups = [group for group in group_runs(_read("runs", results)) if group.runs and group.data == "cifar10"]
    models = dict.fromkeys(group.model for group in groups)
    if not models:
        raise RecordError(no_records(results, "completed runs of real images"))
    for model in (first, second):
        if model not in models:
            raise UnknownNameError("model with completed runs", model, models)
    if first == second:
        raise UsageError(f"{first!r} is compared with itself; name two models")
    pairs = comparable_groups(groups, first, second)
    run_ids = [run["run_id"] for pair in pairs for group in pair for run in group.runs]
    predictions = predicted(_table("predictions", results, run_ids))
    compared = [compare_groups(*pair, predictions) for pair in pairs]
    comparisons = [comparison for comparison in compared if comparison is not None]
    if not comparisons:
        raise RecordError(
            f"{printable(first)} and {printable(second)} have no seed of the same recipe, length, precision and device in "
            f"common; run both alike, e.g. harness reproduce compare --models {printable(first)},{printable(second)}"
        )
    if as_json:
        adjusted_p = adjusted([comparison.paired for comparison in comparisons])
        print_json(comparisons=list(map(_comparison_row, comparisons, adjusted_p)))
    else:
        print_model_comparisons(comparisons)


def report(
    *,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to: .html or .md; can be repeated. Default: report.html and report.md beside the records.",
        ),
    ] = None,
    margin: Margin = 0.5,
    results: ExistingResults = DEFAULT_RESULTS,
) -> None:
    """Write everything that the records say on one page: HTML with charts that needs no network, and Markdown."""
    write_report(results, output or default_reports(results), _fraction(margin))


def default_reports(results: Path) -> list[Path]:
    """Where a report of a store is written if nothing else is said."""
    return [results / "report.html", results / "report.md"]


def write_report(
    results: Path, files: Sequence[Path], margin: float | None = None, *, quietly: bool = False
) -> None:
    """Write the report of a store, and say where; records that cannot be read are named on stderr.

    Args:
        results: the store.
        files: to be written, each as its suffix says.
        margin: as a fraction; by default half a percentage point.
        quietly: say it on stderr, because stdout is for something else.

    Raises:
        UsageError: a suffix is neither .html nor .md.
        RecordError: there are no records.
        StorageError: a file cannot be written.
    """
    from harness.analysis.verdicts import DEFAULT_MARGIN
    from harness.atomic import write_atomically
    from harness.console import say, stdout
    from harness.records import Store
    from harness.report import compose, gather, to_html, to_markdown

    renderers = {".html": to_html, ".md": to_markdown}
    for file in files:
        if file.suffix.lower() not in renderers:
            raise UsageError(f"{printable(file)}: end it in .html or .md, which say what to write")
    words = ["harness", "report", "--results", str(results)]
    if margin is None:
        margin = DEFAULT_MARGIN
    if margin != DEFAULT_MARGIN:
        words += ["--margin", f"{100 * margin:g}"]
    tell = say if quietly else stdout.print
    evidence = gather(Store(results))
    if is_empty(evidence):
        raise RecordError(no_records(results))
    if not evidence.runs:
        say(no_records(results))
    for broken in evidence.broken:
        say(f"passed over {broken.path}: {broken.reason}")
    composed = compose(evidence, margin=margin, command=shlex.join(words))
    for file in files:
        write_atomically(file, renderers[file.suffix.lower()](composed).encode())
        tell(f"Report: {file}")


def is_empty(evidence: Evidence) -> bool:
    """Whether there is nothing, not even a broken file."""
    return not any(
        getattr(evidence, name)
        for name in ("runs", "cards", "audits", "profiles", "verifications", "benchmarks", "broken")
    )


def _fraction(margin: float) -> float:
    """Of percentage points.

    Raises:
        UsageError: they are none.
    """
    fraction = margin / 100
    if not 0 < fraction < 1:
        raise UsageError(f"--margin {margin}: give percentage points above 0 and below 100, e.g. 0.5")
    return fraction


def _read(kind: str, results: Path) -> list[dict[str, Any]]:
    """Rows of a kind; what is broken is named on stderr."""
    rows: list[dict[str, Any]] = _table(kind, results).to_pylist()
    return rows


def _table(kind: str, results: Path, run_ids: Sequence[str] | None = None) -> pa.Table:
    from harness.console import say
    from harness.records import Store

    table, broken = Store(results).read(kind, run_ids)
    for file in broken:
        say(f"passed over {file.path}: {file.reason}")
    return table


def _verdict_row(row: VerdictRow) -> Mapping[str, Any]:
    return {
        "claim": row.claim.key,
        "claimant": row.claim.claimant,
        "stated_in": row.claim.stated_in,
        "selection": row.claim.selection,
        "claimed_accuracy": row.claimed,
        "verdict": row.verdict,
        **_group_row(row.group),
        "measured_accuracy": None if row.measured is None else asdict(row.measured),
        "judgement": None if row.judgement is None else asdict(row.judgement),
        "differences": [asdict(difference) for difference in row.differences],
        "notes": row.notes(),
    }


def _comparison_row(comparison: ModelComparison, p_adjusted: float | None) -> Mapping[str, Any]:
    paired = comparison.paired
    return {
        "first": _group_row(paired.first),
        "second": _group_row(paired.second),
        "seeds": paired.seeds,
        "difference_of_accuracy": asdict(paired.difference),
        "same_bits": paired.same_bits,
        "p": paired.p,
        "p_adjusted": p_adjusted,
        "speed_ratio": paired.speed_ratio,
        "detectable_difference": comparison.detectable,
        "by_image": None if comparison.by_image is None else asdict(comparison.by_image),
    }


_OF_GROUP = ("model", "model_source", "recipe", "iterations", "precision", "device_name")


def _group_row(group: RunGroup | None) -> dict[str, Any]:
    if group is None:
        return dict.fromkeys((*_OF_GROUP, "seeds", "run_ids"))
    return {
        **{name: getattr(group, name) for name in _OF_GROUP},
        "seeds": group.seeds,
        "run_ids": [run["run_id"] for run in group.runs],
    }
