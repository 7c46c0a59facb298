import numpy as np
import pytest
import torch

from harness.config import Augmentation, Normalization
from harness.data import synthetic
from harness.training.batches import DeviceImages, num_views

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NORMALIZATIONS = {
    "per-pixel-mean": Normalization(kind="per-pixel-mean"),
    "channel": Normalization(kind="channel", mean=MEAN, std=STD),
    "none": Normalization(kind="none"),
}
AUGMENTATIONS = [
    Augmentation(),
    Augmentation(flip=True),
    Augmentation(pad=2),
    Augmentation(pad=4, flip=True),
]


@pytest.fixture(scope="module")
def images():
    return synthetic(6, 4)


@pytest.fixture
def on_device(images, cpu):
    """A function from augmentation and kind of normalization to the images on the CPU."""

    def make(augmentation, kind):
        return DeviceImages(images, augmentation, NORMALIZATIONS[kind], cpu)

    return make


def naive_view(image, train_images, augmentation, kind, view):
    """One image the slow way, in double precision: normalise, pad, crop, mirror; (3, 32, 32)."""
    pad, span = augmentation.pad, 2 * augmentation.pad + 1
    mirrored, corner = divmod(view, span * span)
    row, column = divmod(corner, span)
    pixels = image.astype(np.float64) / 255
    margin = np.zeros(3)
    if kind == "per-pixel-mean":
        pixels = pixels - (train_images.astype(np.float64) / 255).mean(axis=0)
    elif kind == "channel":
        pixels = (pixels - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
        margin = (0 - np.array(MEAN)) / np.array(STD)  # black
    padded = np.empty((3, 32 + 2 * pad, 32 + 2 * pad))
    padded[:] = margin[:, None, None]
    padded[:, pad : pad + 32, pad : pad + 32] = pixels
    crop = padded[:, row : row + 32, column : column + 32]
    return crop[:, :, ::-1] if mirrored else crop


@pytest.mark.parametrize(
    ("pad", "flip", "expected"), [(0, False, 1), (0, True, 2), (1, False, 9), (4, True, 162)]
)
def test_number_of_views(pad, flip, expected):
    assert num_views(Augmentation(pad=pad, flip=flip)) == expected


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
def test_every_view_is_what_the_slow_way_makes(images, on_device, augmentation, kind):
    device_images = on_device(augmentation, kind)
    views = np.arange(num_views(augmentation), dtype=np.int32)
    numbers = (views % 6).astype(np.int32)
    inputs, labels = device_images.train_batch(torch.from_numpy(numbers), torch.from_numpy(views))
    expected = np.stack(
        [
            naive_view(images.train_images[number], images.train_images, augmentation, kind, view)
            for number, view in zip(numbers, views, strict=True)
        ]
    )
    assert inputs.dtype == torch.float32
    assert inputs.shape == (len(views), 3, 32, 32)
    np.testing.assert_allclose(inputs.numpy(), expected, rtol=0, atol=2e-6)
    assert labels.tolist() == images.train_labels[numbers].tolist()
    assert labels.dtype == torch.int64


def test_views_of_an_image_are_all_different(on_device):
    device_images = on_device(Augmentation(pad=4, flip=True), "none")
    views = torch.arange(162, dtype=torch.int32)
    inputs, _ = device_images.train_batch(torch.zeros_like(views), views)
    assert len(torch.unique(inputs.flatten(1), dim=0)) == 162


def test_margin_is_zero_under_the_papers_normalization(on_device):
    # view 0 begins 4 pixels above and to the left of the image
    inputs, _ = on_device(Augmentation(pad=4, flip=True), "per-pixel-mean").train_batch(
        torch.arange(6, dtype=torch.int32), torch.zeros(6, dtype=torch.int32)
    )
    assert (inputs[:, :, :4] == 0).all()
    assert (inputs[:, :, :, :4] == 0).all()
    assert (inputs[:, :, 4:, 4:] != 0).float().mean() > 0.95


def test_training_images_have_mean_zero_in_every_pixel_under_the_papers_normalization(on_device):
    inputs, _ = on_device(Augmentation(), "per-pixel-mean").train_batch(
        torch.arange(6, dtype=torch.int32), torch.zeros(6, dtype=torch.int32)
    )
    torch.testing.assert_close(inputs.mean(dim=0), torch.zeros(3, 32, 32), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", NORMALIZATIONS)
def test_test_images_are_seen_in_their_original_view(images, on_device, kind):
    # the mean image is the training set's, for test images as well
    inputs = on_device(Augmentation(pad=4, flip=True), kind).test_batch(1, 4)
    expected = [
        naive_view(image, images.train_images, Augmentation(), kind, view=0)
        for image in images.test_images[1:4]
    ]
    np.testing.assert_allclose(inputs.numpy(), np.stack(expected), rtol=0, atol=2e-6)


def test_test_batch_ends_with_the_images(on_device):
    assert on_device(Augmentation(), "none").test_batch(3, 1000).shape == (1, 3, 32, 32)


def test_batches_are_channels_last(on_device):
    device_images = on_device(Augmentation(pad=4, flip=True), "per-pixel-mean")
    inputs, _ = device_images.train_batch(
        torch.arange(3, dtype=torch.int32), torch.arange(3, dtype=torch.int32)
    )
    for batch in (inputs, device_images.test_batch(0, 3)):
        assert batch.is_contiguous(memory_format=torch.channels_last)
        assert not batch.is_contiguous()


def test_counts_and_labels_are_those_of_the_data_set(images, on_device):
    device_images = on_device(Augmentation(pad=4, flip=True), "none")
    assert (device_images.num_train, device_images.num_test, device_images.num_views) == (6, 4, 162)
    assert device_images.test_labels.tolist() == images.test_labels.tolist()
