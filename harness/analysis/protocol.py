"""Whether runs were made as a claim was: its length, protocol, data, network and rule of selection. No torch."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.analysis.equivalence import SAME_FUNCTION
from harness.analysis.groups import RunGroup, requested
from harness.claims import Claim
from harness.config import NAMES_AND_LENGTH, Recipe, RunSpec, load_recipe

__all__ = ["Card", "Difference", "Networks", "differences", "measured_column"]

Card = Mapping[str, Any]
"""A row of the records of kind ``identities``."""

_SAME: Final = SAME_FUNCTION | {"reference"}
_MEASURED: Final = {
    "last": "test_accuracy",
    "mean-of-5-runs": "test_accuracy",
    "best-on-test": "test_accuracy_best",
}


@dataclass(frozen=True)
class Difference:
    """Something that runs have otherwise than the claim."""

    what: str
    claimed: str
    measured: str

    def __str__(self) -> str:
        return f"{self.what}: {self.measured} here, {self.claimed} in the claim"


class Networks:
    """Which models are the same network, by their identity cards.

    Args:
        cards: rows of the records of kind ``identities``; of several of a model, the latest counts.
    """

    def __init__(self, cards: Iterable[Card]) -> None:
        self._cards: dict[tuple[str, str | None], Card] = {}
        self._latest: dict[str, Card] = {}
        for card in sorted(cards, key=lambda card: card["identified_at"]):
            self._cards[card["model"], card["model_source"]] = card
            self._latest[card["model"]] = card

    def network_of(self, model: str, source: str | None = None) -> str:
        """Key of the paper's network that computes the same function, or else of the model itself.

        Args:
            model: a key.
            source: where its code comes from; a card of other code says nothing of it. None: whichever is known.
        """
        card = self.card(model, source)
        if card is None or card["counterpart"] is None or card["equivalence"] not in _SAME:
            return model
        return str(card["counterpart"])

    def resembles(self, model: str, source: str | None) -> str:
        """Key of the paper's network that it was compared with, whether it is the same or not; or else its own."""
        card = self.card(model, source)
        return model if card is None or card["counterpart"] is None else str(card["counterpart"])

    def card(self, model: str, source: str | None = None) -> Card | None:
        """The identity card of a model, None if there is none."""
        return self._latest.get(model) if source is None else self._cards.get((model, source))


def measured_column(claim: Claim) -> str | None:
    """Column of the records of kind ``runs`` that the claim is about; None if its rule of selection has none."""
    return _MEASURED.get(claim.selection)


def differences(claim: Claim, group: RunGroup, networks: Networks) -> list[Difference]:
    """What keeps a group of runs from being compared with a claim; empty if nothing does."""
    found = _of_function(claim, group, networks)
    if measured_column(claim) is None:
        found.append(Difference("rule of selection", claim.selection, "last"))
    if group.data != "cifar10":
        found.append(Difference("data", "cifar10", group.data))
    if not claim.recipes:
        return [*found, Difference("recipe", "undocumented", group.recipe)]
    spec = requested(group.runs[0])
    if spec is None:
        return [*found, Difference("recipe", " or ".join(claim.recipes), "unreadable")]
    card = networks.card(group.model, group.model_source)
    depth = None if card is None else card["layers_on_main_path"]
    of_each = [
        [
            *_of_lengths(spec, recipe),
            *_of_recipes(spec.recipe, recipe, depth),
            *_of_initial_weights(claim, group, networks, recipe),
        ]
        for recipe in map(load_recipe, claim.recipes)
    ]
    return [*found, *min(of_each, key=len)]


def _of_lengths(spec: RunSpec, recipe: Recipe) -> list[Difference]:
    length = recipe.num_iterations()
    if spec.iterations == length:
        return []
    return [Difference("iterations", f"{length:,}", f"{spec.iterations:,}")]


def _of_function(claim: Claim, group: RunGroup, networks: Networks) -> list[Difference]:
    if group.model == claim.model:
        return []
    if networks.network_of(group.model, group.model_source) != networks.network_of(claim.model):
        card = networks.card(group.model, group.model_source)
        why = "no identity card says that it is the same"
        if card is not None:
            why = card["first_deviation"] or "another function"
        return [Difference("network", claim.model, f"{group.model} ({why})")]
    return []


def _of_initial_weights(
    claim: Claim, group: RunGroup, networks: Networks, recipe: Recipe
) -> list[Difference]:
    """Another rule, where a recipe of the claim leaves that to the implementation, and this is another than the claim's."""
    same_network = networks.network_of(group.model, group.model_source) == networks.network_of(claim.model)
    if group.model == claim.model or not same_network:
        return []
    if recipe.initialization == "implementation":
        cards = networks.card(claim.model), networks.card(group.model, group.model_source)
        rules = [None if card is None else card["initialization"] for card in cards]
        if rules[0] != rules[1]:
            return [Difference("initial weights", *(str(rule or "unknown") for rule in rules))]
    return []


@functools.lru_cache(maxsize=1000)
def _of_recipes(ours: Recipe, theirs: Recipe, depth: int | None) -> tuple[Difference, ...]:
    """Kept, since thousands of runs are of few recipes."""
    here, there = _flat(ours, depth), _flat(theirs, depth)
    return tuple(
        Difference(name.replace("_", " ").replace(".", " "), _shown(there.get(name)), _shown(here.get(name)))
        for name in dict.fromkeys([*there, *here])
        if here.get(name) != there.get(name)
    )


def _flat(recipe: Recipe, depth: int | None) -> dict[str, Any]:
    """The protocol as one level of names; a warm-up that is only for deeper networks is none."""
    protocol = recipe.model_dump(mode="json", exclude=set(NAMES_AND_LENGTH))
    if recipe.warmup is not None and depth is not None and depth < recipe.warmup.min_depth:
        protocol["warmup"] = None
    flat: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for name, part in value.items():
                add(f"{prefix}.{name}" if prefix else name, part)
        else:
            flat[prefix] = value

    add("", protocol)
    return flat


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value)
