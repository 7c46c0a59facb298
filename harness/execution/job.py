"""What a worker process is asked to do, and what it says of it; both travel between processes. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.config import RunSpec

__all__ = ["Advanced", "Ended", "EpochEnded", "Event", "Job", "Noted", "Requeued", "RunObserver", "Started"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """All a worker needs to know; travels to another process."""

    run_id: str
    spec: RunSpec
    experiment: str
    device: str
    num_threads: int
    results: Path
    checkpoint_seconds: float
    place: Mapping[str, str] = field(default_factory=dict)
    """What can change its bits beside what is asked; see `harness.environment.Environment.deciding`."""
    eager: bool = False
    """Launch the operations of a GPU one by one."""
    num_epochs: int | None = None
    """Interrupt it after so many."""


@dataclass(frozen=True)
class Started:
    """The run begins, or goes on, before ``iteration``."""

    iteration: int
    num_iterations: int


@dataclass(frozen=True)
class Advanced:
    """So many iterations are done."""

    iteration: int


@dataclass(frozen=True)
class EpochEnded:
    """A row of the records of kind ``epochs``."""

    row: dict[str, Any]


@dataclass(frozen=True)
class Noted:
    """Something that people should know of the run."""

    text: str


@dataclass(frozen=True)
class Requeued:
    """The run has not begun, and is to be trained alone; the last that is heard of it from this worker."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """The last that is heard of a run."""

    status: str
    """``completed``, ``diverged``, ``failed``, ``interrupted``, ``busy`` (another process has the run) or ``unwritable`` (its
    files cannot be written)."""
    reason: str | None = None
    test_accuracy: float | None = None
    traceback: str | None = None
    """Of an error that is no `HarnessError`."""


Event = Started | Advanced | EpochEnded | Noted | Requeued | Ended

RunObserver = Callable[[Job, Event], None]
"""Is told of the events of runs."""
