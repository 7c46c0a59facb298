"""What is said of runs and of measurements in progress where there is no terminal, and how the time left is estimated."""

from contextlib import contextmanager

import pytest

from harness import progress
from harness.execution import eta
from harness.execution.eta import Eta
from harness.execution.job import Ended, EpochEnded, Started
from harness.progress import observe_runs, observe_steps

ROW = {"iteration": 5, "train_error": 0.5, "test_error": 0.25, "images_per_second": 1000.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is set."""
    now = [0.0]
    for module in (progress, eta):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])

    def set_to(seconds):
        now[0] = seconds

    return set_to


@contextmanager
def observed(planned):
    left = Eta(planned, 1)
    with observe_runs(left) as show:

        def observe(job, event):
            left.hear(job, event)
            show(job, event)

        yield observe


def test_a_pipe_gets_a_line_per_epoch_with_the_time_left(clock, make_planned, capsys):
    (run, job), (waiting, _), (done, _) = (
        make_planned(0, 100.0),
        make_planned(1, 100.0),
        make_planned(2, 0.0, "completed"),
    )
    with observed([run, waiting, done]) as observe:
        observe(job, Started(0, 10))
        clock(20.0)
        observe(job, EpochEnded(ROW))
        clock(40.0)
        observe(job, Ended("completed", test_accuracy=0.75))
    lines = capsys.readouterr().err.splitlines()
    # 5 of 10 iterations in 20 s: 20 s are left of it, and the run behind it will be faster than thought alike
    assert lines == [
        "resnet20/tiny/fp32/seed 0: 5/10  train error 50.0%  test error 25.0%  1,000 images/s  all done in ~1 min 00 s",
        "resnet20/tiny/fp32/seed 0: completed (1/2), test accuracy 75.00%",
    ]


def test_ends_are_told_with_their_reasons(clock, make_planned, capsys):
    (run, job), (other, other_job) = make_planned(0, 1.0), make_planned(1, 1.0)
    with observed([run, other]) as observe:
        observe(job, Ended("failed", "KeyError: [x]", traceback="Traceback [y]"))
        observe(other_job, Ended("interrupted"))
    assert capsys.readouterr().err.splitlines() == [
        "Traceback [y]",
        "resnet20/tiny/fp32/seed 0: failed (1/2): KeyError: [x]",
        "resnet20/tiny/fp32/seed 1: interrupted; what it had done is kept",
    ]


def test_of_steps_a_pipe_gets_the_first_of_each_phase_and_then_a_line_now_and_then(clock, capsys):
    with observe_steps() as tell:
        clock(100.0)
        tell("warming up", 0, 40)
        for number in range(1, 40):
            clock(100.0 + number)
            tell("warming up", number, 40)
        clock(141.0)
        tell("timing in turn", 0, 40)
        clock(142.0)
        tell("timing in turn", 1, 40)
    # a line later than 10 seconds after the last; 11 cells of 40 in 11 seconds leave 29
    assert capsys.readouterr().err.splitlines() == [
        "warming up: 0/40",
        "warming up: 11/40, about 29 s left",
        "warming up: 22/40, about 18 s left",
        "warming up: 33/40, about 7 s left",
        "timing in turn: 0/40",
    ]


def test_time_left_of_steps_is_that_of_their_phase(clock, capsys):
    with observe_steps() as tell:
        tell("warming up", 0, 2)
        clock(1000.0)
        tell("measuring memory", 0, 4)
        clock(1060.0)
        tell("measuring memory", 1, 4)
    assert capsys.readouterr().err.splitlines()[-1] == "measuring memory: 1/4, about 3 min 00 s left"


def test_what_is_being_done_is_printed_as_it_is(clock, capsys):
    with observe_steps() as tell:
        tell("[red]", 0, 1)
    assert capsys.readouterr().err == "[red]: 0/1\n"
