"""Findings from profiles: what shortcuts cost in time, and how far a profile repeats."""

from __future__ import annotations

import itertools
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from harness.analysis.profiles import CellChange, compare_machines, compare_models, compare_sessions
from harness.errors import printable
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.timings import (
    Ratio,
    are_times,
    machine_of,
)
from harness.findings.words import counted
from harness.formats import listed
from harness.report import Evidence
from harness.report.document import Table

__all__ = ["QUESTIONS"]

_Row = dict[str, Any]
_Floats = NDArray[np.float64]

_PLAIN, _RESIDUAL = "plain20", "resnet20"
_MODES: Final = {"train": "a training step", "infer": "inference"}


def _shortcuts(evidence: Evidence) -> Answer | None:
    session = _most_often(evidence.profiles)
    cells = _without_shortcuts(session)
    if not cells:
        return None
    names = names_of("profiles", session)
    rounds = {len(ratio.rounds) for *_, ratio in cells}
    shares = [text for mode in _MODES if (text := _share_of(mode, cells))]
    number = counted(min(rounds), "round") + (f" to {max(rounds):,}" if len(rounds) > 1 else "")
    machine = machine_of(session[0], gpu=session[0]["device"] == "cuda")
    text = (
        f"Shortcuts take {' and '.join(shares)}. That is 1 minus the time of plain-20 over that of ResNet-20, "
        f"{number} in turn, on {machine}."
    )
    kind = cells[0][-1].kind
    return Answer(
        summary=Statement(text, names),
        details=[Statement(text, names) for text in [*_counted_alike(session), *_doubts(session, cells)]],
        tables=[
            Table(
                columns=("mode", "mini-batch", "precision", f"plain-20 over ResNet-20 ({kind})", "verdict"),
                rows=[
                    (mode, f"{size:,}", precision, ratio.brief(), ratio.doubt())
                    for mode, size, precision, ratio in cells
                ],
                title="Time, round by round",
                numeric=frozenset({"mini-batch", f"plain-20 over ResNet-20 ({kind})"}),
            )
        ],
        caveat="Time is that of one machine and of PyTorch's kernels there; nothing that is counted says that it must be so.",
    )


_Cell = tuple[str, int, str, Ratio]


def _most_often(profiles: Iterable[Mapping[str, Any]]) -> list[_Row]:
    """Of the session in which both networks were measured in most rounds, the newest of such: its rows of the two."""
    sessions: dict[str, list[_Row]] = {}
    for row in profiles:
        if row["model"] in {_PLAIN, _RESIDUAL} and row["mode"] in _MODES and are_times(row["round_seconds"]):
            sessions.setdefault(row["session_id"], []).append(dict(row))
    both = [rows for rows in sessions.values() if compare_models(rows, _PLAIN, _RESIDUAL)]
    return max(
        both,
        key=lambda rows: (min(len(row["round_seconds"]) for row in rows), rows[0]["measured_at"]),
        default=[],
    )


def _without_shortcuts(session: Sequence[_Row]) -> list[_Cell]:
    """Every cell that both have, in order of the record."""
    rows = {(row["model"], row["mode"], row["batch_size"], row["precision"]): row for row in session}
    found = []
    for its in compare_models(session, _PLAIN, _RESIDUAL):
        cell = its.mode, its.batch_size, its.precision
        medians = [_medians_of(rows[model, *cell]) for model in (_PLAIN, _RESIDUAL)]
        ratios = [plain / residual for plain, residual in zip(*medians, strict=False)]
        found.append((*cell, Ratio(its.comparison, ratios)))
    return found


def _share_of(mode: str, cells: Iterable[_Cell]) -> str | None:
    """``2.3 to 4.7 % of a training step``, over the cells of a mode."""
    ratios = [ratio for its, _, _, ratio in cells if its == mode]
    if not ratios:
        return None
    shares = sorted(100 * (1 - ratio.value) for ratio in ratios)
    ends = [100 * (1 - end) for ratio in ratios for end in ratio.ends]
    unsure = sum(bool(ratio.doubt()) for ratio in ratios)
    counts = counted(len(ratios), "cell")
    if any(ratio.comparison.low is None for ratio in ratios):
        counts += ", too few rounds for an interval"
    elif unsure:
        counts = f"{unsure} of {counts} not significant"
    span = f"{shares[0]:.1f} %" if len(shares) == 1 else f"{shares[0]:.1f} to {shares[-1]:.1f} %"
    kinds = "95 % intervals" if all(ratio.has_interval for ratio in ratios) else "rounds"
    return f"{span} of the time of {_MODES[mode]} ({kinds} within {min(ends):.1f} to {max(ends):.1f} %; {counts})"


def _counted_alike(session: Sequence[_Row]) -> list[str]:
    """What is counted of both networks, where it is known of both."""
    columns = {
        "parameters": "parameters",
        "macs": "multiply-accumulates",
        "activation_bytes_per_image": "bytes to keep of an image",
    }
    counts = {
        what: [{row[column] for row in session if row["model"] == model} for model in (_PLAIN, _RESIDUAL)]
        for column, what in columns.items()
    }
    known = {what: its for what, its in counts.items() if all(len(of) == 1 and None not in of for of in its)}
    same = [f"{min(plain):,} {what}" for what, (plain, residual) in known.items() if plain == residual]
    other = [
        f"{what}: {min(plain):,} of plain-20, {min(residual):,} of ResNet-20"
        for what, (plain, residual) in known.items()
        if plain != residual
    ]
    texts = [f"Both networks have {listed(same)}."] if same else []
    return [*texts, *([f"They differ in {'; '.join(other)}."] if other else [])]


def _doubts(session: Sequence[_Row], cells: Iterable[_Cell]) -> list[str]:
    """What speaks against the times."""
    unsure = [
        f"{_MODES[mode]} of {counted(size, 'image')} in {its}"
        for mode, size, its, ratio in cells
        if ratio.doubt()
    ]
    texts = [f"Not told from no difference: {listed(unsure)}."] if unsure else []
    busy = any(row["busy"] for row in session)
    return [
        *texts,
        *(["Others used the machine meanwhile: the times are not to be trusted."] if busy else []),
    ]


def _medians_of(row: Mapping[str, Any]) -> list[float]:
    """Seconds of the median call of each round.

    Args:
        row: of the records of kind ``profiles``, with times.
    """
    return [statistics.median(calls) for calls in row["round_seconds"]]


_LONG: Final = 20
"""Rounds, from which on it is told how they hang together."""
_SIZES: Final = (1, 128)


def _profiles_repeat(evidence: Evidence) -> Answer | None:
    repetitions = [
        (now, then, changes)
        for sessions in _like_sessions(evidence.profiles)
        for then, now in itertools.pairwise(sessions)
        if (changes := [its for its in compare_sessions(now, then) if its.verdict != "unknown"])
    ]
    if not repetitions:
        return None
    every = names_of("profiles", [row for now, then, _ in repetitions for row in (*now, *then)])
    counts = [
        f"{_alike(changes)} from those {_minutes(now, then):.1f} minutes before"
        for now, then, changes in repetitions
    ]
    details = [Statement(_repetition(*its), names_of("profiles", [*its[0], *its[1]])) for its in repetitions]
    return Answer(
        summary=Statement(
            f"In {counted(len(repetitions), 'repetition')} of a profile on the same model of machine, not told apart: {listed(counts)}. "
            "That is where the 95 % intervals of both times overlap. In brackets is the median half-width, over cells, of the 95 % interval "
            "of time now over then: a smaller change can stay hidden.",
            every,
        ),
        details=[*details, *_long_session(evidence.profiles)],
        caveat=(
            "An interval knows of what differs between the rounds of a session. What differs between sessions, as the state of a "
            "shared machine, is not in it."
        ),
    )


def _like_sessions(profiles: Iterable[Mapping[str, Any]]) -> list[list[list[_Row]]]:
    """Sessions of the same models and cells on the same machine: for each such set, its sessions in order of time."""
    sessions: dict[str, list[_Row]] = {}
    for row in profiles:
        if are_times(row["round_seconds"]):
            sessions.setdefault(row["session_id"], []).append(_with_sound_reference(row))
    alike: dict[tuple[Any, ...], list[list[_Row]]] = {}
    for rows in sorted(sessions.values(), key=lambda rows: (rows[0]["measured_at"], rows[0]["session_id"])):
        cells = frozenset((row["model"], row["mode"], row["batch_size"], row["precision"]) for row in rows)
        alike.setdefault((cells, rows[0]["device_name"], rows[0]["threads"]), []).append(rows)
    return list(alike.values())


def _with_sound_reference(row: Mapping[str, Any]) -> _Row:
    reference = row["reference_seconds"]
    return {**row, "reference_seconds": reference if are_times([reference]) else None}


def _minutes(now: Sequence[_Row], then: Sequence[_Row]) -> float:
    """From the end of one session to that of the other."""
    return float((now[0]["measured_at"] - then[0]["measured_at"]).total_seconds() / 60)


def _alike(changes: Sequence[CellChange]) -> str:
    """``20 of 20 cells (±0.17)``."""
    alike = sum(its.verdict == "not told apart" for its in changes)
    widths = [high - low for its in changes if (low := its.comparison.low) and (high := its.comparison.high)]
    return f"{alike} of {counted(len(changes), 'cell')} (±{statistics.median(widths) / 2:.2f})"


def _repetition(now: Sequence[_Row], then: Sequence[_Row], changes: Sequence[CellChange]) -> str:
    """How a session compares with the one before."""
    models = sorted({row["model"] for row in now})
    named = printable(models[0]) if len(models) == 1 else f"{len(models)} models"
    counts = Counter(its.verdict for its in changes)
    others = [f"{number} {verdict}" for verdict, number in counts.items() if verdict != "not told apart"]
    return (
        f"{now[0]['session_id']} beside {then[0]['session_id']} ({named}, {_rounds(now)} beside {_rounds(then)}, ended "
        f"{_minutes(now, then):.1f} minutes later, {machine_of(now[0], gpu=now[0]['device'] == 'cuda')}): {_alike(changes)} not told apart"
        f"{f', {listed(others)}' if others else ''}{_ratios(changes)}{_reference(now, then)}."
    )


def _rounds(rows: Sequence[_Row]) -> str:
    return counted(min(len(row["round_seconds"]) for row in rows), "round")


def _ratios(changes: Sequence[CellChange]) -> str:
    """Of cells that are told apart."""
    apart = [its.comparison for its in changes if its.verdict != "not told apart"]
    if not apart:
        return ""
    ratios = [its.ratio for its in apart]
    ends = [end for its in apart for end in (its.low, its.high) if end is not None]
    return f" (time now over then {min(ratios):.2f} to {max(ratios):.2f}, 95 % intervals within {min(ends):.2f} to {max(ends):.2f})"


def _reference(now: Sequence[_Row], then: Sequence[_Row]) -> str:
    """How the machine compares, without a network."""
    machine = compare_machines(now, then)
    if machine is None or machine.low is None or machine.high is None:
        return ""
    return (
        f"; the reference, which has no network in it, takes {machine.ratio:.2f} of its time then (95 % interval {machine.low:.2f} to "
        f"{machine.high:.2f})"
    )


def _long_session(profiles: Iterable[Mapping[str, Any]]) -> list[Statement]:
    """How the rounds of the longest session hang together; nothing where all are short."""
    sessions = [session for alike in _like_sessions(profiles) for session in alike]
    rows = max(sessions, key=lambda rows: min(len(row["round_seconds"]) for row in rows), default=[])
    number = min((len(row["round_seconds"]) for row in rows), default=0)
    if number < _LONG:
        return []
    texts = [_common_course(rows, number), *_spreads(rows)]
    return [Statement(text, names_of("profiles", rows)) for text in texts if text]


def _common_course(rows: Sequence[_Row], number: int) -> str:
    """What the cells of a round have in common, and how long it lasts.

    Of each cell, the logarithm of the median call of each round, less its median over rounds; what is common to a round is the
    median of that over cells.
    """
    logs = np.log(np.array([_medians_of(row)[:number] for row in rows]))
    logs -= np.median(logs, axis=1, keepdims=True)
    common = np.median(logs, axis=0)
    first, fifth = _autocorrelation(common, 1), _autocorrelation(common, 5)
    single = [of for cell in logs if (of := _autocorrelation(cell, 1)) is not None]
    if first is None or fifth is None or not single:
        return ""
    shares = [row["others_share"] for row in rows if row["others_share"] is not None]
    others = f" Others took {100 * max(shares):.1f} % of the cores." if shares else ""
    return (
        f"In the longest session, {rows[0]['session_id']}, {counted(number, 'round')} of {counted(len(rows), 'cell')} on "
        f"{machine_of(rows[0], gpu=rows[0]['device'] == 'cuda')}, what is common to all cells of a round (the median over cells "
        f"of the logarithm of the time) has a standard deviation of {100 * float(np.std(common, ddof=1)):.0f} %; it correlates by "
        f"{first:.2f} with the round before and by {fifth:.2f} with the fifth before. A single cell correlates by "
        f"{statistics.fmean(single):.2f} with the round before, on average.{others}"
    )


def _autocorrelation(series: _Floats, lag: int) -> float | None:
    """None of what does not change."""
    return _correlation(series[lag:], series[:-lag])


def _correlation(first: _Floats, second: _Floats) -> float | None:
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _spreads(rows: Sequence[_Row]) -> list[str]:
    """How much the time of a training step varies, and the reference with it."""
    texts = []
    for row in rows:
        if row["mode"] == "train" and row["batch_size"] in _SIZES:
            low, high = np.quantile(
                [1e3 * seconds for calls in row["round_seconds"] for seconds in calls], [0.05, 0.95]
            )
            texts.append(
                f"{printable(row['model'])}, {counted(row['batch_size'], 'image')} in {row['precision']}: {low:.0f} to {high:.0f} ms"
                f"{_with_reference(row)}"
            )
    return (
        [f"From the 5 % to the 95 % quantile, its training steps take so long. {'; '.join(texts)}."]
        if texts
        else []
    )


def _with_reference(row: _Row) -> str:
    reference = row["reference_seconds"]
    if not reference or len(reference) != len(row["round_seconds"]):
        return ""
    together = _correlation(np.log(_medians_of(row)), np.log(reference))
    return "" if together is None else f" (correlation of logarithms with the reference {together:.2f})"


QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        key="shortcuts-cost",
        text="What do shortcuts cost in time?",
        commands=["harness profile --compare plain20 resnet20 --precisions bf16 --rounds 60"],
        answer=_shortcuts,
    ),
    Question(
        key="profiles-repeat",
        text="Does a profile repeat?",
        commands=["harness profile resnet20 --against last"],
        answer=_profiles_repeat,
    ),
)
