"""Which classes a model confuses, and how often each is right. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from harness.analysis.by_image import Predicted
from harness.analysis.estimates import CONFIDENCE

__all__ = ["ClassAccuracy", "class_accuracies", "confusion_matrix", "wilson_interval"]


@dataclass(frozen=True)
class ClassAccuracy:
    """Of one class."""

    label: int
    num_images: int
    accuracy: float
    """Fraction of its images that are right, mean over runs."""
    low: float
    """Lower end of the 95 % interval, had the images of the class been others (Wilson 1927)."""
    high: float


def confusion_matrix(runs: Sequence[Predicted], num_classes: int = 10) -> NDArray[np.float64]:
    """How many images of each class are taken for which, mean over runs: (true class, answered class)."""
    counts = np.zeros((num_classes, num_classes))
    for run in runs:
        pairs = run.labels.astype(np.int64) * num_classes + run.classes
        counts += np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts / max(1, len(runs))


def class_accuracies(runs: Sequence[Predicted]) -> list[ClassAccuracy]:
    """Of every class that has images, in order; runs of the same images."""
    if not runs:
        return []
    labels = runs[0].labels
    correct = np.mean([run.correct for run in runs], axis=0)
    found = []
    for label in np.unique(labels).tolist():
        its = correct[labels == label]
        accuracy = float(its.mean())
        found.append(ClassAccuracy(label, len(its), accuracy, *wilson_interval(accuracy, len(its))))
    return found


def wilson_interval(share: float, num: int) -> tuple[float, float]:
    """95 % score interval for a share of num images (Wilson 1927).

    Args:
        share: from 0 to 1.
        num: at least 1.
    """
    z = float(ndtri((1 + CONFIDENCE) / 2))
    center = share + z**2 / (2 * num)
    half_width = z * math.sqrt(share * (1 - share) / num + z**2 / (4 * num**2))
    scale = 1 + z**2 / num
    return max(0.0, (center - half_width) / scale), min(1.0, (center + half_width) / scale)
