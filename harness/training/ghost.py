"""Batch normalisation over parts of a mini-batch: ghost batch normalisation (Hoffer et al. 2017, arXiv:1705.08741)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from harness.errors import UsageError

__all__ = ["GhostBatchNorm2d", "use_ghost_batches"]


class GhostBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that in training takes its statistics over each part of the mini-batch by itself.

    It computes what ``torch.nn.DataParallel`` computes on as many devices: every part is normalised by its own mean and
    variance, gradients flow through them, and the running averages, which the evaluation uses, are of the first part.
    """

    ghost_batch_size: int
    """Images in a part; the last one of a smaller mini-batch may have fewer."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        if not self.training:
            return super().forward(x)
        first, *others = torch.split(x, self.ghost_batch_size)
        return torch.cat([super().forward(first), *map(self._normalize, others)])

    def _normalize(self, part: Tensor) -> Tensor:
        """By its own statistics, without a trace in the running averages."""
        return F.batch_norm(part, None, None, self.weight, self.bias, training=True, eps=self.eps)


def use_ghost_batches(network: nn.Module, ghost_batch_size: int) -> None:
    """Let every batch normalisation of a network take its statistics over parts of the mini-batch, in place.

    Parameters, buffers and their names stay.

    Args:
        network: with no batch normalisation other than ``BatchNorm2d``.
        ghost_batch_size: images in a part.

    Raises:
        UsageError: it has another one, of which nothing is known.
    """
    normalizations = {
        name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)
    }
    for name, module in normalizations.items():
        if type(module) is not nn.BatchNorm2d:
            raise UsageError(
                f"{name} of {type(network).__name__} is a {type(module).__name__}: only a BatchNorm2d of torch can be "
                "computed over parts of a mini-batch; use a recipe without ghost_batch_size"
            )
    for module in normalizations.values():
        module.__class__ = GhostBatchNorm2d
        module.ghost_batch_size = ghost_batch_size  # type: ignore[assignment]
