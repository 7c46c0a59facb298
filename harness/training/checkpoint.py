"""Everything a run needs to go on with the same bits, in one file that appears whole or not at all.

A checkpoint is a safetensors file: tensors, and the rest as JSON in its header. Reading it executes
nothing. Random streams need no state, since they are functions of seed and position.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from harness import storage
from harness.atomic import write_atomically
from harness.errors import CheckpointError
from harness.seal import NO_DIGEST, is_sealed, seal

__all__ = ["Checkpoint", "CheckpointHeader", "capture", "restore"]

FORMAT = "5"
_DIGEST = re.compile(rb'"sha256":"([0-9a-f]{64})"')
"""As it stands in the header, so that a run never goes on from damaged weights."""
_OF_BROKEN_JSON = (AttributeError, KeyError, RecursionError, TypeError, ValueError)
MAX_HEADER_BYTES = 100_000_000
"""As many as the library allows."""


@dataclass(frozen=True, kw_only=True)
class CheckpointHeader:
    """What a checkpoint says of itself, without its tensors."""

    run_id: str
    spec: str
    """What was asked, as JSON."""
    place: dict[str, str]
    """What else can change the bits; see `harness.environment.Environment.deciding`."""
    progress: dict[str, Any]
    """Everything but tensors, as JSON values; ``iteration`` is how far the run has come."""

    @classmethod
    def read(cls, path: Path) -> CheckpointHeader:
        """Read the beginning of the file at ``path``; its tensors are not checked.

        Raises:
            CheckpointError: the file is broken, or another version of the harness wrote it.
        """
        with _naming(path), _opened(path) as file:
            return cls._of(path, _metadata(file))

    @classmethod
    def _of(cls, path: Path, header: Mapping[str, str]) -> CheckpointHeader:
        if header.get("format") != FORMAT:
            raise CheckpointError(
                f"{path}: written by another version of the harness; remove it to start the run afresh"
            )
        place, progress = (json.loads(header[name]) for name in ("place", "progress"))
        if not (isinstance(place, dict) and all(isinstance(value, str) for value in place.values())):
            raise ValueError("its place is no object of texts")
        if not (isinstance(progress, dict) and type(progress.get("iteration")) is int):
            raise ValueError("its progress has no iteration")
        if not 0 <= progress["iteration"] < 2**63:
            raise ValueError("its iteration is out of range")
        return cls(run_id=header["run_id"], spec=header["spec"], place=place, progress=progress)


@dataclass(frozen=True)
class Checkpoint:
    """A stored state of a run."""

    header: CheckpointHeader
    tensors: dict[str, Tensor]

    def write(self, path: Path) -> None:
        """Replace the file at ``path`` as a whole.

        Raises:
            StorageError: it cannot be written.
        """
        header = {
            "format": FORMAT,
            "run_id": self.header.run_id,
            "spec": self.header.spec,
            "place": json.dumps(self.header.place),
            "progress": json.dumps(self.header.progress),
        }
        content = save(self.tensors, metadata=header | {"sha256": NO_DIGEST})
        write_atomically(path, seal(content, _DIGEST.search(content)))

    @classmethod
    def read(cls, path: Path, run_id: str) -> Checkpoint:
        """Read the file at ``path``.

        Raises:
            CheckpointError: the file is broken, or belongs to another run.
        """
        with _naming(path):
            content = storage.read(path)  # at once: another process may replace the file meanwhile
            header = CheckpointHeader._of(path, _metadata(io.BytesIO(content)))
            if header.run_id != run_id:
                raise CheckpointError(
                    f"{path}: belongs to run {header.run_id}, not to {run_id}; remove it to start the run afresh"
                )
            place = _DIGEST.search(content)
            if place is None or not is_sealed(content, place):
                raise CheckpointError(
                    f"{path}: damaged, its digest differs; remove it to start the run afresh"
                )
            return cls(header, load(content))


def _opened(path: Path) -> BinaryIO:
    return io.BytesIO(storage.read(path)) if storage.is_remote(path) else path.open("rb")


def _metadata(file: BinaryIO) -> dict[str, str]:
    """What the beginning of a safetensors file holds beside the places of its tensors, which are not looked at."""
    size = int.from_bytes(file.read(8), "little")
    if size > MAX_HEADER_BYTES:
        raise ValueError("its header is too large")
    metadata = json.loads(file.read(size)).get("__metadata__", {})
    if not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its header holds no texts")
    return dict(metadata)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What is wrong with a file becomes a `CheckpointError` that names it."""
    try:
        yield
    except (OSError, SafetensorError, *_OF_BROKEN_JSON) as error:
        raise CheckpointError(f"{path}: broken ({error}); remove it to start the run afresh") from error


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
