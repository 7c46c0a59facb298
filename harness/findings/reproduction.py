"""Findings on published numbers: whether they are reproduced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from harness.analysis.estimates import estimate
from harness.analysis.groups import RunGroup, follows_paper
from harness.analysis.verdicts import DEFAULT_MARGIN, VerdictRow, board_of_groups
from harness.claims import claims
from harness.findings.comparisons import certainty, names_of_cards, names_of_groups
from harness.findings.finding import Answer, Question, Statement
from harness.formats import listed, percent, points
from harness.report import Evidence
from harness.report import accuracy as sections

__all__ = ["QUESTIONS"]

_LEADING: Final = ("resnet20", "plain20")
"""Networks of the published numbers that are asked for first."""
_JUDGED: Final = ("reproduced", "better", "worse", "inconclusive")
_MARGIN: Final = f"{100 * DEFAULT_MARGIN:g} percentage points"
_MAX_DIFFERENCES: Final = 3


def _board(evidence: Evidence) -> list[VerdictRow]:
    return board_of_groups(claims().values(), evidence.every_group, evidence.networks, DEFAULT_MARGIN)


def _verdicts(evidence: Evidence) -> Answer | None:
    board = _board(evidence)
    judged = [row for row in board if row.judgement is not None]
    others = [row for row in board if row.verdict == "not comparable"]
    if not judged and not others:
        return None
    section = sections.verdicts(evidence, board, DEFAULT_MARGIN)
    apart = [_not_comparable(others, judged, evidence)] if others else []
    first = [_of_board(judged, evidence)] if judged else []
    statements = [*first, *(_of_verdict(row, evidence) for row in judged), *apart]
    return Answer(
        summary=statements[0],
        details=statements[1:],
        tables=section.tables,
        chart=next(iter(section.charts), None),
        caveat=(
            "It does not show that the authors of a number that is not reproduced were wrong: it is one draw from their seeds, whose "
            "spread is mostly not stated."
        ),
    )


def _of_board(judged: Sequence[VerdictRow], evidence: Evidence) -> Statement:
    counts = Counter(row.verdict for row in judged)
    outcomes = listed([f"{counts[verdict]} {verdict}" for verdict in _JUDGED if counts[verdict]])
    single = sum(row.measured is not None and row.measured.n == 1 for row in judged)
    of_these = (
        f" Of the inconclusive, {single} {'are' if single > 1 else 'is'} of a single run." if single else ""
    )
    return Statement(
        f"{len({row.claim.key for row in judged})} of {len(claims())} published numbers are measured under their own protocol, by "
        f"{len(judged)} group{'s' * (len(judged) > 1)} of runs: {outcomes}, at a margin of {_MARGIN}.{of_these}",
        _names_of_rows(judged, evidence),
    )


def _not_comparable(
    rows: Sequence[VerdictRow], judged: Sequence[VerdictRow], evidence: Evidence
) -> Statement:
    counts = Counter(what for row in rows for what in {its.what: None for its in row.differences})
    most = listed([f"{what} ({number})" for what, number in counts.most_common(_MAX_DIFFERENCES)])
    none = f"None of {len(claims())} published numbers is measured under its own protocol yet. "
    return Statement(
        f"{'' if judged else none}For {len(rows)} {'other' if judged else 'of them,'} the nearest runs are not comparable; what differs "
        f"most often, with the number of cases: {most}.",
        _names_of_rows(rows, evidence),
    )


def _of_verdict(row: VerdictRow, evidence: Evidence) -> Statement:
    """A measurement beside the number that was published."""
    group, measured, judgement = row.group, row.measured, row.judgement
    assert group is not None
    assert measured is not None
    assert judgement is not None
    single = measured.n == 1
    outcome = "one run, which has no verdict" if single else row.verdict
    notes = [note for note in row.notes() if not (single and note.startswith("inconclusive"))]
    return Statement(
        f"{group.model} has a test error of {percent(1 - measured.mean)} % ({certainty(measured.n, *measured.error_interval)}), where "
        f"{row.claim.claimant} states {row.claim.test_error_percent:.2f} % ({row.claim.key}). The difference is "
        f"{points(-judgement.difference)} percentage points of error: {outcome}. Setting: {group.setting_name}."
        + "".join(f" {note[:1].upper()}{note[1:]}." for note in notes),
        _names_of_rows([row], evidence),
    )


def _names_of_rows(rows: Sequence[VerdictRow], evidence: Evidence) -> tuple[str, ...]:
    """The runs, those that are left out because they have no result, and the cards by which a network is the claim's."""
    groups = [row.group for row in rows if row.group is not None]
    cards = [
        evidence.networks.card(*whose)
        for row in rows
        if row.group is not None and row.group.model != row.claim.model
        for whose in ((row.group.model, row.group.model_source), (row.claim.model, None))
    ]
    return (*names_of_groups(groups, evidence), *names_of_cards(cards))


def _paper(evidence: Evidence) -> Answer | None:
    groups = [group for group in evidence.groups if follows_paper(group) and group.values("test_accuracy")]
    if not groups:
        return None
    board = [row for row in _board(evidence) if row.judgement is not None]
    rows = sorted((row for row in board if any(row.group is group for group in groups)), key=_rank)
    unclaimed = [group for group in groups if not any(row.group is group for row in rows)]
    statements = [
        *(_of_verdict(row, evidence) for row in rows),
        *(_without_claim(group, evidence) for group in unclaimed),
    ]
    drawn = sections.curves(evidence)
    assert drawn is not None, "there are groups with runs"
    return Answer(
        summary=statements[0],
        details=statements[1:],
        tables=sections.verdicts(evidence, rows, DEFAULT_MARGIN).tables,
        chart=drawn.charts[0],
        caveat="Other precisions and devices are measurements of their own.",
    )


def _rank(row: VerdictRow) -> tuple[int, bool, int]:
    """The networks that are asked for first, of these ours, of these the most seeds."""
    assert row.group is not None
    model = row.claim.model
    leading = _LEADING.index(model) if model in _LEADING else len(_LEADING)
    return leading, row.group.model != model, -len(row.group.runs)


def _without_claim(group: RunGroup, evidence: Evidence) -> Statement:
    errors = estimate(1 - accuracy for accuracy in group.values("test_accuracy"))
    assert errors is not None, "the group has values"
    return Statement(
        f"{group.model} has a test error of {percent(errors.mean)} % ({certainty(errors.n, errors.low, errors.high)}); no number "
        f"is published for it under this protocol. Setting: {group.setting_name}.",
        names_of_groups([group], evidence),
    )


QUESTIONS: Final = (
    Question(
        key="verdicts",
        text="Did it reproduce?",
        commands=["harness reproduce paper", "harness verdicts"],
        answer=_verdicts,
    ),
    Question(
        key="paper",
        text="Does ResNet-20 reach the published number?",
        commands=["harness reproduce paper"],
        answer=_paper,
    ),
)
