"""Findings on what a run takes beside its training: memory, and the harness itself."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, Final

from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.timings import (
    Session,
    extra_of,
    machine_of,
    median_and_range,
    parameter_of,
    same_machine,
    sessions_of,
    told,
)
from harness.findings.words import counted
from harness.formats import listed
from harness.report import Evidence
from harness.report.document import Table

__all__ = ["QUESTIONS"]

_PRECISIONS: Final = {"fp32": "float32", "tf32": "TF32", "bf16": "bfloat16"}


def _memory(evidence: Evidence) -> Answer | None:
    found: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for run in evidence.runs:
        if _has_peak(run):
            found.setdefault((run["precision"], run["batch_size"]), []).append(run)
    if not found:
        return None
    texts = [
        f"{median_and_range(peaks, '.2f', ' GiB')} in {_PRECISIONS.get(precision, precision)} with mini-batches of {size:,}, "
        f"{counted(len(runs), 'run')}"
        for (precision, size), runs in sorted(found.items())
        if (peaks := [run["peak_memory_bytes"] / 2**30 for run in runs])
    ]
    runs = [run for its in found.values() for run in its]
    machines = listed(sorted({machine_of(run, gpu=False) for run in runs}))
    return Answer(
        summary=Statement(
            f"Peak of resident memory of the process that trains ResNet-20 on a CPU, median and range over runs: {'; '.join(texts)}. "
            f"Measured on {machines}.",
            names_of("runs", runs),
        ),
        caveat=(
            "Runs recorded before schema version 5 are left out: their code evaluated 1,000 images at a time, not 250, and has higher "
            "peaks."
        ),
    )


def _has_peak(run: Mapping[str, Any]) -> bool:
    """Whether it is a run of ResNet-20 on a CPU as today's code makes it.

    ``resumed_from`` came with schema version 5; code of before evaluated in mini-batches that made the peak.
    """
    return (
        (run["model"], run["model_source"], run["device"]) == ("resnet20", "ours", "cpu")
        and (run["status"], run["data"]) == ("completed", "cifar10")
        and run["resumed_from"] is not None
        and (run["peak_memory_bytes"] or 0) > 0
    )


_ADDED: Final = r"what the harness adds to a run(, few of [\d,]+, many of [\d,]+)?"
_SHARES: Final = r"[\d,]+ runs of ResNet-20, [\d,]+ mini-batches each, on \d+ cores?"
_PARTS: Final = {
    "planned": "planning, none recorded",
    "planned when recorded": "planning, all recorded",
    "passed over": "passing over what another process has recorded",
    "in this process": "a run in the harness's own process: lock, records, everything that is told",
    "a process each": "the same in a process for each run, as many at a time as there are cores",
}
"""What a benchmark times, by the start of its name."""
_HEADLINES: Final = {
    "in this process, many": "for a run in its own process",
    "a process each": "for one in a process for each run",
    "planned, many": "to plan a run that is not recorded",
}
_ALL_CORES, _A_CORE = "a process of all cores", "a process a core"


def _harness_overhead(evidence: Evidence) -> Answer | None:
    sessions = sessions_of(evidence.benchmarks, _ADDED)
    if not sessions:
        return None
    session = sessions[0]
    rows = [cells for name in session.rows if (cells := _part(session, name)) is not None]
    texts = [f"{_ms(session, name)} {what}" for name, what in _HEADLINES.items() if name in session.rows]
    if not texts:
        return None
    text = (
        f"With the training itself left out, the harness takes {listed(texts)}: medians and ranges of "
        f"{counted(_fewest(session.rows.values()), 'round')}, on {session.machine}."
    )
    shares = _shares(evidence)
    return Answer(
        summary=Statement(text, names_of("benchmarks", session.rows.values())),
        details=[shares] if shares else [],
        tables=[
            Table(
                columns=("what the harness adds", "runs", "ms a run", "range of rounds", "rounds"),
                rows=rows,
                numeric=frozenset({"runs", "ms a run", "range of rounds", "rounds"}),
            )
        ],
    )


def _fewest(rows: Iterable[Mapping[str, Any]]) -> int:
    return min(len(row["round_seconds"]) for row in rows)


def _ms(session: Session, name: str) -> str:
    return median_and_range([1e3 * seconds for seconds in session.times(name) or ()], ".3g", " ms")


def _part(session: Session, name: str) -> tuple[str, ...] | None:
    """A row of the table; None of what has no name here."""
    what, _, size = name.partition(", ")
    if what not in _PARTS:
        return None
    number = re.search(rf"{re.escape(size)} of ([\d,]+\d)", session.group) if size else None
    times = [1e3 * seconds for seconds in session.times(name) or ()]
    ends = f"{min(times):.3g} to {max(times):.3g}" if len(times) > 1 else ""
    runs = number[1] if number else ""
    return _PARTS[what], runs, f"{statistics.median(times):.3g}", ends, str(len(times))


def _shares(evidence: Evidence) -> Statement | None:
    """How the cores of a machine are best shared by runs."""
    sessions = sessions_of(evidence.benchmarks, _SHARES)
    both = [its for its in sessions if {_ALL_CORES, _A_CORE} <= its.rows.keys()]
    if not both:
        return None
    here = same_machine(both)
    ratios = [ratio for its in here if (ratio := its.ratio(_ALL_CORES, _A_CORE)) is not None]
    return Statement(
        f"{here[0].group}: runs an hour of a process a core over those of {_ALL_CORES}: {told(ratios)}. Measured on "
        f"{here[0].machine}.",
        names_of("benchmarks", [its.rows[name] for its in here for name in (_ALL_CORES, _A_CORE)]),
    )


_READING: Final = r"reading [\d,]+ runs, a file each and compacted"
_COMPACTING: Final = r"compacting [\d,]+ runs"


_STATES: Final = ("a file each", "compacted")

_Reading = Mapping[str, Mapping[str, Any]]
"""Rows of a way of reading, by state."""


def _in_both_states(session: Session) -> dict[str, _Reading]:
    """By what is read."""
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in session.rows.values():
        rows.setdefault(parameter_of(row, "reading"), {})[parameter_of(row, "state")] = row
    return {name: its for name, its in rows.items() if its.keys() == set(_STATES)}


def _compaction(evidence: Evidence) -> Answer | None:
    sessions = sessions_of(evidence.benchmarks, _READING)
    session, both = next(((its, both) for its in sessions if (both := _in_both_states(its))), (None, {}))
    if session is None:
        return None
    before, after = _STATES
    texts = [
        f"{name}: {_seconds(its[before])} before, {_seconds(its[after])} after" for name, its in both.items()
    ]
    used = [row for its in both.values() for row in its.values()]
    rounds = _fewest(used)
    order = "the first round, then median and range of the others, of " if rounds > 1 else ""
    return Answer(
        summary=Statement(
            f"{session.group[:1].upper()}{session.group[1:]}: {'; '.join(texts)} ({order}{counted(rounds, 'round')}, on {session.machine}).",
            names_of("benchmarks", used),
        ),
        details=[its for its in (_room(both), _time_of_compaction(evidence)) if its is not None],
        tables=[
            Table(
                columns=("what is read", *_STATES),
                rows=[(name, *(_seconds(its[state]) for state in _STATES)) for name, its in both.items()],
                numeric=frozenset(_STATES),
            )
        ],
    )


def _seconds(row: Mapping[str, Any]) -> str:
    """``0.242 s, then 0.0181 s (0.018 to 0.0182)``: the first round finds nothing in memory that the others find."""
    first, *others = row["round_seconds"]
    return f"{first:.3g} s" + (f", then {median_and_range(others, '.3g', ' s')}" if others else "")


def _room(both: Mapping[str, _Reading]) -> Statement | None:
    """What the records take on the disk, where the benchmark says it."""
    [states, *_] = both.values()
    rows = [states[state] for state in _STATES]
    sizes = [(extra.get("files"), extra.get("bytes")) for extra in map(extra_of, rows)]
    told = [
        f"{counted(files, 'file')} of {number / 1e6:,.0f} MB"
        for files, number in sizes
        if isinstance(files, int) and isinstance(number, int)
    ]
    if len(told) < len(_STATES):
        return None
    before, after = told
    return Statement(
        f"On the disk they are {before} before compaction, and {after} after it.",
        names_of("benchmarks", rows),
    )


def _time_of_compaction(evidence: Evidence) -> Statement | None:
    for session in sessions_of(evidence.benchmarks, _COMPACTING):
        [row, *_] = session.rows.values()
        return Statement(
            f"{session.group[:1].upper()}{session.group[1:]} took {median_and_range(row['round_seconds'], '.3g', ' s')} "
            f"({counted(len(row['round_seconds']), 'round')}, on {session.machine}).",
            names_of("benchmarks", [row]),
        )
    return None


QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        key="memory",
        text="How much memory does a run take?",
        commands=["harness run --model resnet20 --recipe short"],
        answer=_memory,
    ),
    Question(
        key="harness-overhead",
        text="What does the harness add to a run?",
        commands=[
            "pytest tests/benchmarks/test_executors.py --benchmark-only --benchmark-json FILE",
            "harness results import-benchmarks FILE",
        ],
        answer=_harness_overhead,
    ),
    Question(
        key="compaction",
        text="What does compaction gain?",
        commands=[
            "pytest tests/benchmarks/test_compaction.py --benchmark-only --benchmark-json FILE",
            "harness results import-benchmarks FILE",
        ],
        answer=_compaction,
    ),
)
