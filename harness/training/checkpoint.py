"""Everything a run needs to go on with the same bits, in one file that appears whole or not at all.

A checkpoint is a safetensors file: tensors, and the rest as JSON in its header. Reading it executes
nothing. Random streams need no state, since they are functions of seed and position.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from harness.atomic import write_atomically
from harness.errors import CheckpointError
from harness.training.digest import tensor_bytes

__all__ = ["Checkpoint", "capture", "iterations_done", "restore"]

FORMAT = "3"


@dataclass(frozen=True)
class Checkpoint:
    """A stored state of a run."""

    run_id: str
    progress: dict[str, Any]
    """Everything but tensors, as JSON values."""
    tensors: dict[str, Tensor]

    def write(self, path: Path) -> None:
        """Replace the file at ``path`` as a whole."""
        progress = json.dumps(self.progress)
        header = {"format": FORMAT, "run_id": self.run_id, "progress": progress}
        header["sha256"] = _sha256(progress, self.tensors)
        write_atomically(path, save(self.tensors, metadata=header))

    @classmethod
    def read(cls, path: Path, run_id: str) -> Checkpoint:
        """Read the file at ``path``.

        Raises:
            CheckpointError: the file is broken, or belongs to another run.
        """
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if header.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path}: written by another version of the harness; remove it to start the run afresh"
                )
            if header["run_id"] != run_id:
                raise CheckpointError(
                    f"{path}: belongs to run {header['run_id']}, not to {run_id}; remove it to start the run afresh"
                )
            if header["sha256"] != _sha256(header["progress"], tensors):
                raise CheckpointError(
                    f"{path}: damaged, its digest differs; remove it to start the run afresh"
                )
            return cls(run_id=run_id, progress=json.loads(header["progress"]), tensors=tensors)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: broken ({error}); remove it to start the run afresh") from error


def _sha256(progress: str, tensors: dict[str, Tensor]) -> str:
    """Digest of what a checkpoint holds, so that a run never goes on from damaged weights."""
    digest = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def iterations_done(path: Path) -> int:
    """How far the checkpoint at ``path`` has come; 0 if it is broken, which the run itself will report."""
    try:
        with safe_open(path, framework="pt") as file:
            return int(json.loads(file.metadata()["progress"])["iteration"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0


def capture(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Weights, buffers, the optimiser's state and torch's generator (for dropout), on the CPU."""
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for index, parameter in enumerate(model.parameters()):
        for name, state in optimizer.state[parameter].items():
            if state is not None:
                tensors[f"optimizer/{index}/{name}"] = state
    tensors["generator/cpu"] = torch.get_rng_state()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        tensors["generator/cuda"] = torch.cuda.get_rng_state()
    # clone: state_dict aliases the weights, and shared storage cannot be saved
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def restore(tensors: Mapping[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put back what `capture` took, in place.

    Args:
        tensors: what was taken.
        model: the network, or one like it.
        optimizer: its optimiser, with its state, as `harness.training.optimizer.make_optimizer` makes it.

    Raises:
        CheckpointError: the tensors are not those of this network.
    """
    weights = {
        name.removeprefix("model/"): tensor for name, tensor in tensors.items() if name.startswith("model/")
    }
    try:
        model.load_state_dict(weights)
        parameters = list(model.parameters())
        for name, stored in tensors.items():
            if name.startswith("optimizer/"):
                _, index, key = name.split("/")
                optimizer.state[parameters[int(index)]][key].copy_(stored)
    except (RuntimeError, KeyError, IndexError) as error:
        raise CheckpointError(f"the checkpoint does not fit the network: {error}") from error
    torch.set_rng_state(tensors["generator/cpu"])
    if "generator/cuda" in tensors:
        torch.cuda.set_rng_state(tensors["generator/cuda"])
