"""A published checkpoint on the test set, through the repository's class and through ours."""

from __future__ import annotations

import hashlib
import io
import warnings
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor, nn

from harness.audit.checkpoints import PublishedCheckpoint
from harness.claims import claims
from harness.config import Augmentation, Precision, load_recipe
from harness.data import ImageSet
from harness.environment import Environment
from harness.errors import ModelError
from harness.identity.transfer import carry_over
from harness.models import find
from harness.models.upstream import read
from harness.training.batches import DeviceImages
from harness.training.device import memory_format
from harness.training.evaluation import evaluate

__all__ = ["audit", "load_state"]


def audit(
    checkpoint: PublishedCheckpoint, images: ImageSet, device: torch.device, here: Environment
) -> dict[str, Any]:
    """Evaluate a checkpoint.

    Args:
        checkpoint: its file and its model's code must be on this machine.
        images: the data set.
        device: where to compute, in float32.
        here: this process.

    Returns:
        A row of the records of kind ``audits``.

    Raises:
        ModelError: the file or the code is not the pinned one, or holds anything but the model's weights; nothing
            in it is executed.
    """
    entry = find(checkpoint.model)
    network = entry.build()
    _load(network, load_state(read(checkpoint.file), checkpoint.file.path), checkpoint.file.path)
    ours = find(checkpoint.counterpart).build()
    carry_over(network, ours)

    normalization = load_recipe(checkpoint.recipe).normalization
    on_device = DeviceImages(images, Augmentation(pad=0, flip=False), normalization, device)
    theirs, mapped = (_logits(model, on_device, device) for model in (network, ours))
    labels = torch.from_numpy(images.test_labels.astype("int64"))
    claim = claims()[checkpoint.claim]
    return {
        "audit_id": f"{checkpoint.model}-{hashlib.sha256(checkpoint.file.sha256.encode()).hexdigest()[:8]}",
        "model": checkpoint.model,
        "model_source": entry.origin,
        "checkpoint": checkpoint.file.path,
        "checkpoint_sha256": checkpoint.file.sha256,
        "claim": claim.key,
        "claimed_accuracy": round(1 - claim.test_error_percent / 100, 6),
        "recipe": checkpoint.recipe,
        "accuracy": _accuracy(theirs, labels),
        "counterpart": checkpoint.counterpart,
        "counterpart_accuracy": _accuracy(mapped, labels),
        "num_images": images.num_test,
        "num_predictions_differing": int((theirs.argmax(dim=1) != mapped.argmax(dim=1)).sum()),
        "difference_of_logits": float((theirs - mapped).abs().max() / theirs.abs().max()),
        "data_sha256": images.sha256,
        "audited_at": datetime.now(UTC),
        **here.columns(),
    }


def load_state(content: bytes, name: str) -> dict[str, Tensor]:
    """The weights in a file of ``torch.save``, wherever in it they lie; no code in it is executed.

    Raises:
        ModelError: it is no such file, holds something else than tensors and plain values, or has no weights.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # such files are pickles; this reader builds tensors and plain values, and executes nothing
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{name}: is no file of weights, or would execute code when loaded ({_first_line(error)}); it is not loaded"
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in state.items()
    ):
        raise ModelError(f"{name}: holds no state_dict; name a file that does")
    return {key.removeprefix("module."): tensor for key, tensor in state.items()}  # DataParallel's prefix


def _load(network: nn.Module, state: dict[str, Tensor], name: str) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{name}: does not fit the model: {' '.join(str(error).split())}") from error


def _logits(network: nn.Module, images: DeviceImages, device: torch.device) -> Tensor:
    network.to(device, memory_format=memory_format(device))  # type: ignore[call-overload]
    return evaluate(network, images, device, Precision.FP32).logits


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return int((logits.argmax(dim=1) == labels).sum()) / len(labels)
