"""What else the machine did while something was measured: times on a machine that others use are theirs too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from harness.environment import num_cores

__all__ = ["BUSY_SHARE", "CpuTimes", "LoadWatch", "is_busy", "read_cpu_times"]

BUSY_SHARE = 0.05
"""The services of an idle system take a per cent or two; what is well above that is somebody's work."""

_BUSY_FIELDS = ("user", "nice", "system", "irq", "softirq", "steal")
"""Of psutil, not all of them on every system; time of guests is in ``user`` and ``nice`` already."""


@dataclass(frozen=True, kw_only=True)
class CpuTimes:
    """The state of the clocks, in seconds; only differences mean something."""

    clock: float
    """That never goes back."""
    busy: float
    """Of all cores together, for whomever; with what was stolen, that is given to other virtual machines."""
    own: float
    """Of all cores together, for this process and its children, theirs included."""


def read_cpu_times() -> CpuTimes | None:
    """The clocks now; None where the system keeps no account.

    Children that have ended count as long as their parent waited for them; this is known on Linux alone, and
    elsewhere they count as others.
    """
    try:
        times = psutil.cpu_times()
        busy = sum(getattr(times, name, 0.0) for name in _BUSY_FIELDS)
        if busy == 0:  # as some sandboxes have it: no system was never busy
            return None
        return CpuTimes(clock=time.perf_counter(), busy=busy, own=_own_seconds())
    except (psutil.Error, OSError):
        return None


class LoadWatch:
    """Looks at what others make the CPU do, from its construction on.

    Systems count in hundredths of a second, so a share over less than a second is a rough one.

    Args:
        read: gives the state of the clocks, or None where it is not known.
    """

    def __init__(self, read: Callable[[], CpuTimes | None] = read_cpu_times) -> None:
        self._read = read
        self._start = read()

    def share_of_others(self) -> float | None:
        """CPU time that went neither to this process nor to its children, of what the cores it may use had.

        It is of all cores of the machine, so it can be above 1 where this process may use only some of them.

        Returns:
            From 0; None where it is not known.
        """
        start, now = self._start, self._read()
        if start is None or now is None or now.clock <= start.clock:
            return None
        others = (now.busy - start.busy) - (now.own - start.own)
        return max(0.0, others / ((now.clock - start.clock) * num_cores()))


def is_busy(share: float) -> bool:
    """Whether others took so much (`LoadWatch.share_of_others`) that measurements suffer from it."""
    return share > BUSY_SHARE


def _own_seconds() -> float:
    """CPU time of this process and all below it, in seconds."""
    here = psutil.Process()
    seconds = 0.0
    # parents last: they have the time of a child that ends meanwhile
    for process in [*reversed(here.children(recursive=True)), here]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
