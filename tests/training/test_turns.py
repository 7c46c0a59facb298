"""Runs that are trained in turn in one process."""

import numpy as np
import pytest
import torch

from harness.config import Precision
from harness.errors import NotConcurrentError
from harness.training.batches import DeviceImages
from harness.training.device import configure, mark, on_own_stream, seconds_between
from harness.training.loop import train, train_in_turns


@pytest.fixture
def alone(small_set, cpu, keep, ear):
    """A function that trains a run by itself."""

    def run(spec):
        configure(cpu, spec.precision, num_threads=1)
        return train(spec, small_set, cpu, keep("alone"), listener=ear())

    return run


@pytest.fixture
def begin(small_set, cpu, keep, ear):
    """A function that begins a run to be trained in turn with others."""
    shared = {}

    def run(spec, listener=None, *, concurrent=True):
        configure(cpu, spec.precision, num_threads=1)
        recipe = spec.recipe
        key = recipe.augmentation, recipe.normalization
        if key not in shared:
            shared[key] = DeviceImages(small_set, *key, cpu)
        return train_in_turns(
            spec,
            shared[key],
            cpu,
            keep(spec.sha256),
            listener=listener or ear(),
            eager=False,
            concurrent=concurrent,
        )

    return run


def assert_same_bits(actual, expected):
    assert actual.weights_sha256 == expected.weights_sha256
    assert actual.trajectory_sha256 == expected.trajectory_sha256
    assert np.array_equal(actual.logits, expected.logits)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_each_gives_the_bits_that_it_gives_alone(make_spec, alone, begin, in_turn, precision):
    specs = [
        make_spec(precision=precision),
        make_spec(precision=precision, seed=1),
        make_spec(precision=precision, model="plain20", iterations=7),
        make_spec(precision=precision, seed=1, recipe={"last_batch": "keep", "batch_size": 25}),
    ]
    outcomes = in_turn(*(begin(spec) for spec in specs))
    for outcome, spec in zip(outcomes, specs, strict=True):
        assert_same_bits(outcome, alone(spec))


def test_stopped_in_company_each_goes_on_with_the_same_bits(make_spec, alone, begin, in_turn, ear):
    specs = [make_spec(), make_spec(seed=1)]
    stopped = in_turn(begin(specs[0], ear(stop_at=3)), begin(specs[1], ear(stop_at=6)))
    assert [str(end).rpartition(" ")[2] for end in stopped] == ["3", "6"]
    resumed = in_turn(*(begin(spec) for spec in specs))
    for outcome, spec, iteration in zip(resumed, specs, (3, 6), strict=True):
        assert outcome.resumed_at == [iteration]
        assert_same_bits(outcome, alone(spec))


def test_the_first_turn_ends_before_training_begins(make_spec, begin, ear):
    listener = ear()
    run = begin(make_spec(), listener)
    next(run)
    assert not listener.starts
    next(run)
    assert (listener.starts, listener.iterations) == ([(0, 10)], [1])


OUT_OF_MEMORY = """\
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3072, 10)

    def forward(self, x):
        return self.linear(x.flatten(1))

    def to(self, *args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
"""


def test_a_run_that_finds_no_memory_beside_others_must_be_alone(make_spec, begin, write_module):
    write_module(OUT_OF_MEMORY)
    spec = make_spec(model="mynet:Net")
    with pytest.raises(NotConcurrentError, match="not enough memory on the device"):
        next(begin(spec))


def test_alone_it_says_how_much_it_lacks(make_spec, begin, write_module):
    write_module(OUT_OF_MEMORY)
    with pytest.raises(torch.OutOfMemoryError, match=r"9\.00 GiB"):
        next(begin(make_spec(model="mynet:Net"), concurrent=False))


def test_turns_on_a_stream_pass_on_their_result_and_their_errors(cpu):
    def turns(error=None):
        yield
        yield
        if error:
            raise error
        return 7

    run = on_own_stream(turns(), cpu)
    assert [next(run), next(run)] == [None, None]
    with pytest.raises(StopIteration) as end:
        next(run)
    assert end.value.value == 7
    with pytest.raises(KeyError):
        list(on_own_stream(turns(KeyError()), cpu))


def test_time_between_marks_is_positive_and_adds_up(cpu):
    first, second, third = (mark(cpu) for _ in range(3))
    parts = seconds_between(first, second) + seconds_between(second, third)
    assert 0 <= parts == pytest.approx(seconds_between(first, third))
