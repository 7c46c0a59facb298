"""Runs in this process: what they record, and what stops them."""

import os
import signal

import pytest
from filelock import FileLock

from harness.errors import StorageError
from harness.execution import in_process
from harness.execution.job import Advanced, Ended, Started
from harness.records import Store


@pytest.fixture
def run_jobs(make_environment, torch_settings):
    """A function that runs jobs here and returns how they ended."""

    def run(*jobs, observer=lambda job, event: None):
        return in_process.execute(jobs, make_environment(), observer=observer)

    return run


def statuses(execution):
    return [end.status for end in execution.ended.values()]


def test_runs_are_recorded_in_order(run_jobs, make_job):
    jobs, started = [make_job(seed=seed) for seed in (0, 1)], []
    execution = run_jobs(
        *jobs, observer=lambda job, event: started.append(job) if isinstance(event, Started) else None
    )
    assert statuses(execution) == ["completed", "completed"]
    assert started == jobs
    assert Store(jobs[0].results).check() == (6, [])


def test_a_run_that_raises_is_recorded_and_the_next_goes_on(run_jobs, make_job):
    broken, sound = make_job(seed=1), make_job()
    checkpoint = Store(broken.results).checkpoint(broken.run_id)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"no checkpoint")
    assert statuses(run_jobs(broken, sound)) == ["failed", "completed"]
    row = Store(broken.results).local_run(broken.run_id)
    assert "remove it to start the run afresh" in row["reason"]


def test_a_signal_leaves_a_checkpoint_and_starts_nothing_more(run_jobs, make_job, make_recipe):
    jobs = [make_job(0.0, seed=seed, recipe=make_recipe(iterations=150)) for seed in (0, 1)]

    def interrupt(job, event):
        if isinstance(event, Advanced):
            os.kill(os.getpid(), signal.SIGINT)

    execution = run_jobs(*jobs, observer=interrupt)
    assert execution.signal_number == signal.SIGINT
    assert {run_id: end.status for run_id, end in execution.ended.items()} == {jobs[0].run_id: "interrupted"}
    assert [path.stem for path in Store(jobs[0].results).checkpoints()] == [jobs[0].run_id]
    assert statuses(run_jobs(*jobs)) == ["completed", "completed"]


def test_a_run_that_another_process_is_at_is_left_alone(run_jobs, make_job):
    job = make_job()
    lock = Store(job.results).checkpoint(job.run_id).with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert run_jobs(job).ended[job.run_id] == Ended(
            "busy", "another process is already training this run"
        )


def test_where_results_cannot_be_written_all_stops(run_jobs, make_job):
    job = make_job()
    job.results.write_text("no folder")
    with pytest.raises(StorageError):
        run_jobs(job, make_job(seed=1))
