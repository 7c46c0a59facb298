"""A request, resolved on this machine: which experiment, device, precision, threads, and the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from harness import allocator, environment
from harness.config import Experiment, load_experiment
from harness.errors import CheckpointError, UsageError
from harness.execution.job import Job
from harness.execution.plan import (
    PlannedRun,
    makespan,
    num_runs_at_once,
    num_threads_per_run,
    plan_runs,
    select_specs,
)
from harness.execution.resumption import adopt, check_adoptable
from harness.models import find
from harness.records import Store
from harness.training.device import resolve_device

if TYPE_CHECKING:
    import torch

    from harness.environment import Environment

__all__ = ["IfChanged", "Request", "Session", "resolve"]


IfChanged = Literal["refuse", "resume", "restart"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for; what is None is chosen by the experiment and the machine."""

    experiment: str | Experiment | None = None
    models: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    device: str = "auto"
    precision: str | None = None
    iterations: int | None = None
    results: Path
    synthetic: bool = False
    """Made-up images in place of CIFAR-10."""
    num_workers: int | None = None
    num_threads: int | None = None
    runs_at_once: int | None = None
    eager: bool = False
    """Launch the operations of a GPU one by one."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """What will be done about a request."""

    experiment: Experiment
    chosen_by_device: bool
    """Whether the experiment was chosen here, because none was named."""
    device: torch.device
    num_workers: int
    """Processes side by side."""
    runs_at_once: int
    """In turn in each process."""
    num_threads: int
    """Of each process."""
    eager: bool
    store: Store
    environment: Environment
    planned: list[PlannedRun]

    @property
    def to_do(self) -> list[PlannedRun]:
        """The planned runs that are not recorded yet."""
        return [run for run in self.planned if run.to_do]

    @property
    def num_lanes(self) -> int:
        """Runs that are in progress at a time."""
        return self.num_workers * self.runs_at_once

    @property
    def estimated_seconds(self) -> float:
        """Until all is done."""
        return makespan([run.estimated_seconds for run in self.to_do], self.num_lanes)

    def jobs(self, checkpoint_seconds: float) -> list[Job]:
        """What is to do, for workers."""
        return [
            Job(
                run_id=run.run_id,
                spec=run.spec,
                experiment=self.experiment.name,
                device=str(self.device),
                num_threads=self.num_threads,
                results=self.store.root,
                checkpoint_seconds=checkpoint_seconds,
                place=self._place(run.spec.model),
                eager=self.eager,
            )
            for run in self.to_do
        ]

    def settle_changed(self, if_changed: IfChanged) -> None:
        """Decide what becomes of runs that were interrupted before something changed that decides their bits.

        Args:
            if_changed: ``refuse``; ``resume``: go on from their checkpoints, which the records will tell; ``restart``:
                begin anew and leave their checkpoints where they are.

        Raises:
            CheckpointError: there are such runs, and they are refused, or cannot go on.
        """
        changed = [(run, run.interrupted) for run in self.to_do if run.interrupted is not None]
        if changed and if_changed == "refuse":
            listed = [f"{run.run_id}: {interrupted}" for run, interrupted in changed]
            more = [f"and {len(listed) - 5} more"] if len(listed) > 5 else []
            raise CheckpointError(
                "\n  ".join(
                    [
                        "these runs were interrupted in another environment; resumed here, they would match the bits of neither:",
                        *listed[:5],
                        *more,
                        "Undo the change, or choose --if-changed restart (begin anew) or resume (go on; it is recorded).",
                    ]
                )
            )
        if if_changed == "resume":
            for _, interrupted in changed:
                check_adoptable(interrupted)
            for run, interrupted in changed:
                adopt(interrupted, run.run_id, run.spec, self._place(run.spec.model), self.store)

    def _place(self, model: str) -> dict[str, str]:
        return self.environment.deciding(find(model).origin)


def resolve(request: Request) -> Session:
    """Decide all that a request leaves open, and plan it. Writes nothing.

    Without an experiment it is ``paper`` where there is CUDA and ``quick`` elsewhere.

    Raises:
        UsageError: what is asked for does not exist, or not on this machine, or leaves nothing to run.
    """
    allocator_state = allocator.configure()
    device = resolve_device(request.device)
    asked = request.experiment or ("paper" if device.type == "cuda" else "quick")
    experiment = load_experiment(asked) if isinstance(asked, str) else asked
    specs = select_specs(
        experiment,
        device,
        data="synthetic" if request.synthetic else "cifar10",
        models=request.models,
        seeds=request.seeds,
        precision=request.precision,
        iterations=request.iterations,
    )
    if not specs:
        raise UsageError(
            f"experiment {experiment.name!r}: these options leave no run of it; name other models"
        )
    if device.type != "cuda" and (request.runs_at_once or 1) > 1:
        raise UsageError(
            f"--at-once {request.runs_at_once}: on {device.type!r} a process trains one run; use --workers"
        )
    num_cores = environment.num_cores()
    num_threads = request.num_threads or num_threads_per_run(len(specs), num_cores, device.type)
    side_by_side = max(1, num_cores // num_threads) if device.type == "cpu" else 1
    store = Store(request.results)
    here = environment.capture(device, num_threads=num_threads, allocator=allocator_state)
    runs_at_once = request.runs_at_once or num_runs_at_once(len(specs), here)
    return Session(
        experiment=experiment,
        chosen_by_device=request.experiment is None,
        device=device,
        num_workers=request.num_workers or min(len(specs), side_by_side),
        runs_at_once=runs_at_once,
        num_threads=num_threads,
        eager=request.eager,
        store=store,
        environment=here,
        planned=plan_runs(specs, here, store, runs_at_once=runs_at_once),
    )
