"""What the machine can do at most, measured: the rate of matrix products, and of copying memory."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import torch

from harness.config import Precision
from harness.profiling.timing import seconds_of, warm_up

__all__ = ["Ceilings", "measure_ceilings"]

NUM_ROUNDS = 7


@dataclass(frozen=True)
class Ceilings:
    """Of a device with the threads that it has been given."""

    flops: float
    """Floating-point operations per second of a large matrix product in the precision."""
    copy_bytes: float
    """Bytes per second of a large copy, read and written ones."""


def measure_ceilings(device: torch.device, precision: Precision) -> Ceilings:
    """Median of several large matrix products and copies of random numbers.

    Args:
        device: `harness.training.device.configure` must have been called with it and the precision.
        precision: of the factors.
    """
    side = 8192 if device.type == "cuda" else 1536
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    source = torch.randn(2**28 if device.type == "cuda" else 2**25, device=device)
    target = torch.empty_like(source)

    def multiply() -> None:
        torch.mm(a, b, out=product)

    def copy() -> None:
        target.copy_(source)

    return Ceilings(
        flops=2 * side**3 / _median_seconds(multiply, device),
        copy_bytes=2 * source.nbytes / _median_seconds(copy, device),
    )


def _median_seconds(call: object, device: torch.device) -> float:
    assert callable(call)
    warm_up(call, device)
    return statistics.median(seconds_of(call, device) for _ in range(NUM_ROUNDS))
