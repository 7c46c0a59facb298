"""One training run as it is asked for, and the digest of the question."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any, Literal

from harness.config.recipe import Recipe
from harness.config.values import Count, Seed, StrictModel

__all__ = ["Precision", "RunSpec"]


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass; weights and optimiser state stay float32.

    ``fp32`` is IEEE single precision throughout; ``tf32`` lets CUDA's matrix units round the inputs of
    matrix products and convolutions to 10 bits of mantissa; ``bf16`` is autocast to bfloat16.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"


class RunSpec(StrictModel):
    """One training run, as asked for: model + recipe + length + seed + precision + data."""

    model: str
    recipe: Recipe
    iterations: Count
    seed: Seed
    precision: Precision
    data: Literal["cifar10", "synthetic"]

    @property
    def shortened(self) -> bool:
        """Whether the run is shorter than its recipe says: its results are then no claim about it."""
        return self.iterations < self.recipe.num_iterations()

    @property
    def sha256(self) -> str:
        """Digest of what was asked: equal for equal questions, whatever file, machine or time."""
        asked = {
            "model": self.model,
            "protocol": self.recipe.protocol(),
            "full_iterations": self.recipe.num_iterations(),
            "iterations": self.iterations,
            "seed": self.seed,
            "precision": self.precision.value,
            "data": self.data,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def columns(self) -> dict[str, Any]:
        """What was asked, as columns of the records of kind ``runs``."""
        return {
            "spec_sha256": self.sha256,
            "model": self.model,
            "recipe": self.recipe.name,
            "seed": self.seed,
            "precision": self.precision.value,
            "data": self.data,
            "iterations": self.iterations,
            "batch_size": self.recipe.batch_size,
            "shortened": self.shortened,
        }

    @property
    def label(self) -> str:
        """Short name for people, e.g. ``resnet20/short/bf16/seed 0``."""
        return f"{self.model}/{self.recipe.name}/{self.precision.value}/seed {self.seed}"
