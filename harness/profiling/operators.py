"""Where the time of a step goes, by operator, as torch's profiler sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

from harness.analysis.cost import OTHERS

__all__ = ["operator_rows"]

MIN_SHARE = 0.001
"""Of the time of a step; operators below it are summed up."""


def operator_rows(
    call: Callable[[], object], device: torch.device, *, trace: Path | None = None
) -> list[dict[str, Any]]:
    """Self time, share and calls of every operator of one call, the longest first.

    Args:
        call: a step, already warm.
        device: where it computes; on CUDA they are its kernels.
        trace: a file for the whole course of the call, in the format that Perfetto opens.

    Returns:
        Nothing where the profiler saw no kernel, as in containers that may not ask for them.
    """
    on_cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_cuda else [])]
    with profile(activities=activities) as profiler:
        call()
        if on_cuda:
            torch.cuda.synchronize(device)
    if trace is not None:
        trace.parent.mkdir(parents=True, exist_ok=True)
        profiler.export_chrome_trace(str(trace))
    events = [
        (event.key, event.count, event.self_device_time_total if on_cuda else event.self_cpu_time_total)
        for event in profiler.key_averages()
        # an operator and what is around it have the time of their kernels once more
        if not on_cuda or (event.device_type is DeviceType.CUDA and not event.is_user_annotation)
    ]
    total = sum(microseconds for _, _, microseconds in events)
    if total == 0:
        return []
    rows = [
        {"operator": name, "calls": calls, "self_seconds": time / 1e6, "share": time / total}
        for name, calls, time in sorted(events, key=lambda event: -event[2])
        if time / total >= MIN_SHARE
    ]
    rest = [event for event in events if event[2] / total < MIN_SHARE]
    if rest:
        time = sum(event[2] for event in rest)
        rows.append(
            {
                "operator": OTHERS,
                "calls": sum(event[1] for event in rest),
                "self_seconds": time / 1e6,
                "share": time / total,
            }
        )
    return rows
