"""Findings on the networks themselves: which of them are those of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.analysis.equivalence import SAME_FUNCTION
from harness.charts import Chart, SizedNetwork, sizes_figure
from harness.findings.finding import Answer, Question, Statement, names_of
from harness.findings.words import counted, families, family, one_or_several, small
from harness.formats import listed
from harness.paper import BLOCKS_PER_STAGE
from harness.report import Evidence
from harness.report.document import Table

__all__ = ["QUESTIONS"]

_Row = Mapping[str, Any]

_DEPTH: Final = 20
"""Of the networks that are shown one by one."""
_KINDS: Final[Mapping[str, str]] = {
    "A": "ResNet with shortcuts without weights (option A)",
    "B": "ResNet with projection shortcuts (option B)",
    "plain": "plain network",
}
_FEW: Final = 6
"""So many names stand in a sentence, of more only their number."""
_MAX_ROWS: Final = 19
"""Of a picture of 420 pixels."""


def _same_network(evidence: Evidence) -> Answer | None:
    cards = [card for card in evidence.compared_cards if card["model_source"] != "ours"]
    if not cards:
        return None
    same = [card for card in cards if card["equivalence"] in SAME_FUNCTION]
    others = [card for card in cards if card["equivalence"] == "different"]
    unknown = [card for card in cards if card not in same and card not in others]
    near = [card for card in others if not _has_other_depth(card)]
    far = [card for card in others if _has_other_depth(card)]
    sentences = [
        _of_same(cards, same),
        *([_of_near(near)] if near else []),
        *([_of_far(far)] if far else []),
        *_of_resnet18(evidence, far),
    ]
    known = names_of("identities", [*cards, *_resnet20(evidence)])
    shown = [card for card in cards if card["layers_on_main_path"] == _DEPTH or card in others]
    return Answer(
        summary=Statement(" ".join(sentences), known),
        details=[
            *_how_compared(same),
            *_by_kind(same),
            *_adapted(same),
            *(_deviation(card) for card in others),
            *([_not_told(unknown)] if unknown else []),
        ],
        tables=[_table_of_networks(shown)] if shown else [],
        chart=_sizes(evidence, shown),
        caveat="It does not show that they begin with the same weights, or are trained alike.",
    )


def _of_same(cards: Sequence[_Row], same: Sequence[_Row]) -> str:
    kinds = Counter(map(_kind, same))
    named = [f"{kinds[kind]} its {title}" for kind, title in _KINDS.items() if kinds[kind]]
    sources = len({family(card) for card in cards})
    return (
        f"{len(same)} of {counted(len(cards), 'network')} from {counted(sources, 'other implementation')} "
        f"{'computes' if len(same) == 1 else 'compute'} the function of the network of equal depth in He et al. "
        f"(2015), section 4.2{': ' + listed(named) if named else ''}.{_of_authors(same)}"
    )


def _of_authors(same: Sequence[_Row]) -> str:
    """How many of them anybody has distributed, and how many nobody."""
    composed = [card for card in same if card["adapted"]]
    if not composed:
        return ""
    shipped = len(same) - len(composed)
    return (
        f" {shipped} of them {'is' if shipped == 1 else 'are'} as the authors ship {'it' if shipped == 1 else 'them'}; "
        f"{len(composed)} {one_or_several(composed, 'was', 'were')} composed here of classes of {families(composed)}."
    )


def _of_near(near: Sequence[_Row]) -> str:
    return f"{_some(near)} {_have(near)} the depth of one and {one_or_several(near, 'computes', 'compute')} another function."


def _of_far(far: Sequence[_Row]) -> str:
    depths = listed([str(depth) for depth in sorted({card["layers_on_main_path"] for card in far})])
    return (
        f"{counted(len(far), 'network')} {_have(far)} a depth that the paper's do not have: {depths} layers."
    )


def _of_resnet18(evidence: Evidence, far: Sequence[_Row]) -> list[str]:
    """Not the paper's ResNet-20, although its name is like it; nothing where one of the two is not recorded."""
    found = [card for card in far if card["layers_on_main_path"] == 18 and card["shortcut"] != "none"]
    paper = _resnet20(evidence)
    if not found or not paper:
        return []
    sizes = sorted({card["parameters"] for card in found})
    ends = " to ".join(f"{size:,}" for size in dict.fromkeys((sizes[0], sizes[-1])))
    text = (
        f"The ResNet-18 of {families(found)} is another network than ResNet-20: it has {ends} parameters, ResNet-20 has "
        f"{paper[0]['parameters']:,}."
    )
    return [text]


def _how_compared(same: Sequence[_Row]) -> list[Statement]:
    if not same:
        return []
    counts = Counter(card["equivalence"] for card in same)
    rounding = [card for card in same if card["equivalence"] == "equal"]
    largest = [
        card[f"difference_of_{what}_fp64"]
        for card in rounding
        for what in ("logits", "gradients")
        if card[f"difference_of_{what}_fp64"] is not None
    ]
    images = sorted({card["num_images"] for card in same if card["num_images"]})
    on = f" on {' to '.join(map(str, dict.fromkeys((images[0], images[-1]))))} images" if images else ""
    bound = f", by at most {max(largest):.1e} of the largest value in float64" if largest else ""
    parts = {
        "identical": f"{counts['identical']} agree bit for bit",
        "equal": f"{counts['equal']} differ by the order of summation{bound}",
        "permuted": f"{counts['permuted']} have their channels in another order",
    }
    told = "; ".join(text for relation, text in parts.items() if counts[relation])
    return [
        Statement(
            f"Given the same random weights, logits and gradients were compared{on}. Of the {len(same)}, {told}.",
            names_of("identities", same),
        )
    ]


def _by_kind(same: Sequence[_Row]) -> list[Statement]:
    """Which implementations have which network of the paper."""
    statements = []
    for kind, title in _KINDS.items():
        found = [card for card in same if _kind(card) == kind]
        if found:
            counts = Counter(map(family, found))
            told = listed([f"{family} ({counts[family]})" for family in sorted(counts)])
            statements.append(
                Statement(
                    f"Implementations of the paper's {title}, with the number of their networks: {told}.",
                    names_of("identities", found),
                )
            )
    return statements


def _adapted(same: Sequence[_Row]) -> list[Statement]:
    """Honest of networks that nobody ships in this form."""
    found = [card for card in same if card["adapted"]]
    if not found:
        return []
    return [
        Statement(
            f"{len(found)} of the {len(same)} are not distributed in this form: the harness adapts the code of {families(found)} "
            "(column adapted of their cards).",
            names_of("identities", found),
        )
    ]


def _deviation(card: _Row) -> Statement:
    where = card["first_deviation"] or "not recorded where"
    return Statement(
        f"{card['model']} ({card['model_source']}) first deviates from {card['counterpart']} here: {where}.",
        names_of("identities", [card]),
    )


def _not_told(unknown: Sequence[_Row]) -> Statement:
    return Statement(
        f"Of {_some(unknown)} the {one_or_several(unknown, 'card says', 'cards say')} neither that it is the same function nor that it is another.",
        names_of("identities", unknown),
    )


def _table_of_networks(shown: Sequence[_Row]) -> Table:
    difference = "largest difference of logits, float64"
    return Table(
        columns=("model", "source", "compared with", "function", "layers", "parameters", difference),
        rows=[
            (
                card["model"],
                card["model_source"],
                card["counterpart"],
                card["equivalence"],
                str(card["layers_on_main_path"]),
                f"{card['parameters']:,}",
                small(card["difference_of_logits_fp64"]),
            )
            for card in shown
        ],
        numeric=frozenset({"layers", "parameters", difference}),
    )


def _sizes(evidence: Evidence, shown: Sequence[_Row]) -> Chart | None:
    """Those that differ in any case, of the others as many as there is room for."""
    others = [card for card in shown if card["equivalence"] not in SAME_FUNCTION]
    groups = {
        "option A": [card for card in shown if card not in others and _kind(card) == "A"],
        "option B": [card for card in shown if card not in others and _kind(card) == "B"],
        "plain": [card for card in shown if card not in others and _kind(card) == "plain"],
    }
    rows = [card["model"] for card in [*others, *(card for group in groups.values() for card in group)]]
    kept = set(rows[:_MAX_ROWS])
    if len(kept) < 2:
        return None
    chart = sizes_figure(
        {
            title: [
                SizedNetwork(name=card["model"], parameters=card["parameters"], relation=card["equivalence"])
                for card in group
                if card["model"] in kept
            ]
            for title, group in {**groups, "others": others}.items()
        },
        of_paper=next((card["parameters"] for card in _resnet20(evidence)), None),
    )
    left_out = len(rows) - len(kept)
    return Chart(chart.figure, f"{chart.alt} {left_out} more are not drawn.") if left_out else chart


def _resnet20(evidence: Evidence) -> list[_Row]:
    """The card of the paper's, if there is one."""
    card = evidence.networks.card(f"resnet{_DEPTH}", "ours")
    return [] if card is None else [card]


def _kind(card: _Row) -> str:
    """Which of the paper's networks it was compared with; one of ours is itself."""
    network = str(card["counterpart"] or card["model"])
    if network.startswith("plain"):
        return "plain"
    return "B" if network.endswith("-b") else "A"


def _has_other_depth(card: _Row) -> bool:
    """Such a network cannot be one of the paper's, whatever it is called."""
    return card["layers_on_main_path"] not in BLOCKS_PER_STAGE


def _some(cards: Sequence[_Row]) -> str:
    """Their names, or how many they are."""
    names = [card["model"] for card in cards]
    return listed(names) if len(names) <= _FEW else f"{len(names)} networks"


def _have(things: Sequence[object]) -> str:
    return one_or_several(things, "has", "have")


QUESTIONS: Final = (
    Question(
        key="same-network",
        text="Is it the network of the paper?",
        commands=["harness identify"],
        answer=_same_network,
    ),
)
