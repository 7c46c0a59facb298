"""Networks: our CIFAR ResNet and plain net, and the catalogue of all models by name."""

from harness.models.catalogue import ModelEntry, find, models

__all__ = ["ModelEntry", "find", "models"]
