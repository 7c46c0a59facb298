"""A standard PyTorch training loop, to set ours beside.

As the repositories of akamaster and kuangliu describe theirs: images as PIL objects through torchvision's transforms
in a `DataLoader`, float32, no compilation, the default memory layout, and loss and accuracy read back after every
mini-batch. Written here from that description.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from harness.config import Normalization
from harness.data import ImageSet
from harness.data.imageset import UInt8Array

__all__ = ["BaselineLoop"]


class _PillowImages(Dataset[tuple[Tensor, int]]):
    """What torchvision's CIFAR-10 does with arrays: a PIL image for every item, then the transforms."""

    def __init__(
        self, images: UInt8Array, labels: UInt8Array, normalization: Normalization, *, augmented: bool
    ) -> None:
        self.images = images.transpose(0, 2, 3, 1).copy()
        self.labels = labels
        augmentation = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, padding=4)]
        self.transform = transforms.Compose(
            [
                *(augmentation if augmented else []),
                transforms.ToTensor(),
                transforms.Normalize(normalization.mean, normalization.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


class BaselineLoop:
    """A network in training, as the references train it.

    Args:
        model: the network.
        images: the data set.
        normalization: by channel.
        device: where to train.
        batch_size: of a mini-batch.
        num_workers: processes that load data; the references have 4 and 2.
    """

    def __init__(
        self,
        model: nn.Module,
        images: ImageSet,
        normalization: Normalization,
        *,
        device: torch.device,
        batch_size: int = 128,
        num_workers: int = 4,
    ) -> None:
        self.model = model.to(device).train()
        self.device = device
        if device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # as both have it

        def load(dataset: _PillowImages, *, shuffle: bool) -> DataLoader[Any]:
            return DataLoader(
                dataset,
                batch_size=batch_size,
                shuffle=shuffle,
                num_workers=num_workers,
                pin_memory=device.type == "cuda",
                persistent_workers=num_workers > 0,
            )

        with _however_few_cores():
            self.loader = load(
                _PillowImages(images.train_images, images.train_labels, normalization, augmented=True),
                shuffle=True,
            )
            self.test_loader = load(
                _PillowImages(images.test_images, images.test_labels, normalization, augmented=False),
                shuffle=False,
            )
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
        self._batches = self.batches()

    def batches(self) -> Iterator[Any]:
        """Images (N, 3, 32, 32) and labels (N,), one pass after another."""
        while True:
            yield from _begin(self.loader)

    def train(self, num_iterations: int) -> tuple[float, float]:
        """So many mini-batches.

        Returns:
            Mean loss and accuracy over them, as the references keep them while they train.
        """
        total_loss, num_correct, num_images = 0.0, 0, 0
        for _ in range(num_iterations):
            inputs, labels = (tensor.to(self.device) for tensor in next(self._batches))
            logits = self.model(inputs)
            loss = F.cross_entropy(logits, labels)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total_loss += loss.item() * len(labels)
            num_correct += int((logits.argmax(dim=1) == labels).sum().item())
            num_images += len(labels)
        return total_loss / num_images, num_correct / num_images

    def evaluate(self) -> float:
        """Accuracy on the test set, as the references find it after each epoch."""
        self.model.eval()
        num_correct, num_images = 0, 0
        with torch.no_grad():
            for batch in _begin(self.test_loader):
                inputs, labels = (tensor.to(self.device) for tensor in batch)
                num_correct += int((self.model(inputs).argmax(dim=1) == labels).sum().item())
                num_images += len(labels)
        self.model.train()
        return num_correct / num_images


def _begin(loader: DataLoader[Any]) -> Iterator[Any]:
    with _however_few_cores():
        return iter(loader)


@contextmanager
def _however_few_cores() -> Iterator[None]:
    """As many loaders as the references have."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        yield
