"""What is asked for: recipes, runs and experiments. Frozen, validated, hashed.

A *recipe* is a training protocol, an *experiment* is models x recipes x seeds, and a *run* is one of its
cells. Recipes and experiments are TOML files; the ones the harness ships lie in ``recipes/`` and
``experiments/`` beside this package. No torch here: planning must start fast.
"""

from harness.config.expansion import AskedRun, runs_asked
from harness.config.experiment import Experiment, Group
from harness.config.loading import experiment_names, load_experiment, load_recipe, recipe_names
from harness.config.recipe import (
    NAMES_AND_LENGTH,
    Adam,
    Augmentation,
    CosineSchedule,
    LinearSchedule,
    Normalization,
    Recipe,
    Sgd,
    StepSchedule,
    Warmup,
)
from harness.config.spec import Precision, RunSpec

__all__ = [
    "NAMES_AND_LENGTH",
    "Adam",
    "AskedRun",
    "Augmentation",
    "CosineSchedule",
    "Experiment",
    "Group",
    "LinearSchedule",
    "Normalization",
    "Precision",
    "Recipe",
    "RunSpec",
    "Sgd",
    "StepSchedule",
    "Warmup",
    "experiment_names",
    "load_experiment",
    "load_recipe",
    "recipe_names",
    "runs_asked",
]
