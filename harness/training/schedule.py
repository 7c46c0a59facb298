"""The learning rate at every iteration."""

from __future__ import annotations

import math

from harness.config import CosineSchedule, Recipe, StepSchedule

__all__ = ["learning_rate"]


def learning_rate(
    recipe: Recipe, iteration: int, num_iterations: int, depth: int | None, *, epoch_start: int | None = None
) -> float:
    """The learning rate of one update.

    Args:
        recipe: the protocol.
        iteration: number of updates made before this one.
        num_iterations: length of the run; milestones and warm-up scale with it.
        depth: weighted layers of the network, None if unknown; the recipe may warm up deep ones.
        epoch_start: first iteration of the epoch, for schedules that move once per epoch; else ``iteration``.
    """
    warmup = recipe.warmup
    if warmup is not None and depth is not None and depth >= warmup.min_depth:
        shortening = num_iterations / recipe.num_iterations()
        if iteration < round(warmup.iterations * shortening):
            return warmup.learning_rate
    peak = recipe.optimizer.learning_rate
    schedule = recipe.schedule
    if isinstance(schedule, StepSchedule):
        passed = sum(iteration >= round(fraction * num_iterations) for fraction in schedule.milestones)
        return peak * schedule.factor**passed
    if isinstance(schedule, CosineSchedule):
        moved = iteration if schedule.per == "iteration" or epoch_start is None else epoch_start
        return peak * (1 + math.cos(math.pi * moved / num_iterations)) / 2
    rising = round(schedule.warmup * num_iterations)
    if iteration < rising:
        return peak * (iteration + 1) / rising
    return peak * (num_iterations - iteration) / (num_iterations - rising)
