"""Findings on published numbers: whether they are reproduced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from harness.analysis.estimates import estimate
from harness.analysis.groups import RunGroup, follows_paper
from harness.analysis.verdicts import DEFAULT_MARGIN, Verdict, VerdictRow, board_of_groups, measured_once
from harness.claims import claims
from harness.findings.comparisons import certainty, names_of_cards, names_of_groups
from harness.findings.finding import Answer, Question, Statement
from harness.findings.words import one_or_several
from harness.formats import listed, percent, points
from harness.report import Evidence
from harness.report import accuracy as sections

__all__ = ["QUESTIONS"]

_LEADING: Final = ("resnet20", "plain20")
"""Networks of the published numbers that are asked for first."""
_JUDGED: Final[tuple[Verdict, ...]] = ("reproduced", "better", "worse", "inconclusive")
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
    statements = [*first, *(_of_verdict(same, evidence) for same in measured_once(judged)), *apart]
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
    by_verdict = {verdict: [row for row in judged if row.verdict == verdict] for verdict in _JUDGED}
    outcomes = listed([_outcome(verdict, rows) for verdict, rows in by_verdict.items() if rows])
    keys = {row.claim.key for row in judged}
    several = {key for key in keys if len({row.verdict for row in judged if row.claim.key == key}) > 1}
    single = {row.claim.key for row in judged if row.measured is not None and row.measured.n == 1}
    notes = [
        *([f"Measurements of {listed(sorted(several))} differ in their verdict."] if several else []),
        *(
            [f"Of the inconclusive, {len(single)} {one_or_several(single, 'is', 'are')} of a single run."]
            if single
            else []
        ),
    ]
    return Statement(
        f"{len(keys)} of {len(claims())} published numbers are measured under their own protocol: {outcomes}, at a margin of {_MARGIN}."
        + "".join(f" {note}" for note in notes),
        _names_of_rows(judged, evidence),
    )


def _outcome(verdict: Verdict, rows: Sequence[VerdictRow]) -> str:
    """How many claims have a verdict: ``1 reproduced, by 6 implementations with the same bits``."""
    keys = list(dict.fromkeys(row.claim.key for row in rows))
    by_whom = []
    for key in keys:
        once = measured_once([row for row in rows if row.claim.key == key])
        shared = [len(same) for same in once if len(same) > 1]
        how = [f"by {len(once)} measurements"] * (len(once) > 1)
        how += [f"by {number} implementations with the same bits" for number in shared]
        if how:
            by_whom.append(f"{f'{key} ' if len(keys) > 1 else ''}{', '.join(how)}")
    if not by_whom:
        return f"{len(keys)} {verdict}"
    return f"{len(keys)} {verdict} ({'; '.join(by_whom)})" if len(keys) > 1 else f"1 {verdict}, {by_whom[0]}"


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


def _of_verdict(same: Sequence[VerdictRow], evidence: Evidence) -> Statement:
    """A measurement beside the number that was published: rows with the same bits."""
    row = same[0]
    groups = [its.group for its in same if its.group is not None]
    group, measured, judgement = row.group, row.measured, row.judgement
    assert group is not None
    assert measured is not None
    assert judgement is not None
    single = measured.n == 1
    outcome = "one run, which has no verdict" if single else row.verdict
    every = dict.fromkeys(note for its in same for note in its.notes())
    notes = [note for note in every if not (single and note.startswith("inconclusive"))]
    settings = "; ".join(dict.fromkeys(its.setting_name for its in groups))
    return Statement(
        f"{sections.named(groups)} {one_or_several({its.model for its in groups}, 'has', 'have')} a test error of "
        f"{percent(1 - measured.mean)} % ({certainty(measured.n, *measured.error_interval)}), where "
        f"{row.claim.claimant} states {row.claim.test_error_percent:.2f} % ({row.claim.key}). The difference is "
        f"{points(-judgement.difference)} percentage points of error: {outcome}. Setting: {settings}."
        + "".join(f" {note[:1].upper()}{note[1:]}." for note in notes),
        _names_of_rows(same, evidence),
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
        *(_of_verdict(same, evidence) for same in measured_once(rows)),
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
