"""Runs that were interrupted somewhere else, or before something changed: refused, unless one asks to go on.

A run goes on by itself only where it gives the bits of one that was never interrupted: same request, device, torch,
threads and computing code. All of that is in its name, so a checkpoint of anything else has another name. Here it is
found, and what has changed since is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from harness.config import RunSpec
from harness.errors import CheckpointError, StorageError
from harness.execution.lock import is_held
from harness.records import Store
from harness.storage import is_remote
from harness.training.checkpoint import Checkpoint, CheckpointHeader
from harness.training.loop import Adopted

__all__ = [
    "Checkpoints",
    "InterruptedRun",
    "adopt",
    "check_adoptable",
    "find_interrupted",
    "list_checkpoints",
]

Checkpoints = Mapping[str, Sequence[Path]]
"""Those of a store, by what the names of their runs say of model, recipe and seed."""

_ANOTHER_RUN = ("model", "seed", "precision", "data", "iterations", "recipe.name")
"""Who asks for another of these wants another run, and has not changed this one."""

_NOT_TO_BE_RESUMED = {
    "recipe.batch_size": "decides which images come next",
    "recipe.last_batch": "decides which images come next",
    "recipe.optimizer.kind": "decides what the optimiser keeps",
    "recipe.optimizer.momentum": "decides what the optimiser keeps",
}
"""Under another of these, what a checkpoint holds means nothing."""

_OF_NO_CONSEQUENCE = {"recipe.summary", "recipe.source"}


@dataclass(frozen=True, kw_only=True)
class InterruptedRun:
    """A run with a checkpoint, and what has changed since that decides its bits."""

    run_id: str
    iteration: int
    differences: dict[str, tuple[Any, Any]]
    """Name -> then and now."""

    def __str__(self) -> str:
        changes = [
            f"{name} {_short(then)} -> {_short(now)}" for name, (then, now) in self.differences.items()
        ]
        return f"interrupted after iteration {self.iteration:,}, and since then: {', '.join(changes)}"


def list_checkpoints(store: Store) -> Checkpoints:
    """Those that are there, in the order of their names."""
    found: dict[str, list[Path]] = {}
    for path in sorted(store.checkpoints()):
        found.setdefault(_without_digests(path.stem), []).append(path)
    return found


def find_interrupted(
    run_id: str, spec: RunSpec, place: Mapping[str, str], store: Store, checkpoints: Checkpoints
) -> InterruptedRun | None:
    """A checkpoint of the same model, recipe, seed, precision, data and length that is not this run's own.

    Args:
        run_id: the run that is to begin.
        spec: what is asked of it.
        place: what else decides its bits.
        store: where checkpoints lie.
        checkpoints: those of the store.

    Returns:
        The one that has come farthest, of those that no process is at and whose run is not recorded; None if there is none.
    """
    now = _flat(json.loads(spec.model_dump_json()))
    found = []
    for path in checkpoints.get(_without_digests(run_id), ()):  # others need not be opened
        try:
            header = CheckpointHeader.read(path)
            then = _flat(json.loads(header.spec))
        except (CheckpointError, AttributeError, RecursionError, ValueError):  # its own run will say so
            continue
        if header.run_id != path.stem or header.run_id == run_id:
            continue
        if any(then.get(name) != now[name] for name in _ANOTHER_RUN):
            continue
        differences = {
            name: (before.get(name), after.get(name))
            for before, after in ((then, now), (header.place, place))
            for name in {**before, **after}
            if before.get(name) != after.get(name) and name not in _OF_NO_CONSEQUENCE
        }
        iteration = header.progress["iteration"]
        found.append(InterruptedRun(run_id=header.run_id, iteration=iteration, differences=differences))
    found.sort(key=lambda run: run.iteration)
    while found and _is_settled(found[-1].run_id, store):
        found.pop()
    return found[-1] if found else None


def _without_digests(run_id: str) -> str:
    """Model, recipe and seed; what follows are digests of the rest."""
    return run_id.rsplit("-", 2)[0]


def _is_settled(run_id: str, store: Store) -> bool:
    """Whether a run is recorded, or a process is at it; as far as that can be found out where nothing can be written."""
    if store.ended_run(run_id) is not None:
        return True
    checkpoint = store.checkpoint(run_id)
    try:
        return is_held(checkpoint)
    except StorageError:
        if is_remote(checkpoint):
            raise
        return False


def check_adoptable(interrupted: InterruptedRun) -> None:
    """Whether anything can go on where a run was interrupted.

    Raises:
        CheckpointError: something has changed that it cannot go on with.
    """
    for name, reason in _NOT_TO_BE_RESUMED.items():
        if name in interrupted.differences:
            raise CheckpointError(
                f"{interrupted.run_id} cannot go on: {name} {reason}; use --if-changed restart"
            )


def adopt(
    interrupted: InterruptedRun, run_id: str, spec: RunSpec, place: Mapping[str, str], store: Store
) -> None:
    """Write the checkpoint of a run that goes on where another one was interrupted; that one's stays.

    What has changed is noted in it, and comes into the record of the run.

    Raises:
        CheckpointError: it is broken.
        StorageError: the checkpoint cannot be written.
    """
    stored = Checkpoint.read(store.checkpoint(interrupted.run_id), interrupted.run_id)
    note = Adopted(
        run_id=interrupted.run_id,
        iteration=interrupted.iteration,
        differences={name: list(sides) for name, sides in interrupted.differences.items()},
    )
    progress = dict(stored.header.progress)
    progress["resumed_from"] = [*progress.get("resumed_from", []), asdict(note)]
    header = replace(
        stored.header, run_id=run_id, spec=spec.model_dump_json(), place=dict(place), progress=progress
    )
    replace(stored, header=header).write(store.checkpoint(run_id))


def _flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """``{"recipe": {"name": "paper"}}`` -> ``{"recipe.name": "paper"}``."""
    return dict(_leaves(tree, ""))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:8]}.." if len(text) == 64 and text.isalnum() else text
