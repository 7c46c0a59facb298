"""What a network costs, counted: parameters and multiply-accumulates."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["num_macs", "num_parameters"]


def num_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def num_macs(model: nn.Module) -> int:
    """Multiply-accumulates of convolutions and matrix products for one 32x32 image, in evaluation.

    Counted by running the network without data, as half of the floating-point operations that
    `torch.utils.flop_counter` counts; normalisation, activations, additions and pooling are not in it.
    A network that cannot run without data is run on zeros.
    """
    try:
        return _count(copy.deepcopy(model).to("meta"))
    except Exception:  # noqa: BLE001 - anything: its code may never have met a tensor without data
        return _count(copy.deepcopy(model).to("cpu"))


def _count(network: nn.Module) -> int:
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network.eval()(torch.zeros(1, 3, 32, 32, device=device))
    return int(counter.get_total_flops()) // 2
