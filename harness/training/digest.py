"""Digests of weights and of the whole course of a run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["extend_trajectory", "tensor_bytes", "tensors_sha256", "weights_sha256"]


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 over all parameters and buffers in order; see `tensors_sha256`.

    Names are left out: equal networks have equal digests, whoever wrote the class.
    """
    return tensors_sha256(model.state_dict().values())


def tensors_sha256(tensors: Iterable[Tensor]) -> str:
    """SHA-256 over the type, shape and bytes of each tensor, rows first, whatever its memory layout and device."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def extend_trajectory(previous: str, losses: Tensor, weights: str, state: str) -> str:
    """The next link of the chain that stands for a run: what came before, and what an epoch has led to.

    Args:
        previous: the last link; for the first epoch the digest of the initial weights.
        losses: of the mini-batches of the epoch, float32 (iterations,).
        weights: digest of the weights at its end.
        state: digest of the rest that training goes on from.
    """
    digest = hashlib.sha256(previous.encode())
    digest.update(tensor_bytes(losses))
    digest.update(weights.encode())
    digest.update(state.encode())
    return digest.hexdigest()


def tensor_bytes(tensor: Tensor) -> bytes:
    """The elements, row by row, whatever the memory layout and device."""
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
