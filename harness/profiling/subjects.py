"""What is profiled: a network's training step or inference on one mini-batch, ready to be called again and again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.config import Precision, Sgd
from harness.models import ModelEntry
from harness.training.device import autocast, memory_format
from harness.training.graph import NotCapturableError, capture
from harness.training.initialization import build_model
from harness.training.optimizer import make_optimizer
from harness.training.trainer import Engine

__all__ = ["Cell", "Mode", "Subject", "SubjectNetwork"]

Mode = Literal["train", "infer"]

OPTIMIZER = Sgd(learning_rate=1e-3, momentum=0.9, weight_decay=1e-4)
"""Its rate is low, so that a network that is trained on one mini-batch for ever does nothing odd."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What one measurement is of."""

    model: str
    mode: Mode
    batch_size: int
    precision: Precision

    def __str__(self) -> str:
        """E.g. ``resnet20 train 128 bf16``."""
        return f"{self.model} {self.mode} {self.batch_size} {self.precision.value}"


@dataclass(frozen=True)
class Subject:
    """A cell, ready to be called."""

    cell: Cell
    call: Callable[[], object]
    engine: Engine
    step: Callable[[], object]
    """The same, its operations launched one by one."""


class SubjectNetwork:
    """A network with its optimiser, on real images; all its cells share them.

    Args:
        entry: it must be on this machine.
        device: where it computes; `harness.training.device.configure` must have been called.
        images: float32 (N, 3, 32, 32), at least as many as the largest mini-batch.
        labels: int64 (N,).

    Raises:
        ModelError: it cannot be built.
    """

    def __init__(self, entry: ModelEntry, device: torch.device, images: Tensor, labels: Tensor) -> None:
        self.entry, self.device = entry, device
        self.images = images.to(device).contiguous(memory_format=memory_format(device))
        self.labels = labels.to(device)
        model = build_model(entry, seed=0, initialization="implementation")
        self.model = model.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
        self.optimizer = make_optimizer(OPTIMIZER, list(self.model.parameters()))
        for group in self.optimizer.param_groups:
            group["lr"] = torch.full((1,), OPTIMIZER.learning_rate, device=device)

    def subject(self, cell: Cell, pool: Any = None) -> Subject:
        """A cell of this network, ready to be called; on CUDA captured as a graph where that can be.

        Args:
            cell: which.
            pool: of `torch.cuda.graph_pool_handle`, whose memory it shares with others that never run at once.
        """
        step = functools.partial(
            self._train if cell.mode == "train" else self._infer, cell.batch_size, cell.precision
        )
        if self.device.type != "cuda":
            return Subject(cell, step, "eager", step)
        try:
            return Subject(cell, capture(step, self._state(), pool=pool), "cuda graph", step)
        except NotCapturableError:
            self.optimizer.zero_grad(set_to_none=True)  # a step that ended halfway may have left some
            return Subject(cell, step, "eager", step)

    @property
    def nbytes(self) -> int:
        """Of the parameters, the buffers, and what the optimiser keeps."""
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in self._state()}.values())

    def _state(self) -> list[Tensor]:
        kept = (tensor for kept in self.optimizer.state.values() for tensor in kept.values())
        return [*self.model.state_dict().values(), *kept]

    def _train(self, batch_size: int, precision: Precision) -> None:
        """Forward pass, backward pass and update on a ready mini-batch."""
        self._be(training=True)
        with autocast(self.device, precision):
            logits = self.model(self.images[:batch_size])
        loss = F.cross_entropy(logits.float(), self.labels[:batch_size])
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _infer(self, batch_size: int, precision: Precision) -> None:
        """Forward pass on a ready mini-batch."""
        self._be(training=False)
        with torch.inference_mode(), autocast(self.device, precision):
            self.model(self.images[:batch_size])

    def _be(self, *, training: bool) -> None:
        if self.model.training is not training:  # it goes through all modules
            self.model.train(training)
