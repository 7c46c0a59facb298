"""Tests that need a CUDA device; `nox -s gpu` runs them. Elsewhere they are skipped."""

from pathlib import Path

import pytest
import torch

from harness.data import synthetic
from harness.training.batches import DeviceImages
from harness.training.device import configure, on_own_stream
from harness.training.loop import train_in_turns
from harness.training.trainer import Trainer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    here = [item for item in items if HERE in item.path.parents]
    for item in here:
        item.add_marker(pytest.mark.gpu)
        if not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(scope="session")
def gpu():
    return torch.device("cuda", 0)


@pytest.fixture(scope="session")
def small_set():
    """1,000 training and 500 test images: mini-batches of 64 make epochs of 15 and 16, and the last may have 40."""
    return synthetic(1000, 500)


@pytest.fixture
def make_gpu_spec(make_spec):
    """A function from changed fields to a run of 40 mini-batches of 64 images."""

    def make(**changes):
        recipe = {"batch_size": 64, "iterations": 40} | changes.pop("recipe", {})
        return make_spec(recipe=recipe, **changes)

    return make


@pytest.fixture
def on_gpu(small_set, gpu):
    """A function from a run to its images on the GPU; the process is configured for it."""

    def load(spec):
        configure(gpu, spec.precision, num_threads=1)
        return DeviceImages(small_set, spec.recipe.augmentation, spec.recipe.normalization, gpu)

    return load


@pytest.fixture
def run_turns(gpu):
    """A function that does all turns of a generator function's, on a stream of their own, and returns their result."""

    def run(function):
        turns = on_own_stream(function(), gpu)
        while True:
            try:
                next(turns)
            except StopIteration as end:
                return end.value

    return run


@pytest.fixture
def trained(on_gpu, gpu, run_turns):
    """A function that trains a run up to an iteration: the trainer, and its weights."""

    def train(spec, stop, *, eager=False):
        images = on_gpu(spec)

        def turns():
            trainer = Trainer(spec, images, gpu)
            trainer.prepare(eager=eager)
            start = 0
            while start < stop:
                end = min(trainer.epoch(start)[1], stop)
                for _ in trainer.updates(start, end):
                    yield
                start = end
            return trainer, [tensor.cpu() for tensor in trainer.model.state_dict().values()]

        return run_turns(turns)

    return train


@pytest.fixture
def begin(on_gpu, gpu, keep, ear):
    """A function that begins a run."""

    def run(spec, listener=None, *, eager=False, concurrent=False):
        return train_in_turns(
            spec,
            on_gpu(spec),
            gpu,
            keep(spec.sha256),
            listener=listener or ear(),
            eager=eager,
            concurrent=concurrent,
        )

    return run
