"""A pass over the training images: ours, and torchvision's transforms behind a DataLoader."""

import pytest
import torch
from torch import nn

from harness import data
from harness.config import load_recipe
from harness.profiling.baseline import BaselineLoop
from harness.training.batches import DeviceImages
from harness.training.seeding import image_stream

NUM_BATCHES, BATCH_SIZE = 40, 128
GROUP = f"data path, {NUM_BATCHES * BATCH_SIZE:,} training images cropped, mirrored and normalised"


@pytest.fixture(scope="module")
def images():
    return data.load("cifar10")


@pytest.mark.benchmark(group=GROUP)
def test_ours(benchmark, images):
    recipe = load_recipe("short")
    on_device = DeviceImages(images, recipe.augmentation, recipe.normalization, torch.device("cpu"))

    def mini_batches():
        numbers, views = image_stream(
            0, 0, NUM_BATCHES * BATCH_SIZE, on_device.num_train, on_device.num_views
        )
        for batch in zip(
            torch.from_numpy(numbers).split(BATCH_SIZE),
            torch.from_numpy(views).split(BATCH_SIZE),
            strict=True,
        ):
            on_device.train_batch(*batch)

    benchmark.extra_info["images"] = NUM_BATCHES * BATCH_SIZE
    benchmark(mini_batches)


@pytest.mark.benchmark(group=GROUP, min_rounds=3)
@pytest.mark.parametrize("num_loaders", [0, 4])
def test_data_loader(benchmark, images, num_loaders):
    loop = BaselineLoop(
        nn.Linear(1, 1),
        images,
        load_recipe("short").normalization,
        device=torch.device("cpu"),
        num_workers=num_loaders,
    )
    batches = loop.batches()
    next(batches)

    def mini_batches():
        for _ in range(NUM_BATCHES):
            next(batches)

    benchmark.extra_info["images"] = NUM_BATCHES * BATCH_SIZE
    benchmark(mini_batches)
