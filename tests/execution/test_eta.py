import pytest

from harness.execution import eta as module
from harness.execution.eta import Eta
from harness.execution.job import Advanced, Ended, Started


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    now = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])

    def set_to(seconds):
        now[0] = seconds

    return set_to


def test_time_left_of_runs_side_by_side_is_that_of_the_longest(clock, make_planned):
    runs = [make_planned(seed, 100.0) for seed in (0, 1)]
    eta = Eta([run for run, _ in runs], 2)
    assert eta.left_in_all() == 100
    for _, job in runs:
        eta.hear(job, Started(0, 10))
    clock(10.0)
    eta.hear(runs[0][1], Advanced(5))
    eta.hear(runs[1][1], Advanced(2))
    assert eta.left("r0") == pytest.approx(10)
    assert eta.left_in_all() == pytest.approx(40)


def test_a_resumed_run_is_judged_by_what_it_did_since(clock, make_planned):
    run, job = make_planned(0, 50.0)
    eta = Eta([run], 1)
    eta.hear(job, Started(5, 10))
    clock(6.0)
    eta.hear(job, Advanced(7))
    assert eta.left_in_all() == pytest.approx(9)


def test_runs_that_have_ended_or_are_recorded_take_no_time(clock, make_planned):
    (run, job), (recorded, _) = make_planned(0, 50.0), make_planned(1, 70.0, "completed")
    eta = Eta([run, recorded], 1)
    assert (eta.num_runs, eta.left_in_all()) == (1, 50)
    eta.hear(job, Started(0, 10))
    eta.hear(job, Ended("completed", test_accuracy=0.5))
    assert (eta.num_ended, eta.left_in_all()) == (1, 0)
