"""Builders of what most tests need: a tiny recipe, and a run of it. No torch."""

import pytest

from harness.config import (
    Augmentation,
    Normalization,
    Precision,
    Recipe,
    RunSpec,
    Sgd,
    StepSchedule,
)


@pytest.fixture
def make_recipe():
    """A function from changed fields to a recipe of 10 mini-batches of 16 images."""

    def make(**changes):
        fields = {
            "name": "tiny",
            "summary": "for tests",
            "source": "none",
            "batch_size": 16,
            "iterations": 10,
            "optimizer": Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4),
            "schedule": StepSchedule(kind="steps", milestones=(0.5,), factor=0.1),
            "augmentation": Augmentation(pad=4, flip=True),
            "normalization": Normalization(kind="per-pixel-mean"),
            "initialization": "he",
        }
        return Recipe(**(fields | changes))

    return make


@pytest.fixture
def make_spec(make_recipe):
    """A function from changed fields to a run of the tiny recipe, at its full length unless told.

    ``recipe`` is a recipe, or the changed fields of the tiny one.
    """

    def make(**changes):
        recipe = changes.pop("recipe", {})
        recipe = make_recipe(**recipe) if isinstance(recipe, dict) else recipe
        fields = {
            "model": "resnet20",
            "recipe": recipe,
            "iterations": recipe.num_iterations(),
            "seed": 0,
            "precision": Precision.FP32,
            "data": "synthetic",
        }
        return RunSpec(**(fields | changes))

    return make
