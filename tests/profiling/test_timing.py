"""When a function is warm, and how often it is called; by a clock that is made up."""

import pytest
import torch

from harness.profiling import timing
from harness.profiling.timing import calls_per_visit, in_turn, seconds_of, visit, warm_up

CPU = torch.device("cpu")


@pytest.fixture
def take(monkeypatch):
    """A function that says how long the calls take, one after the other; they are made all the same."""

    def say(*seconds):
        remaining = iter(seconds)

        def measure(call, device):
            assert device == CPU
            call()
            return next(remaining)

        monkeypatch.setattr(timing, "seconds_of", measure)

    return say


@pytest.mark.parametrize(
    ("seconds", "num_calls"),
    [
        ([5.0, 5.0, 1.0], 2),
        ([5.0, 7.0, 1.0], 2),
        ([5.0, 4.6, 1.0], 2),
        ([5.0, 4.4, 4.0, 1.0], 3),
        ([8.0, 4.0, 2.0, 1.9, 1.0], 4),
    ],
)
def test_warming_up_ends_at_the_first_call_that_is_not_a_tenth_faster_than_all_before(
    take, seconds, num_calls
):
    take(*seconds)
    called = []
    assert warm_up(lambda: called.append(1), CPU) == seconds[:num_calls]
    assert len(called) == num_calls


def test_warming_up_ends_even_if_things_become_faster_for_ever(take):
    take(*(2.0**-number for number in range(100)))
    assert warm_up(lambda: None, CPU) == [2.0**-number for number in range(20)]


@pytest.mark.parametrize(
    ("seconds", "num_calls"),
    [(0.5, 1), (0.1, 1), (0.099, 2), (0.05, 2), (0.03, 4), (0.004, 25), (0.001, 100), (1e-7, 100)],
)
def test_short_functions_are_called_often_enough_to_last_a_while_but_no_more_than_a_hundred_times(
    seconds, num_calls
):
    assert calls_per_visit(seconds, 0.1) == num_calls


def test_a_visit_is_so_many_calls(take):
    take(3.0, 1.0, 2.0, 9.0)
    called = []
    assert visit(lambda: called.append(1), CPU, 3) == [3.0, 1.0, 2.0]
    assert len(called) == 3


def test_all_are_warm_before_they_are_called_in_turn(take):
    # a is warm after two calls, b after three
    take(1.0, 1.0, 4.0, 2.0, 2.0, 1.5, 2.5, 1.25, 2.25, 1.75, 2.75)
    called = []
    calls = {name: lambda name=name: called.append(name) for name in "ab"}
    seconds = in_turn(calls, CPU, num_rounds=3)
    assert "".join(called) == "aa" + "bbb" + "ab" * 3
    assert seconds == {"a": [1.5, 1.25, 1.75], "b": [2.5, 2.25, 2.75]}


def test_time_of_a_call_is_from_before_it_until_the_device_has_done_it(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(timing, "mark", lambda device: now[0])

    def call():
        now[0] += 2.5

    assert seconds_of(call, CPU) == 2.5
