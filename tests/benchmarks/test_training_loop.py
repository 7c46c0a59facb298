"""Our training beside the loop that people run today: fresh processes, advanced in turn, end to end."""

import pytest

from harness.config import Precision
from harness.profiling.race import Contestant, race

from .clock import Clock

CONTESTANTS = [
    Contestant(name="baseline, 4 loaders", loop="baseline", num_threads=2, tuned_allocator=False),
    Contestant(
        name="baseline, no loaders", loop="baseline", num_threads=2, num_loaders=0, tuned_allocator=False
    ),
    Contestant(name="baseline, 4 loaders, allocator tuned", loop="baseline", num_threads=2),
    Contestant(name="ours, fp32", loop="ours", num_threads=2),
    Contestant(name="ours, bf16", loop="ours", precision=Precision.BF16, num_threads=2),
    Contestant(name="ours, fp32, 2 runs", loop="ours", num_processes=2),
    Contestant(name="ours, bf16, 2 runs", loop="ours", precision=Precision.BF16, num_processes=2),
]
NUM_ROUNDS, NUM_ITERATIONS = 5, 16


CLOCK = Clock()


@pytest.fixture(scope="module")
def results():
    raced = race(CONTESTANTS, num_rounds=NUM_ROUNDS, num_iterations=NUM_ITERATIONS)
    return {result.contestant.name: result for result in raced}


@pytest.mark.benchmark(
    group=f"training of ResNet-20, {NUM_ITERATIONS} mini-batches of 128 images on all cores", timer=CLOCK
)
@pytest.mark.parametrize("name", [contestant.name for contestant in CONTESTANTS])
def test_training_loop(benchmark, results, name):
    result = results[name]
    contestant = result.contestant
    benchmark.extra_info.update(
        images=NUM_ITERATIONS * 128,
        start_seconds=result.start_seconds,
        tuned_allocator=contestant.tuned_allocator,
    )
    # of runs side by side, the time that each takes from the machine
    CLOCK.tabulate(benchmark, [seconds / contestant.num_processes for seconds in result.round_seconds])
