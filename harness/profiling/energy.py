"""The energy that a device takes, from the counters of its maker.

On a GPU of NVIDIA it is what the whole board took, on a CPU what its packages took (all cores and their caches,
not the memory modules, fans or power supply), whoever made them work.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch

__all__ = ["EnergyMeter", "open_meter"]

_POWERCAP = Path("/sys/class/powercap")
_PACKAGE = re.compile(r"intel-rapl:\d+")
"""Zones of CPUs of AMD are called the same; ``intel-rapl:0:0`` is a part of ``intel-rapl:0``."""


class EnergyMeter(Protocol):
    """A counter of the energy of one device."""

    @property
    def source(self) -> str:
        """Who counts: ``nvml`` (the driver of an NVIDIA GPU) or ``rapl`` (the CPU)."""

    def read(self) -> float:
        """Joules since some moment that stays the same; only differences mean something.

        Raises:
            HarnessError: the counter can no longer be read.
        """


def open_meter(device: torch.device, *, powercap: Path = _POWERCAP) -> EnergyMeter | None:
    """The meter of a device.

    Args:
        device: what takes the energy; without an index it is the current one.
        powercap: where Linux shows the counters of CPUs.

    Returns:
        None where the energy is not known: no counter, no driver for it, or no right to read it (Linux shows
        that of a CPU to root alone, unless told otherwise).
    """
    if device.type == "cuda":
        return _open_nvml(device)
    if device.type == "cpu":
        return _open_rapl(powercap)
    return None


class _NvmlMeter:
    """NVML's count since the driver was loaded; Volta and later have it."""

    source = "nvml"

    def __init__(self, handle: object) -> None:
        self._handle = handle

    def read(self) -> float:
        """Joules since the driver was loaded."""
        import pynvml

        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3
        except pynvml.NVMLError as error:
            raise HarnessError(f"the energy counter of the GPU can no longer be read: {error}") from error


def _open_nvml(device: torch.device) -> _NvmlMeter | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        # It is never shut down: where no other process holds it, the driver would forget the count.
        pynvml.nvmlInit()
        handle = _nvml_handle(device)
        if handle is None:
            return None
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        return None
    return _NvmlMeter(handle)


def _nvml_handle(device: torch.device) -> object | None:
    """The device by NVML's reckoning: it counts all GPUs, CUDA those in CUDA_VISIBLE_DEVICES, in that order.

    None for what cannot be told: no UUID, and an index that may mean another GPU.
    """
    import pynvml
    import torch

    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    handle: object = None
    if uuid is not None:
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    elif "CUDA_VISIBLE_DEVICES" not in os.environ:
        index = getattr(device, "index", None)
        handle = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device() if index is None else index)
    return handle


class _RaplMeter:
    """The counters of all packages, together.

    A counter starts again from 0 after some tens of kilojoules: 65 of them, say, are four minutes at 270 W. One
    such start between two readings is seen, a second one is not: read more often than that.
    """

    source = "rapl"

    def __init__(self, packages: list[Path]) -> None:
        """Begin at 0 J.

        Raises:
            OSError, ValueError: a counter cannot be read.
        """
        self._ranges = {package: _microjoules(package / "max_energy_range_uj") for package in packages}
        self._last = {package: _microjoules(package / "energy_uj") for package in packages}
        self._total = 0

    def read(self) -> float:
        """Joules since the meter was opened."""
        try:
            now = {package: _microjoules(package / "energy_uj") for package in self._last}
        except (OSError, ValueError) as error:
            raise HarnessError(f"the energy counter of the CPU can no longer be read: {error}") from error
        for package, last in self._last.items():
            self._total += now[package] - last + (self._ranges[package] if now[package] < last else 0)
        self._last = now
        return self._total / 1e6


def _open_rapl(powercap: Path) -> _RaplMeter | None:
    try:
        packages = [
            zone
            for zone in powercap.iterdir()
            if _PACKAGE.fullmatch(zone.name)
            # a zone "psys" is the whole computer, packages included
            and (zone / "name").read_text(encoding="utf-8").startswith("package")
        ]
        return _RaplMeter(packages) if packages else None
    except (OSError, ValueError):
        return None


def _microjoules(path: Path) -> int:
    return int(path.read_text(encoding="utf-8"))
