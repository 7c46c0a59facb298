"""glibc's allocator, told to keep its blocks.

A training step on a CPU frees and asks again for the same large activations. By default glibc maps and
unmaps each of them, and the kernel zeroes every page anew: a third of the time of a step of ResNet-20.
The settings must be made before torch is imported, so every worker process begins with `configure`.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["configure"]

# Parameter numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MIB = 2**20
_SETTINGS = ((_M_MMAP_THRESHOLD, 32 * _MIB), (_M_TRIM_THRESHOLD, 1024 * _MIB), (_M_TOP_PAD, 64 * _MIB))


def configure() -> str:
    """Make glibc keep freed blocks; where there is no glibc, change nothing.

    Returns:
        What was done, for the record: ``"glibc-tuned"`` or ``"default"``.
    """
    if not sys.platform.startswith("linux"):
        return "default"
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return "default"
    return "glibc-tuned" if all(mallopt(number, value) for number, value in _SETTINGS) else "default"
