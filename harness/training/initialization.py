"""Initial weights, from the stream ``init`` of the run's seed."""

from __future__ import annotations

import torch
from torch import nn

from harness.models import ModelEntry
from harness.training.seeding import stream_key

__all__ = ["build_model"]


def build_model(entry: ModelEntry, *, seed: int, initialization: str) -> nn.Module:
    """Build a network on the CPU with the initial weights of a seed.

    Args:
        entry: which network.
        seed: of the run.
        initialization: ``"he"`` draws every weight anew, so that equal architectures start equal whoever
            wrote the class; ``"implementation"`` keeps what the class does by itself under this seed.
    """
    key = stream_key(seed, "init") % 2**63
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key)
        model = entry.build()
    if initialization == "he":
        initialize_he(model, torch.Generator().manual_seed(key))
    return model


def initialize_he(model: nn.Module, generator: torch.Generator) -> None:
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
