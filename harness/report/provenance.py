"""Sections on where the numbers come from: repetitions, commands, machines."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from harness.analysis.groups import requested
from harness.analysis.inventory import is_of_today
from harness.formats import ABSENT, percent
from harness.report.document import Code, Section, Table
from harness.report.evidence import Evidence

__all__ = ["command_of_run", "commands", "environments", "machine_checks", "outcome_of"]


def machine_checks(evidence: Evidence) -> Section | None:
    """Verifications of runs, and audits of published checkpoints."""
    tables = []
    repeated = [row for row in evidence.verifications if row["knob"] is None]
    turned = [row for row in evidence.verifications if row["knob"] is not None]
    if repeated:
        tables.append(
            Table(
                columns=("run", "epochs repeated", "iterations", "outcome", "machine"),
                rows=[
                    (
                        Code(row["run_id"]),
                        f"{row['num_epochs']}{' (all)' if row['complete'] else ''}",
                        f"{row['num_iterations']:,}",
                        outcome_of(row),
                        row["device_name"],
                    )
                    for row in repeated
                ],
                title="Recorded runs, repeated in a fresh process",
                numeric=frozenset({"iterations"}),
            )
        )
    if turned:
        tables.append(
            Table(
                columns=("run", "knob", "turned", "outcome", "time of an update, turned over not"),
                rows=[
                    (
                        Code(row["run_id"]),
                        row["knob"],
                        f"{row['knob_then']} to {row['knob_now']}",
                        outcome_of(row),
                        _ratio(row),
                    )
                    for row in turned
                ],
                title="With one knob turned",
                numeric=frozenset({"time of an update, turned over not"}),
                wrapped=frozenset({"outcome"}),
            )
        )
    if evidence.audits:
        tables.append(
            Table(
                columns=("checkpoint", "claimed", "measured", "through our class", "predictions differing"),
                rows=[
                    (
                        row["model"],
                        percent(row["claimed_accuracy"]),
                        percent(row["accuracy"]),
                        percent(row["counterpart_accuracy"]),
                        f"{row['num_predictions_differing']} of {row['num_images']:,}",
                    )
                    for row in evidence.audits
                ],
                title="Test accuracy of published weights, per cent",
                numeric=frozenset({"claimed", "measured", "through our class", "predictions differing"}),
            )
        )
    if not tables:
        return None
    return Section(
        key="bits",
        title="The same bits again?",
        paragraphs=[
            (
                "A recorded run is repeated in a fresh process, and compared bit by bit: losses, weights, optimiser. With one knob "
                "turned, digests of every tensor of every update say what depends on it, and what it costs."
            )
        ],
        tables=tables,
    )


def commands(evidence: Evidence) -> Section | None:
    """The command that repeats each group of runs."""
    if not evidence.groups:
        return None
    return Section(
        key="commands",
        title="Which commands made this?",
        paragraphs=[
            (
                "Each line repeats the first run of a group; other seeds are had by --seed. Where machine, versions and code are the "
                "same, so are the bits: harness verify RUN tells."
            )
        ],
        tables=[
            Table(
                columns=("experiment", "seeds", "command"),
                rows=[
                    (
                        ", ".join(dict.fromkeys(run["experiment"] for run in group.runs)),
                        _listed(group.seeds),
                        Code(command_of_run(group.runs[0])),
                    )
                    for group in evidence.groups
                ],
            )
        ],
    )


def command_of_run(run: Mapping[str, Any]) -> str:
    """What runs it again, for a shell.

    A recipe that does not ship with this version is named as a file in the present folder.

    Args:
        run: a row of the records of kind ``runs``.
    """
    recipe = run["recipe"] if is_of_today(run) else f"{run['recipe']}.toml"
    words = ["harness", "run", "--model", run["model"], "--recipe", recipe, "--seed", str(run["seed"])]
    words += ["--precision", run["precision"]]
    spec = requested(run)
    if spec is None or spec.shortened:
        words += ["--iterations", str(run["iterations"])]
    words += ["--data", run["data"]] if run["data"] != "cifar10" else []
    words += ["--threads", str(run["threads"])] if run["device"] == "cpu" else []
    return shlex.join(words)


def environments(evidence: Evidence) -> Section | None:
    """Machines and versions, and how many runs each made; files that could not be read."""
    if not evidence.runs and not evidence.broken:
        return None
    counts = Counter(
        (
            run["device_name"],
            run["cpu_name"],
            str(run["threads"]),
            run["operating_system"],
            run["python"],
            run["torch"],
            (run["commit"] or ABSENT)[:12] + (" (changed)" if run["dirty"] else ""),
            _libraries(run["libraries"]),
        )
        for run in evidence.runs
    )
    notes = [
        f"Passed over {file.path.parent.name}/{file.path.name}: {file.reason}" for file in evidence.broken
    ]
    return Section(
        key="environments",
        title="On which machines?",
        tables=[
            Table(
                columns=(
                    *(
                        "device",
                        "CPU",
                        "threads",
                        "system",
                        "Python",
                        "torch",
                        "harness",
                        "libraries",
                        "runs",
                    ),
                ),
                rows=[(*(text or ABSENT for text in its), str(number)) for its, number in counts.items()],
                numeric=frozenset({"threads", "runs"}),
                wrapped=frozenset({"CPU", "system", "libraries"}),
            )
        ],
        notes=notes,
    )


def outcome_of(row: Mapping[str, Any]) -> str:
    """Of a repetition, in words.

    Args:
        row: of the records of kind ``verifications``.
    """
    if row["identical"]:
        return "bit-identical"
    if row["knob"] is not None and row["first_iteration"] is not None:
        return f"differs from iteration {row['first_iteration']:,} on, first in {row['first_tensor'] or row['first_column']}"
    if row["first_epoch"] is not None:
        return f"differs from epoch {row['first_epoch']} on"
    return f"differs in {row['first_column']}"


def _ratio(row: Mapping[str, Any]) -> str:
    if row["time_ratio"] is None:
        return ABSENT
    if row["time_ratio_low"] is None:
        return f"{row['time_ratio']:.3f}"
    return f"{row['time_ratio']:.3f} ({row['time_ratio_low']:.3f} .. {row['time_ratio_high']:.3f})"


def _libraries(text: str) -> str:
    try:
        versions = json.loads(text)
        return ", ".join(
            f"{name} {versions[name]}" for name in ("numpy", "timm", "torchvision") if name in versions
        )
    except (ValueError, TypeError, RecursionError):
        return ABSENT


def _listed(seeds: tuple[int, ...]) -> str:
    if len(seeds) > 2 and seeds == tuple(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))
