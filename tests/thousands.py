"""Ten thousand runs, made of one that the project ships."""

import itertools
import json
import os
from pathlib import Path

import pytest

from harness.config import load_recipe
from harness.records import Store
from harness.records.schema import to_table

PUBLISHED = Store(Path(__file__).parents[1] / "results" / "published")
MODELS = ("resnet20", "plain20", "resnet56", "plain56", "akamaster-resnet20")
RECIPES = ("paper", "short", "akamaster", "kuangliu")
PRECISIONS = ("fp32", "bf16")
CUT_OFF = range(0, 500, 10)
"""Iterations."""
SEEDS = range(5)
FIRST = {"paper": 64_000}
"""The pages show the paper's protocol first, at its full length: of those runs, there are predictions."""


def asked(row, model, recipe, precision, iterations, seed):
    """A run of the store as if something else had been asked."""
    spec = json.loads(row["spec"]) | {"recipe": load_recipe(recipe).model_dump(mode="json")}
    changes = {"model": model, "precision": precision, "iterations": iterations, "seed": seed}
    run_id = f"{model}-{recipe}-{precision}-{iterations}-s{seed}"
    accuracy = 0.9 + seed / 1000 - len(model) / 500
    return (
        row
        | changes
        | {
            "run_id": run_id,
            "recipe": recipe,
            "spec": json.dumps(spec | changes),
            "test_accuracy": accuracy,
            "test_accuracy_best": accuracy + seed / 5000,
        }
    )


def write_thousands(store):
    """Ten thousand runs with their epochs, in 400 settings, of five seeds each."""
    [first, *_] = PUBLISHED.read("runs")[0].to_pylist()
    [epochs, answers] = (PUBLISHED.read(kind, [first["run_id"]])[0] for kind in ("epochs", "predictions"))
    cells = itertools.product(MODELS, RECIPES, PRECISIONS, CUT_OFF, SEEDS)
    rows = []
    for model, recipe, precision, cut_off, seed in cells:
        full = load_recipe(recipe).num_iterations()
        rows.append(asked(first, model, recipe, precision, full - cut_off, seed))
    table = to_table("runs", rows)

    def renamed(records, run_id):
        return records.set_column(0, "run_id", [[run_id] * len(records)])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        for number, row in enumerate(rows):
            store.write_table("epochs", row["run_id"], renamed(epochs, row["run_id"]))
            store.write_table("runs", row["run_id"], table.slice(number, 1))
            if row["iterations"] == FIRST.get(row["recipe"]):
                store.write_table("predictions", row["run_id"], renamed(answers, row["run_id"]))
