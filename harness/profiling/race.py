"""Training loops side by side: each in fresh processes, warmed up, then advanced in turn.

All contestants are there at once, and wait while one of them computes: what slows the machine down for a while
slows all of them, and the ratio of their medians is what can be believed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Literal, Protocol

from harness import allocator
from harness.config import Precision, RunSpec, load_recipe
from harness.errors import HarnessError

__all__ = ["Contestant", "Result", "race"]

DataName = Literal["cifar10", "synthetic"]
NUM_WARMUP_ITERATIONS = 10
BATCH_SIZE = 128


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A way to train a network."""

    name: str
    loop: Literal["ours", "baseline"]
    precision: Precision = Precision.FP32
    """Of ours; the baseline has float32."""
    num_processes: int = 1
    """Side by side, a network each."""
    num_threads: int = 1
    """Of each process; the baseline's loaders come on top."""
    num_loaders: int = 4
    """Processes that load data for the baseline."""
    tuned_allocator: bool = True


@dataclass(frozen=True)
class Result:
    """What came of a contestant."""

    contestant: Contestant
    start_seconds: float
    """From nothing to the end of the warm-up, compilation included."""
    round_seconds: list[float]
    images_per_round: int
    """Over all of its processes."""


class _Loop(Protocol):
    def train(self, num_iterations: int) -> object:
        """Make so many updates."""


def race(
    contestants: Sequence[Contestant],
    *,
    model: str = "resnet20",
    device: str = "cpu",
    data: DataName = "cifar10",
    num_rounds: int,
    num_iterations: int,
) -> list[Result]:
    """Time every contestant ``num_rounds`` times, in turn.

    Args:
        contestants: what is compared.
        model: key of the catalogue.
        device: where all train.
        data: what they train on.
        num_rounds: of each.
        num_iterations: mini-batches of a round, for each process.

    Raises:
        HarnessError: a contestant failed; the message names it.
    """
    teams = []
    try:
        for contestant in contestants:
            teams.append(_Team(contestant, model, device, data))  # noqa: PERF401 - those that began must be ended
        results = [
            Result(
                team.contestant,
                team.start_seconds,
                [],
                team.contestant.num_processes * num_iterations * BATCH_SIZE,
            )
            for team in teams
        ]
        for _ in range(num_rounds):
            for team, result in zip(teams, results, strict=True):
                result.round_seconds.append(team.advance(num_iterations))
    finally:
        for team in teams:
            team.end()
    return results


class _Team:
    """The processes of a contestant, ready to be advanced."""

    def __init__(self, contestant: Contestant, model: str, device: str, data: DataName) -> None:
        self.contestant = contestant
        self._members: list[tuple[BaseProcess, Connection]] = []
        start = time.perf_counter()
        context = multiprocessing.get_context("spawn")
        for _ in range(contestant.num_processes):
            ours, theirs = context.Pipe()
            # no daemon: the baseline's loaders are processes of its own
            process = context.Process(target=_serve, args=(contestant, model, device, data, theirs))
            process.start()
            theirs.close()
            self._members.append((process, ours))
        self._hear()
        self.start_seconds = time.perf_counter() - start

    def advance(self, num_iterations: int) -> float:
        """Seconds until all its processes have made so many updates."""
        start = time.perf_counter()
        for _, line in self._members:
            line.send(num_iterations)
        self._hear()
        return time.perf_counter() - start

    def _hear(self) -> None:
        for process, line in self._members:
            try:
                line.recv()
            except EOFError as error:
                process.join()
                raise HarnessError(
                    f"{self.contestant.name}: the process died with exit code {process.exitcode}; its last words are above"
                ) from error

    def end(self) -> None:
        for process, line in self._members:
            line.close()
            process.join(timeout=10)
            process.kill()


def _serve(contestant: Contestant, model: str, device: str, data: DataName, line: Connection) -> None:
    """In a process of its own: build the loop, warm it up, and train whenever told to, until the line is closed."""
    if contestant.tuned_allocator:
        allocator.configure()
    loop = _make_loop(contestant, model, device, data)
    loop.train(NUM_WARMUP_ITERATIONS)
    line.send("ready")
    while True:
        try:
            num_iterations = line.recv()
        except EOFError:
            return
        loop.train(num_iterations)
        line.send("done")


def _make_loop(contestant: Contestant, model: str, device_name: str, data: DataName) -> _Loop:
    import torch

    from harness.data import load
    from harness.models import find

    device = torch.device(device_name)
    images, recipe = load(data), load_recipe("short")
    if contestant.loop == "baseline":
        from harness.profiling.baseline import BaselineLoop

        torch.set_num_threads(contestant.num_threads)
        return BaselineLoop(
            find(model).build(),
            images,
            recipe.normalization,
            device=device,
            batch_size=BATCH_SIZE,
            num_workers=contestant.num_loaders,
        )
    from harness.training.device import configure

    configure(device, contestant.precision, contestant.num_threads)
    spec = RunSpec(
        model=model,
        recipe=recipe.model_copy(update={"batch_size": BATCH_SIZE, "epochs": 1000.0}),
        iterations=100_000,
        seed=0,
        precision=contestant.precision,
        data=data,
    )
    return _Ours(spec, images, device)


class _Ours:
    """Our updates, read back at the end of each round."""

    def __init__(self, spec: RunSpec, images: object, device: object) -> None:
        from harness.training.trainer import Trainer

        self.trainer = Trainer(spec, images, device)  # type: ignore[arg-type]
        self.iteration = 0

    def train(self, num_iterations: int) -> float:
        """Returns: the mean loss of the last epoch touched, which waits for the device."""
        while num_iterations > 0:
            _, end = self.trainer.epoch(self.iteration)
            stop = min(end, self.iteration + num_iterations)
            num_iterations -= stop - self.iteration
            for iteration in self.trainer.updates(self.iteration, stop):
                self.iteration = iteration
        return float(self.trainer.losses.mean())
