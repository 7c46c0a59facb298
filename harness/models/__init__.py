"""Networks: our CIFAR ResNet and plain net, and the catalogue of all models by name."""

from harness.models.catalogue import find, models
from harness.models.entry import ModelEntry

__all__ = ["ModelEntry", "find", "models"]
