"""The initial weights of He et al. (2015)."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["initialize_he"]


def initialize_he(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Draw convolution and linear weights from N(0, 2 / fan_in); biases 0, batch normalisation 1 and 0.

    Source: He et al. (2015), "Delving Deep into Rectifiers", arXiv:1502.01852, section 2.2, forward case.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
