"""What would run: every cell of an experiment, whether it is done already, and how long it will take.

Planning writes nothing.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness import storage
from harness.config import Experiment, RunSpec, runs_asked
from harness.environment import Environment
from harness.errors import CheckpointError
from harness.execution.resumption import InterruptedRun, find_interrupted, list_checkpoints
from harness.execution.speeds import known_speeds
from harness.models import find
from harness.records import ENDED, Store
from harness.training.checkpoint import CheckpointHeader
from harness.training.device import resolve_precision

if TYPE_CHECKING:
    import torch

__all__ = [
    "PlannedRun",
    "makespan",
    "num_runs_at_once",
    "num_threads_per_run",
    "plan_runs",
    "run_id",
    "select_specs",
]

State = Literal["new", "interrupted", "changed", "failed", "completed", "diverged"]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of an experiment, here."""

    run_id: str
    spec: RunSpec
    state: State
    """What the store knows of it: ``completed`` and ``diverged`` ones are not run again, and ``changed`` ones were
    interrupted before something changed that decides their bits."""
    note: str
    estimated_seconds: float
    """For the iterations that are left, on its share of the machine; 0 if there is nothing to do."""
    interrupted: InterruptedRun | None = None
    """Of a ``changed`` one: what it could go on from."""

    @property
    def to_do(self) -> bool:
        """Whether it will be run."""
        return self.state not in ENDED


def select_specs(
    experiment: Experiment,
    device: torch.device,
    *,
    data: Literal["cifar10", "synthetic"] = "cifar10",
    **options: Any,
) -> list[RunSpec]:
    """The runs of an experiment on a device, each once, in its order.

    Args:
        experiment: the question.
        device: decides which precisions there are.
        data: the data set of all runs.
        options: of the command line, as `harness.config.runs_asked` takes them.

    Raises:
        UnknownNameError: a model, recipe or precision does not exist.
        UsageError: a length is longer than the recipe, or the device does not have a precision.
    """
    asked = runs_asked(experiment, device=device.type, **options)
    for model in dict.fromkeys(run.model for run in asked):
        find(model)
    precisions = {
        name: resolve_precision(name, device) for name in dict.fromkeys(run.precision for run in asked)
    }
    specs: dict[str, RunSpec] = {}
    for run in asked:
        spec = RunSpec(
            model=run.model,
            recipe=run.recipe,
            iterations=run.iterations,
            seed=run.seed,
            precision=precisions[run.precision],
            data=data,
        )
        specs.setdefault(spec.sha256, spec)
    return list(specs.values())


def num_threads_per_run(num_runs: int, num_cores: int, device: str) -> int:
    """Threads of one run: its share of the cores, however many runs are already done.

    The number of threads decides the bits of a result on a CPU, so it must not change when an experiment is
    resumed. Runs side by side with one thread each are together faster than one after another with more.
    """
    if device != "cpu":
        return 1
    return max(1, num_cores // max(1, min(num_runs, num_cores)))


def num_runs_at_once(num_runs: int, environment: Environment) -> int:
    """How many runs one process trains in turn: on a GPU as many as fill it, and as its memory holds; else one.

    The bits of a run do not depend on it.
    """
    if environment.device != "cuda":
        return 1
    fitting = int(environment.device_memory_bytes / _GPU_BYTES_PER_RUN)
    return max(1, min(num_runs, fitting, _GPU_RUNS_AT_ONCE))


_GPU_RUNS_AT_ONCE = 10
_GPU_BYTES_PER_RUN = 3e9
"""A generous guess, so that deep networks find room; those that do not are put back and trained alone."""


def run_id(spec: RunSpec, environment: Environment) -> str:
    """Name of a run: what it is, and digests of what was asked and of where it ran.

    It is also a file name, so anything but letters, digits, dot and hyphen in it becomes a hyphen, and names of
    networks and recipes that are longer than files may have are cut.
    """
    place = environment.fingerprint(find(spec.model).origin)
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{spec.model}-{spec.recipe.name}")[:_MAX_NAME]
    return f"{name}-s{spec.seed}-{spec.sha256[:8]}-{place[:8]}"


_MAX_NAME = 150
_LOOKED_AT = ["run_id", "status", "reason", "test_accuracy"]
"""Of the records of runs that may be among those asked for."""


def plan_runs(
    specs: Sequence[RunSpec], environment: Environment, store: Store, *, runs_at_once: int = 1
) -> list[PlannedRun]:
    """Look every run up in the store and estimate what is left.

    Args:
        specs: what is asked.
        environment: where it would run.
        store: what has been run.
        runs_at_once: in turn in one process.
    """
    recorded, broken = store.read("runs")
    speeds = known_speeds(recorded, store.read("identities")[0], environment, runs_at_once)
    here = store.names_here("runs") - {file.path.stem for file in broken}
    ours = {row["run_id"]: row for row in recorded.select(_LOOKED_AT).to_pylist() if row["run_id"] in here}
    checkpoints = list_checkpoints(store)
    planned = []
    for spec in specs:
        name = run_id(spec, environment)
        state, note, done = _look_up(ours.get(name), store.checkpoint(name))
        interrupted = None
        if state in {"new", "failed"}:
            place = environment.deciding(find(spec.model).origin)
            interrupted = find_interrupted(name, spec, place, store, checkpoints)
            if interrupted is not None:
                state, note = "changed", str(interrupted)
        left = 0 if state in ENDED else max(0, spec.iterations - done)
        seconds = left * spec.recipe.batch_size / speeds.images_per_second(spec)
        planned.append(
            PlannedRun(
                run_id=name,
                spec=spec,
                state=state,
                note=note,
                estimated_seconds=seconds,
                interrupted=interrupted,
            )
        )
    return planned


def makespan(seconds: Sequence[float], num_workers: int) -> float:
    """Time for pieces of work that are handed out in order to whichever worker is free first."""
    free = [0.0] * max(1, num_workers)
    for piece in seconds:
        heapq.heapreplace(free, free[0] + piece)
    return max(free)


def _look_up(row: Mapping[str, Any] | None, checkpoint: Path) -> tuple[State, str, int]:
    """State, what to say of it, and iterations done."""
    if row is not None and row["status"] == "completed":
        return "completed", f"already recorded: {row['test_accuracy']:.2%} test accuracy", 0
    if row is not None and row["status"] == "diverged":
        return "diverged", f"already recorded as diverged: {row['reason']}", 0
    if storage.exists(checkpoint):
        try:
            done = int(CheckpointHeader.read(checkpoint).progress["iteration"])
        except CheckpointError as error:  # the run itself will fail with it
            return "interrupted", str(error), 0
        return "interrupted", f"goes on after iteration {done:,}", done
    if row is not None:
        return "failed", f"{row['status']} before: {row['reason']}", 0
    return "new", "", 0
