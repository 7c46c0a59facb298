"""Findings on speed: training beside a standard PyTorch loop."""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from harness.charts import Chart, Pace, speed_figure
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.timings import (
    Ratio,
    Session,
    median_and_range,
    number_of,
    same_machine,
    sessions_of,
    speed_of,
    told,
)
from harness.findings.words import counted
from harness.formats import listed
from harness.report import Evidence
from harness.report.document import Table

__all__ = ["QUESTIONS"]

_Row = Mapping[str, Any]

_ON_CPU: Final = r"training of ResNet-20, [\d,]+ mini-batches of [\d,]+ images on all cores"
_ON_GPU: Final = r"training of ResNet-20, [\d,]+ mini-batches of [\d,]+ images on a GPU"
_WORKERS: Final = {"baseline, no loaders": 0, "baseline, 4 loaders": 4}
"""A standard loop and its DataLoader's workers: contestants that ours are compared with, the fastest of a session."""
_ONE_RUN: Final = {"ours, fp32": "in float32 with one run", "ours, bf16": "in bfloat16 with one run"}
_HEADLINES: Final[Mapping[str, Mapping[str, str]]] = {
    _ON_CPU: {**_ONE_RUN, "ours, bf16, 2 runs": "in bfloat16 with two runs side by side"},
    _ON_GPU: {**_ONE_RUN, "ours, bf16, 10 at once": "in bfloat16 with ten runs at once"},
}
"""By group, contestants that have one more thing each than the one before; the last is what the harness does unless told."""
_EVALUATION: Final = "evaluation of ResNet-20 on the test set, all cores"
_UPDATES: Final = r"[\d,]+ updates of ResNet-20, bare and by the trainer"
_DATA_PATH: Final = r"data path, .*"
_TWINS: Final = {
    ", not deterministic": "deterministic algorithms",
    ", no graph": "a CUDA graph",
    ", not channels-last": "the channels-last layout",
}
"""How a contestant's name ends that lacks something, and what it lacks."""


def _speed(evidence: Evidence) -> Answer | None:
    found = [
        (sessions, statement)
        for group, headlines in _HEADLINES.items()
        for sessions in _by_machine(sessions_of(evidence.benchmarks, group))
        if (statement := _times_as_many(sessions, headlines)) is not None
    ]
    if not found:
        return None
    found.sort(key=lambda its: its[0][0].measured_at, reverse=True)
    places, statements = zip(*found, strict=True)
    parts = [part(evidence) for part in (_evaluation, _trainer, _data_path)]
    return Answer(
        summary=statements[0],
        details=[*statements[1:], *_twins(places), *(part for part in parts if part is not None)],
        tables=[_contestants(sessions) for sessions in places],
        chart=_picture(places[0][0]),
        caveat=(
            "Standard loop: torchvision's transforms in a DataLoader, float32, PyTorch's defaults, written for this comparison; it "
            "is no repository's own code. A ratio is the median of those of the rounds, not that of the medians."
        ),
    )


def _by_machine(sessions: Iterable[Session]) -> list[list[Session]]:
    """Sessions in which a standard loop was timed, by machine, group and with how many workers it was, the newest first."""
    found: dict[tuple[Any, ...], list[Session]] = {}
    for session in sessions:
        if workers := _workers(session):
            found.setdefault((session.machine, session.group, *workers), []).append(session)
    return list(found.values())


def _workers(session: Session) -> list[int]:
    """Of the standard loops that were timed."""
    return [number for name, number in _WORKERS.items() if name in session.rows]


def _standard(session: Session) -> str:
    """The fastest of the standard loops that were timed; at least one was."""
    names = [name for name in _WORKERS if name in session.rows]
    return min(names, key=lambda name: statistics.median(session.times(name) or ()))


def _times_as_many(sessions: Sequence[Session], headlines: Mapping[str, str]) -> Statement | None:
    """How much faster than a standard loop, on one machine; None where no session has a headline.

    Args:
        sessions: of one machine, the newest first.
        headlines: contestants, and how to say what they are.
    """
    used: list[_Row] = []
    parts: list[str] = []
    for name, how in headlines.items():
        timed = [
            (session, ratio)
            for session in sessions
            if (ratio := session.ratio(_standard(session), name)) is not None
        ]
        if timed:
            parts.append(_times([ratio for _, ratio in timed], how if parts else f"times its images/s {how}"))
            used += [session.rows[which] for session, _ in timed for which in (_standard(session), name)]
    if not parts:
        return None
    workers = _workers(sessions[0])
    which = f"{'the faster of ' * (len(workers) > 1)}{listed([f'{number}' for number in workers])}"
    text = (
        f"Beside a standard PyTorch loop ({which} DataLoader workers), the harness trains ResNet-20 at {listed(parts)}. Measured on "
        f"{sessions[0].machine}."
    )
    return Statement(text, names_of("benchmarks", used))


def _compared(
    opening: str,
    sessions: Sequence[Session],
    contestants: Mapping[tuple[str, str], str],
    *,
    tell: Callable[[Sequence[Ratio]], str] = told,
) -> Statement | None:
    """Ratios of times on one machine in a sentence; None where no session has any.

    Args:
        opening: of the sentence; the ratios come next.
        sessions: of one machine, the newest first; at least one.
        contestants: whose time over whose -> the ratio's part of the sentence, with ``{}`` where it stands.
        tell: makes text of the ratio of each session.
    """
    used: list[_Row] = []
    parts = []
    for (first, second), part in contestants.items():
        timed = [
            (session, ratio) for session in sessions if (ratio := session.ratio(first, second)) is not None
        ]
        if timed:
            parts.append(part.format(tell([ratio for _, ratio in timed])))
            used += [session.rows[name] for session, _ in timed for name in (first, second)]
    if not parts:
        return None
    text = f"{opening} {'; '.join(parts)}. Measured on {sessions[0].machine}."
    return Statement(text, names_of("benchmarks", used))


def _times(ratios: Sequence[Ratio], what: str) -> str:
    """``2.68 in bfloat16 (range 2.45 to 2.98, 5 rounds; in 1 other session 2.75)``."""
    first, others = ratios[0], [f"{its.value:.2f}" for its in ratios[1:]]
    known = f"; in {counted(len(others), 'other session')} {listed(others)}" if others else ""
    doubt = f"; {its}" if (its := first.doubt(2)) else ""
    value, _, ends = first.full(2).removesuffix(")").partition(" ")
    return f"{value} {what} {ends}{known}{doubt})"


def _contestants(sessions: Sequence[Session]) -> Table:
    """Those of the newest session, and their speeds over all of one machine.

    Args:
        sessions: the newest first.
    """
    session, base = sessions[0], _standard(sessions[0])
    ratios = {name: session.ratio(base, name) for name in session.rows}
    kind = its.kind if (its := ratios[base]) is not None else ""
    numeric = [f"images/s ({kind})", f"times as many as {base} ({kind})"]
    if len(sessions) > 1:
        numeric.append(f"images/s, medians of {len(sessions)} sessions")
    return Table(
        title=f"Training of ResNet-20 on {session.machine}, {session.measured_at:%Y-%m-%d %H:%M} UTC",
        columns=("contestant", *numeric),
        rows=[
            (
                name,
                ""
                if (speed := speed_of(session.rows[name])) is None
                else f"{speed.value:,.0f} ({speed.low:,.0f} to {speed.high:,.0f})",
                "" if ratio is None or name == base else ratio.brief(2),
                *([_medians(sessions, name)] if len(sessions) > 1 else []),
            )
            for name, ratio in ratios.items()
        ],
        numeric=frozenset(numeric),
    )


def _medians(sessions: Sequence[Session], name: str) -> str:
    """``339 to 427``: images per second, from the slowest to the fastest of the sessions that timed it; nothing of one alone."""
    speeds = [speed.value for its in sessions if name in its.rows and (speed := speed_of(its.rows[name]))]
    if len(speeds) < 2:
        return ""
    few = f" ({len(speeds)} sessions)" if len(speeds) < len(sessions) else ""
    return f"{min(speeds):,.0f} to {max(speeds):,.0f}{few}"


def _picture(session: Session) -> Chart | None:
    base = _standard(session)
    paces = []
    for name, row in session.rows.items():
        speed, ratio = speed_of(row), session.ratio(base, name)
        if speed is not None and ratio is not None:
            note = "" if name == base else f"{ratio.value:.2f}x"
            paces.append(Pace(name=name, speed=speed, note=note, ours=not name.startswith("baseline")))
    return speed_figure(paces) if len(paces) > 1 else None


def _twins(places: Iterable[Sequence[Session]]) -> list[Statement]:
    """What something costs or gains, of which a contestant was timed without."""
    found = [
        _compared(
            f"Time of training with {what} over that without ({name.removesuffix(ending)}):",
            sessions,
            {(name.removesuffix(ending), name): "{}"},
        )
        for sessions in places
        for name in dict.fromkeys(name for session in sessions for name in session.rows)
        for ending, what in _TWINS.items()
        if name.endswith(ending)
    ]
    return [statement for statement in found if statement is not None]


def _evaluation(evidence: Evidence) -> Statement | None:
    standard = "baseline, 4 loaders"
    sessions = [its for its in sessions_of(evidence.benchmarks, _EVALUATION) if standard in its.rows]
    if not sessions:
        return None
    return _compared(
        "Images per second of evaluation on the test set, over those of a standard loop with 4 DataLoader workers:",
        same_machine(sessions),
        {(standard, "ours, fp32"): "in float32 {}", (standard, "ours, bf16"): "in bfloat16 {}"},
        tell=functools.partial(told, digits=2),
    )


def _trainer(evidence: Evidence) -> Statement | None:
    sessions = sessions_of(evidence.benchmarks, _UPDATES)
    if not sessions:
        return None
    what = sessions[0].group.partition(",")[0]
    return _compared(
        f"Time of {what} by the trainer over that of a bare loop of the same operations:",
        same_machine(sessions),
        {("trainer", "bare loop"): "{}"},
    )


def _data_path(evidence: Evidence) -> Statement | None:
    """Ours beside the DataLoader of the newest session with both; they were timed one after the other."""
    for session in sessions_of(evidence.benchmarks, _DATA_PATH):
        ours = session.rows.get("test_ours")
        loaders = {number_of(row, "num_loaders"): row for row in session.rows.values() if row is not ours}
        loaders.pop(None, None)
        if ours is None or not loaders:
            continue
        texts = [
            f"by a DataLoader with {counted(number or 0, 'loader')} {_milliseconds(row)}"
            for number, row in loaders.items()
        ]
        text = (
            f"{session.group}: by the harness {_milliseconds(ours)}; {'; '.join(texts)}. These are medians and ranges of rounds that "
            f"were timed one after the other, not in turn. Measured on {session.machine}."
        )
        return Statement(text[0].upper() + text[1:], names_of("benchmarks", [ours, *loaders.values()]))
    return None


def _milliseconds(row: _Row) -> str:
    times = [1e3 * seconds for seconds in row["round_seconds"]]
    return f"{median_and_range(times, ',.1f', ' ms')}, {counted(len(times), 'round')}"


QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        key="speed",
        text="How fast is training, compared with a standard PyTorch loop?",
        commands=[
            "pytest tests/benchmarks/test_training_loop.py --benchmark-only --benchmark-json FILE",
            "harness results import-benchmarks FILE",
        ],
        answer=_speed,
    ),
)
