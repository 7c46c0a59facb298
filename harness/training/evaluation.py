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

BATCH_SIZE = 250
"""Of larger ones the activations fit no cache; the logits are the same, the time 15 % longer in float32."""
BATCH_SIZE_ON_CUDA = 5000


@dataclass(frozen=True)
class Evaluation:
    """Results on the test set; they stay on the device until they are asked for."""

    logits: Tensor
    """float32 (num_test, num_classes), on the device."""
    mean_loss: Tensor
    num_wrong: Tensor

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats."""
        return self.mean_loss.item()

    @property
    def error(self) -> float:
        """Top-1 error as a fraction."""
        return self.num_wrong.item() / len(self.logits)


def evaluate(
    model: nn.Module, images: DeviceImages, device: torch.device, precision: Precision
) -> Evaluation:
    """Evaluate in the precision of training; leaves the network in training mode."""
    batch_size = BATCH_SIZE_ON_CUDA if device.type == "cuda" else BATCH_SIZE
    model.eval()
    outputs = []
    with torch.inference_mode():
        for start in range(0, images.num_test, batch_size):
            with autocast(device, precision):
                outputs.append(model(images.test_batch(start, start + batch_size)).float())
        logits = torch.cat(outputs)
        loss = F.cross_entropy(logits, images.test_labels)
        num_wrong = (logits.argmax(dim=1) != images.test_labels).sum()
    model.train()
    return Evaluation(logits, loss, num_wrong)
