import pytest

from harness.execution.eta import Eta
from harness.execution.job import Advanced, Ended, EpochEnded, Noted, Requeued, Started
from harness.execution.live import tell_live
from harness.records import Live


@pytest.fixture
def live(tmp_path):
    return Live(tmp_path)


@pytest.fixture
def runs(make_planned):
    return [make_planned(seed, 10.0) for seed in (0, 1)]


@pytest.fixture
def tell(tmp_path, runs):
    eta = Eta([run for run, _ in runs], 2)
    with tell_live(tmp_path, "e", eta) as hear:

        def tell(number, event):
            eta.hear(runs[number][1], event)
            hear(runs[number][1], event)

        yield tell


def epoch(number, iteration):
    row = {"epoch": number, "iteration": iteration, "seconds": 1.0, "train_error": 0.5, "test_error": 0.25}
    return EpochEnded(row | {"images_per_second": 10.0, "losses": [1.0], "weights_sha256": "0"})


def test_runs_in_progress_are_told(clock, live, tell):
    tell(0, Started(0, 10))
    tell(0, epoch(0, 5))
    [run] = live.runs()
    assert (run.run_id, run.model, run.recipe, run.seed) == ("r0", "resnet20", "tiny", 0)
    assert (run.state, run.iteration, run.iterations) == ("running", 5, 10)
    assert [(row.iteration, row.test_error) for row in run.epochs] == [(5, 0.25)]
    [sweep] = live.sweeps()
    assert (sweep.experiment, sweep.num_runs, sweep.num_running, sweep.num_completed) == ("e", 2, 1, 0)


def test_iterations_are_told_once_a_second(clock, live, tell):
    tell(0, Started(0, 10))
    for seconds, iteration in ((0.5, 1), (0.9, 2)):
        clock(seconds)
        tell(0, Advanced(iteration))
    assert live.runs()[0].iteration == 0
    clock(1.1)
    tell(0, Advanced(3))
    assert live.runs()[0].iteration == 3


def test_what_has_ended_is_no_longer_told(clock, live, tell):
    for number in (0, 1):
        tell(number, Started(0, 10))
    clock(1.0)
    tell(0, Ended("completed", test_accuracy=0.5))
    assert [run.run_id for run in live.runs()] == ["r1"]
    [sweep] = live.sweeps()
    assert (sweep.num_running, sweep.num_completed, sweep.num_failed) == (1, 1, 0)
    clock(2.0)
    tell(1, Ended("diverged", "a loss was not finite"))
    assert live.runs() == []
    assert live.sweeps()[0].num_failed == 1


def test_a_sweep_is_told_with_the_range_of_its_end_and_its_pace(clock, live, tell):
    tell(0, Started(0, 10))
    [sweep] = live.sweeps()
    assert 0 < sweep.seconds_left_low < sweep.seconds_left < sweep.seconds_left_high
    assert sweep.runs_per_hour is None
    clock(1800.0)
    tell(0, Ended("completed", test_accuracy=0.5))
    assert live.sweeps()[0].runs_per_hour == 2


def test_what_was_interrupted_stays_and_its_course_goes_on(clock, live, tell):
    tell(0, Started(0, 10))
    for number, iteration in enumerate((2, 4, 6)):
        tell(0, epoch(number, iteration))
    tell(0, Ended("interrupted"))
    assert live.runs()[0].state == "interrupted"
    tell(0, Started(5, 10))  # from the checkpoint; what came after it is done again
    tell(0, epoch(2, 6))
    [run] = live.runs()
    assert run.state == "running"
    assert [row.iteration for row in run.epochs] == [2, 4, 6]


def test_a_run_that_begins_anew_forgets_its_course(clock, live, tell):
    tell(0, Started(0, 10))
    tell(0, epoch(0, 5))
    tell(0, Ended("interrupted"))
    tell(0, Started(0, 10))
    assert live.runs()[0].epochs == ()


def test_runs_of_other_processes_are_left_to_them(clock, live, tell):
    tell(0, Started(0, 10))
    told = live.runs()
    tell(1, Noted("something"))
    tell(1, Requeued("alone"))
    tell(1, Ended("busy", "another process is already training this run"))
    assert live.runs() == told


def test_a_sweep_is_told_while_it_lasts(tmp_path, live, runs):
    def be_interrupted():
        with tell_live(tmp_path, "e", Eta([], 1)) as hear:
            hear(runs[0][1], Noted("something"))
            assert len(live.sweeps()) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert live.sweeps() == []


def test_what_cannot_be_told_is_left_untold(tmp_path, runs):
    (tmp_path / ".live").write_text("no folder")
    eta = Eta([runs[0][0]], 1)
    with tell_live(tmp_path, "e", eta) as hear:
        for event in (Started(0, 10), epoch(0, 5), Ended("completed", test_accuracy=0.5)):
            eta.hear(runs[0][1], event)
            hear(runs[0][1], event)
    assert (tmp_path / ".live").read_text() == "no folder"
