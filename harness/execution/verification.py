"""A recorded run, repeated on this machine, and compared with its record bit by bit."""

from __future__ import annotations

import json
import math
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from harness import allocator, environment
from harness.analysis.divergence import environment_differences, first_divergence
from harness.config import RunSpec
from harness.environment import Environment
from harness.errors import HarnessError, InterruptedRunError, RecordError, UsageError, printable
from harness.execution.job import Ended, EpochEnded, Event, Job
from harness.execution.local import execute
from harness.models import find
from harness.records import ENDED, Store
from harness.records.schema import ENVIRONMENT_COLUMNS, KINDS
from harness.training.device import resolve_device

__all__ = ["Recorded", "find_recorded", "num_epochs_to_repeat", "verify"]

_OF_NO_CONSEQUENCE = {"commit", "dirty", "memory_bytes", "device_memory_bytes"}
"""Columns of the environment that are not named as a likely cause: what of the code matters is in ``code_sha256``."""


@dataclass(frozen=True)
class Recorded:
    """A run as it was recorded."""

    run: dict[str, Any]
    epochs: list[dict[str, Any]]
    logits: Any
    """Array of kind ``predictions``; None where they are not recorded."""

    @property
    def spec(self) -> RunSpec:
        """What was asked."""
        return RunSpec.model_validate_json(self.run["spec"])

    def verification(self, here: Environment, **columns: Any) -> dict[str, Any]:
        """A row for the records of kind ``verifications``; columns that are not given are null.

        Args:
            here: where it was repeated.
            columns: what came of it.
        """
        now = datetime.now(UTC)
        row: dict[str, Any] = dict.fromkeys(KINDS["verifications"].names)
        return {
            **row,
            "verification_id": f"{now:%Y%m%dT%H%M%S.%f}-{self.run['run_id']}",
            **{name: self.run[name] for name in ("run_id", "model", "recipe", "seed", "precision")},
            **self._environments(here),
            "verified_at": now,
            **here.columns(),
            **columns,
        }

    def _environments(self, here: Environment) -> dict[str, str]:
        """Columns ``environment_then`` and ``environment_now``: what differs and can matter, as JSON."""
        there = here.columns() | {"model_source": find(self.run["model"]).origin}
        columns = ["model_source", *sorted(ENVIRONMENT_COLUMNS - _OF_NO_CONSEQUENCE)]
        known = [name for name in columns if self.run[name] is not None]
        differences = environment_differences(self.run, there, known)
        sides = ({name: pair[side] for name, pair in differences.items()} for side in (0, 1))
        then, now = (json.dumps(side, sort_keys=True) for side in sides)
        return {"environment_then": then, "environment_now": now}


def find_recorded(store: Store, name: str) -> Recorded:
    """The completed run of a name, or of the only name that begins so; ours or else the published one.

    Raises:
        UsageError: there is none, or there are several.
        RecordError: its epochs are not recorded.
    """
    names = sorted(found for found in store.names("runs") if found.startswith(name))
    fitting = [name] if name in names else names
    if not fitting:
        folder = printable(shlex.quote(str(store.root)))
        raise UsageError(
            f"no run {printable(repr(name))} in {printable(store.root)}; list them with: harness results list --results {folder}"
        )
    if len(fitting) > 1:
        several = ", ".join(fitting[:3])
        raise UsageError(
            f"{printable(repr(name))} matches {len(fitting)} runs, e.g. {several}; give more of the id"
        )
    found = (home.find("runs", fitting[0]) for home in (store, store.published()))
    rows = [table.to_pylist()[0] for table in found if table is not None]
    if not rows:
        raise RecordError(f"run {fitting[0]}: its record is broken; harness results check says how")
    run: dict[str, Any] = next((row for row in rows if row["status"] in ENDED), rows[0])
    if run["status"] not in ENDED:
        raise UsageError(f"run {fitting[0]} was {run['status']}; only a run that ended can be verified")
    _check_request(run)
    if run["resumed_from"]:
        raise UsageError(
            f"run {fitting[0]} went on after something had changed (column resumed_from): no single request and "
            "environment give its bits, so it cannot be verified"
        )
    epochs = sorted(store.read("epochs", fitting)[0].to_pylist(), key=lambda row: row["epoch"])
    if not epochs:
        raise RecordError(
            f"run {fitting[0]}: its epochs are not recorded, so there is nothing to compare with"
        )
    return Recorded(run, epochs, _logits(store, fitting[0]))


def _check_request(run: dict[str, Any]) -> None:
    """Whether the columns of a record say what its request does: the network that it names is built and run.

    Raises:
        RecordError: they do not, or it is no request.
    """
    try:
        spec = RunSpec.model_validate_json(run["spec"])
    except ValidationError as error:
        raise RecordError(f"run {run['run_id']}: its column spec holds no request for a run") from error
    if (spec.model, spec.sha256) != (run["model"], run["spec_sha256"]):
        raise RecordError(
            f"run {run['run_id']}: its column spec asks for another run than its other columns say, so it is not repeated"
        )


def verify(
    recorded: Recorded,
    *,
    num_epochs: int | None = None,
    observer: Callable[[Job, Event], None],
) -> dict[str, Any]:
    """Repeat a run, or the beginning of it, in a fresh process, and compare.

    Args:
        recorded: the run.
        num_epochs: only so many of it.
        observer: is told of every event.

    Returns:
        A row for the records of kind ``verifications``.

    Raises:
        UsageError: this machine has no such device, or the run has fewer epochs.
        HarnessError: the repetition failed.
    """
    run, spec = recorded.run, recorded.spec
    wanted = num_epochs_to_repeat(recorded, num_epochs)
    to_the_end = wanted == len(recorded.epochs) and run["status"] == "completed"
    device = resolve_device(run["device"])
    here = environment.capture(device, num_threads=run["threads"], allocator=allocator.configure())
    epochs: list[dict[str, Any]] = []

    def observe(job: Job, event: Event) -> None:
        if isinstance(event, EpochEnded):
            epochs.append(event.row)
        observer(job, event)

    with tempfile.TemporaryDirectory(prefix="harness-verify-") as folder:
        job = Job(
            run_id=run["run_id"],
            spec=spec,
            experiment=run["experiment"],
            device=str(device),
            num_threads=run["threads"],
            results=Path(folder),
            checkpoint_seconds=math.inf,
            num_epochs=None if to_the_end else wanted,
        )
        end = execute([job], here, num_workers=1, observer=observe).ended.get(run["run_id"])
        as_wanted = (
            end is not None and end.status == "interrupted" and not to_the_end and len(epochs) == wanted
        )
        if end is None or not (end.status in ENDED or as_wanted):
            raise _stopped(end)
        logits = _logits(Store(Path(folder)), run["run_id"])
    return _row(recorded, epochs, end.status, logits, here)


def num_epochs_to_repeat(recorded: Recorded, asked: int | None) -> int:
    """As many as asked; by default all.

    Raises:
        UsageError: the run has fewer.
    """
    num_epochs = len(recorded.epochs)
    if asked is not None and not 0 < asked <= num_epochs:
        raise UsageError(
            f"run {recorded.run['run_id']} has {num_epochs} epochs; verify 1 to so many, not {asked}"
        )
    return asked or num_epochs


def _stopped(end: Ended | None) -> HarnessError:
    if end is None or end.status == "interrupted":
        return InterruptedRunError("stopped; nothing is recorded of it")
    return HarnessError(f"the repetition {end.status}: {end.reason}")


def _row(
    recorded: Recorded, epochs: Sequence[dict[str, Any]], status: str, logits: Any, here: Environment
) -> dict[str, Any]:
    complete = len(epochs) == len(recorded.epochs)
    divergence = first_divergence(recorded.epochs, epochs)
    column = divergence and divergence.column
    if complete and column is None:
        column = _difference_at_the_end(recorded, epochs, status, logits)
    return recorded.verification(
        here,
        num_epochs=len(epochs),
        num_iterations=epochs[-1]["iteration"],
        complete=complete,
        identical=column is None,
        first_epoch=divergence and divergence.epoch,
        first_iteration=divergence and divergence.iteration,
        first_column=column,
        seconds_then=recorded.epochs[len(epochs) - 1]["seconds"],
        seconds_now=epochs[-1]["seconds"],
    )


def _difference_at_the_end(
    recorded: Recorded, epochs: Sequence[dict[str, Any]], status: str, logits: Any
) -> str | None:
    if recorded.run["status"] != status:
        return "status"
    if recorded.run["weights_sha256"] != epochs[-1]["weights_sha256"]:
        return "weights_sha256"
    if recorded.logits is None or (logits is not None and recorded.logits.tobytes() == logits.tobytes()):
        return None
    return "logits"


def _logits(store: Store, run_id: str) -> Any:
    """Float32 (images, classes), in the order of the images; None where they are not recorded."""
    import numpy as np

    table = store.read("predictions", [run_id])[0].sort_by("image")
    if not len(table):
        return None
    column = table.column("logits").combine_chunks()
    values = column.flatten() if isinstance(column, pa.FixedSizeListArray) else column.values
    return np.asarray(values).reshape(len(table), -1)
