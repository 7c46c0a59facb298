"""The optimiser of a recipe."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from harness.config import Adam, Sgd

__all__ = ["make_optimizer"]


def make_optimizer(recipe: Sgd | Adam, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimiser over all parameters, as one fused update.

    Its state is there from the beginning, all zeros, as its first step would have made it: float32 as the weights are,
    and in the memory layout of the parameter that it belongs to, beside which the fused update walks it.
    """
    if isinstance(recipe, Adam):
        optimizer = torch.optim.Adam(
            parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        for parameter in parameters:
            optimizer.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, requires_grad=False),
                "exp_avg_sq": torch.zeros_like(parameter, requires_grad=False),
            }
        return optimizer
    sgd = torch.optim.SGD(
        parameters,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        fused=True,
    )
    if recipe.momentum:
        for parameter in parameters:
            sgd.state[parameter] = {"momentum_buffer": torch.zeros_like(parameter, requires_grad=False)}
    return sgd
