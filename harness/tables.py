"""Tables of records, for people."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text

from harness.analysis.profiles import CellChange, CellComparison, joules_per_run
from harness.analysis.timing import Comparison, summarize_timing
from harness.config import load_recipe
from harness.console import new_table, seconds_for_people, stdout

__all__ = [
    "print_audits",
    "print_benchmarks",
    "print_changes",
    "print_comparisons",
    "print_identities",
    "print_operators",
    "print_profiles",
    "print_runs",
    "print_verifications",
]

MIB = 2**20


def print_runs(runs: Sequence[Mapping[str, Any]]) -> None:
    """Table of recorded runs."""
    table = new_table("run", "data", "status", "test accuracy", "images/s", "device", "finished")
    for run in runs:
        accuracy, rate = run["test_accuracy"], run["images_per_second"]
        table.add_row(
            run["run_id"],
            run["data"],
            run["status"],
            "-" if accuracy is None else f"{accuracy:.2%}",
            "-" if rate is None else f"{rate:,.0f}",
            run["device_name"],
            f"{run['finished_at']:%Y-%m-%d %H:%M}",
        )
    stdout.print(table)


WIDE = 160
"""Columns of text from which on a table may have more than the most important columns."""


def print_identities(rows: Sequence[Mapping[str, Any]]) -> None:
    """Table of identity cards; what deviates stands below it."""
    deviations = list(dict.fromkeys(row["first_deviation"] for row in rows if row["first_deviation"]))
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "model": lambda row: row["model"],
        "function": lambda row: _function(row, deviations),
        "parameters": lambda row: f"{row['parameters']:,}",
        "MACs": lambda row: f"{row['macs']:,}",
        "layers": lambda row: f"{row['layers_on_main_path']}+{row['layers_beside']}",
        "shortcut": lambda row: row["shortcut"],
    }
    if stdout.width >= WIDE:
        columns |= {
            "stem": lambda row: row["stem"],
            "channels": lambda row: "-".join(
                map(str, dict.fromkeys(stage["channels"] for stage in row["stages"]))
            ),
            "pooling": lambda row: row["pooling"],
            "initial weights": lambda row: row["initialization"],
        }
    table = new_table(*columns)
    for name in ("model", "parameters", "MACs"):
        table.columns[list(columns).index(name)].no_wrap = True
    for row in rows:
        table.add_row(*(value(row) for value in columns.values()))
    stdout.print(table)
    for number, deviation in enumerate(deviations, start=1):
        stdout.print(f"[{number}] {deviation}")
    stdout.print(
        "function: = that of the paper's network named there, given the same weights: bit for bit, or but for rounding "
        "(largest relative difference in float64); != another."
    )


def _function(row: Mapping[str, Any], deviations: Sequence[str]) -> str:
    difference = max(row["difference_of_logits_fp64"] or 0, row["difference_of_gradients_fp64"] or 0)
    return {
        "reference": "the paper's network",
        "identical": f"= {row['counterpart']}, bit for bit",
        "equal": f"= {row['counterpart']} ({difference:.0e})",
        "permuted": f"= {row['counterpart']}, permuted ({difference:.0e})",
        "different": f"!= {row['counterpart']} [{_number(row['first_deviation'], deviations)}]",
    }[row["equivalence"]]


def _number(text: str | None, listed: Sequence[str]) -> int:
    return listed.index(text) + 1 if text else 0


def print_audits(rows: Sequence[Mapping[str, Any]]) -> None:
    """Table of published checkpoints: what was claimed, and what they do."""
    table = new_table(
        *("checkpoint", "claimed", "measured", "", "through our class", "predictions differing"),
        title="Test accuracy of published weights, per cent",
    )
    for row in rows:
        claimed, measured = (f"{100 * row[name]:.2f}" for name in ("claimed_accuracy", "accuracy"))
        table.add_row(
            row["model"],
            claimed,
            measured,
            "as claimed" if claimed == measured else Text("NOT as claimed", "red"),
            f"{100 * row['counterpart_accuracy']:.2f} ({row['counterpart']})",
            f"{row['num_predictions_differing']} of {row['num_images']:,}",
        )
    stdout.print(table)


def print_benchmarks(rows: Sequence[Mapping[str, Any]]) -> None:
    """A table for each group; ratios are to the group's first row."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["session_id"], row["group"]), []).append(row)
    for (session, group), members in groups.items():
        table = new_table(
            *("benchmark", "median", "from", "to", "rounds", "images/s", "ratio"),
            title=f"{group} ({session})",
        )
        first = statistics.median(members[0]["round_seconds"])
        for row in members:
            median = statistics.median(row["round_seconds"])
            table.add_row(
                row["name"],
                *(
                    seconds_for_people(value)
                    for value in (median, min(row["round_seconds"]), max(row["round_seconds"]))
                ),
                str(len(row["round_seconds"])),
                f"{row['images'] / median:,.0f}" if row["images"] else "",
                f"{first / median:.2f}",
            )
        stdout.print(table)
        stdout.print()


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
            _interval(timing.low, timing.high),
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


def print_changes(changes: Sequence[CellChange], machines: Comparison | None) -> None:
    """Table of the cells of two sessions, how many agree, and how the machine has changed, where that is known."""
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
            Text(change.verdict, {"slower": "red", "faster": "green"}.get(change.verdict, "")),
        )
    stdout.print()
    stdout.print(table)
    num_agreeing = sum(change.verdict == "agree" for change in changes)
    stdout.print(f"{num_agreeing} of {len(changes)} cells agree within their intervals.")
    if machines is not None and machines.low is not None and machines.high is not None:
        interval = f"{machines.ratio:.2f} times as long as then ({machines.low:.2f} .. {machines.high:.2f})"
        meaning = "nothing says that it has changed" if machines.is_noise else "it has changed itself"
        stdout.print(f"This machine takes {interval} for a reference without a network: {meaning}.")
    num_changed = sum(change.verdict == "machine" for change in changes)
    if num_changed:
        stdout.print(f"What has changed as it has, marked machine ({num_changed}), says nothing of the code.")


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "-"
    return f"{seconds_for_people(low)} .. {seconds_for_people(high)}"


def print_verifications(rows: Sequence[Mapping[str, Any]]) -> None:
    """Tables of repeated runs, and of knobs that were turned; what may have caused a difference stands below."""
    repeated = [row for row in rows if row["knob"] is None]
    if repeated:
        table = new_table(
            "run", "epochs", "iterations", "verdict", "seconds then", "seconds now", title="Verified"
        )
        for row in repeated:
            table.add_row(
                row["run_id"],
                f"{row['num_epochs']}{' (all)' if row['complete'] else ''}",
                f"{row['num_iterations']:,}",
                _verdict(row),
                f"{row['seconds_then']:,.1f}",
                f"{row['seconds_now']:,.1f}",
            )
        stdout.print(table)
    turned = [row for row in rows if row["knob"] is not None]
    if turned:
        table = new_table(
            "knob",
            "turned",
            "verdict",
            "iterations",
            "time of an update, turned over not",
            title="With one knob turned",
        )
        for row in turned:
            table.add_row(
                row["knob"],
                f"{row['knob_then']} -> {row['knob_now']}",
                _verdict(row),
                f"{row['num_iterations']:,}",
                _time_ratio(row),
            )
        stdout.print(table)
    for row in repeated:
        then, now = (json.loads(row[f"environment_{side}"]) for side in ("then", "now"))
        if then and not row["identical"]:
            stdout.print(f"{row['run_id']} differs; a likely cause is in its environment, then and now:")
            for name in then:
                stdout.print(f"  {name}: {then[name]} -> {now[name]}")


def _verdict(row: Mapping[str, Any]) -> Text:
    return Text("bit-identical", "green") if row["identical"] else Text(_where(row), "red")


def _time_ratio(row: Mapping[str, Any]) -> str:
    """Of an update with the knob turned over one without."""
    if row["time_ratio"] is None:
        return "-"
    if row["time_ratio_low"] is None:
        return f"{row['time_ratio']:.3f}"
    return f"{row['time_ratio']:.3f} ({row['time_ratio_low']:.3f} to {row['time_ratio_high']:.3f})"


def _where(row: Mapping[str, Any]) -> str:
    if row["first_epoch"] is None:
        return f"differs at the end in {row['first_column']}"
    if row["knob"] is not None:
        tensor = " ".join(filter(None, (row["first_column"], row["first_tensor"])))
        return f"differs from iteration {row['first_iteration']:,} on, first in {tensor}"
    where = f"differs from epoch {row['first_epoch']} on"
    if row["first_iteration"] is not None:
        return f"{where}, first in the loss of iteration {row['first_iteration']:,}"
    return f"{where}, first in {row['first_column']}"
