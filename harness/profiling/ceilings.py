"""What the machine itself can do: its rates of arithmetic and of copying, and a reference that shows its state."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from harness.config import Precision
from harness.profiling.timing import seconds_of, warm_up
from harness.training.device import memory_format

__all__ = ["Ceilings", "make_reference", "measure_ceilings"]

NUM_ROUNDS = 7
NUM_SMALL_OPERATIONS = 200


@dataclass(frozen=True)
class Ceilings:
    """Of a device with the threads that it has been given."""

    flops: float
    """Floating-point operations per second in the precision, of a large matrix product or a wide convolution, whichever
    is faster: they come from different libraries."""
    copy_bytes: float
    """Bytes per second of a large copy, read and written ones."""


def measure_ceilings(device: torch.device, precision: Precision) -> Ceilings:
    """Medians of several calls on random numbers.

    Args:
        device: `harness.training.device.configure` must have been called with it and the precision.
        precision: of what is multiplied.
    """
    on_cuda = device.type == "cuda"
    dtype = torch.bfloat16 if precision is Precision.BF16 else torch.float32
    side = 8192 if on_cuda else 1536
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(a)
    num_images, channels, size = 1024 if on_cuda else 32, 512, 8
    images = torch.randn(num_images, channels, size, size, device=device, dtype=dtype)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
    images, weight = (each.contiguous(memory_format=memory_format(device)) for each in (images, weight))
    source = torch.randn(2**28 if on_cuda else 2**25, device=device)
    target = torch.empty_like(source)

    def multiply() -> None:
        torch.mm(a, b, out=product)

    def convolve() -> None:
        F.conv2d(images, weight, padding=1)

    def copy() -> None:
        target.copy_(source)

    macs = num_images * size**2 * 9 * channels**2
    return Ceilings(
        flops=max(
            2 * side**3 / _median_seconds(multiply, device),
            2 * macs / _median_seconds(convolve, device),
        ),
        copy_bytes=2 * source.nbytes / _median_seconds(copy, device),
    )


def make_reference(device: torch.device) -> Callable[[], object]:
    """Many small operations, each on all threads or launched by itself: what a step of few images consists of.

    How long they take is a matter of the machine alone, and shows states of it that nothing else tells: cores of a
    virtual machine that are moved apart need twice as long to agree on the end of an operation.
    """
    grain = 2**15  # elements from which on torch employs another thread
    values = torch.zeros(grain * torch.get_num_threads(), device=device)

    def call() -> None:
        for _ in range(NUM_SMALL_OPERATIONS):
            values.add_(1.0)

    return call


def _median_seconds(call: Callable[[], object], device: torch.device) -> float:
    warm_up(call, device)
    return statistics.median(seconds_of(call, device) for _ in range(NUM_ROUNDS))
