"""Tables of runs, identity cards, published checkpoints, benchmarks and verifications, for people."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.text import Text

from harness.console import stdout
from harness.formats import seconds_for_people
from harness.plain_table import new_table
from harness.report.document import Table

__all__ = [
    "print_audits",
    "print_benchmarks",
    "print_identities",
    "print_inventory",
    "print_runs",
    "print_verifications",
]


def print_runs(runs: Sequence[Mapping[str, Any]]) -> None:
    """Table of recorded runs."""
    columns = ("run", "data", "status", "test accuracy", "images/s", "device", "finished")
    table = new_table(*columns, details=("status", "finished"))
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


def print_inventory(inventory: Table) -> None:
    """Table of what is in a store."""
    table = new_table(*inventory.columns)
    for row in inventory.rows:
        table.add_row(*(cell if isinstance(cell, str) else cell.text for cell in row))
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


def print_verifications(rows: Sequence[Mapping[str, Any]]) -> None:
    """Tables of repeated runs, and of knobs that were turned; what may have caused a difference stands below."""
    repeated = [row for row in rows if row["knob"] is None]
    if repeated:
        columns = ("run", "epochs", "iterations", "verdict", "seconds then", "seconds now")
        table = new_table(*columns, title="Verified", details=("epochs", "seconds then", "seconds now"))
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
