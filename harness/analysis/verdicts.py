"""The verdict board: every published claim beside what was measured. No torch."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.analysis.estimates import Estimate, estimate
from harness.analysis.groups import RunGroup, bits_of, distinct, group_runs
from harness.analysis.protocol import Card, Difference, Networks, differences, measured_column
from harness.analysis.tost import Judgement, judge
from harness.claims import Claim

__all__ = [
    "DEFAULT_MARGIN",
    "Verdict",
    "VerdictRow",
    "board_of_groups",
    "measured_once",
    "notes_by_claims",
    "verdict_board",
]

_MAX_DIFFERENCES = 3
_NEAR = 0.1
"""Of the margin: so far from its edge a difference is near it."""

DEFAULT_MARGIN = 0.005
"""As a fraction: half a percentage point."""

Verdict = Literal["reproduced", "better", "worse", "inconclusive", "not comparable", "not measured"]
"""``reproduced``: shown to be within the margin of the claim. ``worse``, ``better``: shown to be below or above the
margin. ``inconclusive``: none of these is shown. ``not comparable``: the runs were not made as the claim was. ``not
measured``: there are none."""


@dataclass(frozen=True, kw_only=True)
class VerdictRow:
    """A claim, and one group of runs that was held against it."""

    claim: Claim
    verdict: Verdict
    group: RunGroup | None
    """Where nothing was measured, one that was tried without any result; None if there is none."""
    measured: Estimate | None
    """Accuracy as a fraction, by the claim's own rule of selection where the runs have it, else after the last
    iteration."""
    judgement: Judgement | None
    """None where the two cannot be compared."""
    margin: float
    """With which it was judged, as a fraction."""
    differences: tuple[Difference, ...]
    """Why not."""

    @property
    def claimed(self) -> float:
        """Accuracy as a fraction."""
        return claimed_accuracy(self.claim)

    def notes(self) -> list[str]:
        """What is to be known beside the verdict, in sentences without a full stop."""
        notes = []
        if self.differences:
            named = "; ".join(map(str, self.differences[:_MAX_DIFFERENCES]))
            more = len(self.differences) - _MAX_DIFFERENCES
            notes.append(f"not comparable: {named}" + (f"; and {more} more" if more > 0 else ""))
        judgement = self.judgement
        if judgement is not None and self.verdict == "inconclusive":
            assert self.measured is not None
            if self.measured.n == 1:
                notes.append("inconclusive: a single seed has no spread; run at least two more")
            elif judgement.p_equivalent is None:
                notes.append(
                    "inconclusive: two seeds of the same accuracy have no spread; run at least one more"
                )
            elif judgement.further_seeds is None:
                from_edge = abs(abs(judgement.difference) - self.margin)
                why = (
                    "so near is the margin's edge"
                    if from_edge <= _NEAR * self.margin
                    else "so widely do seeds differ"
                )
                notes.append(f"inconclusive: not even 1,000 seeds would settle it, {why}")
            else:
                number = judgement.further_seeds
                notes.append(
                    f"inconclusive: about {number} further seed{'s' * (number > 1)} would settle it (80 % power, if mean and "
                    "spread stay; fix their number first)"
                )
        group = self.group
        if group is not None:
            for number, what in (
                (group.num_diverged - group.num_diverged_once, "diverged"),
                (group.num_failed, "failed or had no network"),
                (group.num_adopted, "went on after a change"),
            ):
                others = "more " if group.runs else ""
                if number:
                    notes.append(
                        f"{number} {others}seed{'s' * (number > 1)} {what}, and {'are' if number > 1 else 'is'} left out"
                    )
            if group.num_diverged_once:
                several = group.num_diverged_once > 1
                notes.append(
                    f"{group.num_diverged_once} seed{'s' * several} diverged in one run and completed in another, which counts"
                )
        if self.judgement is not None and self.claim.selection == "best-on-test":
            notes.append("measured as it was claimed, by the best epoch on the test set")
        return notes


def notes_by_claims(board: Iterable[VerdictRow]) -> dict[str, list[str]]:
    """What is to be known beside the verdicts, each note once, with the rows that it is about.

    A row is named by its claim, by its model where that is another than the claim's, and by its recipe where that is not
    the first of the claim's.
    """
    notes: dict[str, list[str]] = {}
    for row in board:
        key = row.claim.key
        if row.group is not None and row.group.model != row.claim.model:
            key = f"{key} by {row.group.model}"
        if row.group is not None and row.group.recipe in row.claim.recipes[1:]:
            key = f"{key} with {row.group.recipe}"
        for note in row.notes():
            named = notes.setdefault(note, [])
            if key not in named:
                named.append(key)
    return notes


def measured_once(board: Iterable[VerdictRow]) -> list[list[VerdictRow]]:
    """Rows of runs, each with those of its claim whose runs end with the same bits: they are one measurement."""

    def bits(row: VerdictRow) -> Hashable | None:
        its = None if row.group is None else bits_of(row.group)
        return None if its is None else (row.claim.key, its)

    return distinct((row for row in board if row.group is not None), bits)


def claimed_accuracy(claim: Claim) -> float:
    """As a fraction; from the per cent of error that was stated, to its digits."""
    return round(1 - claim.test_error_percent / 100, 6)


def verdict_board(
    claims: Iterable[Claim],
    runs: Iterable[Mapping[str, Any]],
    cards: Iterable[Card] = (),
    margin: float = DEFAULT_MARGIN,
) -> list[VerdictRow]:
    """Every claim: a row for each group of runs that was made as it was; or else one for that which comes nearest.

    A model other than the claim's counts where its identity card says that it is the same network.

    Args:
        claims: in the order of the rows.
        runs: rows of the records of kind ``runs``.
        cards: rows of the records of kind ``identities``.
        margin: which difference of accuracy does not matter, as a fraction.

    Raises:
        ValueError: the margin is not positive.
    """
    groups = [group for group in group_runs(runs) if group.data == "cifar10"]
    return board_of_groups(claims, groups, Networks(cards), margin)


def board_of_groups(
    claims: Iterable[Claim], groups: Sequence[RunGroup], networks: Networks, margin: float = DEFAULT_MARGIN
) -> list[VerdictRow]:
    """The same of groups of runs.

    Args:
        claims: in the order of the rows.
        groups: of real images.
        networks: which models are the same network.
        margin: which difference of accuracy does not matter, as a fraction.

    Raises:
        ValueError: the margin is not positive.
    """
    if not margin > 0:
        raise ValueError(f"the margin must be positive, not {margin}; say which difference does not matter")
    return [row for claim in claims for row in _rows(claim, groups, networks, margin)]


def _rows(
    claim: Claim, groups: Sequence[RunGroup], networks: Networks, margin: float
) -> Sequence[VerdictRow]:
    about = [group for group in groups if group.model == claim.model or _is_about(claim, group, networks)]
    column = measured_column(claim) or "test_accuracy"
    candidates = [(group, differences(claim, group, networks)) for group in about if group.values(column)]
    comparable = [_judged(claim, group, margin) for group, found in candidates if not found]
    if comparable:
        return comparable
    if candidates:
        group, found = min(candidates, key=lambda candidate: _distance(claim, *candidate))
        return [_row(claim, "not comparable", group, margin=margin, differences=tuple(found))]
    tried = sorted(about, key=lambda group: (group.model != claim.model, group.recipe not in claim.recipes))
    return [_row(claim, "not measured", *tried[:1], margin=margin)]


def _is_about(claim: Claim, group: RunGroup, networks: Networks) -> bool:
    """Whether somebody would hold these runs of another model against the claim."""
    return networks.resembles(group.model, group.model_source) == networks.network_of(claim.model)


def _distance(claim: Claim, group: RunGroup, found: Sequence[Difference]) -> tuple[Any, ...]:
    return group.model != claim.model, len(found), -group.iterations, -len(group.runs)


def _judged(claim: Claim, group: RunGroup, margin: float) -> VerdictRow:
    column = measured_column(claim)
    assert column is not None, "what has no such column is not comparable"
    judgement = judge(group.values(column), claimed_accuracy(claim), margin)
    return _row(claim, judgement.outcome, group, margin=margin, judgement=judgement)


def _row(
    claim: Claim,
    verdict: Verdict,
    group: RunGroup | None = None,
    *,
    margin: float,
    judgement: Judgement | None = None,
    differences: tuple[Difference, ...] = (),
) -> VerdictRow:
    column = measured_column(claim) or "test_accuracy"
    return VerdictRow(
        claim=claim,
        verdict=verdict,
        group=group,
        measured=None if group is None else estimate(group.values(column)),
        judgement=judgement,
        margin=margin,
        differences=differences,
    )
