"""Words that sentences of several findings are made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sized
from typing import Any, Final

from harness.formats import ABSENT, listed

__all__ = ["counted", "families", "family", "one_or_several", "small"]

_VERSION: Final = re.compile(r"(?:@[0-9a-f]{7,40}| code [0-9a-f]{7,64}| \d\S*)$")


def counted(number: int, thing: str) -> str:
    """``1 network``, ``2,000 networks``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def one_or_several(things: Sized, one: str, several: str) -> str:
    """The form of a word that goes with so many."""
    return one if len(things) == 1 else several


def small(value: float | None) -> str:
    """A relative difference; of none at all just that."""
    if value is None:
        return ABSENT
    return f"{value:.1e}" if value else "0"


def family(row: Mapping[str, Any]) -> str:
    """Whose code a network is, without its version: the column ``model_source`` of a record."""
    return _VERSION.sub("", row["model_source"])


def families(rows: Iterable[Mapping[str, Any]]) -> str:
    """Of several, each once."""
    return listed(sorted(set(map(family, rows))))
