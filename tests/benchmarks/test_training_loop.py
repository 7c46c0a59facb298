"""Our training beside a standard PyTorch loop: fresh processes, advanced in turn, end to end."""

import functools

import pytest
import torch

from harness.config import Precision
from harness.profiling.race import Contestant, race

from .clock import Clock

BF16, TF32 = Precision.BF16, Precision.TF32
BASELINE = Contestant(name="baseline, 4 loaders", loop="baseline", num_threads=2, tuned_allocator=False)
ON_CPU = [
    BASELINE,
    Contestant(
        name="baseline, no loaders", loop="baseline", num_threads=2, num_loaders=0, tuned_allocator=False
    ),
    Contestant(name="baseline, 4 loaders, allocator tuned", loop="baseline", num_threads=2),
    Contestant(name="ours, fp32", loop="ours", num_threads=2),
    Contestant(name="ours, bf16", loop="ours", precision=BF16, num_threads=2),
    Contestant(name="ours, fp32, 2 runs", loop="ours", num_processes=2),
    Contestant(name="ours, bf16, 2 runs", loop="ours", precision=BF16, num_processes=2),
    Contestant(
        name="ours, bf16, 2 runs, not deterministic",
        loop="ours",
        precision=BF16,
        num_processes=2,
        deterministic=False,
    ),
]
ON_GPU = [
    BASELINE,
    Contestant(name="ours, fp32, no graph", loop="ours", eager=True),
    Contestant(name="ours, fp32", loop="ours"),
    Contestant(name="ours, fp32, not deterministic", loop="ours", deterministic=False),
    Contestant(name="ours, fp32, not channels-last", loop="ours", channels_last=False),
    Contestant(name="ours, fp32, 10 at once", loop="ours", runs_at_once=10),
    Contestant(name="ours, tf32", loop="ours", precision=TF32),
    Contestant(name="ours, tf32, not channels-last", loop="ours", precision=TF32, channels_last=False),
    Contestant(name="ours, tf32, 10 at once", loop="ours", precision=TF32, runs_at_once=10),
    Contestant(name="ours, bf16, no graph", loop="ours", precision=BF16, eager=True),
    Contestant(name="ours, bf16", loop="ours", precision=BF16),
    Contestant(name="ours, bf16, not deterministic", loop="ours", precision=BF16, deterministic=False),
    Contestant(name="ours, bf16, not channels-last", loop="ours", precision=BF16, channels_last=False),
    Contestant(name="ours, bf16, 10 at once", loop="ours", precision=BF16, runs_at_once=10),
]
NUM_ROUNDS = {"cpu": 15, "cuda": 8}
"""Of fewer than eight there is no more than a range; on a GPU the standard loop takes most of the time."""
NUM_ITERATIONS = {"cpu": 16, "cuda": 200}
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

CLOCK = Clock()


@functools.cache
def results(device):
    contestants = ON_GPU if device == "cuda" else ON_CPU
    raced = race(
        contestants, device=device, num_rounds=NUM_ROUNDS[device], num_iterations=NUM_ITERATIONS[device]
    )
    return {result.contestant.name: result for result in raced}


def tabulate(benchmark, device, name):
    result = results(device)[name]
    contestant = result.contestant
    benchmark.extra_info.update(
        images=NUM_ITERATIONS[device] * 128,
        start_seconds=result.start_seconds,
        tuned_allocator=contestant.tuned_allocator,
    )
    # of runs at a time, the time that each takes from the machine
    CLOCK.tabulate(benchmark, [seconds / contestant.num_runs for seconds in result.round_seconds])


@pytest.mark.benchmark(
    group=f"training of ResNet-20, {NUM_ITERATIONS['cpu']} mini-batches of 128 images on all cores",
    timer=CLOCK,
)
@pytest.mark.parametrize("name", [contestant.name for contestant in ON_CPU])
def test_on_the_cpu(benchmark, name):
    tabulate(benchmark, "cpu", name)


@NEEDS_GPU
@pytest.mark.benchmark(
    group=f"training of ResNet-20, {NUM_ITERATIONS['cuda']} mini-batches of 128 images on a GPU", timer=CLOCK
)
@pytest.mark.parametrize("name", [contestant.name for contestant in ON_GPU])
def test_on_a_gpu(benchmark, name):
    tabulate(benchmark, "cuda", name)
