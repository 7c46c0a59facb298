"""Which networks are the same function, from what their identity cards say of each beside the paper's. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

__all__ = ["RELATIONS", "SAME_FUNCTION", "Relation", "implementations", "relation"]

_Card = Mapping[str, Any]

Relation = Literal["identical", "equal", "permuted", "different", "not compared"]

RELATIONS: Final[Sequence[Relation]] = ("identical", "equal", "permuted", "different", "not compared")
"""Bit for bit; but for rounding; with channels in another order; another function; nobody knows."""

SAME_FUNCTION: Final = frozenset(RELATIONS[:3])
"""Of these, what the same function is, whatever its rounding and the order of its channels."""

_OURS: Final = "ours"
_PAPERS: Final = re.compile(r"-?((?:resnet|plain)\d+(?:-b)?)$")


def relation(one: _Card, other: _Card) -> Relation:
    """What two networks are to each other, as far as their comparisons with the paper's tell.

    Args:
        one: a row of the records of kind ``identities``.
        other: another.
    """
    if one["model"] == other["model"]:
        return "identical"
    networks = [_network(card) for card in (one, other)]
    if None in networks:
        # a network of the paper's and one that is none of them; or two that are none, of which nobody knows
        return "not compared" if networks == [None, None] else "different"
    if networks[0] != networks[1]:
        return "different"
    known = {card["equivalence"] for card in (one, other)} - {"reference"}
    return max(known & set(RELATIONS), key=RELATIONS.index, default="not compared")


def implementations(cards: Iterable[_Card]) -> dict[tuple[str, str], Relation]:
    """What each implementation's networks are to those of the paper that they were compared with.

    Args:
        cards: rows of the records of kind ``identities``.

    Returns:
        By implementation and network of the paper. An implementation is what stands before the network in the keys of its
        models; a network that is another than the paper's stands for itself.
    """
    found: dict[tuple[str, str], Relation] = {}
    for card in cards:
        network = card["counterpart"]
        if network is None:
            found[_OURS, card["model"]] = "identical"
        elif card["equivalence"] in RELATIONS:
            family = card["model"]
            if card["equivalence"] != "different":
                family = _PAPERS.sub("", family) or _OURS
            found[family, network] = card["equivalence"]
    return found


def _network(card: _Card) -> str | None:
    """Key of the network of the paper that it is; None if it is none of them."""
    if card["equivalence"] == "reference":
        return str(card["model"])
    return None if card["equivalence"] == "different" else card["counterpart"]
