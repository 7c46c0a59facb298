"""Everything recorded, read once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.by_image import Predicted, predicted
from harness.analysis.groups import RunGroup, group_runs
from harness.analysis.protocol import Networks
from harness.records import BrokenFile, Store

__all__ = ["Evidence", "gather"]

_Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The records of a store, as the sections of a report need them."""

    runs: Sequence[_Row]
    every_group: Sequence[RunGroup]
    """Of real images."""
    groups: Sequence[RunGroup]
    """Of these, with completed runs."""
    epochs: Mapping[str, Sequence[_Row]]
    """By run, in order."""
    predictions: Mapping[str, Predicted]
    """By run."""
    cards: Sequence[_Row]
    """Oldest first."""
    networks: Networks
    audits: Sequence[_Row]
    profiles: Sequence[_Row]
    verifications: Sequence[_Row]
    benchmarks: Sequence[_Row]
    broken: Sequence[BrokenFile]
    """Files that were passed over."""
    published: frozenset[str]
    """Runs that the project ships with the store, and that were not recorded in it."""

    @property
    def setting_columns(self) -> tuple[str, ...]:
        """Names of what groups differ in beside their model, as columns of a table."""
        names = ("recipe", "iterations", "precision")
        return (*names, "device") if self._has_several_devices else names

    def setting_cells(self, group: RunGroup) -> tuple[str, ...]:
        """These of a group."""
        cells = (group.recipe, f"{group.iterations:,}", group.precision)
        return (*cells, group.device_name) if self._has_several_devices else cells

    @property
    def compared_cards(self) -> list[_Row]:
        """The latest card of each model that was compared with one of the paper, by name."""
        latest = {card["model"]: card for card in self.cards}
        return [latest[model] for model in sorted(latest) if latest[model]["counterpart"] is not None]

    @functools.cached_property
    def _has_several_devices(self) -> bool:
        return len({group.device_name for group in self.groups}) > 1


def gather(store: Store) -> Evidence:
    """Read a store; what is broken is passed over and named."""
    broken: list[BrokenFile] = []

    def rows(kind: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        table, unread = store.read(kind)
        broken.extend(unread)
        listed: list[dict[str, Any]] = (table if columns is None else table.select(columns)).to_pylist()
        return listed

    runs = rows("runs")
    every_group = [group for group in group_runs(runs) if group.data == "cifar10"]
    groups = [group for group in every_group if group.runs]
    epochs: dict[str, list[dict[str, Any]]] = {}
    # not the losses of every mini-batch, of which there are many
    for row in rows("epochs", ["run_id", "epoch", "iteration", "train_error", "test_error"]):
        epochs.setdefault(row["run_id"], []).append(row)
    for course in epochs.values():
        course.sort(key=lambda row: row["epoch"])
    wanted = [run["run_id"] for group in groups for run in group.runs]
    predictions, unread = store.read("predictions", wanted)
    broken.extend(unread)
    cards = sorted(rows("identities"), key=lambda card: card["identified_at"])
    return Evidence(
        runs=runs,
        every_group=every_group,
        groups=groups,
        epochs=epochs,
        predictions=predicted(predictions),
        cards=cards,
        networks=Networks(cards),
        audits=rows("audits"),
        profiles=rows("profiles"),
        verifications=rows("verifications"),
        benchmarks=rows("benchmarks"),
        broken=broken,
        published=frozenset(run["run_id"] for run in runs) - store.names_here("runs"),
    )
