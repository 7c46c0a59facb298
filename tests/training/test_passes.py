"""Where mini-batches lie in the stream of images, and which belong to an epoch."""

import pytest

from harness.training.passes import Passes

CARRY = Passes(num_images=10, batch_size=4, last_batch="carry")
KEEP = Passes(num_images=10, batch_size=4, last_batch="keep")


def test_carried_batches_are_all_full():
    assert [CARRY.position(iteration) for iteration in range(6)] == [0, 4, 8, 12, 16, 20]
    assert CARRY.sizes(0, 5) == [4, 4, 4, 4, 4]


def test_a_carried_batch_belongs_to_the_pass_it_begins_in():
    # positions 8 to 11 begin in the first pass of ten images, 12 and 16 in the second, 20 in the third
    assert [CARRY.epoch(iteration) for iteration in range(6)] == [(0, 3)] * 3 + [(3, 5)] * 2 + [(5, 8)]


def test_kept_batches_end_with_the_pass():
    assert [KEEP.position(iteration) for iteration in range(7)] == [0, 4, 8, 10, 14, 18, 20]
    assert KEEP.sizes(1, 6) == [4, 2, 4, 4, 2]
    assert [KEEP.epoch(iteration) for iteration in range(6)] == [(0, 3)] * 3 + [(3, 6)] * 3


@pytest.mark.parametrize("last_batch", ["carry", "keep"])
def test_both_are_the_same_where_passes_divide_evenly(last_batch):
    passes = Passes(num_images=12, batch_size=4, last_batch=last_batch)
    assert passes.sizes(0, 6) == [4] * 6
    assert [passes.epoch(iteration) for iteration in range(6)] == [(0, 3)] * 3 + [(3, 6)] * 3


@pytest.mark.parametrize("last_batch", ["carry", "keep"])
def test_epochs_follow_one_another_and_hold_every_iteration_once(last_batch):
    passes = Passes(num_images=50_000, batch_size=128, last_batch=last_batch)
    first, lengths = 0, []
    while first < 64_000:
        start, end = passes.epoch(first)
        assert start == first
        assert passes.epoch(end - 1) == (start, end)
        lengths.append(end - start)
        first = end
    assert set(lengths) == ({390, 391} if last_batch == "carry" else {391})
