"""A step of training as a CUDA graph: hundreds of kernels, launched at once.

Small networks leave a GPU waiting for the host, which launches one kernel after another. A step that reads and writes
nothing but memory of the device is the same kernels each time; they are recorded once and replayed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ["NotCapturableError", "capture", "draws"]

NUM_WARMUP_STEPS = 2


class NotCapturableError(Exception):
    """A step cannot be captured; the message says why."""


def draws(step: Callable[[], None], state: Sequence[Tensor]) -> bool:
    """Whether a step draws random numbers from torch's CUDA generator, which all streams of a process share.

    Afterwards it is as if no step had been made.

    Args:
        step: makes a step.
        state: all tensors that outlive a step and that it changes.

    Raises:
        torch.OutOfMemoryError: the device has no memory left for it.
    """
    before = torch.cuda.get_rng_state()
    with _undone(state):
        step()
        return not torch.equal(torch.cuda.get_rng_state(), before)


def capture(step: Callable[[], None], state: Sequence[Tensor], *, pool: Any = None) -> Callable[[], None]:
    """Capture a step on the present stream of the present device, which must not be the default stream.

    Afterwards it is as if no step had been made.

    Args:
        step: makes a step, without waiting for the device.
        state: all tensors that outlive a step and that it changes; they are put back to what they were.
        pool: of `torch.cuda.graph_pool_handle`, whose memory it shares with graphs that are never replayed at once;
            by default it has memory of its own.

    Returns:
        What makes a step by replaying it.

    Raises:
        NotCapturableError: the step waits for the device, or does something else that cannot be captured.
        torch.OutOfMemoryError: the device has no memory left for it.
    """
    graph = torch.cuda.CUDAGraph()
    with _undone(state) as put_back:
        try:
            step()  # what is made on first use, as cuDNN's handle, is made now
            put_back()
            with _waiting_is_an_error():  # better found here than in the middle of a capture
                for _ in range(NUM_WARMUP_STEPS):
                    step()
                    put_back()
            stream = torch.cuda.current_stream()
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                step()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise NotCapturableError(str(error).splitlines()[0]) from error
    return graph.replay


@contextmanager
def _undone(state: Sequence[Tensor]) -> Iterator[Callable[[], None]]:
    """Puts tensors and the generator back in the end; gives what puts the tensors back at once."""
    saved = [tensor.clone() for tensor in state]
    generator = torch.cuda.get_rng_state()

    @torch.no_grad()
    def put_back() -> None:
        for tensor, value in zip(state, saved, strict=True):
            tensor.copy_(value)

    try:
        yield put_back
    finally:
        put_back()
        torch.cuda.set_rng_state(generator)


@contextmanager
def _waiting_is_an_error() -> Iterator[None]:
    """Of the host, for the device."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
