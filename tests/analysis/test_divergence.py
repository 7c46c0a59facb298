"""Where two courses of one run part, in rows made up by hand."""

import math
import struct
import subprocess
import sys

import pytest

from harness.analysis.divergence import Divergence, environment_differences, first_divergence


def row(epoch, **changes):
    """As much of a record as is compared: four mini-batches an epoch."""
    fields = {
        "epoch": epoch,
        "iteration": 4 * (epoch + 1),
        "learning_rate": 0.1,
        "losses": [2.5 - epoch, 2.25, 0.0, 1.5],
        "train_loss": 1.5625,
        "train_error": 0.5,
        "weights_sha256": f"{epoch}" * 64,
        "state_sha256": "a" * 64,
        "test_loss": 1.25,
        "test_error": 0.25,
        "seconds": 1.0,
    }
    assert set(changes) <= set(fields)
    return fields | changes


def course(num_epochs=3, **changed):
    """Rows of a run; ``e1={"test_loss": 2.0}`` changes the row of epoch 1."""
    return [row(epoch, **changed.get(f"e{epoch}", {})) for epoch in range(num_epochs)]


def next_float(value):
    [bits] = struct.unpack("<q", struct.pack("<d", value))
    return struct.unpack("<d", struct.pack("<q", bits + 1))[0]


def both_ways(one, other):
    """What is found first, whichever of the two was recorded."""
    found = first_divergence(one, other)
    assert first_divergence(other, one) == found
    return found


def test_the_same_rows_do_not_diverge():
    assert first_divergence(course(), course()) is None
    assert first_divergence([], []) is None


def test_times_are_not_compared():
    assert both_ways(course(), course(e1={"seconds": 1e6})) is None


@pytest.mark.parametrize(
    ("epoch", "position", "iteration"), [(0, 0, 1), (0, 3, 4), (1, 0, 5), (1, 2, 7), (2, 3, 12)]
)
def test_a_loss_is_named_by_its_number_in_the_run(epoch, position, iteration):
    losses = row(epoch)["losses"]
    losses[position] += 1.0
    other = course(**{f"e{epoch}": {"losses": losses}})
    assert both_ways(course(), other) == Divergence(epoch=epoch, iteration=iteration, column="losses")


def test_the_first_of_several_differences_is_named():
    other = course(
        e1={"losses": [1.5, 2.25, 7.0, 7.0], "train_loss": 7.0, "weights_sha256": "f" * 64},
        e2={"iteration": 11, "losses": [7.0] * 4},
    )
    assert both_ways(course(), other) == Divergence(epoch=1, iteration=7, column="losses")


@pytest.mark.parametrize("column", ["learning_rate", "train_loss", "train_error", "test_loss", "test_error"])
def test_the_last_bit_of_a_number_counts(column):
    other = course(e1={column: next_float(row(1)[column])})
    assert both_ways(course(), other) == Divergence(epoch=1, iteration=None, column=column)


def test_the_last_bit_of_a_loss_counts():
    other = course(e1={"losses": [1.5, next_float(2.25), 0.0, 1.5]})
    assert both_ways(course(), other) == Divergence(epoch=1, iteration=6, column="losses")


@pytest.mark.parametrize("column", ["weights_sha256", "state_sha256"])
def test_a_digest_that_differs_is_named(column):
    # f in place of the last of 64 characters
    other = course(e2={column: row(2)[column][:63] + "f"})
    assert both_ways(course(), other) == Divergence(epoch=2, iteration=None, column=column)


def test_an_epoch_that_ends_elsewhere_is_named():
    other = course(e1={"iteration": 7, "losses": [1.5, 2.25, 0.0]})
    assert both_ways(course(), other) == Divergence(epoch=1, iteration=None, column="iteration")


def test_no_number_is_no_number():
    nan, another_nan = math.nan, struct.unpack("<d", struct.pack("<q", 0x7FF8000000000001))[0]
    assert math.isnan(another_nan)
    diverged = course(e1={"losses": [1.5, nan, nan, nan], "train_loss": nan, "test_loss": nan})
    other = course(e1={"losses": [1.5, another_nan, -nan, nan], "train_loss": another_nan, "test_loss": -nan})
    assert both_ways(diverged, other) is None
    assert both_ways(diverged, course()) == Divergence(epoch=1, iteration=6, column="losses")


def test_infinities_are_told_apart():
    assert both_ways(course(e0={"test_loss": math.inf}), course(e0={"test_loss": math.inf})) is None
    found = both_ways(course(e0={"test_loss": math.inf}), course(e0={"test_loss": -math.inf}))
    assert found == Divergence(epoch=0, iteration=None, column="test_loss")


def test_zeros_of_both_signs_differ():
    # equal as numbers; their bits are not
    other = course(e1={"losses": [1.5, 2.25, -0.0, 1.5]})
    assert both_ways(course(), other) == Divergence(epoch=1, iteration=7, column="losses")
    other = course(e1={"train_error": -0.0})
    found = both_ways(course(e1={"train_error": 0.0}), other)
    assert found == Divergence(epoch=1, iteration=None, column="train_error")


@pytest.mark.parametrize(("num_losses", "iteration"), [(3, 8), (1, 6), (0, 5)])
def test_the_first_loss_that_only_one_has_differs(num_losses, iteration):
    other = course(e1={"losses": row(1)["losses"][:num_losses]})
    assert both_ways(course(), other) == Divergence(epoch=1, iteration=iteration, column="losses")


OLDER = {"losses": None, "weights_sha256": None, "state_sha256": None}


def test_what_one_has_not_recorded_is_passed_over():
    older = course(**{f"e{epoch}": OLDER for epoch in range(3)})
    assert both_ways(course(), older) is None
    absent = [{name: each[name] for name in each if name not in OLDER} for each in course()]
    assert both_ways(course(), absent) is None
    assert both_ways(older, absent) is None


def test_what_both_have_is_compared_with_what_is_older():
    older = course(e0=OLDER, e1=OLDER | {"test_loss": 9.0}, e2=OLDER)
    assert both_ways(course(), older) == Divergence(epoch=1, iteration=None, column="test_loss")


ORDER = (
    *("iteration", "learning_rate", "losses", "train_loss", "train_error"),
    *("weights_sha256", "state_sha256", "test_loss", "test_error"),
)


@pytest.mark.parametrize("number", range(len(ORDER)))
def test_within_an_epoch_the_cause_is_named_before_what_follows_from_it(number):
    another = {
        "iteration": 9,
        "losses": [1.5, 2.25, 0.0, 9.0],
        "weights_sha256": "f" * 64,
        "state_sha256": "f" * 64,
    }
    changed = {column: another.get(column, 9.0) for column in ORDER[number:]}
    found = both_ways(course(), course(e1=changed))
    iteration = 8 if ORDER[number] == "losses" else None
    assert found == Divergence(epoch=1, iteration=iteration, column=ORDER[number])


def test_an_epoch_is_compared_before_the_next():
    other = course(e0={"test_error": 0.5}, e1={"iteration": 9, "losses": [9.0] * 4})
    assert both_ways(course(), other) == Divergence(epoch=0, iteration=None, column="test_error")


def test_as_many_epochs_are_compared_as_both_have():
    assert both_ways(course(3), course(1)) is None
    assert both_ways(course(3), []) is None
    assert both_ways(course(3, e2={"test_loss": 9.0}), course(2)) is None
    found = both_ways(course(3), course(2, e1={"test_loss": 9.0}))
    assert found == Divergence(epoch=1, iteration=None, column="test_loss")


def test_of_environments_the_wanted_columns_that_differ_are_told():
    then = {"torch": "2.9.0", "threads": 1, "commit": "a", "driver": None, "cuda": "13"}
    now = {"torch": "2.10.0", "threads": 1, "commit": "b", "driver": "1", "cuda": None}
    assert environment_differences(then, now, ["driver", "threads", "torch"]) == {
        "driver": (None, "1"),
        "torch": ("2.9.0", "2.10.0"),
    }
    assert environment_differences(then, now, ["cuda"]) == {"cuda": ("13", None)}
    assert environment_differences(then, then, list(then)) == {}
    assert environment_differences(then, now, []) == {}


def test_comparing_does_not_need_torch():
    code = "import sys, harness.analysis.divergence; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
