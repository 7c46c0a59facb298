"""Initial weights, from the stream ``init`` of the run's seed."""

from __future__ import annotations

import torch
from torch import nn

from harness.models import ModelEntry
from harness.models.initialization import initialize_he
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
