"""A training protocol, and the parts it has."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from harness.config.values import (
    NUM_TRAIN_IMAGES,
    ChannelTriple,
    Count,
    Epochs,
    Fraction,
    Name,
    NonNegative,
    Positive,
    StrictModel,
)

__all__ = [
    "NAMES_AND_LENGTH",
    "Adam",
    "Augmentation",
    "CosineSchedule",
    "LinearSchedule",
    "Normalization",
    "Recipe",
    "Sgd",
    "StepSchedule",
    "Warmup",
]


class Sgd(StrictModel):
    """Stochastic gradient descent; weight decay acts on every parameter."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive
    """The peak learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError(
                f"Nesterov needs momentum > 0, not {self.momentum}; set momentum, or nesterov = false"
            )
        return self


class Adam(StrictModel):
    """Adam (Kingma and Ba, arXiv:1412.6980) with PyTorch's betas and epsilon."""

    kind: Literal["adam"]
    learning_rate: Positive
    """The peak learning rate."""
    weight_decay: NonNegative = 0.0
    """As an L2 penalty on every parameter."""


class StepSchedule(StrictModel):
    """The learning rate is multiplied by ``factor`` at each milestone."""

    kind: Literal["steps"]
    milestones: Annotated[tuple[Fraction, ...], Field(strict=False)]
    """Fractions of the length, so that a shortened run has the same shape."""
    factor: Fraction

    @model_validator(mode="after")
    def _milestones_ascend(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(
                f"milestones must ascend without repetition, not {list(self.milestones)}; sort them"
            )
        return self


class LinearSchedule(StrictModel):
    """From 0 up to the peak over ``warmup`` of the length, then linearly down to 0."""

    kind: Literal["linear"]
    warmup: Annotated[float, Field(ge=0, lt=1)]


class CosineSchedule(StrictModel):
    """From the peak down to 0 along half a cosine."""

    kind: Literal["cosine"]
    per: Literal["epoch", "iteration"]
    """How often the learning rate changes."""


class Warmup(StrictModel):
    """A lower constant learning rate at the start, for networks of at least ``min_depth`` layers."""

    learning_rate: Positive
    iterations: Count
    """Of the recipe's full length; a shortened run shortens its warm-up alike."""
    min_depth: Count


class Augmentation(StrictModel):
    """Zero-pad each side by ``pad``, crop 32x32 at random, mirror with probability one half."""

    pad: Annotated[int, Field(ge=0, le=16)] = 0
    flip: bool = False


class Normalization(StrictModel):
    """What is done to pixels scaled to [0, 1].

    ``per-pixel-mean`` subtracts the training set's mean image (3x32x32); ``channel`` subtracts ``mean``
    and divides by ``std`` per channel; ``none`` leaves them.
    """

    kind: Literal["per-pixel-mean", "channel", "none"]
    mean: ChannelTriple | None = None
    std: ChannelTriple | None = None

    @model_validator(mode="after")
    def _statistics_belong_to_channel(self) -> Self:
        if (self.mean is None or self.std is None) if self.kind == "channel" else (self.mean or self.std):
            raise ValueError(
                f"kind = 'channel' needs mean and std, other kinds take neither; kind is {self.kind!r}"
            )
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be positive, not {list(self.std)}")
        return self


NAMES_AND_LENGTH = ("name", "summary", "source", "epochs", "iterations")
"""Fields of a recipe that are no part of its protocol."""

_ADDED_LATER = {"last_batch": "carry", "ghost_batch_size": None}
"""Fields that earlier versions lacked: at their defaults they are left out of the digest of a run, so that it
stays what it was."""


class Recipe(StrictModel):
    """A training protocol."""

    name: Name
    summary: str
    """One sentence for people."""
    source: str
    """Where the protocol is stated, and in what we depart from it."""
    batch_size: Annotated[int, Field(gt=0, le=NUM_TRAIN_IMAGES)]
    epochs: Epochs | None = None
    """Length in passes over the training set; or else ``iterations``."""
    iterations: Count | None = None
    """Length in mini-batches; or else ``epochs``."""
    last_batch: Literal["carry", "keep"] = "carry"
    """Where a pass is no multiple of the mini-batch: ``carry`` fills the last one from the next pass, ``keep``
    ends the pass with a smaller one, as PyTorch's data loader does."""
    ghost_batch_size: Count | None = None
    """Images over which batch normalisation takes its statistics in training, as if the mini-batch were split over
    several devices; none: over all of it."""
    optimizer: Annotated[Sgd | Adam, Field(discriminator="kind")]
    schedule: Annotated[StepSchedule | LinearSchedule | CosineSchedule, Field(discriminator="kind")]
    warmup: Warmup | None = None
    augmentation: Augmentation = Augmentation()
    normalization: Normalization
    initialization: Literal["he", "implementation"]
    """``he``: every weight is drawn anew as He et al. (2015) prescribe; ``implementation``: left alone."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give exactly one of epochs and iterations")
        return self

    @model_validator(mode="after")
    def _ghost_batches_fill_the_mini_batch(self) -> Self:
        if self.ghost_batch_size is not None and self.batch_size % self.ghost_batch_size:
            raise ValueError(
                f"batch_size must be a multiple of ghost_batch_size, and {self.batch_size} is none of "
                f"{self.ghost_batch_size}; change one of them"
            )
        return self

    def num_iterations(self, num_train_images: int = NUM_TRAIN_IMAGES) -> int:
        """The full length in mini-batches; a last fraction of one is rounded up."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None
        per_pass = num_train_images / self.batch_size
        if self.last_batch == "keep":
            per_pass = math.ceil(per_pass)
        return max(1, math.ceil(round(self.epochs * per_pass, 9)))

    def protocol(self) -> dict[str, Any]:
        """The part that decides the numbers: everything but the texts and the length."""
        protocol = self.model_dump(mode="json", exclude=set(NAMES_AND_LENGTH))
        for name, default in _ADDED_LATER.items():
            if protocol[name] == default:
                del protocol[name]
        return protocol
