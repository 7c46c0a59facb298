"""The rows that a run leaves in the records. No torch until a run has computed something."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from harness.execution.job import Job
from harness.models import find
from harness.records import KINDS

if TYPE_CHECKING:
    from harness.data import ImageSet
    from harness.environment import Environment
    from harness.training.loop import Outcome

__all__ = ["failed_row", "finished_row", "predictions"]


def finished_row(
    job: Job,
    here: Environment,
    outcome: Outcome,
    images: ImageSet,
    *,
    model_source: str,
    started_at: datetime,
    runs_at_once: int,
) -> dict[str, Any]:
    """The record of a run that reached its end, for kind ``runs``; made in the process that trained it.

    Where it ran, and where its network came from, are as they were when it began.
    """
    return {
        **_what_was_asked(job),
        **_what_came_of_it(outcome, images),
        **_where_it_ran(here, model_source),
        "runs_at_once": runs_at_once,
        "peak_memory_bytes": _peak_memory_bytes(here.device),
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
    }


def failed_row(
    job: Job, here: Environment, reason: str, started_at: datetime, *, status: str = "failed"
) -> dict[str, Any]:
    """The record of a run that ended in an error, or was ``skipped`` because its network cannot be had.

    Its network is the one that was planned, whatever has become of that one's code.
    """
    row: dict[str, Any] = dict.fromkeys(KINDS["runs"].names)
    return row | {
        **_what_was_asked(job),
        **_where_it_ran(here, job.place.get("model_source") or find(job.spec.model).origin),
        "status": status,
        "reason": reason,
        "resumed_at": [],
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
    }


def _what_was_asked(job: Job) -> dict[str, Any]:
    return {
        "run_id": job.run_id,
        "experiment": job.experiment,
        **job.spec.columns(),
        "spec": job.spec.model_dump_json(),
    }


def _what_came_of_it(outcome: Outcome, images: ImageSet) -> dict[str, Any]:
    last = outcome.epochs[-1]
    completed = outcome.status == "completed"
    best = min(row["test_error"] for row in outcome.epochs)

    def accuracy(error: float) -> float:
        """1 - error, as the nearest float to a fraction of the test set."""
        return (images.num_test - round(error * images.num_test)) / images.num_test

    return {
        "status": outcome.status,
        "reason": outcome.reason,
        "resumed_at": outcome.resumed_at,
        "resumed_from": [json.dumps(asdict(note), sort_keys=True) for note in outcome.resumed_from],
        "engine": outcome.engine,
        "engine_note": outcome.engine_note,
        "test_accuracy": accuracy(last["test_error"]) if completed else None,
        "test_accuracy_best": accuracy(best) if completed else None,
        "test_accuracy_selected": None,
        "test_loss": last["test_loss"],
        "train_loss": last["train_loss"],
        "train_error": last["train_error"],
        "seconds": outcome.seconds,
        "images_per_second": outcome.images_per_second,
        "parameters": outcome.num_parameters,
        "macs": outcome.num_macs,
        "layer_responses": [response._asdict() for response in outcome.layer_responses],
        "initial_weights_sha256": outcome.initial_weights_sha256,
        "weights_sha256": outcome.weights_sha256,
        "trajectory_sha256": outcome.trajectory_sha256,
        "data_sha256": images.sha256,
    }


def _where_it_ran(here: Environment, model_source: str) -> dict[str, Any]:
    return {
        "model_source": model_source,
        "environment_sha256": here.fingerprint(model_source),
        **here.columns(),
    }


def predictions(run_id: str, outcome: Outcome, images: ImageSet) -> Any:
    """Table of kind ``predictions``; None if the run diverged."""
    import numpy as np
    import pyarrow as pa

    if outcome.logits is None:
        return None
    num_images, num_classes = outcome.logits.shape
    return pa.table(
        {
            "run_id": pa.array([run_id] * num_images),
            "image": np.arange(num_images, dtype=np.int32),
            "label": np.asarray(images.test_labels),
            "logits": pa.FixedSizeListArray.from_arrays(pa.array(outcome.logits.reshape(-1)), num_classes),
        }
    )


def _peak_memory_bytes(device: str) -> int | None:
    """Of this process on its present device; on CUDA what the allocator took, since it does not see what graphs use of that."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_reserved())
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
