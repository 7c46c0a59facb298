"""How findings tell means and differences over seeds, and name what stands behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.analysis.estimates import Estimate
from harness.analysis.groups import RunGroup, group_runs
from harness.analysis.paired import PairedDifference, adjusted, measurements
from harness.analysis.protocol import Card
from harness.findings.finding import Statement, names_of
from harness.findings.words import counted
from harness.formats import interval, p_value, points
from harness.report import Evidence

__all__ = [
    "Tested",
    "certainty",
    "gain",
    "joined",
    "measured_once",
    "names_of_cards",
    "names_of_groups",
    "paired_runs",
    "question_of",
    "tested",
]

_LEVEL: Final = 0.05

_Row = Mapping[str, Any]


def certainty(n: int, low: float | None, high: float | None, *, signed: bool = False) -> str:
    """How many seeds a mean is of, and its interval: ``3 seeds, 95 % interval 81.08 .. 83.02``.

    Args:
        n: seeds.
        low: end of the interval, as a fraction; None where a single seed has none.
        high: the other end.
        signed: of a difference, in percentage points.
    """
    if low is None or high is None:
        return f"{counted(n, 'seed')}, no interval"
    return f"{counted(n, 'seed')}, 95 % interval {interval(low, high, signed=signed)}"


def gain(found: Estimate) -> str:
    """A difference paired by seed, with its seeds and interval."""
    certain = certainty(found.n, found.low, found.high, signed=True)
    return f"{points(found.mean)} percentage points ({certain})"


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A comparison, and whether it is significant."""

    paired: PairedDifference
    p: float | None
    """Of Student's paired test, adjusted by Holm; None where that test has none."""
    among: int
    """Measurements that it was adjusted for."""

    @property
    def is_told(self) -> bool:
        """At the 5 % level."""
        return self.p is not None and self.p < _LEVEL

    @property
    def gain(self) -> str:
        """The difference, with its seeds and interval."""
        found = self.paired.difference
        if self.paired.same_bits:
            return f"{points(found.mean)} percentage points ({counted(found.n, 'seed')}, same bits)"
        return gain(found)

    @property
    def told(self) -> str:
        """The same in words."""
        if self.paired.same_bits:
            return f"the same weights, bit for bit, for {'every' if self.paired.difference.n > 1 else 'the one'} seed"
        if self.p is None:
            what = "one seed" if self.paired.difference.n == 1 else "two seeds with equal differences"
            return f"{what} cannot tell it from noise"
        by_holm = f", adjusted by Holm for {self.among} comparisons" if self.among > 1 else ""
        return f"{'' if self.is_told else 'not '}significant (p {p_value(self.p)}{by_holm})"


def tested(found: Sequence[PairedDifference]) -> list[Tested]:
    """The comparisons of one table."""
    among = sum(its[0].p is not None for its in measurements(found))
    return [Tested(paired=its, p=p, among=among) for its, p in zip(found, adjusted(found), strict=True)]


def measured_once(found: Sequence[Tested]) -> list[list[Tested]]:
    """Comparisons, each with those that are the same measurement."""
    by_paired = {id(its.paired): its for its in found}
    return [[by_paired[id(its)] for its in same] for same in measurements(its.paired for its in found)]


def paired_runs(paired: PairedDifference) -> list[_Row]:
    """The runs of a comparison: of the seeds that both groups have."""
    return [
        run for group in (paired.first, paired.second) for run in group.runs if run["seed"] in paired.seeds
    ]


def names_of_groups(groups: Sequence[RunGroup], evidence: Evidence) -> tuple[str, ...]:
    """Of the runs of groups, and of those of the same questions that diverged or have no result."""
    incomplete = [its for its in groups if its.num_diverged + its.num_failed + its.num_adopted]
    left_out = [
        run
        for group in incomplete
        for run in evidence.runs
        if run["seed"] not in group.seeds or run["status"] == "diverged"
        if question_of(group_runs([run])[0]) == question_of(group)
    ]
    return names_of("runs", [*(run for group in groups for run in group.runs), *left_out])


def names_of_cards(cards: Iterable[Card | None]) -> tuple[str, ...]:
    """Of identity cards, where there is one."""
    return names_of("identities", [card for card in cards if card is not None])


def question_of(group: RunGroup) -> tuple[Any, ...]:
    """What groups have in common that answer the same question."""
    return group.model, group.source, group.batch_size, group.shortened, group.setting


def joined(statements: Sequence[Statement]) -> Statement:
    """Several as one, with the records of all."""
    return Statement(
        " ".join(its.text for its in statements),
        tuple(dict.fromkeys(name for its in statements for name in its.records)),
    )
