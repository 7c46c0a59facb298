"""The network on the test set, on the single original view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.config import Precision
from harness.training.batches import DeviceImages
from harness.training.device import autocast

__all__ = ["Evaluation", "evaluate"]

BATCH_SIZE = 1000


@dataclass(frozen=True)
class Evaluation:
    """Results on the test set."""

    loss: float
    """Mean cross-entropy in nats."""
    error: float
    """Top-1 error as a fraction."""
    logits: Tensor
    """float32 (num_test, num_classes), on the CPU."""


def evaluate(
    model: nn.Module, images: DeviceImages, device: torch.device, precision: Precision
) -> Evaluation:
    """Evaluate in the precision of training; leaves the network in training mode."""
    model.eval()
    outputs = []
    with torch.inference_mode():
        for start in range(0, images.num_test, BATCH_SIZE):
            with autocast(device, precision):
                outputs.append(model(images.test_batch(start, start + BATCH_SIZE)).float())
        logits = torch.cat(outputs)
        loss = F.cross_entropy(logits, images.test_labels)
        num_wrong = (logits.argmax(dim=1) != images.test_labels).sum()
    model.train()
    return Evaluation(loss=loss.item(), error=num_wrong.item() / images.num_test, logits=logits.cpu())
