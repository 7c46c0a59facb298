"""The training and test images on the device, and mini-batches made of them there.

The images stay uint8; a mini-batch is gathered, cropped, mirrored and normalised on the device, in one
`index_select` whose index already holds crop and mirror image. No worker processes, no PIL.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.config import Augmentation, Normalization
from harness.data import ImageSet
from harness.training.device import synchronize

__all__ = ["DeviceImages", "Normalizer", "num_views"]

SIDE = 32


def num_views(augmentation: Augmentation) -> int:
    """How many different views of an image the augmentation can draw."""
    return (2 * augmentation.pad + 1) ** 2 * (2 if augmentation.flip else 1)


class Normalizer:
    """Maps uint8 pixels to the network's float32 input, as a recipe says.

    Under ``per-pixel-mean`` the mean image is subtracted before padding, so the margin of a crop is zero, which the paper
    leaves open; under ``channel`` the margin is black before normalisation, as torchvision's transforms leave it.

    Args:
        recipe: the normalisation.
        images: training images, uint8 (N, 3, 32, 32), of which the mean is taken.
        offsets: pixel numbers of each view within the padded image, int64 (views, 32 * 32).
        pad: the margin on each side.
        device: where the pixels are.
    """

    def __init__(
        self,
        recipe: Normalization,
        images: npt.NDArray[np.uint8],
        *,
        offsets: Tensor,
        pad: int,
        device: torch.device,
    ) -> None:
        self.scale = torch.tensor([1 / 255.0] * 3, device=device)
        self.shift = torch.zeros(1, 1, 3, device=device)
        self.per_view = recipe.kind == "per-pixel-mean"
        if recipe.mean is not None and recipe.std is not None:
            std = torch.tensor(recipe.std, dtype=torch.float64)
            mean = torch.tensor(recipe.mean, dtype=torch.float64)
            self.scale = (1 / (255 * std)).float().to(device)
            self.shift = (-mean / std).float().to(device).view(1, 1, 3)
        elif self.per_view:
            mean_image = torch.from_numpy(images.mean(axis=0, dtype=np.float64) / 255.0)
            padded = F.pad(mean_image, (pad,) * 4).permute(1, 2, 0).reshape(-1, 3)
            self.shift = -padded[offsets].float().to(device)

    def __call__(self, pixels: Tensor, views: Tensor) -> Tensor:
        """Pixels uint8 (N, 1024, 3), views int32 (N,) -> float32 (N, 3, 32, 32) in channels-last layout."""
        shift = self.shift.index_select(0, views) if self.per_view else self.shift
        normalized = torch.addcmul(shift, pixels.float(), self.scale)
        return normalized.view(-1, SIDE, SIDE, 3).permute(0, 3, 1, 2)


class DeviceImages:
    """A data set on a device, as a recipe wants to see it; any number of runs can share it, on any stream.

    Args:
        images: the data set.
        augmentation: of the training images.
        normalization: of both.
        device: where the images are to live.
    """

    def __init__(
        self, images: ImageSet, augmentation: Augmentation, normalization: Normalization, device: torch.device
    ) -> None:
        self.num_train = len(images.train_labels)
        self.num_test = len(images.test_labels)
        self.num_views = num_views(augmentation)
        pad = augmentation.pad
        self._padded_side = SIDE + 2 * pad
        self._train_pixels = _pixels(images.train_images, pad).to(device)
        self._test_pixels = _pixels(images.test_images, 0).to(device)
        self._train_labels = torch.from_numpy(images.train_labels.astype(np.int64)).to(device)
        self.test_labels = torch.from_numpy(images.test_labels.astype(np.int64)).to(device)
        offsets = _view_offsets(augmentation)
        self._offsets = offsets.int().to(device)
        self._normalize_train = Normalizer(
            normalization, images.train_images, offsets=offsets, pad=pad, device=device
        )
        self._normalize_test = Normalizer(
            normalization, images.train_images, offsets=torch.arange(SIDE * SIDE)[None], pad=0, device=device
        )
        synchronize(device)

    def train_batch(self, numbers: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """Training images by number, each in a view.

        Args:
            numbers: of the images, int32 (N,), on the device.
            views: of the images, int32 (N,), on the device.

        Returns:
            Network input float32 (N, 3, 32, 32) in channels-last layout, and labels int64 (N,).
        """
        index = numbers[:, None] * self._padded_side**2 + self._offsets.index_select(0, views)
        pixels = self._train_pixels.index_select(0, index.view(-1)).view(len(numbers), -1, 3)
        return self._normalize_train(pixels, views), self._train_labels.index_select(0, numbers)

    def test_batch(self, start: int, stop: int) -> Tensor:
        """Test images ``start`` to ``stop`` in their original view: float32 (N, 3, 32, 32), channels-last."""
        pixels = self._test_pixels.view(self.num_test, -1, 3)[start:stop]
        views = torch.zeros(len(pixels), dtype=torch.int32, device=pixels.device)
        return self._normalize_test(pixels, views)


def _pixels(images: npt.NDArray[np.uint8], pad: int) -> Tensor:
    """Images (N, 3, 32, 32) -> pixels of the zero-padded images, uint8 (N * (32 + 2 pad)^2, 3)."""
    side = SIDE + 2 * pad
    padded = np.zeros((len(images), side, side, 3), dtype=np.uint8)
    padded[:, pad : pad + SIDE, pad : pad + SIDE] = images.transpose(0, 2, 3, 1)
    return torch.from_numpy(padded).view(-1, 3)


def _view_offsets(augmentation: Augmentation) -> Tensor:
    """Pixel numbers of every view within a padded image, int64 (views, 32 * 32).

    View ``(mirrored * span + dy) * span + dx``, ``span = 2 * pad + 1``, has its top left corner at row
    ``dy`` and column ``dx`` of the padded image.
    """
    span = 2 * augmentation.pad + 1
    rows = torch.arange(SIDE).view(1, 1, 1, SIDE, 1) + torch.arange(span).view(1, span, 1, 1, 1)
    columns = torch.arange(SIDE)
    directions = torch.stack([columns, columns.flip(0)] if augmentation.flip else [columns])
    columns = directions.view(-1, 1, 1, 1, SIDE) + torch.arange(span).view(1, 1, span, 1, 1)
    return (rows * (SIDE + 2 * augmentation.pad) + columns).reshape(-1, SIDE * SIDE)
