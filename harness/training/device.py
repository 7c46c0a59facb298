"""Where a run computes, in what precision, and that it computes the same each time."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch

from harness.config import Precision
from harness.errors import UnknownNameError, UsageError

__all__ = [
    "autocast",
    "configure",
    "has_native_bf16",
    "mark",
    "memory_format",
    "new_stream",
    "on_own_stream",
    "resolve_device",
    "resolve_precision",
    "seconds_between",
    "synchronize",
]

_KINDS = ("cuda", "mps", "cpu")
_Result = TypeVar("_Result")


def resolve_device(name: str) -> torch.device:
    """The device of a name: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises:
        UnknownNameError: no such kind of device.
        UsageError: this machine has none of it.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind in _KINDS if available[kind])
    kind, _, index = name.partition(":")
    if kind not in _KINDS or (index and not index.isdecimal()):
        raise UnknownNameError("device", name, ["auto", *_KINDS, "cuda:0"])
    if not available[kind]:
        raise UsageError(
            f"device {name!r}: this machine or this build of torch {torch.__version__} has none; use --device auto"
        )
    if kind != "cuda":
        return torch.device(kind)
    number = int(index or 0)
    if number >= torch.cuda.device_count():
        raise UsageError(
            f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices, counted from 0"
        )
    return torch.device("cuda", number)


def has_native_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself instead of emulating it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        from harness.environment import cpu_flags

        return bool(cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})
    return False


def resolve_precision(name: str, device: torch.device) -> Precision:
    """The precision of a name on a device; ``auto`` is bf16 where it is native, else fp32.

    Raises:
        UnknownNameError: no such precision.
        UsageError: the device does not have it.
    """
    if name == "auto":
        return Precision.BF16 if has_native_bf16(device) else Precision.FP32
    if name not in set(Precision):
        raise UnknownNameError("precision", name, ["auto", *Precision])
    precision = Precision(name)
    if precision is Precision.TF32 and device.type != "cuda":
        raise UsageError(f"precision 'tf32' exists on CUDA only, not on {device.type!r}; use fp32 or bf16")
    return precision


def configure(
    device: torch.device, precision: Precision, num_threads: int, *, deterministic: bool = True
) -> None:
    """Set this process up for its runs: threads, arithmetic, deterministic algorithms.

    Must come before the first computation on CUDA, since cuBLAS reads its workspace setting once.

    Args:
        device: where the runs compute.
        precision: of all of them.
        num_threads: of torch on the CPU.
        deterministic: whether the same seed must give the same bits; without it cuDNN may choose its algorithms by
            trial. Runs always have it; it is turned off only to measure what it costs.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(num_threads)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    arithmetic = "tf32" if precision is Precision.TF32 else "ieee"
    torch.backends.cuda.matmul.fp32_precision = arithmetic
    torch.backends.cudnn.conv.fp32_precision = arithmetic  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not deterministic
    # Metal lacks deterministic versions of some operators: there a warning has to do.
    torch.use_deterministic_algorithms(mode=deterministic, warn_only=device.type == "mps")
    # Every buffer is written before it is read; filling them first would cost 4 % for nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """The context of the forward pass."""
    if precision is Precision.BF16:
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def memory_format(device: torch.device) -> torch.memory_format:
    """Channels-last is what oneDNN and cuDNN compute fastest in; Metal does not gain from it."""
    return torch.contiguous_format if device.type == "mps" else torch.channels_last


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given on the present stream, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def mark(device: torch.device) -> torch.cuda.Event | float:
    """A point in what the device is given, for `seconds_between`; on CUDA it is waited for only there."""
    if device.type == "cuda":
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event
    synchronize(device)
    return time.perf_counter()


def seconds_between(start: torch.cuda.Event | float, end: torch.cuda.Event | float) -> float:
    """From one mark to a later one; waits for the device to reach it."""
    if isinstance(start, torch.cuda.Event) and isinstance(end, torch.cuda.Event):
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
    assert isinstance(start, float)
    assert isinstance(end, float)
    return end - start


def new_stream(device: torch.device) -> torch.cuda.Stream | None:
    """For ``torch.cuda.stream``, which does nothing where it is given none, as on devices without streams."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


def on_own_stream(
    turns: Generator[None, None, _Result], device: torch.device
) -> Generator[None, None, _Result]:
    """The same turns, each on a CUDA stream that is theirs alone; on other devices just the same turns.

    Several such generators that are advanced in turn compute at once on a GPU that one of them leaves idle.
    """
    stream = new_stream(device)
    while True:
        with torch.cuda.stream(stream):
            try:
                next(turns)
            except StopIteration as end:
                result: _Result = end.value
                return result
        yield
