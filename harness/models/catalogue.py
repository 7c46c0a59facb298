"""Every model the harness can train, as data with a lazy builder. Reading it imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.errors import UnknownNameError
from harness.paper import BLOCKS_PER_STAGE

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ModelEntry", "find", "models"]


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model: what it is, where it comes from, and how to build it."""

    key: str
    """The name used on the command line and in records."""
    source: str
    licence: str
    family: Literal["resnet", "plain"]
    depth: int
    """Weighted layers on the main path."""
    shortcut: Literal["A", "B", "none"]
    build: Callable[[], nn.Module]
    """Makes a new network from images (N, 3, 32, 32) to logits (N, 10), freshly initialised."""


def models() -> dict[str, ModelEntry]:
    """The catalogue, by key."""
    return dict(_CATALOGUE)


def find(key: str) -> ModelEntry:
    """The entry of a key.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    try:
        return _CATALOGUE[key]
    except KeyError:
        raise UnknownNameError("model", key, _CATALOGUE) from None


def _ours(depth: int, shortcut: Literal["A", "B", "none"]) -> ModelEntry:
    def build() -> nn.Module:
        from harness.models.resnet import CifarResNet

        if shortcut == "none":
            return CifarResNet(depth, residual=False)
        return CifarResNet(depth, shortcut=shortcut)

    family: Literal["resnet", "plain"] = "plain" if shortcut == "none" else "resnet"
    return ModelEntry(
        key=f"{family}{depth}{'-b' if shortcut == 'B' else ''}",
        source="harness.models.resnet",
        licence="MIT",
        family=family,
        depth=depth,
        shortcut=shortcut,
        build=build,
    )


_SHORTCUTS: tuple[Literal["A", "B", "none"], ...] = ("A", "B", "none")
_CATALOGUE = {
    entry.key: entry
    for shortcut in _SHORTCUTS
    for entry in (_ours(depth, shortcut) for depth in BLOCKS_PER_STAGE)
}
