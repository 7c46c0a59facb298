"""Models compared image by image, on their stored predictions. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from harness.analysis.estimates import CONFIDENCE

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["McNemar", "Predicted", "churn", "image_interval", "mcnemar", "predicted"]

_RESAMPLES = 9999
_SEED = 20

_Bools = NDArray[np.bool_]
_Classes = NDArray[np.uint8]


@dataclass(frozen=True)
class Predicted:
    """What a run answers to the test set."""

    labels: _Classes
    """True classes, (N,)."""
    classes: _Classes
    """Those with the largest logit, (N,)."""

    @property
    def correct(self) -> _Bools:
        """(N,)."""
        return np.equal(self.classes, self.labels)


@dataclass(frozen=True)
class McNemar:
    """Exact test of McNemar (1947): do two classifiers err equally often on the same images?"""

    only_first: int
    """Images that only the first has right."""
    only_second: int
    p: float
    """Two-sided, of the binomial distribution; 1 where they are right on the same images."""


def predicted(table: pa.Table) -> Mapping[str, Predicted]:
    """Predictions by run.

    Args:
        table: records of kind ``predictions``, of any number of runs; images of a run are in order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    by_run: dict[str, Predicted] = {}
    for run_id in pc.unique(table.column("run_id")).to_pylist():
        part = table.filter(pc.equal(table.column("run_id"), pa.scalar(run_id))).sort_by("image")
        logits = part.column("logits").combine_chunks().flatten().to_numpy().reshape(len(part), -1)
        by_run[run_id] = Predicted(
            labels=part.column("label").to_numpy(), classes=logits.argmax(axis=1).astype(np.uint8)
        )
    return by_run


def mcnemar(first: _Bools, second: _Bools) -> McNemar:
    """Test two classifiers.

    Args:
        first: whether each image is right, (N,).
        second: the same images.

    Raises:
        ValueError: they are not of the same images.
    """
    if first.shape != second.shape:
        raise ValueError(f"{first.shape} answers beside {second.shape}; give those to the same images")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    num = only_first + only_second
    p = min(1.0, 2 * float(bdtr(min(only_first, only_second), num, 0.5))) if num else 1.0
    return McNemar(only_first, only_second, p)


def image_interval(first: Sequence[_Bools], second: Sequence[_Bools]) -> tuple[float, float]:
    """95 % interval for the difference of accuracies, first minus second, had the test set been another.

    Images are drawn anew (percentile bootstrap), each with the answers of all runs; runs stay as they are.

    Args:
        first: of each run of the first model, whether each image is right, (N,).
        second: the same of the second model; it may have another number of runs.
    """
    differences = np.mean(first, axis=0) - np.mean(second, axis=0)
    # there are few different values, so how often each is drawn is all that a resample is
    values, counts = np.unique(differences, return_counts=True)
    drawn = np.random.default_rng(_SEED).multinomial(counts.sum(), counts / counts.sum(), size=_RESAMPLES)
    means = drawn @ values / counts.sum()
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def churn(first: _Classes, second: _Classes) -> float:
    """Share of images that get another answer, right or wrong (Milani Fard et al. 2016); 1 minus it is agreement.

    Args:
        first: classes that one run answers, (N,).
        second: those of another run, to the same images.
    """
    return float((first != second).mean())
