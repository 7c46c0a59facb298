"""The optimiser of a recipe."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from harness.config import Adam, Sgd

__all__ = ["make_optimizer"]


def make_optimizer(recipe: Sgd | Adam, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser over all parameters, as one fused update; its state is float32, as the weights are."""
    if isinstance(recipe, Adam):
        return torch.optim.Adam(
            parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
    return torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
