"""The course of a run in fine digests, to find the first tensor in which two courses part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness.training.digest import tensor_bytes
from harness.training.trainer import Trainer

__all__ = ["DIGEST_SIZE", "Settings", "TensorKind", "TracedTensor", "Tracer"]

DIGEST_SIZE = 8
"""Bytes; SHA-256, shortened: two different tensors have the same with a probability of 2^-64."""

TensorKind = Literal["buffer", "loss", "gradient", "optimizer", "weight"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What of a process may decide the bits of its runs, beside the machine and the versions; the knobs to turn."""

    threads: int
    precision: str
    deterministic: bool = True
    """Deterministic algorithms, and none chosen by trial."""
    channels_last: bool = True
    """The memory layout of images and weights."""
    compilation: bool = False
    """By ``torch.compile``."""


@dataclass(frozen=True)
class TracedTensor:
    """A tensor of an update."""

    kind: TensorKind
    name: str
    """Of the parameter or buffer in the network; of an optimiser's state, of its parameter."""


class Tracer:
    """Digests of the tensors of every update, in the order in which an update comes to them.

    First what the forward pass leaves in buffers (the statistics of batch normalisation, layer by layer), then the loss,
    gradients from the last layer to the first, the optimiser's state and the weights.

    Args:
        trainer: whose updates; its operations must be launched one by one (see `Trainer.prepare`).
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        model, optimizer = trainer.model, trainer.optimizer
        backwards = list(model.named_parameters())[::-1]
        self._parameters = [parameter for _, parameter in backwards]
        self._buffers = list(model.buffers())
        self._state = [
            (name, state)
            for name, parameter in backwards
            for _, state in sorted(optimizer.state[parameter].items())
            if state is not None
        ]
        self.tensors = (
            *(TracedTensor("buffer", name) for name, _ in model.named_buffers()),
            TracedTensor("loss", ""),
            *(TracedTensor("gradient", name) for name, _ in backwards),
            *(TracedTensor("optimizer", name) for name, _ in self._state),
            *(TracedTensor("weight", name) for name, _ in backwards),
        )
        """What is digested, in order."""
        self._gradients = b""
        optimizer.register_step_pre_hook(lambda *_: self._keep_gradients())

    def updates(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """Make the updates from iteration ``start`` to the one before ``stop``, of one epoch.

        Yields:
            After each, the number of updates since the beginning of the run, and the digests of `tensors`, one after
            another, `DIGEST_SIZE` bytes each.
        """
        first, _ = self._trainer.epoch(start)
        for iteration in self._trainer.updates(start, stop):
            loss = self._trainer.losses(start)[iteration - 1 - first]
            yield (
                iteration,
                b"".join(
                    (
                        _digests(self._buffers),
                        _digests([loss]),
                        self._gradients,
                        _digests([state for _, state in self._state]),
                        _digests(self._parameters),
                    )
                ),
            )

    def _keep_gradients(self) -> None:
        """Just before the optimiser's step: afterwards they are gone."""
        self._gradients = _digests(
            [torch.zeros(0) if each.grad is None else each.grad for each in self._parameters]
        )


def _digests(tensors: list[Tensor]) -> bytes:
    return b"".join(hashlib.sha256(tensor_bytes(tensor)).digest()[:DIGEST_SIZE] for tensor in tensors)
