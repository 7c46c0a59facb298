"""Code against recipe: in a table of models x recipes, what the spread of results comes from. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.analysis.estimates import CONFIDENCE
from harness.analysis.groups import RunGroup

__all__ = ["SOURCES", "Share", "TwoWay", "complete_table", "two_way"]

_RESAMPLES = 2000
_SEED = 20

SOURCES = ("model", "recipe", "model x recipe", "seed")
"""What the spread is divided among."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """Of the spread of all results."""

    share: float
    """Epsilon squared (Kelley 1935): of the sum of squares, without what chance alone puts there; the four add up to
    1, and one that is nothing may come out below 0."""
    low: float
    """Lower end of the 95 % interval, from 0."""
    high: float


@dataclass(frozen=True, kw_only=True)
class TwoWay:
    """Analysis of variance of a complete table of models x recipes (Fisher 1925)."""

    models: tuple[str, ...]
    recipes: tuple[str, ...]
    num_seeds: int
    """In each cell."""
    shares: Mapping[str, Share]
    """By source."""


def complete_table(
    groups: Sequence[RunGroup],
) -> tuple[tuple[str, ...], tuple[str, ...], list[list[list[float]]]] | None:
    """The largest table of models x recipes, in one precision on one device, that has no empty cell.

    Args:
        groups: of runs of full length; others are passed over.

    Returns:
        Models, recipes, and the test accuracies of each cell by seed, as many in each; None if there is no table of at
        least two by two with two seeds.
    """
    tables: dict[tuple[str, str, str], dict[str, dict[str, RunGroup]]] = {}
    for group in groups:
        if not group.shortened and len(group.runs) > 1:
            place = group.precision, group.data, group.device_name
            cells = tables.setdefault(place, {}).setdefault(group.model, {})
            known = cells.get(group.protocol)
            if known is None or len(group.runs) > len(known.runs):
                cells[group.protocol] = group
    best: list[list[RunGroup]] = []
    for table in tables.values():
        for protocols in _candidates(table):
            rows = [
                [its[protocol] for protocol in protocols]
                for its in table.values()
                if its.keys() >= set(protocols)
            ]
            if len(rows) > 1 and len(rows) * len(protocols) > sum(map(len, best)):
                best = rows
    if not best:
        return None
    best = [sorted(row, key=lambda group: (group.recipe, group.protocol)) for row in best]
    num_seeds = min(len(group.runs) for row in best for group in row)
    values = [[group.values("test_accuracy")[:num_seeds] for group in row] for row in best]
    return tuple(row[0].model for row in best), tuple(group.recipe for group in best[0]), values


def _candidates(table: Mapping[str, Mapping[str, RunGroup]]) -> list[list[str]]:
    """Sets of at least two protocols that some models have in common, in order of first appearance."""
    in_order = list(dict.fromkeys(protocol for its in table.values() for protocol in its))
    found: dict[frozenset[str], None] = {}
    for its in table.values():
        own = frozenset(its)
        for protocols in (own, *(own & other for other in found)):
            found.setdefault(protocols)
    return [[name for name in in_order if name in its] for its in found if len(its) > 1]


def two_way(
    models: Sequence[str], recipes: Sequence[str], values: Sequence[Sequence[Sequence[float]]]
) -> TwoWay:
    """Divide the spread of a table among model, recipe, their interaction and the seed.

    The interval is a bootstrap over the seeds of each cell (percentiles; deviations from the mean of a cell are drawn anew,
    widened by the root of n / (n - 1)): how the shares would move with other seeds, not with other models. Of few
    seeds it covers the true shares less often than it says; `tests/analysis/test_variance.py` holds it to 85 % for five.

    Args:
        models: names of the rows.
        recipes: names of the columns.
        values: results by model, recipe and seed; as many seeds in each cell, at least two.

    Raises:
        ValueError: the table is smaller than two by two by two, has cells of different size, or no spread.
    """
    sizes = {len(cell) for row in values for cell in row}
    if len(sizes) != 1 or {len(row) for row in values} != {len(recipes)} or len(values) != len(models):
        raise ValueError("the table needs a cell for each model and recipe, with as many seeds in each")
    table = np.asarray(values, dtype=np.float64)
    if min(table.shape) < 2:
        raise ValueError(
            f"a table of {' x '.join(map(str, table.shape))} (models x recipes x seeds) is too small; give two of each"
        )
    if np.ptp(table) == 0:
        raise ValueError("all results are equal, so there is no spread to divide")
    shares = _shares(table)
    num_seeds = table.shape[2]
    means = table.mean(axis=2, keepdims=True)
    deviations = (table - means) * np.sqrt(num_seeds / (num_seeds - 1))
    generator = np.random.default_rng(_SEED)
    drawn = [
        _shares(
            means + np.take_along_axis(deviations, generator.integers(num_seeds, size=table.shape), axis=2)
        )
        for _ in range(_RESAMPLES)
    ]
    low, high = np.clip(np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0), 0, 1)
    return TwoWay(
        models=tuple(models),
        recipes=tuple(recipes),
        num_seeds=num_seeds,
        shares={
            source: Share(float(share), float(below), float(above))
            for source, share, below, above in zip(SOURCES, shares, low, high, strict=True)
        },
    )


def _shares(table: _Floats) -> _Floats:
    """Shares of the sum of squares, in the order of `SOURCES`."""
    num_models, num_recipes, num_seeds = table.shape
    mean = table.mean()
    cells = table.mean(axis=2)
    of_model = num_recipes * num_seeds * ((table.mean(axis=(1, 2)) - mean) ** 2).sum()
    of_recipe = num_models * num_seeds * ((table.mean(axis=(0, 2)) - mean) ** 2).sum()
    of_cells = num_seeds * ((cells - mean) ** 2).sum()
    of_seeds = ((table - cells[:, :, np.newaxis]) ** 2).sum()
    squares = np.array([of_model, of_recipe, of_cells - of_model - of_recipe])
    freedom = np.array([num_models - 1, num_recipes - 1, (num_models - 1) * (num_recipes - 1)])
    of_chance = of_seeds / (num_models * num_recipes * (num_seeds - 1))
    total = of_cells + of_seeds
    if total == 0:  # a resample without any spread
        return np.array([0.0, 0.0, 0.0, 1.0])
    shares = (squares - freedom * of_chance) / total
    return np.append(shares, 1 - shares.sum())
