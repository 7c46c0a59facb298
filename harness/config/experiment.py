"""A question as a set of runs: models x recipes x seeds."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from harness.config.values import Count, Epochs, Name, Seed, StrictModel

__all__ = ["Experiment", "Group"]

_PrecisionName = Literal["fp32", "tf32", "bf16", "auto"]


class Group(StrictModel):
    """Models x one recipe x seeds, a part of an experiment."""

    models: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    recipe: str
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)]
    epochs: Epochs | None = None
    """Shortens the recipe, in passes over the training set."""
    iterations: Count | None = None
    """Shortens the recipe, in mini-batches."""
    precisions: Annotated[tuple[_PrecisionName, ...], Field(min_length=1, strict=False)] | None = None
    """In place of the experiment's one: each run once in each of those that the device has."""

    @model_validator(mode="after")
    def _at_most_one_length(self) -> Self:
        if self.epochs is not None and self.iterations is not None:
            raise ValueError("give at most one of epochs and iterations")
        return self


class Experiment(StrictModel):
    """A question, as a set of runs."""

    name: Name
    summary: str
    """One sentence for people."""
    precision: _PrecisionName
    """``auto``: bf16 where the hardware computes it natively, else fp32."""
    shows: str
    """What the results can be taken to show."""
    shows_not: str
    """What they must not be taken to show."""
    groups: Annotated[tuple[Group, ...], Field(min_length=1, strict=False)]
