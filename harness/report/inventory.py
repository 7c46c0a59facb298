"""What is in a store as a table, and as plain data: what, how often, by which command, on which machine, when."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC
from typing import Any, Final

from harness.analysis.commands import seed_ranges
from harness.analysis.inventory import Batch, Defaults, Machine, take_inventory
from harness.errors import printable
from harness.formats import listed
from harness.records import KINDS, BrokenFile, Store
from harness.records.store import PARTS_OF_RUNS
from harness.report.document import Code, Table
from harness.report.provenance import command_of_run

__all__ = ["Inventory", "command_of", "inventory_row", "inventory_table", "read_inventory", "what_of"]

_Row = Mapping[str, Any]
_FEW: Final = 6
"""So many names can be read; of more, their number is told."""
_MACHINE: Final = (
    *("device", "device_name", "cpu_name", "cpu_capability", "cpu_cores", "cudnn", "threads", "torch"),
    *("commit", "dirty"),
)
_COLUMNS: Final[Mapping[str, Sequence[str]]] = {
    "runs": (
        *(
            "run_id",
            "experiment",
            "spec_sha256",
            "model",
            "recipe",
            "seed",
            "precision",
            "data",
            "iterations",
        ),
        *("shortened", "spec", "status", "started_at", "finished_at"),
    ),
    "identities": ("identity_id", "model", "identified_at"),
    "audits": ("audit_id", "model", "audited_at"),
    "benchmarks": ("session_id", "group", "measured_at"),
    "profiles": (
        *("session_id", "model", "mode", "batch_size", "precision", "status", "round_seconds", "measured_at"),
    ),
    "verifications": (
        *(
            "verification_id",
            "run_id",
            "num_epochs",
            "complete",
            "knob",
            "knob_then",
            "knob_now",
            "verified_at",
        ),
    ),
}
"""Not the weighty ones: losses, layers, answers."""
_PARTS: Final[Mapping[str, Sequence[str]]] = {"runs": PARTS_OF_RUNS, "profiles": ("operators",)}
"""Kind -> kinds of what belongs to its records, and has their names."""


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What is in a store."""

    batches: Sequence[Batch]
    broken: Sequence[BrokenFile]
    """Files that were passed over."""
    strays: Mapping[str, Sequence[str]]
    """Kind -> names of what belongs to a record that is not there."""


def read_inventory(store: Store, defaults: Defaults) -> Inventory:
    """Look through a store. What belongs to other records is counted by its name, and not read."""
    records: dict[str, list[_Row]] = {}
    broken: list[BrokenFile] = []
    parts: dict[str, set[str]] = {}
    strays: dict[str, list[str]] = {}
    for kind, columns in _COLUMNS.items():
        table, unread = store.read(kind)
        broken += unread
        names = set(table.column(0).to_pylist())
        records[kind] = table.select([*columns, *_MACHINE]).to_pylist()
        for part in _PARTS.get(kind, ()):
            parts[part] = store.names(part)
            if lost := sorted(parts[part] - names - {file.path.stem for file in unread}):
                strays[part] = lost
    return Inventory(batches=take_inventory(records, defaults, parts), broken=broken, strays=strays)


def inventory_table(batches: Sequence[Batch]) -> Table:
    """A row for each batch; no text in it does anything to a terminal."""
    return Table(
        columns=("kind", "what", "records", "command", "machine", "date"),
        rows=[
            (
                listed(_kinds(batch)),
                _line(what_of(batch)),
                _line(_count(batch)),
                Code(_line(command_of(batch))),
                _line(_place(batch.machine)),
                _days(batch),
            )
            for batch in batches
        ],
        numeric=frozenset({"records"}),
        wrapped=frozenset({"what", "machine"}),
    )


def inventory_row(batch: Batch) -> dict[str, Any]:
    """The same for programs."""
    return {
        "kinds": _kinds(batch),
        "what": what_of(batch),
        "num_records": len(batch.names),
        "records": list(batch.names),
        "statuses": dict(Counter(row["status"] for row in batch.rows if "status" in row)),
        "parts": dict(batch.parts),
        "command": command_of(batch),
        "exact": batch.exact,
        "machine": asdict(batch.machine),
        "commits": batch.commits,
        "changed": batch.changed,
        "first": batch.first,
        "last": batch.last,
    }


def what_of(batch: Batch) -> str:
    """What was run or measured, in a line that is as others wrote it."""
    facts = _WHAT[batch.kind](batch.rows)
    if batch.kind == "runs":
        facts += _parts_of_runs(batch)
        facts += [] if batch.exact else ["by a recipe or experiment that does not ship with this version"]
    if len(batch.commits) > 1:
        facts.append(f"from {len(batch.commits)} commits")
    if batch.changed:
        facts.append("from code with uncommitted changes")
    return "; ".join(facts)


def command_of(batch: Batch) -> str:
    """What makes the records, for a shell."""
    return shlex.join([*batch.command, *batch.options]) if batch.command else command_of_run(batch.rows[0])


def _kinds(batch: Batch) -> list[str]:
    return [batch.kind, *(["operators"] if batch.parts.get("operators") else [])]


def _count(batch: Batch) -> str:
    text = f"{len(batch.names):,}"
    if batch.kind != "runs":
        return text
    counts = Counter(row["status"] for row in batch.rows if row["status"] != "completed")
    others = [f"{number:,} {status}" for status, number in sorted(counts.items())]
    return f"{text}, of which {listed(others)}" if others else text


def _place(machine: Machine) -> str:
    facts = [machine.name]
    facts += [machine.capability] if machine.capability else []
    facts += [_number(machine.cores, "core")] if machine.cores is not None else []
    facts += [_number(machine.threads, "thread")] if machine.threads is not None else []
    facts += [f"torch {machine.torch}"]
    facts += [f"cuDNN {machine.cudnn}"] if machine.cudnn else []
    return ", ".join(facts)


def _days(batch: Batch) -> str:
    first, last = (f"{moment.astimezone(UTC):%Y-%m-%d}" for moment in (batch.first, batch.last))
    return first if first == last else f"{first} .. {last}"


def _line(text: str) -> str:
    return printable(text, sys.maxsize)


# what there is of a kind


def _runs(rows: Sequence[_Row]) -> list[str]:
    """Models, seeds, then recipe, length and precision; models that differ in these are told apart."""
    by_model: dict[str, dict[tuple[str, int], dict[str, set[int]]]] = {}
    for row in rows:
        question = by_model.setdefault(row["model"], {}).setdefault((row["recipe"], row["iterations"]), {})
        question.setdefault(row["precision"], set()).add(row["seed"])
    alike: dict[tuple[Any, ...], list[str]] = {}
    for model, questions in by_model.items():
        for (recipe, iterations), by_precision in questions.items():
            by_seeds: dict[tuple[int, ...], list[str]] = {}
            for precision in sorted(by_precision):
                by_seeds.setdefault(tuple(sorted(by_precision[precision])), []).append(precision)
            for seeds, precisions in by_seeds.items():
                key = seeds, recipe, iterations, tuple(precisions)
                alike.setdefault(key, []).append(model)
    # what all have in common is said once, at the end
    texts: Sequence[Callable[[Any], str]] = (_seeds, str, lambda length: _number(length, "iteration"), listed)
    common = [len({key[place] for key in alike}) == 1 for place in range(len(texts))]
    facts = []
    for key, models in alike.items():
        own = [text(value) for text, value, same in zip(texts, key, common, strict=True) if not same]
        facts.append(f"{_models(models)}: {', '.join(own)}" if own else _models(models))
    key = next(iter(alike))
    shared = [text(value) for text, value, same in zip(texts, key, common, strict=True) if same]
    facts += shared[:1] if common[0] else []
    facts += [", ".join(shared[1:] if common[0] else shared)] if len(shared) > common[0] else []
    return facts + (["made-up images"] if rows[0]["data"] == "synthetic" else [])


def _parts_of_runs(batch: Batch) -> list[str]:
    """Which of the runs have epochs and predictions."""
    counts = {part: number for part, number in batch.parts.items() if number}
    if not counts:
        return []
    if set(counts.values()) == {len(batch.names)}:
        return [f"with {listed(list(counts))}"]
    return [f"with {listed([f'{part} of {number:,}' for part, number in counts.items()])}"]


def _identities(rows: Sequence[_Row]) -> list[str]:
    return [f"cards of {_models(_distinct(rows, 'model'))}"]


def _audits(rows: Sequence[_Row]) -> list[str]:
    models = _distinct(rows, "model")
    return [
        f"{_number(len(models), 'checkpoint')}: {_models(models)}"
        if len(models) <= _FEW
        else _number(len(models), "checkpoint")
    ]


def _benchmarks(rows: Sequence[_Row]) -> list[str]:
    return [_number(len(rows), "benchmark"), *_distinct(rows, "group")]


def _profiles(rows: Sequence[_Row]) -> list[str]:
    failed = sum(row["status"] != "measured" for row in rows)
    rounds = sorted({len(row["round_seconds"]) for row in rows if row["status"] == "measured"})
    facts = [
        _models(_distinct(rows, "model")),
        f"mini-batches of {listed([str(size) for size in sorted({row['batch_size'] for row in rows})])}",
        listed(sorted({row["precision"] for row in rows})),
    ]
    if len(rounds) > 1:
        facts.append(f"{rounds[0]} to {rounds[-1]} rounds")
    elif rounds:
        facts.append(_number(rounds[0], "round"))
    return facts + ([f"{failed:,} of {len(rows):,} cells failed"] if failed else [])


def _verifications(rows: Sequence[_Row]) -> list[str]:
    [run] = _distinct(rows, "run_id")
    repeated = max(row["num_epochs"] for row in rows)
    whole = any(row["complete"] for row in rows)
    facts = [f"{run}: repeated whole" if whole else f"{run}: {_number(repeated, 'epoch')} repeated"]
    knobs = list(dict.fromkeys(f"{row['knob']} {row['knob_now']}" for row in rows if row["knob"] is not None))
    return facts + ([f"with {listed(knobs)}"] if knobs else [])


_WHAT: Final[Mapping[str, Callable[[Sequence[_Row]], list[str]]]] = {
    "runs": _runs,
    "identities": _identities,
    "audits": _audits,
    "benchmarks": _benchmarks,
    "profiles": _profiles,
    "verifications": _verifications,
}
assert set(_WHAT) == set(_COLUMNS) == set(KINDS) - {part for parts in _PARTS.values() for part in parts}


def _models(names: Collection[str]) -> str:
    return ", ".join(names) if len(names) <= _FEW else f"{len(names):,} models"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(seed_ranges(seeds))}"


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _distinct(rows: Sequence[_Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))
