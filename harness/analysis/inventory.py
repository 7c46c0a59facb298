"""What is in a store: records by the command that makes them and the machine that made them. No torch.

Commands follow from the records alone, and are as short as they can be while they say all: what an experiment, or a
command by itself, asks for is left out. A command for runs asks for exactly the runs that it stands beside, unless
`Batch.exact` says that this cannot be known; a profile that was stopped, or a model that could not be had, leaves fewer
records than its command asks for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from harness.analysis.commands import Cell, commands_for
from harness.config import (
    Precision,
    RunSpec,
    load_recipe,
    recipe_names,
)
from harness.records import KINDS

__all__ = [
    "Batch",
    "Defaults",
    "Machine",
    "batches_of_runs",
    "batches_of_verifications",
    "is_of_today",
    "machine_of",
    "take_inventory",
]

_Row = Mapping[str, Any]

_TIMES: Final[Mapping[str, Sequence[str]]] = {
    "runs": ("started_at", "finished_at"),
    "identities": ("identified_at",),
    "audits": ("audited_at",),
    "benchmarks": ("measured_at",),
    "profiles": ("measured_at",),
    "verifications": ("verified_at",),
}
_KNOBS: Final = frozenset({"threads", "precision", "deterministic", "channels_last", "compilation"})
"""All of them; their home imports torch."""


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What commands do where they are told nothing; it is said in layers below this one."""

    models: Sequence[str]
    """Keys of the catalogue."""
    checkpoints: Sequence[str]
    """Models of which checkpoints are audited."""
    rounds: int
    """Of a profile, at most."""
    batch_sizes: Callable[[int, str], Sequence[int]]
    """Of a profile of so many models on such a device."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where something was computed, as far as it decides bits and times."""

    device: str
    name: str
    """Of the GPU if it computed, else of the CPU."""
    cores: int | None
    """None where a GPU computed, as with the next two."""
    threads: int | None
    capability: str | None
    """Instructions of the CPU."""
    cudnn: str | None
    torch: str


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Records of a kind that one command makes, and that one machine made."""

    kind: str
    rows: Sequence[_Row]
    names: Sequence[str]
    """Of the records, each once."""
    machine: Machine
    command: Sequence[str]
    """In words; empty where ``harness run`` makes the run."""
    options: Sequence[str] = ()
    """That come after it."""
    exact: bool = True
    """Whether the command, as this version of the harness reads it, asks for these and no others as far as records tell."""
    parts: Mapping[str, int] = field(default_factory=dict)
    """Kind of record that belongs to others -> how many of these have one."""

    @property
    def first(self) -> datetime:
        """When the first was begun, if that is known, or made."""
        moments: list[datetime] = [row[_TIMES[self.kind][0]] for row in self.rows]
        return min(moments)

    @property
    def last(self) -> datetime:
        """When the last was made."""
        moments: list[datetime] = [row[_TIMES[self.kind][-1]] for row in self.rows]
        return max(moments)

    @property
    def commits(self) -> list[str]:
        """Of the harness, each once; a record that does not say one adds none."""
        return list(dict.fromkeys(row["commit"] for row in self.rows if row["commit"] is not None))

    @property
    def changed(self) -> bool:
        """Whether the harness differed from a commit where some were made."""
        return any(row["dirty"] for row in self.rows)


def take_inventory(
    records: Mapping[str, Sequence[_Row]],
    defaults: Defaults,
    parts: Mapping[str, Collection[str]] | None = None,
) -> list[Batch]:
    """Every record once, kind by kind, oldest first.

    Args:
        records: kind -> rows; ``epochs``, ``predictions`` and ``operators`` are no kinds of their own here.
        defaults: of the commands.
        parts: ``epochs``, ``predictions``, ``operators`` -> names of the records that have such.
    """
    given = {kind: frozenset(names) for kind, names in (parts or {}).items()}
    makers: dict[str, Callable[[Sequence[_Row]], Iterable[Batch]]] = {
        "runs": functools.partial(
            batches_of_runs, parts={kind: given.get(kind, frozenset()) for kind in ("epochs", "predictions")}
        ),
        "identities": functools.partial(_examined, "identities", "identify", defaults.models),
        "audits": functools.partial(_examined, "audits", "audit", defaults.checkpoints),
        "benchmarks": _benchmarks,
        "profiles": functools.partial(
            _profiles, defaults=defaults, operators=given.get("operators", frozenset())
        ),
        "verifications": batches_of_verifications,
    }
    return [
        batch
        for kind, make in makers.items()
        for batch in sorted(make(records.get(kind, ())), key=lambda batch: (batch.first, batch.names))
    ]


def machine_of(row: _Row) -> Machine:
    """Where a row of any kind that says so was made."""
    on_cpu = row["device"] == "cpu"
    return Machine(
        device=row["device"],
        name=(on_cpu and row["cpu_name"]) or row["device_name"],
        cores=row["cpu_cores"] if on_cpu else None,
        threads=row["threads"] if on_cpu else None,
        capability=row["cpu_capability"] if on_cpu else None,
        cudnn=row["cudnn"],
        torch=row["torch"],
    )


def is_of_today(run: _Row) -> bool:
    """Whether a run was asked for by a recipe that ships with this version, as it is now."""
    if run["recipe"] not in _shipped_recipes():
        return False
    try:
        spec = RunSpec(
            model=run["model"],
            recipe=load_recipe(run["recipe"]),
            iterations=run["iterations"],
            seed=run["seed"],
            precision=Precision(run["precision"]),
            data=run["data"],
        )
    except (ValidationError, ValueError):
        return False
    return spec.sha256 == str(run["spec_sha256"])


# runs


@functools.cache
def _shipped_recipes() -> frozenset[str]:
    return frozenset(recipe_names())


def batches_of_runs(
    rows: Iterable[_Row], parts: Mapping[str, frozenset[str]] | None = None
) -> Iterable[Batch]:
    """Every run once.

    Args:
        rows: of kind ``runs``.
        parts: ``epochs``, ``predictions`` -> names of the runs that have such.
    """
    together: dict[tuple[Any, ...], dict[Cell, list[_Row]]] = {}
    for row in rows:
        key = row["experiment"], row["data"], machine_of(row), is_of_today(row)
        together.setdefault(key, {}).setdefault(_cell(row), []).append(row)
    for (experiment, data, machine, of_today), by_cell in together.items():
        for command in commands_for(experiment, frozenset(by_cell), machine.device, of_today=of_today):
            members = sorted(
                (row for cell in command.makes for row in by_cell[cell]),
                key=lambda row: (row["started_at"], row["run_id"]),
            )
            names = _names("runs", members)
            options = ["--data", data] if data != "cifar10" else []
            options += _threads(machine, len(command.makes))
            yield Batch(
                kind="runs",
                rows=members,
                names=names,
                machine=machine,
                command=command.words,
                options=options,
                exact=command.exact,
                parts={kind: len(having & set(names)) for kind, having in (parts or {}).items()},
            )


def _cell(row: _Row) -> Cell:
    return row["model"], row["recipe"], row["iterations"], row["precision"], row["seed"]


def _threads(machine: Machine, num_runs: int) -> list[str]:
    """The option, where so many runs would not get as many by themselves: `harness.execution.plan` decides that, and imports torch."""
    if machine.threads is None or machine.cores is None:
        return []
    by_default = max(1, machine.cores // max(1, min(num_runs, machine.cores)))
    return [] if machine.threads == by_default else ["--threads", str(machine.threads)]


# other kinds


def _examined(kind: str, command: str, known: Sequence[str], rows: Sequence[_Row]) -> Iterable[Batch]:
    """What a command made of models, by machine."""
    for machine, members in _by_machine(rows).items():
        models = _in_order({row["model"] for row in members}, known)
        named = [] if set(models) == set(known) else models
        yield _batch(kind, members, machine, ["harness", command, *named])


def _benchmarks(rows: Sequence[_Row]) -> Iterable[Batch]:
    """By what was measured: the file of a benchmark is not recorded."""
    alike: dict[tuple[Any, ...], list[_Row]] = {}
    for its in _sessions("benchmarks", rows):
        alike.setdefault((machine_of(its[0]), frozenset(row["group"] for row in its)), []).extend(its)
    for (machine, _), members in alike.items():
        yield _batch("benchmarks", members, machine, ["pytest", "--benchmark-only"], exact=False)


def _profiles(rows: Sequence[_Row], defaults: Defaults, operators: frozenset[str]) -> Iterable[Batch]:
    alike: dict[tuple[Any, ...], list[_Row]] = {}
    for its in _sessions("profiles", rows):
        alike.setdefault((machine_of(its[0]), _profile(its, defaults)), []).extend(its)
    for (machine, command), members in alike.items():
        yield _batch("profiles", members, machine, command, {"operators": operators})


def _profile(rows: Sequence[_Row], defaults: Defaults) -> tuple[str, ...]:
    """The command that makes a session: what it must have been told, and nothing that it need not."""
    models = _in_order({row["model"] for row in rows}, defaults.models)
    device = rows[0]["device"]
    words = ["harness", "profile", *([] if set(models) == set(defaults.models) else models)]
    modes = {row["mode"] for row in rows}
    if len(modes) == 1:
        words += ["--modes", *modes]
    sizes = sorted({row["batch_size"] for row in rows})
    if sizes != sorted(defaults.batch_sizes(len(models), device)):
        words += ["--batch-sizes", ",".join(map(str, sizes))]
    # by default the hardware decides, of which records do not say which precisions it has
    words += ["--precisions", ",".join(sorted({row["precision"] for row in rows}, reverse=True))]
    rounds = max((len(row["round_seconds"]) for row in rows), default=0)
    if rounds > defaults.rounds:
        words += ["--rounds", str(rounds)]
    return tuple(words)


def batches_of_verifications(rows: Iterable[_Row]) -> Iterable[Batch]:
    """Every verification once, by call: one begins with the repetition as recorded, and goes on with knobs.

    Args:
        rows: of kind ``verifications``.
    """
    calls: list[list[_Row]] = []
    open_calls: dict[tuple[str, Machine], list[_Row]] = {}
    for row in sorted(rows, key=lambda row: (row["verified_at"], row["verification_id"])):
        place = row["run_id"], machine_of(row)
        # what repeats a run whole turns no knob
        if row["knob"] is None or place not in open_calls or open_calls[place][0]["complete"]:
            open_calls[place] = []
            calls.append(open_calls[place])
        open_calls[place].append(row)
    alike: dict[tuple[Any, ...], list[_Row]] = {}
    for call in calls:
        alike.setdefault((machine_of(call[0]), _verification(call)), []).extend(call)
    for (machine, command), members in alike.items():
        yield _batch("verifications", members, machine, command)


def _verification(call: Sequence[_Row]) -> tuple[str, ...]:
    words = ["harness", "verify", call[0]["run_id"]]
    turned = [row for row in call if row["knob"] is not None]
    if _is_isolation(turned):
        words += ["--isolate"]
    else:
        words += [word for row in turned for word in ("--turn", f"{row['knob']}={row['knob_now']}")]
    epochs = max(row["num_epochs"] for row in call)
    if (epochs > 1) if turned else not call[0]["complete"]:
        words += ["--epochs", str(epochs)]
    return tuple(words)


def _is_isolation(turned: Sequence[_Row]) -> bool:
    """Whether every knob was turned once, to where it is turned if nothing is said."""
    return sorted(row["knob"] for row in turned) == sorted(_KNOBS) and all(
        row["knob_now"] == _turned_by_default(row["knob"], row["knob_then"]) for row in turned
    )


def _turned_by_default(knob: str, then: str | None) -> str:
    """As `harness.execution.isolation` turns it, which imports torch."""
    if knob == "threads":
        return "2" if then == "1" else "1"
    if knob == "precision":
        return "fp32" if then == "bf16" else "bf16"
    return "off" if then == "on" else "on"


def _batch(
    kind: str,
    rows: Sequence[_Row],
    machine: Machine,
    command: Sequence[str],
    parts: Mapping[str, frozenset[str]] | None = None,
    *,
    exact: bool = True,
) -> Batch:
    names = _names(kind, rows)
    return Batch(
        kind=kind,
        rows=rows,
        names=names,
        machine=machine,
        command=command,
        exact=exact,
        parts={part: len(having & set(names)) for part, having in (parts or {}).items()},
    )


def _names(kind: str, rows: Sequence[_Row]) -> list[str]:
    column = KINDS[kind].names[0]
    return list(dict.fromkeys(row[column] for row in rows))


def _by_machine(rows: Sequence[_Row]) -> dict[Machine, list[_Row]]:
    found: dict[Machine, list[_Row]] = {}
    for row in rows:
        found.setdefault(machine_of(row), []).append(row)
    return found


def _sessions(kind: str, rows: Sequence[_Row]) -> list[list[_Row]]:
    """Oldest first."""
    found: dict[str, list[_Row]] = {}
    for row in rows:
        found.setdefault(row["session_id"], []).append(row)
    return sorted(found.values(), key=lambda its: (its[0][_TIMES[kind][0]], its[0]["session_id"]))


def _in_order(models: Collection[str], known: Sequence[str]) -> list[str]:
    """Those of the catalogue first, as it has them."""
    return [*(model for model in known if model in models), *sorted(set(models) - set(known))]
