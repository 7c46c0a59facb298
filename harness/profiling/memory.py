"""The peak memory of a step: resident on a CPU, in a process that does nothing else; allocated on CUDA."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from harness.environment import cores
from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch

    from harness.profiling.subjects import Cell, SubjectNetwork

__all__ = ["PeakMemory", "cuda_peak", "resident_peaks"]

_STATUS = Path("/proc/self/status")
_RESET_PEAK = Path("/proc/self/clear_refs")
_M_MMAP_THRESHOLD = -3
"""Of mallopt(3)."""


@dataclass(frozen=True)
class PeakMemory:
    """Bytes, of one cell."""

    peak: int
    """Resident in the whole process on a CPU; allocated on CUDA."""
    base: int
    """Of that, what is neither the network nor its optimiser's nor made by the call."""
    reserved: int | None = None
    """By the allocator on CUDA, in the whole process so far."""


def cuda_peak(step: Callable[[], object], device: torch.device, nbytes: int) -> PeakMemory:
    """Of one step on CUDA.

    Args:
        step: launches its operations one by one: the allocator does not see what a graph uses.
        device: where.
        nbytes: of the network and its optimiser.
    """
    import torch

    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    base = torch.cuda.memory_allocated(device) - nbytes
    step()
    torch.cuda.synchronize(device)
    return PeakMemory(torch.cuda.max_memory_allocated(device), base, torch.cuda.max_memory_reserved(device))


def resident_peaks(cells: Sequence[Cell], *, num_threads: int) -> Iterator[PeakMemory | None]:
    """Of each cell on the CPU, in order; None for one that fails. Linux only: elsewhere all are None.

    They are measured in one other process, whose peak is reset before each. There glibc's allocator gives
    large blocks back, so that no step is charged with what an earlier one left.

    Raises:
        HarnessError: that process died.
    """
    if not _RESET_PEAK.exists():
        yield from [None] * len(cells)
        return
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(cells, num_threads, cores(), theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        for cell in cells:
            try:
                yield ours.recv()
            except EOFError as error:
                process.join()
                raise HarnessError(
                    f"the process that measures memory died at {cell}, with exit code {process.exitcode}"
                ) from error
    finally:
        process.kill()
        process.join()


def _serve(cells: Sequence[Cell], num_threads: int, own_cores: frozenset[int], line: Connection) -> None:
    if own_cores:  # it has inherited the one core that its parent's first thread is bound to
        os.sched_setaffinity(0, own_cores)
    import torch

    from harness.models import find
    from harness.profiling.subjects import SubjectNetwork
    from harness.training.device import configure

    _map_large_blocks()
    cpu = torch.device("cpu")
    largest = max(cell.batch_size for cell in cells)
    images, labels = torch.randn(largest, 3, 32, 32), torch.zeros(largest, dtype=torch.int64)
    with contextlib.suppress(Exception):  # what is made once is made now; its failure is told below
        SubjectNetwork(find(cells[0].model), cpu, images, labels).subject(cells[0]).call()
    for model, members in itertools.groupby(cells, key=lambda cell: cell.model):
        network = None  # before the next one is there
        with contextlib.suppress(Exception):  # whoever measures its time is told why
            network = SubjectNetwork(find(model), cpu, images, labels)
        for cell in members:
            configure(cpu, cell.precision, num_threads)
            line.send(_resident_peak(network, cell))


def _resident_peak(network: SubjectNetwork | None, cell: Cell) -> PeakMemory | None:
    """Of one call; what building the network takes for a moment is not in it."""
    if network is None:
        return None
    try:
        subject = network.subject(cell)
        _give_back()
        base = _status("VmRSS") - network.nbytes
        _RESET_PEAK.write_text("5")
        subject.call()
    except Exception:  # noqa: BLE001 - as when it is built
        return None
    return PeakMemory(_status("VmHWM"), base)


def _map_large_blocks() -> None:
    """Have the C library map every large block by itself, and return it to the system when it is free.

    By itself glibc stops doing so for blocks up to the largest that was freed so far.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_THRESHOLD, 2**17)


def _give_back() -> None:
    """Let the C library return to the system what is free."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _status(name: str) -> int:
    """A field of this process's status, in bytes."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"the kernel does not say {name}")
