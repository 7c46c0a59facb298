"""Findings on how networks begin: their initial weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from harness.analysis.equivalence import SAME_FUNCTION
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.words import counted, families, family
from harness.formats import ABSENT, listed
from harness.report import Evidence
from harness.report.document import Table

__all__ = ["QUESTIONS"]

_Row = Mapping[str, Any]

_DEPTH: Final = 20
"""Of the networks that are told one by one."""
_RULES: Final[Mapping[str, str]] = {
    "He (fan-in)": "He et al. by fan-in",
    "He (fan-out)": "He et al. by fan-out",
    "linear:": "the linear layer by",
    "otherwise": "none of the known rules",
    "scales zero": "scales of batch normalisation zero",
}


def _initial_weights(evidence: Evidence) -> Answer | None:
    latest = {card["model"]: card for card in evidence.cards}
    cards = [latest[model] for model in sorted(latest)]
    same = [card for card in cards if card["equivalence"] in SAME_FUNCTION | {"reference"}]
    others = [card for card in cards if card["equivalence"] == "different"]
    implementations = {family(card) for card in same}
    by_rule = _grouped(same, "initialization")
    if len(implementations) < 2:
        return None
    told = "; ".join(f"{_rule(rule)} ({families(found)})" for rule, found in by_rule.items())
    ours = ", ours among them," if "ours" in implementations else ""
    network, of_network = _begun_most_variously(same)
    rules = {card["initialization"] for card in of_network}
    return Answer(
        summary=Statement(
            f"{len(implementations)} implementations of the paper's networks{ours} draw their initial weights by "
            f"{counted(len(by_rule), 'rule')}: {told}. {network}, one function in "
            f"{counted(len({family(card) for card in of_network}), 'implementation')}, is initialised by {counted(len(rules), 'rule')}.",
            names_of("identities", same),
        ),
        details=[*_of_one_function(same), *_of_other_functions(others)],
        tables=[_table_of_rules([*same, *others])],
        caveat="It does not show what a rule is worth after training; recipes of this harness may replace it.",
    )


def _begun_most_variously(same: Sequence[_Row]) -> tuple[str, Sequence[_Row]]:
    """The network with the most rules, of several that of the fewest layers."""

    def rank(item: tuple[str, Sequence[_Row]]) -> tuple[int, int, str]:
        network, found = item
        rules = {card["initialization"] for card in found}
        return -len(rules), min(card["layers_on_main_path"] for card in found), network

    return min(_by_function(same).items(), key=rank)


def _by_function(same: Sequence[_Row]) -> dict[str, list[_Row]]:
    grouped: dict[str, list[_Row]] = {}
    for card in same:
        grouped.setdefault(str(card["counterpart"] or card["model"]), []).append(card)
    return grouped


def _of_one_function(same: Sequence[_Row]) -> list[Statement]:
    """Of the networks of 20 layers that several implementations have."""
    statements = []
    for network, found in sorted(_by_function(same).items()):
        sources = {family(card) for card in found}
        if len(sources) < 2 or found[0]["layers_on_main_path"] != _DEPTH:
            continue
        by_rule = _grouped(found, "initialization")
        told = "; ".join(f"{_rule(rule)} in {families(its)}" for rule, its in by_rule.items())
        statements.append(
            Statement(
                f"{network}, one function in {len(sources)} implementations, is initialised by {counted(len(by_rule), 'rule')}: {told}.",
                names_of("identities", found),
            )
        )
    return statements


def _of_other_functions(others: Sequence[_Row]) -> list[Statement]:
    if not others:
        return []
    told = "; ".join(
        f"{_rule(rule)} in {listed([card['model'] for card in found])}"
        for rule, found in _grouped(others, "initialization").items()
    )
    return [
        Statement(
            f"Networks that compute another function are initialised so: {told}.",
            names_of("identities", others),
        )
    ]


def _table_of_rules(cards: Sequence[_Row]) -> Table:
    spread = "std of weights over that of He et al. by fan-in, by layer"
    return Table(
        columns=("initial weights", "implementations", "networks", spread),
        rows=[
            (_rule(rule), families(found), str(len(found)), _spread(found))
            for rule, found in _grouped(cards, "initialization").items()
        ],
        numeric=frozenset({"networks"}),
        wrapped=frozenset({"initial weights", "implementations"}),
    )


def _spread(cards: Sequence[_Row]) -> str:
    """From the least to the greatest layer."""
    ratios = [
        layer["std"] / layer["he_std"]
        for card in cards
        for layer in card["initial_weights"]
        if layer["he_std"]
    ]
    return f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ABSENT


def _rule(rule: str) -> str:
    for short, words in _RULES.items():
        rule = rule.replace(short, words)
    return rule


def _grouped(cards: Iterable[_Row], column: str) -> dict[str, list[_Row]]:
    """By a column, in the order of its values."""
    grouped: dict[str, list[_Row]] = {}
    for card in sorted(cards, key=lambda card: str(card[column])):
        grouped.setdefault(card[column], []).append(card)
    return grouped


QUESTIONS: Final = (
    Question(
        key="initial-weights",
        text="Do implementations begin alike?",
        commands=["harness identify"],
        answer=_initial_weights,
    ),
)
