"""Findings on speed: training beside the loop that people run today."""

from __future__ import annotations

import functools
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
_TODAY: Final = "baseline, 4 loaders"
_HEADLINES: Final[Mapping[str, Mapping[str, str]]] = {
    _ON_CPU: {
        "ours, bf16, 2 runs": "in bfloat16 with two runs side by side",
        "ours, fp32, 2 runs": "in float32 with two runs side by side",
    },
    _ON_GPU: {
        "ours, bf16, 10 at once": "in bfloat16 with ten runs at once",
        "ours, fp32, 10 at once": "in float32 with ten runs at once",
    },
}
"""By group, what the harness does unless told, in each precision."""
_EVALUATION: Final = "evaluation of ResNet-20 on the test set, all cores"
_UPDATES: Final = r"[\d,]+ updates of ResNet-20, bare and by the trainer"
_DATA_PATH: Final = r"data path, .*"
_TWINS: Final = {", not deterministic": "deterministic algorithms", ", no graph": "a CUDA graph"}
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
        tables=[_contestants(sessions[0]) for sessions in places],
        chart=_picture(places[0][0]),
        caveat=(
            "Loop of today: torchvision's transforms in a DataLoader, float32, PyTorch's defaults, written for this comparison; it "
            "is no repository's own code. A ratio is the median of those of the rounds, not that of the medians."
        ),
    )


def _by_machine(sessions: Iterable[Session]) -> list[list[Session]]:
    """Sessions in which the loop of today was timed, by machine and group, the newest first."""
    found: dict[tuple[str, str], list[Session]] = {}
    for session in sessions:
        if _TODAY in session.rows:
            found.setdefault((session.machine, session.group), []).append(session)
    return list(found.values())


def _times_as_many(sessions: Sequence[Session], headlines: Mapping[str, str]) -> Statement | None:
    """How much faster than today's loop, on one machine; None where no session has a headline.

    Args:
        sessions: of one machine, the newest first.
        headlines: contestants, and how to say what they are.
    """
    return _compared(
        "Beside the loop that people run today, with 4 loaders, the harness trains ResNet-20 at",
        sessions,
        {(_TODAY, name): f"{{}} {how}" for name, how in headlines.items()},
        tell=_times,
        join=listed,
    )


def _compared(
    opening: str,
    sessions: Sequence[Session],
    contestants: Mapping[tuple[str, str], str],
    *,
    tell: Callable[[Sequence[Ratio]], str] = told,
    join: Callable[[Sequence[str]], str] = "; ".join,
) -> Statement | None:
    """Ratios of times on one machine in a sentence; None where no session has any.

    Args:
        opening: of the sentence; the ratios come next.
        sessions: of one machine, the newest first; at least one.
        contestants: whose time over whose -> the ratio's part of the sentence, with ``{}`` where it stands.
        tell: makes text of the ratio of each session.
        join: makes one of several parts.
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
    text = f"{opening} {join(parts)}. Measured on {sessions[0].machine}."
    return Statement(text, names_of("benchmarks", used))


def _times(ratios: Sequence[Ratio]) -> str:
    """``2.68 times its images/s (95 % interval 2.45 to 2.98, 5 rounds; in 1 other session 2.75)``."""
    first, others = ratios[0], [f"{its.value:.2f}" for its in ratios[1:]]
    known = f"; in {counted(len(others), 'other session')} {listed(others)}" if others else ""
    ends = " to ".join(f"{end:.2f}" for end in first.ends)
    doubt = f"; {first.verdict}" if first.verdict else ""
    kind = first.kind if first.has_interval else "range"
    rounds = counted(len(first.rounds), "round")
    return f"{first.value:.2f} times its images/s ({kind} {ends}, {rounds}{known}{doubt})"


def _contestants(session: Session) -> Table:
    ratios = {name: session.ratio(_TODAY, name) for name in session.rows}
    speeds = {name: speed_of(row) for name, row in session.rows.items()}
    base = ratios[_TODAY]
    kind = base.kind if base is not None else ""
    return Table(
        title=f"Training of ResNet-20 on {session.machine}, {session.measured_at:%Y-%m-%d %H:%M} UTC",
        columns=(
            "contestant",
            f"images/s ({kind})",
            f"times as many as {_TODAY} ({kind})",
        ),
        rows=[
            (
                name,
                ""
                if (speed := speeds[name]) is None
                else f"{speed.value:,.0f} ({speed.low:,.0f} to {speed.high:,.0f})",
                "" if ratio is None or name == _TODAY else ratio.brief(2),
            )
            for name, ratio in ratios.items()
        ],
        numeric=frozenset({f"images/s ({kind})", f"times as many as {_TODAY} ({kind})"}),
    )


def _picture(session: Session) -> Chart | None:
    paces = []
    for name, row in session.rows.items():
        speed, ratio = speed_of(row), session.ratio(_TODAY, name)
        if speed is not None and ratio is not None:
            note = "" if name == _TODAY else f"{ratio.value:.2f}x"
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
    sessions = [its for its in sessions_of(evidence.benchmarks, _EVALUATION) if _TODAY in its.rows]
    if not sessions:
        return None
    return _compared(
        "Images per second of evaluation on the test set, over those of today's loop:",
        same_machine(sessions),
        {(_TODAY, "ours, bf16"): "in bfloat16 {}", (_TODAY, "ours, fp32"): "in float32 {}"},
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
        text="How fast is it, beside the loop that people run today?",
        commands=[
            "pytest tests/benchmarks/test_training_loop.py --benchmark-only --benchmark-json FILE",
            "harness results import-benchmarks FILE",
        ],
        answer=_speed,
    ),
)
