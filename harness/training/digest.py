"""Digests of weights and of the whole course of a run."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

__all__ = ["extend_trajectory", "tensor_bytes", "weights_sha256"]


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over all parameters and buffers in order: type, shape and bytes of each, rows first.

    Names and memory layout are left out: equal networks have equal digests, whoever wrote the class.
    """
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def extend_trajectory(previous: str, losses: Tensor, weights: str) -> str:
    """The next link of the chain that stands for a run: what came before, an epoch's losses, its weights.

    Args:
        previous: the last link; for the first epoch the digest of the initial weights.
        losses: of the mini-batches of the epoch, float32 (iterations,).
        weights: digest of the weights at its end.
    """
    digest = hashlib.sha256(previous.encode())
    digest.update(tensor_bytes(losses))
    digest.update(weights.encode())
    return digest.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """The elements, row by row, whatever the memory layout and device."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
