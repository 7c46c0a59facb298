"""The identity card of a model: a row of the records of kind ``identities``."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.config import load_recipe
from harness.data import ImageSet
from harness.environment import Environment
from harness.identity.equivalence import Equivalence, compare
from harness.identity.structure import describe, measure_initial_weights
from harness.models import ModelEntry
from harness.models.cost import num_macs, num_parameters
from harness.training.initialization import build_model

__all__ = ["NUM_IMAGES", "identity_card"]

NUM_IMAGES = 32
"""Of the test set, on which functions are compared."""


def identity_card(entry: ModelEntry, images: ImageSet, here: Environment) -> dict[str, Any]:
    """Measure a model on the CPU.

    Args:
        entry: it must be on this machine.
        images: the data set; its first test images are what functions are compared on.
        here: this process.

    Raises:
        ModelError: it cannot be built, or its layers cannot be told.
    """
    network = build_model(entry, seed=0, initialization="implementation")
    # counted before the network is traced, which makes frozen parameters trainable
    counts = {"parameters": num_parameters(network), "macs": num_macs(network)}
    structure = asdict(describe(network))  # moves statistics, but no weights
    initial_weights, initialization = measure_initial_weights(network)
    return {
        "identity_id": _identity_id(entry),
        "model": entry.key,
        "model_source": entry.origin,
        "licence": entry.licence,
        "adapted": entry.adapted,
        **counts,
        **structure,
        "initialization": initialization,
        "initial_weights": [asdict(layer) for layer in initial_weights],
        **_equivalence_columns(None if entry.source == "ours" else _compare(network, images)),
        "data_sha256": images.sha256,
        "identified_at": datetime.now(UTC),
        **here.columns(),
    }


def _identity_id(entry: ModelEntry) -> str:
    """A new version of a model gets a card of its own; the same one measured again replaces its card."""
    name = re.sub(r"[^A-Za-z0-9.-]", "-", entry.key)
    return f"{name}-{hashlib.sha256(entry.origin.encode()).hexdigest()[:8]}"


def _compare(network: nn.Module, images: ImageSet) -> Equivalence:
    normalization = load_recipe("short").normalization
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (normalization.mean, normalization.std))
    pixels = torch.from_numpy(np.array(images.test_images[:NUM_IMAGES]))
    labels = torch.from_numpy(images.test_labels[:NUM_IMAGES].astype(np.int64))
    return compare(network, (pixels / 255 - mean) / std, labels)


def _equivalence_columns(found: Equivalence | None) -> dict[str, Any]:
    """Nothing was compared for ours, which are what others are compared with."""
    differences = found and found.differences
    return {
        "num_images": NUM_IMAGES if differences else None,
        "counterpart": found and found.counterpart,
        "equivalence": found.verdict if found else "reference",
        "first_deviation": found and found.first_deviation,
        **{
            f"difference_of_{name}": differences and getattr(differences, name)
            for name in ("logits_fp32", "logits_fp64", "gradients_fp32", "gradients_fp64")
        },
    }
