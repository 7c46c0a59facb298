"""Every run that an experiment asks for, and what the options of a command make of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.config.experiment import Experiment, Group
from harness.config.loading import load_recipe
from harness.config.recipe import Recipe
from harness.errors import UsageError

__all__ = ["AskedRun", "runs_asked"]


class AskedRun(NamedTuple):
    """A run, but for its data set and how the precision ``auto`` is understood."""

    model: str
    recipe: Recipe
    iterations: int
    seed: int
    precision: str
    """``fp32``, ``tf32``, ``bf16`` or ``auto``."""


def runs_asked(
    experiment: Experiment,
    *,
    device: str,
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    precision: str | None = None,
    iterations: int | None = None,
) -> list[AskedRun]:
    """The runs of an experiment, in its order; one that two groups ask for is there twice.

    Args:
        experiment: the question.
        device: type of it; ``tf32`` is CUDA's, and left out elsewhere if a group names another precision too.
        models: only these; those that the experiment lacks join its first group.
        seeds: in place of the experiment's.
        precision: in place of all that the experiment names.
        iterations: in place of every length.

    Raises:
        UnknownNameError: a recipe does not exist.
        UsageError: a length is longer than the recipe.
    """
    listed = {model for group in experiment.groups for model in group.models}
    joining = [model for model in models or () if model not in listed]
    asked = []
    for number, group in enumerate(experiment.groups):
        recipe = load_recipe(group.recipe)
        length = _length(group, recipe, iterations)
        precisions: Sequence[str] = [precision or experiment.precision]
        if precision is None and group.precisions is not None:
            here = [name for name in group.precisions if name != "tf32" or device == "cuda"]
            precisions = here or group.precisions
        chosen = [model for model in group.models if models is None or model in models]
        asked += [
            AskedRun(model, recipe, length, seed, one)
            for model in (*chosen, *(joining if number == 0 else ()))
            for seed in (group.seeds if seeds is None else seeds)
            for one in precisions
        ]
    return asked


def _length(group: Group, recipe: Recipe, iterations: int | None) -> int:
    length = iterations or group.iterations or recipe.num_iterations()
    if group.epochs is not None and iterations is None:
        length = recipe.model_copy(update={"epochs": group.epochs, "iterations": None}).num_iterations()
    if length > recipe.num_iterations():
        raise UsageError(
            f"{length} iterations are more than the {recipe.num_iterations()} of recipe {recipe.name!r}; "
            "runs can be shortened only"
        )
    return length
