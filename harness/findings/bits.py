"""Findings on bits: whether the same seed gives the same again, and what decides them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from harness.errors import printable
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.words import counted
from harness.formats import listed, points
from harness.report import Evidence
from harness.report.document import Table
from harness.report.provenance import outcome_of

__all__ = ["QUESTIONS"]

_Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """The first record of a request, and a repetition of it."""

    first: _Row
    second: _Row

    @property
    def runs(self) -> tuple[_Row, _Row]:
        return self.first, self.second

    @property
    def same_bits(self) -> bool:
        return bool(self.first["weights_sha256"] == self.second["weights_sha256"])


def _same_bits(evidence: Evidence) -> Answer | None:
    repeated = [row for row in evidence.verifications if row["knob"] is None]
    here, across = _repetitions(evidence.runs)
    parts = [_verified(repeated), _recorded_again(here), _on_other_devices(across)]
    known = [part for part in parts if part is not None]
    if not known:
        return None
    return Answer(
        summary=Statement(
            " ".join(part.text for part in known),
            tuple(sorted({name for its in known for name in its.records})),
        ),
        details=[its for pairs in (here, across) if (its := _answers(evidence, pairs)) is not None],
        tables=[_table(repeated)] if repeated else [],
        caveat="Weights are compared by SHA-256, after the last iteration, of runs with the same request and number of threads.",
    )


def _verified(repeated: Sequence[_Row]) -> Statement | None:
    """Records that were repeated in a fresh process."""
    if not repeated:
        return None
    identical = sum(row["identical"] for row in repeated)
    iterations, epochs = (sum(row[name] for row in repeated) for name in ("num_iterations", "num_epochs"))
    return Statement(
        f"{identical} of {counted(len(repeated), 'repetition')} of a recorded run in a fresh process "
        f"{'is' if identical == 1 else 'are'} bit-identical, of {counted(iterations, 'iteration')} in {counted(epochs, 'epoch')}.",
        names_of("verifications", repeated),
    )


def _repetitions(runs: Iterable[_Row]) -> tuple[list[_Pair], list[_Pair]]:
    """Completed runs of one request with as many threads beside the first; what was adopted from other circumstances is none.

    Returns:
        Those on the same model of device; and the first on each other one, as what repeats that says nothing new.
    """
    alike: dict[tuple[str, int], dict[str, list[_Row]]] = {}
    for run in sorted(runs, key=_age):
        if run["status"] == "completed" and run["weights_sha256"] and not run["resumed_from"]:
            its = alike.setdefault((run["spec_sha256"], run["threads"]), {})
            its.setdefault(run["device_name"], []).append(run)
    here = [its for by_device in alike.values() for its in by_device.values()]
    across = [[its[0] for its in by_device.values()] for by_device in alike.values()]
    return _beside_first(here), _beside_first(across)


def _beside_first(alike: Iterable[Sequence[_Row]]) -> list[_Pair]:
    return [_Pair(first=its[0], second=run) for its in alike for run in its[1:]]


def _age(run: _Row) -> tuple[Any, ...]:
    return run["started_at"], run["run_id"]


def _recorded_again(pairs: Sequence[_Pair]) -> Statement | None:
    """Of the same device model and number of threads."""
    if not pairs:
        return None
    runs = _runs_of(pairs)
    versions = len({run["code_sha256"] for run in runs})
    return Statement(
        f"{_requests(pairs)} on the same model of device ({_devices(runs)}), up to {_hours(pairs):,.1f} hours apart, by "
        f"{counted(versions, 'version')} of the code: {_ends(pairs)}.",
        names_of("runs", runs),
    )


def _hours(pairs: Iterable[_Pair]) -> float:
    """From the start of one run of a pair to that of the other, at most."""
    return (
        max(float((its.second["started_at"] - its.first["started_at"]).total_seconds()) for its in pairs)
        / 3600
    )


def _on_other_devices(pairs: Sequence[_Pair]) -> Statement | None:
    if not pairs:
        return None
    runs = _runs_of(pairs)
    return Statement(
        f"{_requests(pairs)} on different models of device ({_devices(runs)}): {_ends(pairs)}.",
        names_of("runs", runs),
    )


def _requests(pairs: Sequence[_Pair]) -> str:
    """How many, and how often each was run: ``7 requests, each run 3 times``."""
    times = sorted({1 + number for number in Counter(pair.first["run_id"] for pair in pairs).values()})
    number = len({(pair.first["spec_sha256"], pair.first["threads"]) for pair in pairs})
    often = " to ".join(str(end) for end in dict.fromkeys((times[0], times[-1])))
    return f"{counted(number, 'request')}, {'each ' * (number > 1)}run {often} times"


def _ends(pairs: Sequence[_Pair]) -> str:
    """Of the repetitions, beyond the first run of each request."""
    same = sum(pair.same_bits for pair in pairs)
    if same == len(pairs):
        return "all the same weights"
    return f"{same} of {counted(len(pairs), 'repetition')} ended with the weights of the first"


def _runs_of(pairs: Iterable[_Pair]) -> list[_Row]:
    """Each once."""
    return list({run["run_id"]: run for pair in pairs for run in pair.runs}.values())


def _devices(runs: Iterable[_Row]) -> str:
    return listed(sorted({printable(run["device_name"]) for run in runs}))


def _answers(evidence: Evidence, pairs: Sequence[_Pair]) -> Statement | None:
    """Whether those repetitions agree with the first in what they answer to the test set, bits aside."""
    scored = [its for its in pairs if None not in [run["test_accuracy"] for run in its.runs]]
    if not scored:
        return None
    # of counts of images, divided in more than one way
    differences = [round(abs(its.first["test_accuracy"] - its.second["test_accuracy"]), 9) for its in scored]
    equal = differences.count(0)
    most = (
        f"; the largest difference is {points(max(differences)).lstrip('+')} percentage points"
        if equal < len(scored)
        else ""
    )
    where = "on the same model of device" if _is_of_one_device(pairs[0]) else "on different models of device"
    numbers = [(pair, _num_differing(evidence, pair)) for pair in pairs]
    known = [(pair, number) for pair, number in numbers if number is not None]
    images = (
        f" Of {len(known)} with predictions at hand, {sum(number == 0 for _, number in known)} give every image the same class as the "
        "first."
        if known
        else ""
    )
    return Statement(
        f"Of those repetitions {where}, {equal} of {len(scored)} have the same test accuracy as the first{most}.{images}",
        (
            *names_of("predictions", _runs_of(pair for pair, _ in known)),
            *names_of("runs", _runs_of(scored)),
        ),
    )


def _num_differing(evidence: Evidence, pair: _Pair) -> int | None:
    """Images to which the two give another class; None where one of them left no predictions."""
    first, second = (evidence.predictions.get(run["run_id"]) for run in pair.runs)
    if first is None or second is None or len(first.classes) != len(second.classes):
        return None
    return int(np.sum(first.classes != second.classes))


def _is_of_one_device(pair: _Pair) -> bool:
    return bool(pair.first["device_name"] == pair.second["device_name"])


def _table(repeated: Sequence[_Row]) -> Table:
    return Table(
        columns=("run", "epochs", "iterations", "whole run", "outcome", "device"),
        rows=[
            (
                row["run_id"],
                f"{row['num_epochs']:,}",
                f"{row['num_iterations']:,}",
                "yes" if row["complete"] else "no",
                outcome_of(row),
                row["device_name"],
            )
            for row in repeated
        ],
        title="Recorded runs, repeated in a fresh process",
        numeric=frozenset({"epochs", "iterations"}),
    )


_KNOBS: Final = {
    "threads": "the number of threads",
    "precision": "the precision",
    "deterministic": "deterministic algorithms",
    "channels_last": "the channels-last layout",
    "compilation": "compilation",
}
_RATIO: Final = "time of an update, turned over as recorded (95 % interval)"


def _what_decides(evidence: Evidence) -> Answer | None:
    turned = _latest([row for row in evidence.verifications if row["knob"] is not None])
    if not turned:
        return None
    kept = [row for row in turned if row["identical"]]
    changed = [row for row in turned if not row["identical"]]
    parts = [
        f"Turning {_named(kept)} changed no bit in {_extent(kept)}." if kept else "",
        f"Turning {_named(changed)} changed bits{_since(changed)}." if changed else "",
        *(_price(row) for row in turned if row["knob"] == "deterministic"),
    ]
    return Answer(
        summary=Statement(" ".join(part for part in parts if part), names_of("verifications", turned)),
        details=[Statement(_outcome(row), names_of("verifications", [row])) for row in turned],
        tables=[
            Table(
                columns=("knob", "as recorded", "turned", "outcome", _RATIO, "device"),
                rows=[
                    (
                        row["knob"],
                        str(row["knob_then"]),
                        str(row["knob_now"]),
                        outcome_of(row),
                        _ratio(row),
                        row["device_name"],
                    )
                    for row in turned
                ],
                numeric=frozenset({_RATIO}),
                wrapped=frozenset({"outcome"}),
            )
        ],
        caveat="What changes no bit here is shown for these iterations of this network on this device, and no other.",
    )


def _latest(rows: Iterable[_Row]) -> list[_Row]:
    """Of each turn of each knob on each device, the last; in order of the first."""
    found: dict[tuple[Any, ...], _Row] = {}
    for row in sorted(rows, key=lambda row: row["verified_at"]):
        found[
            row["model"], row["precision"], row["knob"], row["knob_then"], row["knob_now"], row["device_name"]
        ] = row
    return list(found.values())


def _named(rows: Iterable[_Row]) -> str:
    return listed(list(dict.fromkeys(f"{_knob(row)} ({_turn(row)})" for row in rows)))


def _knob(row: _Row) -> str:
    return _KNOBS.get(row["knob"], printable(row["knob"]))


def _turn(row: _Row) -> str:
    return f"{printable(row['knob_then'])} to {printable(row['knob_now'])}"


def _extent(rows: Sequence[_Row]) -> str:
    """So many iterations were compared."""
    numbers = sorted({row["num_iterations"] for row in rows})
    most = counted(numbers[-1], "iteration")
    return most if len(numbers) == 1 else f"{numbers[0]:,} to {most}"


def _since(rows: Sequence[_Row]) -> str:
    """From which iteration on, if all agree."""
    first = {row["first_iteration"] for row in rows}
    return f" from iteration {first.pop():,} on" if len(first) == 1 and None not in first else ""


def _outcome(row: _Row) -> str:
    share = (
        f" An update takes {_ratio_in_words(row)} of the time as recorded."
        if row["time_ratio"] is not None
        else ""
    )
    extent = f"{counted(row['num_iterations'], 'iteration')}, {printable(row['model'])}, {printable(row['device_name'])}"
    return f"{_knob(row)}, {_turn(row)}: {outcome_of(row)} ({extent}).{share}"


def _ratio_in_words(row: _Row) -> str:
    if not _has_interval(row):
        return f"{row['time_ratio']:.3f} (too few rounds for an interval)"
    doubt = ", not significant" if row["time_ratio_low"] <= 1 <= row["time_ratio_high"] else ""
    return f"{row['time_ratio']:.3f} (95 % interval {row['time_ratio_low']:.3f} to {row['time_ratio_high']:.3f}{doubt})"


def _has_interval(row: _Row) -> bool:
    return row["time_ratio_low"] is not None and row["time_ratio_high"] is not None


def _ratio(row: _Row) -> str:
    if row["time_ratio"] is None:
        return ""
    if not _has_interval(row):
        return f"{row['time_ratio']:.3f}"
    return f"{row['time_ratio']:.3f} ({row['time_ratio_low']:.3f} to {row['time_ratio_high']:.3f})"


def _price(row: _Row) -> str:
    """Of deterministic algorithms."""
    if row["time_ratio"] is None:
        return ""
    return (
        f"With deterministic algorithms {printable(row['knob_now'])}, an update takes {_ratio_in_words(row)} of the time with them "
        f"{printable(row['knob_then'])}, on {printable(row['device_name'])}."
    )


QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        key="same-bits",
        text="Does the same seed give the same bits again?",
        commands=["harness verify RUN"],
        answer=_same_bits,
    ),
    Question(
        key="what-decides-bits",
        text="What changes the bits, and at what price?",
        commands=["harness verify RUN --isolate"],
        answer=_what_decides,
    ),
)
