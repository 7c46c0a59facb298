"""How the time grows with the number of seeds that are trained at a time."""

import functools

import pytest
import torch

from harness.config import Precision
from harness.profiling.race import Contestant, race
from harness.training.device import has_native_bf16

from .clock import Clock

NUMBERS = {"cpu": [1, 2, 4], "cuda": [1, 2, 5, 10, 20]}
NUM_ITERATIONS = {"cpu": 8, "cuda": 200}
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CLOCK = Clock()


@functools.cache
def results(device):
    precision = Precision.BF16 if has_native_bf16(torch.device(device)) else Precision.FP32
    how = "runs_at_once" if device == "cuda" else "num_processes"
    contestants = [
        Contestant(name=f"{number} seeds", loop="ours", precision=precision, **{how: number})
        for number in NUMBERS[device]
    ]
    raced = race(contestants, device=device, num_rounds=3, num_iterations=NUM_ITERATIONS[device])
    return dict(zip(NUMBERS[device], raced, strict=True))


def tabulate(benchmark, device, number):
    result = results(device)[number]
    benchmark.extra_info.update(images=result.images_per_round, start_seconds=result.start_seconds)
    CLOCK.tabulate(benchmark, result.round_seconds)


@pytest.mark.benchmark(
    group=f"ResNet-20, {NUM_ITERATIONS['cpu']} mini-batches of each seed, a process of one thread each",
    timer=CLOCK,
)
@pytest.mark.parametrize("number", NUMBERS["cpu"])
def test_seeds_on_the_cpu(benchmark, number):
    tabulate(benchmark, "cpu", number)


@NEEDS_GPU
@pytest.mark.benchmark(
    group=f"ResNet-20, {NUM_ITERATIONS['cuda']} mini-batches of each seed, all in one process on a GPU",
    timer=CLOCK,
)
@pytest.mark.parametrize("number", NUMBERS["cuda"])
def test_seeds_on_a_gpu(benchmark, number):
    tabulate(benchmark, "cuda", number)
