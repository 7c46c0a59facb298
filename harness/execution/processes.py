"""How processes are made that train."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from multiprocessing.context import ForkServerContext, SpawnContext

__all__ = ["process_context"]


MAX_LENGTH_OF_TEMPORARY_FOLDER = 70
"""A Unix socket's path has at most 107 characters, of which multiprocessing needs some 32."""


def process_context(device: str, *, compiles: bool = False) -> ForkServerContext | SpawnContext:
    """Forked from a process that has torch already, or made anew where that cannot be.

    The fork needs a short path for its socket. CUDA does not survive a fork, nor may what compiles, which makes processes of its own; and elsewhere than on Linux not
    even the system's own libraries do. A forked process has the environment variables of when the first of them was made.
    """
    socket_has_place = len(tempfile.gettempdir()) <= MAX_LENGTH_OF_TEMPORARY_FOLDER
    if device != "cpu" or compiles or sys.platform != "linux" or not socket_has_place:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.execution.preloaded"])
    return context
