"""What is said of runs and of measurements in progress where there is no terminal, and how the time left is estimated."""

from contextlib import contextmanager
from io import StringIO

import pytest
from rich.console import Console
from rich.progress import Progress

from harness import progress
from harness.execution.eta import Eta
from harness.execution.forecast import TimeLeft
from harness.execution.job import Advanced, Ended, EpochEnded, Noted, Started
from harness.progress import observe_runs, observe_steps

ROW = {"iteration": 5, "train_error": 0.5, "test_error": 0.25, "images_per_second": 1000.0}


class KnownEta(Eta):
    """Its forecast is 60 s, or 50 to 75."""

    def left_in_all(self):
        return TimeLeft(60.0, 50.0, 75.0)


@contextmanager
def observed(planned):
    left = KnownEta(planned, 1)
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
    epoch = "resnet20/tiny/fp32/seed 0: 5/10  train error 50.0%  test error 25.0%  1,000 images/s"
    # one run in 40 seconds is 90 in an hour
    assert capsys.readouterr().err.splitlines() == [
        f"{epoch}  0/2 runs, 1 running, all done in 50 s to 1 min 15 s",
        "resnet20/tiny/fp32/seed 0: completed (1/2), test accuracy 75.00%",
        "1 of 2 runs completed in 40 s, 90.0 runs/h",
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
        "0 of 2 runs completed, 1 failed in 0 s",
    ]


def test_failures_are_counted_where_others_go_on(clock, make_planned, capsys):
    (run, job), (other, other_job) = make_planned(0, 1.0), make_planned(1, 1.0)
    with observed([run, other]) as observe:
        observe(job, Ended("diverged", "a loss was not finite"))
        observe(other_job, Started(0, 10))
        observe(other_job, EpochEnded(ROW))
    assert "  1/2 runs, 1 running, 1 failed, all done in" in capsys.readouterr().err.splitlines()[1]


def test_nothing_is_summed_up_where_nothing_ended(make_planned, capsys):
    with observed([make_planned(0, 1.0)[0]]):
        pass
    assert capsys.readouterr().err == ""


@pytest.fixture
def bars(monkeypatch):
    """A function to what a terminal shows: descriptions and states."""
    shown = []

    class Kept(Progress):
        def __init__(self, *columns, **options):
            super().__init__(*columns, **options)
            shown.append(self)

    monkeypatch.setattr(progress, "Progress", Kept)
    monkeypatch.setattr(progress, "stderr", Console(file=StringIO(), force_terminal=True, width=200))
    return lambda: [(task.description, task.fields["state"]) for task in shown[0].tasks]


def test_a_terminal_has_a_bar_of_all_runs_and_one_of_each_in_progress(clock, make_planned, bars):
    (run, job), (waiting, _) = make_planned(0, 100.0), make_planned(1, 100.0)
    with observed([run, waiting]) as observe:
        observe(job, Started(0, 10))
        assert bars()[0] == ("all runs", "0/2 runs, 1 running, 50 s to 1 min 15 s left")
        clock(20.0)
        observe(job, EpochEnded(ROW))
        assert bars() == [
            ("all runs", "0/2 runs, 1 running, 50 s to 1 min 15 s left  1,000 images/s"),
            (
                "resnet20/tiny/fp32/seed 0",
                "5/10, 20 s left  train error 50.0%  test error 25.0%  1,000 images/s",
            ),
        ]
        clock(36.0)
        observe(job, Ended("completed", test_accuracy=0.75))
        assert bars() == [("all runs", "1/2 runs, 0 running, 50 s to 1 min 15 s left  100 runs/h")]


def test_a_terminal_has_one_bar_of_a_run_that_goes_on_in_another_process(clock, make_planned, bars):
    run, job = make_planned(0, 100.0)
    with observed([run]) as observe:
        for event in (Started(0, 10), Advanced(5), Noted("lost"), Started(4, 10)):
            observe(job, event)
        assert [description for description, _ in bars()] == ["all runs", "resnet20/tiny/fp32/seed 0"]


def test_a_terminal_hears_of_all_runs_twice_a_second(clock, make_planned, bars):
    run, job = make_planned(0, 100.0)
    with observed([run]) as observe:
        observe(job, Started(0, 10))
        clock(0.4)
        observe(job, EpochEnded(ROW))
        assert "images/s" not in bars()[0][1]
        clock(0.6)
        observe(job, Advanced(6))
        assert "images/s" in bars()[0][1]


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
