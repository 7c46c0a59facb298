"""The training loop: a run from its specification to its results, by itself or in turn with others.

An *epoch* here is the mini-batches that begin in the same pass over the training set, and the last one may be a
part of one: 64,000 mini-batches of 128 images are 163.84 passes. Within an epoch nothing is read back from the
device.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import StringConstraints, TypeAdapter, ValidationError
from torch import Tensor

from harness import storage
from harness.config import RunSpec
from harness.data import ImageSet
from harness.errors import CheckpointError, InterruptedRunError, NotConcurrentError
from harness.models.cost import num_macs, num_parameters
from harness.training.batches import DeviceImages
from harness.training.checkpoint import Checkpoint, CheckpointHeader
from harness.training.device import mark, on_own_stream, seconds_between, synchronize
from harness.training.digest import extend_trajectory, weights_sha256
from harness.training.evaluation import Evaluation
from harness.training.responses import LayerResponse, ResponseMeter
from harness.training.trainer import Engine, Trainer

__all__ = ["Adopted", "CheckpointPolicy", "Listener", "Outcome", "Turns", "train", "train_in_turns"]

NUM_WARMUP_ITERATIONS = 10
"""After every start of the process; they count towards no throughput."""


class Listener(Protocol):
    """Is told how a run goes on, and asked whether it shall."""

    def noted(self, text: str) -> None:
        """Something that people should know."""

    def started(self, iteration: int, num_iterations: int) -> None:
        """The run begins, or goes on, before iteration ``iteration``."""

    def advanced(self, iteration: int) -> None:
        """So many iterations are done; called after each."""

    def epoch_ended(self, row: dict[str, Any]) -> None:
        """A row for the records of kind ``epochs``, without the run's id."""

    def should_stop(self) -> bool:
        """Whether the run shall write a checkpoint and stop; asked after every iteration."""
        ...


@dataclass(frozen=True, kw_only=True)
class CheckpointPolicy:
    """Where the checkpoint of a run lies, whose it must be, and how often it is written."""

    run_id: str
    """The run that a checkpoint must belong to."""
    place: Mapping[str, str]
    """What can change its bits beside what is asked; see `harness.environment.Environment.deciding`."""
    checkpoint: Path
    """File to go on from and to write to; the caller removes it once the outcome is safe."""
    seconds: float
    """Between two checkpoints."""


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """That a run went on from the checkpoint of another although something had changed that decides its bits."""

    run_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9.-]+$")]
    """The other one."""
    iteration: int
    differences: dict[str, list[Any]]
    """Name -> then and now; see `harness.execution.resumption`."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run that reached its end leaves."""

    status: str
    """``"completed"``, or ``"diverged"`` if a training or test loss was not finite."""
    reason: str | None
    epochs: list[dict[str, Any]]
    """Rows of the records of kind ``epochs``, without the run's id."""
    logits: npt.NDArray[np.float32] | None
    """After the last iteration, (num_test, num_classes); none if the run diverged."""
    seconds: float
    """Training and evaluation, over all starts of the process."""
    images_per_second: float | None
    """Training, without warm-up, evaluation and checkpoints; none if the run was all warm-up."""
    num_parameters: int
    num_macs: int
    layer_responses: list[LayerResponse]
    """To the test set, after the last iteration; empty if the run diverged before."""
    initial_weights_sha256: str
    weights_sha256: str
    trajectory_sha256: str
    resumed_at: list[int]
    """Iterations at which the run was taken up again."""
    resumed_from: list[Adopted]
    engine: Engine
    engine_note: str | None
    """Why it is not the fastest one that the device has."""


Turns = Generator[None, None, Outcome]
"""A run that others can be advanced between."""


@dataclass
class _Progress:
    """What a checkpoint holds beside tensors."""

    iteration: int = 0
    initial_weights_sha256: str = ""
    trajectory_sha256: str = ""
    seconds: float = 0.0
    timed_images: int = 0
    timed_seconds: float = 0.0
    resumed_at: list[int] = field(default_factory=list)
    resumed_from: list[Adopted] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)


_PROGRESS = TypeAdapter(_Progress)


def train(
    spec: RunSpec,
    images: ImageSet,
    device: torch.device,
    policy: CheckpointPolicy,
    *,
    listener: Listener,
    eager: bool = False,
) -> Outcome:
    """Train one network, from the checkpoint if there is one.

    Args:
        spec: what to train.
        images: the data set it names.
        device: where; `harness.training.device.configure` must have been called.
        policy: its checkpoints.
        listener: is told of progress, and can stop the run.
        eager: launch operations one by one, also on CUDA.

    Raises:
        InterruptedRunError: the listener said so; the checkpoint is written.
        CheckpointError: the checkpoint is broken, or of another run.
        StorageError: a checkpoint cannot be written; the last one is untouched.
    """
    turns = train_in_turns(
        spec,
        DeviceImages(images, spec.recipe.augmentation, spec.recipe.normalization, device),
        device,
        policy,
        listener=listener,
        eager=eager,
        concurrent=False,
    )
    while True:
        try:
            next(turns)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome


def train_in_turns(
    spec: RunSpec,
    images: DeviceImages,
    device: torch.device,
    policy: CheckpointPolicy,
    *,
    listener: Listener,
    eager: bool,
    concurrent: bool,
) -> Turns:
    """Train one network as `train` does, in turns between which others are trained in the same process.

    A turn ends when the network is ready to be trained, after every update, and where the device has been given
    something that is to be waited for. On a GPU the work of all goes on at once; each gives the bits that it gives alone.

    Args:
        spec: what to train.
        images: the data set it names, as its recipe wants to see it; others may share it.
        device: where; `harness.training.device.configure` must have been called.
        policy: its checkpoints.
        listener: is told of progress, and can stop the run.
        eager: launch operations one by one, also on CUDA.
        concurrent: whether there are others.

    Raises:
        NotConcurrentError: in the first turn: the run must be trained alone.
        InterruptedRunError: the listener said so; the checkpoint is written.
        CheckpointError: the checkpoint is broken, or of another run.
        StorageError: a checkpoint cannot be written; the last one is untouched.
    """

    def turns() -> Turns:
        try:
            run = _Run(spec, images, device, policy, listener=listener, eager=eager)
        except torch.OutOfMemoryError as error:
            if concurrent:
                raise NotConcurrentError(
                    "beside the others there is not enough memory on the device"
                ) from error
            raise
        if concurrent and run.trainer.draws:
            raise NotConcurrentError(
                "its network draws random numbers, from a generator that all would share"
            )
        yield
        return (yield from run.to_end())

    return on_own_stream(turns(), device)


class _Run:
    """A run in progress."""

    def __init__(
        self,
        spec: RunSpec,
        images: DeviceImages,
        device: torch.device,
        policy: CheckpointPolicy,
        *,
        listener: Listener,
        eager: bool,
    ) -> None:
        self.spec, self.device, self.policy, self.listener = spec, device, policy, listener
        self.trainer = Trainer(spec, images, device)
        self.responses = ResponseMeter(self.trainer.model)
        self.num_parameters, self.num_macs = num_parameters(self.trainer.model), num_macs(self.trainer.model)
        self.progress = _Progress(initial_weights_sha256=weights_sha256(self.trainer.model))
        self.progress.trajectory_sha256 = self.progress.initial_weights_sha256
        if storage.exists(policy.checkpoint):
            self._resume()
        self.trainer.prepare(eager=eager)
        if not eager and self.trainer.engine_note is not None:
            listener.noted(f"its updates are no CUDA graph, and slower: {self.trainer.engine_note}")

    def to_end(self) -> Turns:
        """Train what is left."""
        progress, total = self.progress, self.spec.iterations
        self.listener.started(progress.iteration, total)
        self._session_start = progress.iteration
        self._seconds_aside = 0.0
        self._last_checkpoint = self._clock = time.perf_counter()
        evaluation = None
        while progress.iteration < total:
            evaluation, finite = yield from self._epoch()
            if not finite:
                return self._outcome("diverged", None)
            if progress.iteration < total:
                self._pause_point()
        assert evaluation is not None
        return self._outcome("completed", evaluation)

    def _epoch(self) -> Generator[None, None, tuple[Evaluation, bool]]:
        """What is left of an epoch, evaluation, and the epoch's row; whether all losses are finite."""
        trainer = self.trainer
        first, end = trainer.epoch(self.progress.iteration)
        timed_from = max(self.progress.iteration, self._session_start + NUM_WARMUP_ITERATIONS)
        timing_started = self._start_timing()
        for iteration in trainer.updates(self.progress.iteration, end):
            self.progress.iteration = iteration
            self.listener.advanced(iteration)
            yield
            if iteration < end:  # not at the end of an epoch, whose row is still to be written
                self._pause_point()
            if iteration == timed_from:
                timing_started = self._start_timing()
        timing_ended = mark(self.device)
        if end < self.spec.iterations:
            evaluation = trainer.evaluate()
        else:
            with self.responses:
                evaluation = trainer.evaluate()
        yield
        losses = trainer.losses(first).cpu()
        images_per_second = None
        if timed_from < end:
            seconds = seconds_between(timing_started, timing_ended) - self._seconds_aside
            num_images = trainer.passes.position(end) - trainer.passes.position(timed_from)
            images_per_second = num_images / seconds
            self.progress.timed_images += num_images
            self.progress.timed_seconds += seconds
        self._account_time()
        row = self._row(first, losses, evaluation, images_per_second)
        self.progress.epochs.append(row)
        self.listener.epoch_ended(row)
        return evaluation, bool(losses.isfinite().all()) and math.isfinite(evaluation.loss)

    def _start_timing(self) -> torch.cuda.Event | float:
        self._seconds_aside = 0.0
        return mark(self.device)

    def _row(
        self, first: int, losses: Tensor, evaluation: Evaluation, images_per_second: float | None
    ) -> dict[str, Any]:
        """The row of the epoch from iteration ``first`` until now; extends the trajectory."""
        progress = self.progress
        weights, state = weights_sha256(self.trainer.model), self.trainer.state_sha256()
        progress.trajectory_sha256 = extend_trajectory(progress.trajectory_sha256, losses, weights, state)
        sizes = torch.tensor(self.trainer.passes.sizes(first, progress.iteration), dtype=torch.float64)
        num_images = sizes.sum().item()
        return {
            "epoch": len(progress.epochs),
            "iteration": progress.iteration,
            "learning_rate": self.trainer.learning_rate(progress.iteration - 1),
            "train_loss": (losses.double() @ sizes).item() / num_images,
            "train_error": 1 - self.trainer.num_correct(first).sum().item() / num_images,
            "test_loss": evaluation.loss,
            "test_error": evaluation.error,
            "seconds": progress.seconds,
            "images_per_second": images_per_second,
            "losses": losses.tolist(),
            "weights_sha256": weights,
            "state_sha256": state,
            "trajectory_sha256": progress.trajectory_sha256,
        }

    def _account_time(self) -> None:
        now = time.perf_counter()
        self.progress.seconds += now - self._clock
        self._clock = now

    def _pause_point(self) -> None:
        """Between two iterations: write a checkpoint if it is time to, and stop if told to."""
        stop = self.listener.should_stop()
        if stop or time.perf_counter() - self._last_checkpoint > self.policy.seconds:
            self._write_checkpoint()
        if stop:
            raise InterruptedRunError(f"{self.spec.label}: stopped after iteration {self.progress.iteration}")

    def _write_checkpoint(self) -> None:
        synchronize(self.device)
        start = time.perf_counter()
        self._account_time()
        header = CheckpointHeader(
            run_id=self.policy.run_id,
            spec=self.spec.model_dump_json(),
            place=dict(self.policy.place),
            progress=asdict(self.progress),
        )
        Checkpoint(header, self.trainer.state()).write(self.policy.checkpoint)
        self._last_checkpoint = time.perf_counter()
        self._seconds_aside += self._last_checkpoint - start

    def _resume(self) -> None:
        stored = Checkpoint.read(self.policy.checkpoint, self.policy.run_id)
        self.trainer.restore(stored.tensors)
        try:
            self.progress = _PROGRESS.validate_python(stored.header.progress)
        except ValidationError as error:
            raise CheckpointError(
                f"{self.policy.checkpoint}: broken (its progress has {error.error_count()} values of wrong types); "
                "remove it to start the run afresh"
            ) from error
        self.progress.resumed_at.append(self.progress.iteration)

    def _outcome(self, status: str, evaluation: Evaluation | None) -> Outcome:
        progress = self.progress
        reason = None
        if status == "diverged":
            reason = f"a loss was not finite in epoch {len(progress.epochs) - 1}"
        return Outcome(
            status=status,
            reason=reason,
            epochs=progress.epochs,
            logits=None if evaluation is None else evaluation.logits.cpu().numpy(),
            seconds=progress.seconds,
            images_per_second=progress.timed_images / progress.timed_seconds
            if progress.timed_images
            else None,
            num_parameters=self.num_parameters,
            num_macs=self.num_macs,
            layer_responses=self.responses.responses(),
            initial_weights_sha256=progress.initial_weights_sha256,
            weights_sha256=weights_sha256(self.trainer.model),
            trajectory_sha256=progress.trajectory_sha256,
            resumed_at=progress.resumed_at,
            resumed_from=progress.resumed_from,
            engine=self.trainer.engine,
            engine_note=self.trainer.engine_note,
        )
