"""Training loops side by side: each in fresh processes, warmed up, then advanced in turn.

All contestants are there at once, and wait while one of them computes: what slows the machine down for a while
slows all of them, and cancels in the ratio of two of them in the same round; the median of these is what can be believed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Literal, Protocol

from harness import allocator
from harness.config import Precision, Recipe, RunSpec, load_recipe
from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch

    from harness.data import ImageSet
    from harness.training.batches import DeviceImages

__all__ = ["Contestant", "Result", "race"]

DataName = Literal["cifar10", "synthetic"]
NUM_WARMUP_ITERATIONS = 10
BATCH_SIZE = 128
ENDLESS = 100_000


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A way to train a network."""

    name: str
    loop: Literal["ours", "baseline"]
    precision: Precision = Precision.FP32
    """Of ours; the baseline has float32 as PyTorch has it by default, which on CUDA rounds in convolutions as TF32 does."""
    num_processes: int = 1
    """Side by side, a network each."""
    num_threads: int = 1
    """Of each process; the baseline's loaders come on top."""
    num_loaders: int = 4
    """Processes that load data for the baseline."""
    tuned_allocator: bool = True
    runs_at_once: int = 1
    """Of ours, in turn in each process."""
    deterministic: bool = True
    """Of ours; the baseline never is."""
    eager: bool = False
    """Of ours: no CUDA graphs."""
    channels_last: bool | None = None
    """Of ours; by default the device's fastest layout."""
    compiled: bool = False
    """Of ours, by ``torch.compile``."""

    @property
    def num_runs(self) -> int:
        """Networks that it trains at a time."""
        return self.num_processes * self.runs_at_once


@dataclass(frozen=True)
class Result:
    """What came of a contestant."""

    contestant: Contestant
    start_seconds: float
    """From nothing to the end of the warm-up, compilation included."""
    round_seconds: list[float]
    images_per_round: int
    """Over all of its processes."""


@dataclass(frozen=True)
class _Setting:
    """What all contestants share."""

    model: str
    device: str
    data: DataName
    recipe: Recipe


class _Loop(Protocol):
    def train(self, num_iterations: int) -> object:
        """Make so many updates."""


def race(
    contestants: Sequence[Contestant],
    *,
    model: str = "resnet20",
    device: str = "cpu",
    data: DataName = "cifar10",
    recipe: Recipe | None = None,
    num_rounds: int,
    num_iterations: int,
) -> list[Result]:
    """Time every contestant ``num_rounds`` times, in turn.

    Args:
        contestants: what is compared.
        model: key of the catalogue.
        device: where all train.
        data: what they train on.
        recipe: of all, at its first learning rate; by default ``short``, with mini-batches of 128 images.
        num_rounds: of each.
        num_iterations: mini-batches of a round, for each process.

    Raises:
        HarnessError: a contestant failed; the message names it.
    """
    recipe = recipe or load_recipe("short").model_copy(update={"batch_size": BATCH_SIZE})
    setting = _Setting(model, device, data, recipe)
    teams = []
    try:
        for contestant in contestants:
            teams.append(_Team(contestant, setting))  # noqa: PERF401 - those that began must be ended
        results = [
            Result(
                team.contestant,
                team.start_seconds,
                [],
                team.contestant.num_runs * num_iterations * recipe.batch_size,
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

    def __init__(self, contestant: Contestant, setting: _Setting) -> None:
        self.contestant = contestant
        self._members: list[tuple[BaseProcess, Connection]] = []
        start = time.perf_counter()
        context = multiprocessing.get_context("spawn")
        for _ in range(contestant.num_processes):
            ours, theirs = context.Pipe()
            # no daemon: the baseline's loaders are processes of its own
            process = context.Process(target=_serve, args=(contestant, setting, theirs))
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
                    f"{self.contestant.name}: the process exited with code {process.exitcode}; see its output above"
                ) from error

    def end(self) -> None:
        for process, line in self._members:
            line.close()
            process.join(timeout=10)
            process.kill()


def _serve(contestant: Contestant, setting: _Setting, line: Connection) -> None:
    """In a process of its own: build the loop, warm it up, and train whenever told to, until the line is closed."""
    if contestant.tuned_allocator:
        allocator.configure()
    loop = _make_loop(contestant, setting)
    loop.train(NUM_WARMUP_ITERATIONS)
    line.send("ready")
    while True:
        try:
            num_iterations = line.recv()
        except EOFError:
            return
        loop.train(num_iterations)
        line.send("done")


def _make_loop(contestant: Contestant, setting: _Setting) -> _Loop:
    import torch

    from harness.data import load
    from harness.models import find
    from harness.training.device import configure, resolve_device

    device, recipe = resolve_device(setting.device), setting.recipe
    images = load(setting.data)
    if contestant.loop == "baseline":
        from harness.profiling.baseline import BaselineLoop

        torch.set_num_threads(contestant.num_threads)
        return BaselineLoop(
            find(setting.model).build(),
            images,
            recipe.normalization,
            device=device,
            batch_size=recipe.batch_size,
            num_workers=contestant.num_loaders,
        )
    configure(
        device,
        contestant.precision,
        contestant.num_threads,
        deterministic=contestant.deterministic,
    )
    recipe = recipe.model_copy(update={"iterations": ENDLESS, "epochs": None})
    specs = [
        RunSpec(
            model=setting.model,
            recipe=recipe,
            iterations=ENDLESS,
            seed=seed,
            precision=contestant.precision,
            data=setting.data,
        )
        for seed in range(contestant.runs_at_once)
    ]
    return _Ours(specs, images, device, contestant)


class _Ours:
    """Our updates, of one network or several in turn; the end of each round is waited for."""

    def __init__(
        self, specs: Sequence[RunSpec], images: ImageSet, device: torch.device, contestant: Contestant
    ) -> None:
        from harness.training.batches import DeviceImages
        from harness.training.device import on_own_stream

        recipe = specs[0].recipe
        on_device = DeviceImages(images, recipe.augmentation, recipe.normalization, device)
        self._networks = [
            on_own_stream(_endless_training(spec, on_device, device, contestant), device) for spec in specs
        ]
        self._device = device

    def train(self, num_iterations: int) -> None:
        """So many updates of each network."""
        import torch

        for _ in range(num_iterations):
            for network in self._networks:
                next(network)
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)


def _endless_training(
    spec: RunSpec, images: DeviceImages, device: torch.device, contestant: Contestant
) -> Generator[None, None, None]:
    """An update a turn."""
    from harness.training.trainer import Trainer

    trainer = Trainer(
        spec, images, device, channels_last=contestant.channels_last, compiled=contestant.compiled
    )
    trainer.prepare(eager=contestant.eager)
    start = 0
    while True:
        _, end = trainer.epoch(start)
        for _iteration in trainer.updates(start, end):
            yield
        start = end
