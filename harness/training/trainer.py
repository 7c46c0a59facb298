"""One network in training: mini-batches of the seed's stream, and an update of the weights for each.

Nothing is read back from the device: losses and right answers of an epoch's mini-batches stay there until its end.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.config import RunSpec
from harness.data import ImageSet
from harness.errors import UsageError
from harness.models import find
from harness.training.batches import DeviceImages
from harness.training.device import autocast, memory_format
from harness.training.evaluation import Evaluation, evaluate
from harness.training.initialization import build_model
from harness.training.optimizer import make_optimizer
from harness.training.passes import Passes
from harness.training.schedule import learning_rate
from harness.training.seeding import image_stream, stream_key

__all__ = ["Trainer"]


class Trainer:
    """A network, its optimiser and its images on a device.

    Args:
        spec: what to train.
        images: the data set it names.
        device: where; `harness.training.device.configure` must have been called.

    Raises:
        UsageError: a mini-batch would be larger than the training set.
    """

    def __init__(self, spec: RunSpec, images: ImageSet, device: torch.device) -> None:
        recipe = spec.recipe
        if recipe.batch_size > images.num_train:
            raise UsageError(
                f"recipe {recipe.name!r}: batch_size {recipe.batch_size} is more than the {images.num_train} "
                f"training images of {images.name}; use a smaller batch_size"
            )
        entry = find(spec.model)
        self.spec, self.device, self._depth = spec, device, entry.depth
        self.images = DeviceImages(images, recipe.augmentation, recipe.normalization, device)
        self.passes = Passes(
            num_images=images.num_train, batch_size=recipe.batch_size, last_batch=recipe.last_batch
        )
        model = build_model(entry, seed=spec.seed, initialization=recipe.initialization)
        self.model = model.to(device, memory_format=memory_format(device)).train()  # type: ignore[call-overload]
        self.optimizer = make_optimizer(recipe.optimizer, self.model.parameters())
        self.losses = torch.zeros(0, device=device)
        """Of the mini-batches of the epoch, float32."""
        self.num_correct = torch.zeros(0, dtype=torch.int32, device=device)
        torch.manual_seed(stream_key(spec.seed, "network") % 2**63)  # for networks that draw, as dropout does

    def epoch(self, iteration: int) -> tuple[int, int]:
        """First iteration of the epoch that an iteration is in, and first of the next or the end of the run."""
        first, end = self.passes.epoch(iteration)
        return first, min(end, self.spec.iterations)

    def updates(self, start: int, stop: int) -> Iterator[int]:
        """Make the updates from iteration ``start`` to the one before ``stop``, of one epoch.

        Yields:
            After each, the number of updates made since the beginning of the run.
        """
        first, end = self.epoch(start)
        if start == first:
            self.losses = torch.zeros(end - first, device=self.device)
            self.num_correct = torch.zeros(end - first, dtype=torch.int32, device=self.device)
        numbers, views = image_stream(
            self.spec.seed,
            self.passes.position(start),
            self.passes.position(stop),
            self.images.num_train,
            self.images.num_views,
        )
        sizes = self.passes.sizes(start, stop)
        batches = zip(
            torch.split(torch.from_numpy(numbers).to(self.device), sizes),
            torch.split(torch.from_numpy(views).to(self.device), sizes),
            strict=True,
        )
        for iteration, (batch_numbers, batch_views) in enumerate(batches, start=start):
            self._update(iteration, iteration - first, batch_numbers, batch_views)
            yield iteration + 1

    def _update(self, iteration: int, position: int, numbers: Tensor, views: Tensor) -> None:
        inputs, labels = self.images.train_batch(numbers, views)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(iteration)
        with autocast(self.device, self.spec.precision):
            logits = self.model(inputs)
        loss = F.cross_entropy(logits.float(), labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.losses[position] = loss.detach()
        self.num_correct[position] = (logits.detach().argmax(dim=1) == labels).sum()

    def learning_rate(self, iteration: int) -> float:
        """Of the update after that many."""
        return learning_rate(
            self.spec.recipe,
            iteration,
            self.spec.iterations,
            self._depth,
            epoch_start=self.passes.epoch(iteration)[0],
        )

    def evaluate(self) -> Evaluation:
        """The network as it is, on the test set."""
        return evaluate(self.model, self.images, self.device, self.spec.precision)
