"""Rows of the records as a run leaves them, with what a test wants changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harness.config import Precision, RunSpec, load_recipe
from harness.records import KINDS

MakeRow = Callable[..., dict[str, Any]]


@pytest.fixture
def make_run() -> MakeRow:
    """A completed run: ``make_run(model="plain20", recipe="paper", iterations=64_000, seed=3, test_accuracy=0.9)``.

    What was asked (model, recipe, iterations, seed, precision, data) is in the request as well as in the columns;
    everything else is a column. The length is by default the recipe's. Later rows are of later runs.
    """
    rows_made = 0

    def make(
        model: str = "resnet20",
        recipe: str = "short",
        *,
        iterations: int | None = None,
        seed: int = 0,
        precision: str = "fp32",
        data: str = "cifar10",
        recipe_changes: dict[str, Any] | None = None,
        **columns: Any,
    ) -> dict[str, Any]:
        nonlocal rows_made
        rows_made += 1
        asked = load_recipe(recipe)
        asked = asked.model_validate(asked.model_dump() | (recipe_changes or {}))
        spec = RunSpec(
            model=model,
            recipe=asked,
            iterations=iterations or asked.num_iterations(),
            seed=seed,
            precision=Precision(precision),
            data=data,
        )
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=rows_made)
        row: dict[str, Any] = dict.fromkeys(KINDS["runs"].names)
        return row | {
            **spec.columns(),
            "run_id": f"run-{rows_made}",
            "experiment": "test",
            "spec": spec.model_dump_json(),
            "model_source": "ours",
            "status": "completed",
            "started_at": moment,
            "finished_at": moment + timedelta(seconds=30),
            "resumed_at": [],
            "resumed_from": [],
            "test_accuracy": 0.9,
            "test_accuracy_best": 0.9,
            "images_per_second": 1000.0,
            "seconds": 60.0,
            "device": "cpu",
            "device_name": "Some CPU",
            "threads": 1,
            "torch": "2.9.0",
            "weights_sha256": "w",
            "environment_sha256": "e",
            **columns,
        }

    return make


@pytest.fixture
def make_seeds(make_run: MakeRow) -> Callable[..., list[dict[str, Any]]]:
    """Completed runs of seeds 0, 1, ... with these test accuracies; the best epoch is the last unless told."""

    def make(*accuracies: float, **changes: Any) -> list[dict[str, Any]]:
        return [
            make_run(seed=seed, test_accuracy=accuracy, **{"test_accuracy_best": accuracy} | changes)
            for seed, accuracy in enumerate(accuracies)
        ]

    return make


@pytest.fixture
def make_card() -> MakeRow:
    """An identity card: ``make_card("timm-resnet20", counterpart="resnet20", equivalence="identical")``."""

    def make(
        model: str, *, counterpart: str | None = None, equivalence: str = "reference", **columns: Any
    ) -> dict[str, Any]:
        row: dict[str, Any] = dict.fromkeys(KINDS["identities"].names)
        return row | {
            "identity_id": f"{model}-card",
            "model": model,
            "model_source": "ours",
            "counterpart": counterpart,
            "equivalence": equivalence,
            "initialization": "He et al. by fan-in",
            "layers_on_main_path": 20,
            "identified_at": datetime(2026, 1, 1, tzinfo=UTC),
            **columns,
        }

    return make
