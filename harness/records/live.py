"""What runs in progress say of themselves; no records, of no use to any, and can be removed at any time.

    results/.live/runs/<run id>.json        how far a run is, and its course so far
    results/.live/sweeps/<sweep id>.json    how far one call of the harness is with all of its runs

Each file is replaced as a whole, so that a reader never meets a part; nobody waits until it is on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError

from harness import storage
from harness.atomic import write_atomically
from harness.records.store import Store

__all__ = ["Live", "LiveEpoch", "LiveRun", "LiveSweep"]

SILENCE: Final = timedelta(minutes=2)
"""Longer than compilation, and than an epoch of a slow network; who says nothing for so long has probably died."""
_FORGOTTEN: Final = timedelta(days=1)
_MAX_BYTES: Final = 2**20

_Count = Annotated[int, Field(ge=0, lt=2**53)]
_Seconds = Annotated[float, Field(ge=0, le=1e9)]
_Rate = Annotated[float, Field(ge=0, le=1e9)]
_VALIDATION = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class LiveEpoch:
    """Some columns of a row of the records of kind ``epochs``."""

    epoch: _Count
    iteration: _Count
    seconds: float
    train_error: float
    test_error: float
    images_per_second: float | None

    __pydantic_config__ = _VALIDATION


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A run that has not come to its end yet, as far as is recorded."""

    run_id: str
    experiment: str
    model: str
    recipe: str
    precision: str
    seed: _Count
    device: str
    host: str
    state: Literal["running", "interrupted"]
    iteration: _Count
    """So many are done."""
    iterations: _Count
    """In all."""
    seconds_left: _Seconds
    heard_at: AwareDatetime
    """When the run last said something."""
    epochs: tuple[LiveEpoch, ...]

    __pydantic_config__ = _VALIDATION

    @property
    def is_silent(self) -> bool:
        """Whether a run that should be running has said nothing for long."""
        return self.state == "running" and _is_older(self.heard_at, SILENCE)


@dataclass(frozen=True, kw_only=True)
class LiveSweep:
    """One call of the harness that is at work on runs."""

    sweep_id: str
    experiment: str
    host: str
    num_runs: _Count
    """That were to do when it began."""
    num_running: _Count
    num_completed: _Count
    num_failed: _Count
    """Or diverged."""
    seconds_left: _Seconds
    seconds_left_low: _Seconds | None = None
    """Nine of ten ends lie between this and the next; None in files of older harnesses."""
    seconds_left_high: _Seconds | None = None
    runs_per_hour: _Rate | None = None
    """Completed by this call; None before the first."""
    started_at: AwareDatetime
    heard_at: AwareDatetime

    __pydantic_config__ = _VALIDATION

    @property
    def is_silent(self) -> bool:
        """Whether it has said nothing for long."""
        return _is_older(self.heard_at, SILENCE)


_T = TypeVar("_T", LiveRun, LiveSweep)

_RUN: Final = TypeAdapter(LiveRun)
_SWEEP: Final = TypeAdapter(LiveSweep)


class Live:
    """What is in progress below a folder of results.

    Args:
        root: of the store.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._runs, self._sweeps = root / ".live" / "runs", root / ".live" / "sweeps"

    @property
    def is_here(self) -> bool:
        """Whether the folder is one of this machine, where telling costs nothing."""
        return not storage.is_remote(self._root)

    def runs(self) -> list[LiveRun]:
        """Those that have not ended yet, in the order of their ids; what is broken or forgotten is passed over."""
        return [
            run for name, run in _read(self._runs, _RUN) if run.run_id == name and not self._has_ended(name)
        ]

    def sweeps(self) -> list[LiveSweep]:
        """Those at work, the latest first; what is broken or forgotten is passed over."""
        known = [sweep for name, sweep in _read(self._sweeps, _SWEEP) if sweep.sweep_id == name]
        return sorted(known, key=lambda sweep: sweep.started_at, reverse=True)

    def run(self, run_id: str) -> LiveRun | None:
        """What a run last said; None if it said nothing that can be read."""
        return _read_file(self._runs / f"{run_id}.json", _RUN)

    def tell_run(self, run: LiveRun) -> None:
        """Replace what is known of a run.

        Raises:
            StorageError: it cannot be written.
        """
        write_atomically(self._runs / f"{run.run_id}.json", _RUN.dump_json(run), durable=False)

    def tell_sweep(self, sweep: LiveSweep) -> None:
        """Replace what is known of a sweep.

        Raises:
            StorageError: it cannot be written.
        """
        write_atomically(self._sweeps / f"{sweep.sweep_id}.json", _SWEEP.dump_json(sweep), durable=False)

    def forget_run(self, run_id: str) -> None:
        """Remove what is known of a run that has ended.

        Raises:
            OSError: it cannot be removed.
        """
        storage.remove(self._runs / f"{run_id}.json")

    def forget_sweep(self, sweep_id: str) -> None:
        """Remove what is known of a sweep that has ended, and of those that died long ago.

        Raises:
            OSError: it cannot be removed.
        """
        storage.remove(self._sweeps / f"{sweep_id}.json")
        for listed in storage.listing(self._sweeps, ".json"):
            if _is_older(storage.changed_at(listed.path), _FORGOTTEN):
                storage.remove(listed.path)

    def _has_ended(self, run_id: str) -> bool:
        """Whether whoever recorded it died before it was forgotten here; one that failed may be at work again."""
        return Store(self._root).ended_run(run_id) is not None


def _read(folder: Path, adapter: TypeAdapter[_T]) -> Iterator[tuple[str, _T]]:
    """What can be read in a folder, with the name of its file."""
    for listed in storage.listing(folder, ".json"):
        found = _read_file(listed.path, adapter)
        if found is not None:
            yield listed.path.stem, found


def _read_file(path: Path, adapter: TypeAdapter[_T]) -> _T | None:
    try:
        if not storage.is_remote(path) and path.stat().st_size > _MAX_BYTES:
            return None
        return adapter.validate_json(storage.read(path))
    except (OSError, ValidationError):
        return None


def _is_older(time: datetime, age: timedelta) -> bool:
    return datetime.now(UTC) - time > age
