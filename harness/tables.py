"""Tables of profiles, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from harness.analysis.profiles import CellChange, CellComparison
from harness.analysis.timing import summarize_timing
from harness.console import new_table, seconds_for_people, stdout

__all__ = ["print_changes", "print_comparisons", "print_operators", "print_profiles"]

MIB = 2**20


def print_profiles(rows: Sequence[Mapping[str, Any]]) -> None:
    """Table of cells; what failed stands below it."""
    table = new_table(
        *("model", "mode", "batch", "precision", "median", "95 % interval", "p95", "p99", "calls"),
        *("images/s", "of ceiling", "peak MiB", "of it network"),
        title="Time of a step",
    )
    measured = [row for row in rows if row["round_seconds"]]
    for row in measured:
        timing = summarize_timing(row["round_seconds"])
        peak, base = row["peak_memory_bytes"], row["base_memory_bytes"]
        table.add_row(
            row["model"],
            row["mode"],
            str(row["batch_size"]),
            row["precision"],
            seconds_for_people(timing.median),
            _interval(timing.low, timing.high),
            *("-" if value is None else seconds_for_people(value) for value in (timing.p95, timing.p99)),
            str(timing.num_calls),
            f"{row['batch_size'] / timing.median:,.0f}",
            "-" if row["flops_share"] is None else f"{row['flops_share']:.1%}",
            "-" if peak is None else f"{peak / MIB:,.0f}",
            "-" if peak is None else f"{(peak - base) / MIB:,.0f}",
        )
    stdout.print(table)
    for row in rows:
        if row["status"] == "failed":
            cell = f"{row['model']} {row['mode']} {row['batch_size']} {row['precision']}"
            stdout.print(f"{cell}: failed: {row['reason']}", markup=False)
    busy = {row["session_id"]: row["others_share"] for row in measured if row["busy"]}
    several = len({row["session_id"] for row in measured}) > 1
    for session, share in busy.items():
        which = f"the times of {session}" if several else "these times"
        stdout.print(
            f"Other programs took {share:.0%} of the cores meanwhile: {which} are not to be trusted."
        )


def print_operators(rows: Sequence[Mapping[str, Any]]) -> None:
    """Table of the operators of a step for each model and mode."""
    steps: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        step = tuple(row[name] for name in ("session_id", "model", "mode", "batch_size", "precision"))
        steps.setdefault(step, []).append(row)
    for (session, model, mode, batch_size, precision), members in steps.items():
        table = new_table(
            *("operator", "calls", "self time", "share"),
            title=f"{model} {mode} {batch_size} {precision} ({session})",
        )
        for row in members:
            time = seconds_for_people(row["self_seconds"])
            table.add_row(escape(row["operator"]), str(row["calls"]), time, f"{row['share']:.1%}")
        stdout.print(table)
        stdout.print()


def print_comparisons(comparisons: Sequence[CellComparison], first: str, second: str) -> None:
    """Table of two models, cell by cell."""
    table = new_table(
        *("mode", "batch", "precision", "ratio", "95 % interval", ""),
        title=f"Time of {first} over that of {second}, round by round",
    )
    for cell in comparisons:
        comparison = cell.comparison
        interval = "-"
        if comparison.low is not None and comparison.high is not None:
            interval = f"{comparison.low:.3f} .. {comparison.high:.3f}"
        table.add_row(
            cell.mode,
            str(cell.batch_size),
            cell.precision,
            f"{comparison.ratio:.3f}",
            interval,
            "noise" if comparison.is_noise else "",
        )
    stdout.print()
    stdout.print(table)


def print_changes(changes: Sequence[CellChange]) -> None:
    """Table of the cells of two sessions, and how many agree."""
    table = new_table(
        *(
            "model",
            "mode",
            "batch",
            "precision",
            "then",
            "95 % interval",
            "now",
            "95 % interval",
            "ratio",
            "",
        ),
        title="Then and now",
    )
    for change in changes:
        table.add_row(
            change.model,
            change.mode,
            str(change.batch_size),
            change.precision,
            seconds_for_people(change.then.median),
            _interval(change.then.low, change.then.high),
            seconds_for_people(change.now.median),
            _interval(change.now.low, change.now.high),
            f"{change.comparison.ratio:.3f}",
            {"slower": "[red]slower[/]", "faster": "[green]faster[/]"}.get(change.verdict, change.verdict),
        )
    stdout.print()
    stdout.print(table)
    num_agreeing = sum(change.verdict == "agree" for change in changes)
    stdout.print(f"{num_agreeing} of {len(changes)} cells agree within their intervals.")


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "-"
    return f"{seconds_for_people(low)} .. {seconds_for_people(high)}"
