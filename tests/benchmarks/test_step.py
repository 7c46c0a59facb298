"""One update of each implementation, and how it grows with depth and with the size of the mini-batch; on a GPU if any."""

import math

import pytest
import torch

from harness import data
from harness.config import Precision, RunSpec, load_recipe
from harness.errors import ModelError
from harness.models import find
from harness.profiling.timing import visit, warm_up
from harness.training.batches import DeviceImages
from harness.training.device import configure, has_native_bf16, new_stream, resolve_device
from harness.training.trainer import Trainer

from .clock import Clock

DEVICE = resolve_device("auto")
PRECISION = Precision.BF16 if has_native_bf16(DEVICE) else Precision.FP32
NUM_IMAGES = 15_000 if DEVICE.type == "cuda" else 1500
CLOCK = Clock()
IMPLEMENTATIONS = (
    "resnet20",
    "plain20",
    "resnet20-b",
    "torchvision-resnet20",
    "timm-resnet20",
    "pytorchcv-resnet20",
    "akamaster-resnet20",
    "yunjey-resnet20",
    "torchvision-resnet18",
    "kuangliu-resnet18",
)


def time_updates(benchmark, model, *, batch_size=128):
    """The time of an update, with all of the machine's threads."""
    try:
        find(model).build()
    except ModelError as error:
        pytest.skip(str(error))
    configure(DEVICE, PRECISION, torch.get_num_threads())
    recipe = load_recipe("short").model_copy(update={"batch_size": batch_size, "epochs": 1000.0})
    spec = RunSpec(model=model, recipe=recipe, iterations=10_000, seed=0, precision=PRECISION, data="cifar10")
    images = DeviceImages(data.load("cifar10"), recipe.augmentation, recipe.normalization, DEVICE)

    with torch.cuda.stream(new_stream(DEVICE)):
        trainer = Trainer(spec, images, DEVICE)
        trainer.prepare()
        updates = trainer.updates(0, trainer.epoch(0)[1])
        warm_up(lambda: next(updates), DEVICE)
        seconds = visit(lambda: next(updates), DEVICE, math.ceil(NUM_IMAGES / batch_size))
    benchmark.extra_info.update(images=batch_size, device=DEVICE.type, precision=PRECISION.value)
    CLOCK.tabulate(benchmark, seconds)


@pytest.mark.benchmark(group="one update, 128 images, by implementation", timer=CLOCK)
@pytest.mark.parametrize("model", IMPLEMENTATIONS)
def test_implementation(benchmark, model):
    time_updates(benchmark, model)


@pytest.mark.benchmark(group="one update, 128 images, by depth", timer=CLOCK)
@pytest.mark.parametrize("depth", [20, 32, 44, 56, 110])
def test_depth(benchmark, depth):
    time_updates(benchmark, f"resnet{depth}")


@pytest.mark.benchmark(group="one update of ResNet-20, by size of the mini-batch", timer=CLOCK)
@pytest.mark.parametrize("batch_size", [32, 64, 128, 256, 512])
def test_batch_size(benchmark, batch_size):
    time_updates(benchmark, "resnet20", batch_size=batch_size)
