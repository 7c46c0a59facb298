"""Runs summed up over seeds. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.analysis.estimates import Estimate, estimate, exact_difference
from harness.analysis.groups import RunGroup, group_runs

__all__ = [
    "Summary",
    "count_repeated",
    "evaluated_often",
    "selection_optimism",
    "summarize",
    "summarize_group",
]

_Run = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Of a group of runs."""

    group: RunGroup
    test_accuracy: Estimate | None
    """Fraction, after the last iteration."""
    optimism: Estimate | None
    """Of best-on-test minus last, as a fraction: what quoting the best epoch would have added."""
    images_per_second: Estimate | None
    seconds: Estimate | None


def summarize(runs: Iterable[_Run]) -> list[Summary]:
    """Rows of the records of kind ``runs``, grouped over seeds, in order of first appearance."""
    return [summarize_group(group) for group in group_runs(runs)]


def summarize_group(group: RunGroup) -> Summary:
    """Of its completed runs."""
    return Summary(
        group=group,
        test_accuracy=estimate(group.values("test_accuracy")),
        optimism=selection_optimism(group),
        images_per_second=estimate(group.values("images_per_second")),
        seconds=estimate(group.values("seconds")),
    )


def selection_optimism(group: RunGroup) -> Estimate | None:
    """Accuracy of the best epoch on the test set, chosen by looking at it, minus that after the last iteration."""
    known = [(run["test_accuracy_best"], run["test_accuracy"]) for run in group.runs]
    return estimate(
        0.0 if best == last else exact_difference(best, last)
        for best, last in known
        if best is not None and last is not None
    )


def evaluated_often(group: RunGroup, epochs: Mapping[str, Sequence[_Run]]) -> RunGroup:
    """A group without runs that were evaluated only once: their last epoch is their best, whatever would have been.

    Args:
        group: whose.
        epochs: rows of the records of kind ``epochs``, by run.
    """
    return replace(group, runs=tuple(run for run in group.runs if len(epochs.get(run["run_id"], ())) > 1))


def count_repeated(runs: Iterable[_Run], earlier: Iterable[_Run]) -> tuple[int, int]:
    """How many runs repeat an earlier one: the same was asked, on the same device model with as many threads.

    Returns:
        Their number, and how many of them ended with the same weights as an earlier one, bit for bit.
    """
    known: dict[tuple[Any, ...], set[str | None]] = {}
    for run in earlier:
        known.setdefault(_question_and_device(run), set()).add(run["weights_sha256"])
    repeated = [run for run in runs if _question_and_device(run) in known]
    num_same = sum(
        run["weights_sha256"] is not None and run["weights_sha256"] in known[_question_and_device(run)]
        for run in repeated
    )
    return len(repeated), num_same


def _question_and_device(run: _Run) -> tuple[Any, ...]:
    return run["spec_sha256"], run["device_name"], run["threads"]
