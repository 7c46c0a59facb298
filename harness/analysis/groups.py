"""Runs that answer the same question in the same place with different seeds. No torch.

A group is of one model, protocol, length, precision, data set and device model. Versions of torch and of the harness
may differ within it. A seed that was run several times counts once: repetition is no further evidence. Nor is a group
whose runs end with the same bits as those of another: `distinct` puts these together.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from harness.config import Recipe, RunSpec, load_recipe

__all__ = ["RunGroup", "bits_of", "distinct", "follows_paper", "group_runs", "measurement_of", "requested"]

_Row = Mapping[str, Any]
_Thing = TypeVar("_Thing")


@dataclass(frozen=True, kw_only=True)
class RunGroup:
    """Runs that differ in nothing but their seed."""

    model: str
    model_source: str | None
    recipe: str
    iterations: int
    batch_size: int
    shortened: bool
    precision: str
    data: str
    device_name: str
    protocol: str
    """What their recipe prescribes, its names and texts aside."""
    runs: tuple[_Row, ...]
    """Completed ones, by seed, one for each: rows of the records of kind ``runs``."""
    num_diverged: int
    """Seeds of which a run diverged, whatever became of others."""
    num_diverged_once: int
    """Of these, seeds of which another run completed, and counts."""
    num_failed: int
    """Seeds that have no result for another reason: failed, or skipped because there is no network."""
    num_adopted: int
    """Seeds whose only run went on from a checkpoint of other circumstances, and is no evidence."""

    @property
    def source(self) -> str:
        """Where the code of the model comes from; early records do not say so of ours."""
        return _source(self.model_source)

    @property
    def setting(self) -> tuple[str, int, str, str, str]:
        """What groups have in common that differ in nothing but their model."""
        return self.protocol, self.iterations, self.precision, self.data, self.device_name

    @property
    def setting_name(self) -> str:
        """The setting in words."""
        return f"{self.recipe}, {self.iterations:,} iterations, {self.precision}, on {self.device_name}"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the completed runs, ascending."""
        return tuple(run["seed"] for run in self.runs)

    def values(self, column: str) -> list[float]:
        """A column of the completed runs, by seed, where it is known."""
        values = [run[column] for run in self.runs]
        return [value for value in values if value is not None and math.isfinite(value)]


_SHOWN = (
    *("model", "model_source", "recipe", "iterations", "batch_size"),
    *("shortened", "precision", "data", "device_name"),
)
_SEED = re.compile(r'"seed": ?\d{1,9}(?!\d)')
_RANK = {"completed": 3, "diverged": 2}


def follows_paper(group: RunGroup) -> bool:
    """Whether runs were trained by the paper's protocol, to its end, on its images."""
    recipe = load_recipe("paper")
    return (group.data, group.iterations, group.protocol) == (
        "cifar10",
        recipe.num_iterations(),
        _protocol_of(recipe),  # last, because it takes the longest to compare
    )


def group_runs(runs: Iterable[_Row]) -> list[RunGroup]:
    """Rows of the records of kind ``runs``, grouped over seeds, in order of first appearance.

    Of several runs of a seed, one that ended counts rather than one that failed, then the latest.
    """
    groups: dict[tuple[Any, ...], dict[int, list[_Row]]] = {}
    for run in runs:
        shown = (run[name] for name in _SHOWN if name not in {"recipe", "model_source"})
        question = _protocol(run), _source(run["model_source"]), *shown
        groups.setdefault(question, {}).setdefault(run["seed"], []).append(run)
    return [_group(by_seed) for by_seed in groups.values()]


def bits_of(group: RunGroup, seeds: Collection[int] | None = None) -> Hashable | None:
    """With what the runs of a group end, seed by seed: weights and accuracy; None where the weights are not known.

    Args:
        group: whose.
        seeds: which of them; all unless told.
    """
    ends = tuple(
        (run["seed"], run["weights_sha256"], run["test_accuracy"])
        for run in group.runs
        if seeds is None or run["seed"] in seeds
    )
    return None if any(digest is None for _, digest, _ in ends) else ends


def measurement_of(group: RunGroup, seeds: Collection[int] | None = None) -> Hashable | None:
    """What groups have in common that are one measurement: setting and bits; None where these are not known."""
    bits = bits_of(group, seeds)
    return None if bits is None else (group.setting, bits)


def distinct(things: Iterable[_Thing], bits: Callable[[_Thing], Hashable | None]) -> list[list[_Thing]]:
    """Things that are one measurement together, in order of first appearance.

    Args:
        things: of any kind.
        bits: what two of them have in common that are one measurement; None for one that stands alone.
    """
    found: dict[Hashable, list[_Thing]] = {}
    for number, thing in enumerate(things):
        its = bits(thing)
        found.setdefault((number,) if its is None else (None, its), []).append(thing)
    return list(found.values())


def requested(run: _Row) -> RunSpec | None:
    """What was asked of a run; None if its record does not say so in a form that is known."""
    return _parsed(run["spec"])


def _group(by_seed: Mapping[int, Sequence[_Row]]) -> RunGroup:
    members: Sequence[_Row] = [max(by_seed[seed], key=_weight) for seed in sorted(by_seed)]
    completed = [run for run in members if run["status"] == "completed"]
    evidence = [run for run in completed if not run["resumed_from"]]
    diverged = {seed for seed, runs in by_seed.items() if any(run["status"] == "diverged" for run in runs)}
    sources = {run["model_source"] for run in members} - {None}
    return RunGroup(
        **{name: members[0][name] for name in _SHOWN if name != "model_source"},
        model_source=next(iter(sources), None),
        protocol=_protocol(members[0]),
        runs=tuple(evidence),
        num_diverged=len(diverged),
        num_diverged_once=sum(run["seed"] in diverged for run in evidence),
        num_failed=sum(run["status"] not in _RANK for run in members),
        num_adopted=len(completed) - len(evidence),
    )


def _weight(run: _Row) -> tuple[Any, ...]:
    return _RANK.get(run["status"], 0), not run["resumed_from"], run["finished_at"]


def _source(stated: str | None) -> str:
    return "ours" if stated is None else stated


def _protocol(run: _Row) -> str:
    return _protocol_in(_SEED.sub('"seed":0', run["spec"]))


@functools.lru_cache(maxsize=20_000)
def _protocol_in(spec: str) -> str:
    """Of a request, whose seed does not matter: thousands of runs differ in nothing else, and each takes time to be read."""
    parsed = _parsed(spec)
    return spec if parsed is None else _protocol_of(parsed.recipe)


@functools.lru_cache(maxsize=1000)
def _protocol_of(recipe: Recipe) -> str:
    return json.dumps([recipe.protocol(), recipe.num_iterations()], sort_keys=True)


@functools.lru_cache(maxsize=20_000)
def _parsed(spec: str) -> RunSpec | None:
    try:
        return RunSpec.model_validate_json(spec)
    except ValidationError:
        return None
