"""What would run: every cell of an experiment, whether it is done already, and how long it will take.

Planning writes nothing.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from harness.config import Experiment, Precision, RunSpec, load_recipe
from harness.environment import Environment
from harness.errors import UsageError
from harness.models import find
from harness.records import Store
from harness.training.checkpoint import iterations_done

__all__ = ["PlannedRun", "makespan", "num_threads_per_run", "plan_runs", "run_id", "select_specs"]

State = Literal["new", "interrupted", "failed", "completed", "diverged"]


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A run of an experiment, here."""

    run_id: str
    spec: RunSpec
    state: State
    """What the store knows of it: ``completed`` and ``diverged`` ones are not run again."""
    note: str
    estimated_seconds: float
    """For the iterations that are left, alone on its share of the machine; 0 if there is nothing to do."""

    @property
    def to_do(self) -> bool:
        """Whether it will be run."""
        return self.state not in {"completed", "diverged"}


def select_specs(
    experiment: Experiment,
    *,
    precision: Precision,
    data: Literal["cifar10", "synthetic"],
    models: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    iterations: int | None = None,
) -> list[RunSpec]:
    """The runs of an experiment, each once, in its order, with the command line's wishes applied.

    Args:
        experiment: the question.
        precision: of all runs.
        data: the data set of all runs.
        models: only these; those that the experiment lacks join its first group.
        seeds: in place of the experiment's.
        iterations: in place of every length.

    Raises:
        UnknownNameError: a model or recipe does not exist.
        UsageError: a length is longer than the recipe.
    """
    specs: dict[str, RunSpec] = {}
    listed = {model for group in experiment.groups for model in group.models}
    for number, group in enumerate(experiment.groups):
        recipe = load_recipe(group.recipe)
        length = iterations or group.iterations or recipe.num_iterations()
        if group.epochs is not None and iterations is None:
            length = recipe.model_copy(update={"epochs": group.epochs, "iterations": None}).num_iterations()
        if length > recipe.num_iterations():
            raise UsageError(
                f"{length} iterations are more than the {recipe.num_iterations()} of recipe {recipe.name!r}; "
                "runs can be shortened only"
            )
        chosen = group.models
        if models is not None:
            joining = [model for model in models if model not in listed] if number == 0 else []
            chosen = (*(model for model in group.models if model in models), *joining)
        for model in chosen:
            find(model)
            for seed in group.seeds if seeds is None else seeds:
                spec = RunSpec(
                    model=model, recipe=recipe, iterations=length, seed=seed, precision=precision, data=data
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


def run_id(spec: RunSpec, environment: Environment) -> str:
    """Name of a run: what it is, and digests of what was asked and of where it ran.

    It is also a file name, so anything but letters, digits, dot and hyphen in it becomes a hyphen.
    """
    place = environment.fingerprint_with(find(spec.model).origin)
    name = f"{spec.model}-{spec.recipe.name}-s{spec.seed}-{spec.sha256[:8]}-{place[:8]}"
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)


def plan_runs(specs: Sequence[RunSpec], environment: Environment, store: Store) -> list[PlannedRun]:
    """Look every run up in the store and estimate what is left."""
    rates = _recorded_rates(store, environment)
    planned = []
    for spec in specs:
        name = run_id(spec, environment)
        state, note, done = _look_up(name, store)
        left = 0 if state in {"completed", "diverged"} else spec.iterations - done
        seconds = left * spec.recipe.batch_size / _images_per_second(spec, environment, rates)
        planned.append(PlannedRun(run_id=name, spec=spec, state=state, note=note, estimated_seconds=seconds))
    return planned


def makespan(seconds: Sequence[float], num_workers: int) -> float:
    """Time for pieces of work that are handed out in order to whichever worker is free first."""
    free = [0.0] * max(1, num_workers)
    for piece in seconds:
        heapq.heapreplace(free, free[0] + piece)
    return max(free)


def _look_up(name: str, store: Store) -> tuple[State, str, int]:
    """State, what to say of it, and iterations done."""
    checkpoint = store.checkpoint(name)
    row = store.local_run(name)
    if row is not None and row["status"] == "completed":
        return "completed", f"already recorded: {row['test_accuracy']:.2%} test accuracy", 0
    if row is not None and row["status"] == "diverged":
        return "diverged", f"already recorded as diverged: {row['reason']}", 0
    if checkpoint.exists():
        done = iterations_done(checkpoint)
        return "interrupted", f"goes on after iteration {done:,}", done
    if row is not None:
        return "failed", f"{row['status']} before: {row['reason']}", 0
    return "new", "", 0


Rates = dict[tuple[str, str], float]


def _recorded_rates(store: Store, environment: Environment) -> Rates:
    """(model, precision) -> median images per second of runs on such a device with as many threads."""
    rows = store.read("runs")[0].select(["model", "precision", "device_name", "threads", "images_per_second"])
    samples: dict[tuple[str, str], list[float]] = {}
    for row in rows.to_pylist():
        here = (row["device_name"], row["threads"]) == (environment.device_name, environment.threads)
        if here and row["images_per_second"]:
            samples.setdefault((row["model"], row["precision"]), []).append(row["images_per_second"])
    return {key: median(values) for key, values in samples.items()}


# Seconds per image and weighted layer in training on one core, as measured for ResNet-20 and ResNet-56 on
# Zen 5; a guess for any other machine, and for networks of other widths, until there are records of them.
_CPU_SECONDS_PER_LAYER = {Precision.BF16: 53e-6, Precision.FP32: 76e-6}
# On a GPU small networks wait for the launch of kernels: so much per weighted layer and mini-batch.
_GPU_SECONDS_PER_LAYER = 0.25e-3
_GUESSED_DEPTH = 20
_EVALUATION_SHARE = 1.08


def _images_per_second(spec: RunSpec, environment: Environment, rates: Rates) -> float:
    recorded = rates.get((spec.model, spec.precision.value))
    if recorded is None:
        depth = find(spec.model).depth or _GUESSED_DEPTH
        if environment.device == "cpu":
            recorded = environment.threads / (_CPU_SECONDS_PER_LAYER[spec.precision] * depth)
        else:
            recorded = spec.recipe.batch_size / (_GPU_SECONDS_PER_LAYER * depth)
    return recorded / _EVALUATION_SHARE
