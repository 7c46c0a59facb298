"""Evaluation on the test set: ours, and that of a standard PyTorch loop; taken in turn."""

import pytest
import torch

from harness import allocator, data
from harness.config import Precision, load_recipe
from harness.models import find
from harness.profiling.baseline import BaselineLoop
from harness.profiling.timing import in_turn
from harness.training.batches import DeviceImages
from harness.training.device import configure, memory_format
from harness.training.evaluation import evaluate

from .clock import Clock

CPU = torch.device("cpu")
NAMES = ["baseline, 4 loaders", "ours, fp32", "ours, bf16"]
CLOCK = Clock()


@pytest.fixture(scope="module")
def seconds():
    allocator.configure()
    configure(CPU, Precision.FP32, torch.get_num_threads())
    images, recipe = data.load("cifar10"), load_recipe("short")
    loop = BaselineLoop(find("resnet20").build(), images, recipe.normalization, device=CPU)
    model = find("resnet20").build().to(memory_format=memory_format(CPU))
    on_device = DeviceImages(images, recipe.augmentation, recipe.normalization, CPU)
    subjects = {
        "baseline, 4 loaders": loop.evaluate,
        "ours, fp32": lambda: evaluate(model, on_device, CPU, Precision.FP32).loss,
        "ours, bf16": lambda: evaluate(model, on_device, CPU, Precision.BF16).loss,
    }
    return in_turn(subjects, CPU, num_rounds=5)


@pytest.mark.benchmark(group="evaluation of ResNet-20 on the test set, all cores", timer=CLOCK)
@pytest.mark.parametrize("name", NAMES)
def test_evaluation(benchmark, seconds, name):
    benchmark.extra_info["images"] = 10_000
    CLOCK.tabulate(benchmark, seconds[name])
