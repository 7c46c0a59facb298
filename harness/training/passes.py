"""How the endless stream of training images is cut into mini-batches, and those into epochs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

__all__ = ["Passes"]


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Positions of mini-batches in the stream, in which one pass over the training set follows another.

    An *epoch* is the mini-batches that begin in the same pass.
    """

    num_images: int
    batch_size: int
    last_batch: Literal["carry", "keep"]
    """What becomes of a pass that is no multiple of the mini-batch, see `harness.config.Recipe`."""

    def position(self, iteration: int) -> int:
        """Images before the mini-batch of an iteration, counted from the beginning of the run."""
        if self.last_batch == "carry":
            return iteration * self.batch_size
        number, within = divmod(iteration, self._batches_per_pass)
        return number * self.num_images + within * self.batch_size

    def epoch(self, iteration: int) -> tuple[int, int]:
        """First iteration of the epoch that an iteration is in, and first of the next."""
        if self.last_batch == "carry":
            number = iteration * self.batch_size // self.num_images
            first, end = number * self.num_images, (number + 1) * self.num_images
            return -(-first // self.batch_size), -(-end // self.batch_size)
        first = iteration - iteration % self._batches_per_pass
        return first, first + self._batches_per_pass

    def sizes(self, start: int, stop: int) -> list[int]:
        """Images in each mini-batch from iteration ``start`` to the one before ``stop``."""
        positions = [self.position(iteration) for iteration in range(start, stop + 1)]
        return [after - before for before, after in itertools.pairwise(positions)]

    @property
    def longest_epoch(self) -> int:
        """Mini-batches of the longest epoch."""
        return self._batches_per_pass

    @property
    def all_sizes(self) -> set[int]:
        """Every number of images that a mini-batch can have."""
        return set(self.sizes(0, self._batches_per_pass))

    @property
    def _batches_per_pass(self) -> int:
        return -(-self.num_images // self.batch_size)
