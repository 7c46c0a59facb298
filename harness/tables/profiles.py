"""Tables of profiles, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from harness.analysis.profiles import CellChange, CellComparison, joules_per_run
from harness.analysis.timing import Comparison, Timing, is_range, summarize_timing
from harness.config import load_recipe
from harness.console import stdout
from harness.formats import seconds_for_people
from harness.plain_table import new_table

__all__ = ["print_changes", "print_comparisons", "print_operators", "print_profiles"]

MIB = 2**20


def _print_sizes(rows: Sequence[Mapping[str, Any]]) -> None:
    """Table of what can be counted, a line for each model."""
    table = new_table(
        *("model", "parameters", "MACs", "weighted layers", "kept for backward, KiB an image"),
        title="Size",
    )
    counted = {row["model"]: row for row in rows if row["macs"] is not None}
    for model, row in counted.items():
        table.add_row(
            model,
            f"{row['parameters']:,}",
            f"{row['macs']:,}",
            str(row["weighted_layers"]),
            f"{row['activation_bytes_per_image'] / 2**10:,.0f}",
        )
    if counted:
        stdout.print(table)
        stdout.print()


def print_profiles(rows: Sequence[Mapping[str, Any]]) -> None:
    """Table of what models are, and of what their cells take; what failed stands below it."""
    _print_sizes(rows)
    measured = [row for row in rows if row["round_seconds"]]
    with_energy = any(row["joules_per_image"] is not None for row in measured)
    table = new_table(
        *("model", "mode", "batch", "precision", "median", "95 % interval", "p95", "p99", "calls"),
        *("images/s", "of ceiling", "peak MiB", "of it network"),
        *(("mJ an image", "kJ a run of the paper") if with_energy else ()),
        title="Time of a step",
    )
    paper = load_recipe("paper")
    for row in measured:
        timing = summarize_timing(row["round_seconds"])
        peak, base = row["peak_memory_bytes"], row["base_memory_bytes"]
        table.add_row(
            row["model"],
            row["mode"],
            str(row["batch_size"]),
            row["precision"],
            seconds_for_people(timing.median),
            _interval(timing),
            *("-" if value is None else seconds_for_people(value) for value in (timing.p95, timing.p99)),
            str(timing.num_calls),
            f"{row['batch_size'] / timing.median:,.0f}",
            "-" if row["flops_share"] is None else f"{row['flops_share']:.1%}",
            "-" if peak is None else f"{peak / MIB:,.0f}",
            "-" if peak is None else f"{(peak - base) / MIB:,.0f}",
            *(
                (_in(row["joules_per_image"], 1e-3), _in(joules_per_run(row, paper), 1e3))
                if with_energy
                else ()
            ),
        )
    stdout.print(table)
    for row in rows:
        if row["status"] == "failed":
            cell = f"{row['model']} {row['mode']} {row['batch_size']} {row['precision']}"
            stdout.print(f"{cell}: failed: {row['reason']}")
    busy = {row["session_id"]: row["others_share"] for row in measured if row["busy"]}
    several = len({row["session_id"] for row in measured}) > 1
    for session, share in busy.items():
        which = f"the times of {session}" if several else "these times"
        stdout.print(
            f"Other programs took {share:.0%} of the cores meanwhile: {which} are not to be trusted."
        )


def _in(value: float | None, unit: float) -> str:
    if value is None:
        return "-"
    return f"{value / unit:,.0f}" if value >= 100 * unit else f"{value / unit:.3g}"


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
            table.add_row(row["operator"], str(row["calls"]), time, f"{row['share']:.1%}")
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
            interval = f"{comparison.low:.3f} .. {comparison.high:.3f}{_what(cell.num_rounds)}"
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


def print_changes(changes: Sequence[CellChange], machines: Comparison | None) -> None:
    """Table of the cells of two sessions, how many are not told apart, and how the machine has changed, where that is known."""
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
            _interval(change.then),
            seconds_for_people(change.now.median),
            _interval(change.now),
            f"{change.comparison.ratio:.3f}",
            Text(change.verdict, {"slower": "red", "faster": "green"}.get(change.verdict, "")),
        )
    stdout.print()
    stdout.print(table)
    verdicts = [change.verdict for change in changes]
    stdout.print(
        f"{verdicts.count('not told apart')} of {len(verdicts)} cells are not told apart: their intervals overlap."
    )
    if machines is not None and machines.low is not None and machines.high is not None:
        interval = f"{machines.ratio:.2f} times as long as then ({machines.low:.2f} .. {machines.high:.2f})"
        stdout.print(f"This machine takes {interval} for a reference without a network.")
    else:
        stdout.print("There is no reference of five rounds in both to tell how this machine has changed.")
    if "not told from the machine" in verdicts:
        stdout.print("What this machine may have changed by as well says nothing of the code.")


def _interval(timing: Timing) -> str:
    if timing.low is None or timing.high is None:
        return "-"
    return f"{seconds_for_people(timing.low)} .. {seconds_for_people(timing.high)}{_what(timing.num_rounds)}"


def _what(num_rounds: int) -> str:
    """That an interval is none, but the range of few rounds."""
    return " (range)" if is_range(num_rounds) else ""
