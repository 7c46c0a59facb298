"""From the records to the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from harness.analysis.equivalence import SAME_FUNCTION
from harness.analysis.verdicts import VerdictRow, board_of_groups
from harness.claims import claims
from harness.formats import percent
from harness.report.accuracy import curves, depth, implementations, verdicts
from harness.report.document import Report
from harness.report.evidence import Evidence
from harness.report.networks import cost, identity
from harness.report.provenance import commands, environments, machine_checks
from harness.report.uncertainty import noise, optimism, sources_of_spread

__all__ = ["compose"]


def compose(evidence: Evidence, *, margin: float, command: str) -> Report:
    """The report of a store.

    Args:
        evidence: what is recorded.
        margin: which difference of accuracy does not matter, as a fraction.
        command: that makes this report, for its reader to repeat.
    """
    board = board_of_groups(claims().values(), evidence.every_group, evidence.networks, margin)
    of_evidence = (
        *(curves, depth, implementations, cost, identity, optimism, noise, sources_of_spread),
        *(machine_checks, commands, environments),
    )
    sections = [verdicts(evidence, board, margin), *(make(evidence) for make in of_evidence)]
    return Report(
        title="ResNet reproducibility report",
        made_at=datetime.now(UTC),
        command=command,
        headlines=list(_headlines(evidence, board)),
        sections=[section for section in sections if section is not None],
    )


def _headlines(evidence: Evidence, board: Sequence[VerdictRow]) -> Iterator[str]:
    counts = Counter(row.verdict for row in board)
    judged = sum(counts[verdict] for verdict in ("reproduced", "better", "worse", "inconclusive"))
    if judged:
        told = ", ".join(
            f"{counts[verdict]} {verdict}"
            for verdict in ("reproduced", "better", "worse", "inconclusive")
            if counts[verdict]
        )
        yield f"Measurements of published numbers under their own protocol: {told}."
    elif evidence.groups:
        yield "No published number was measured under its own protocol yet: below it says what differs."
    else:
        yield "No completed run of real images is recorded yet: harness reproduce makes some."
    if evidence.compared_cards:
        compared = evidence.compared_cards
        same = sum(card["equivalence"] in SAME_FUNCTION for card in compared)
        others = len(compared)
        yield f"{same} of {others} networks of others are, as functions, those of the paper; {others - same} are not."
    repeated = [row for row in evidence.verifications if row["knob"] is None]
    if repeated:
        identical = sum(row["identical"] for row in repeated)
        yield f"{identical} of {len(repeated)} repetitions of a recorded run gave the same bits."
    if evidence.audits:
        kept = sum(percent(row["claimed_accuracy"]) == percent(row["accuracy"]) for row in evidence.audits)
        yield f"{kept} of {len(evidence.audits)} published checkpoints do what was claimed of them."
    yield (
        f"{sum(len(group.runs) for group in evidence.groups)} runs of {len({group.model for group in evidence.groups})} "
        f"models stand behind this page{_whose(evidence)}; a mean is of the last iteration, never of the best epoch."
    )


def _whose(evidence: Evidence) -> str:
    """Which of the runs are one's own, where the project's are among them."""
    used = [run["run_id"] for group in evidence.groups for run in group.runs]
    published = sum(name in evidence.published for name in used)
    return (
        f", {len(used) - published} of them recorded here and {published} published by the project"
        if published
        else ""
    )
