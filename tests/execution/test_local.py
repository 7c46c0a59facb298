"""Runs in worker processes: what they record, and what happens when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import pytest
from filelock import FileLock

from harness.execution.local import execute
from harness.execution.worker import Advanced, Ended, EpochEnded, Started
from harness.records import Store


@pytest.fixture
def run_jobs(make_environment):
    """A function that runs jobs and returns how they ended."""

    def run(*jobs, num_workers=1, observer=lambda job, event: None):
        return execute(jobs, make_environment(), num_workers=num_workers, observer=observer)

    return run


@pytest.fixture
def long_recipe(make_recipe):
    """Long enough for a parent to interfere before the end."""
    return make_recipe(iterations=150)


def recorded(job):
    return Store(job.results).local_run(job.run_id)


def _once(act):
    """The observer that acts on the first worker's first steps only."""
    acted = []

    def observe(job, event) -> None:
        if isinstance(event, Advanced) and not acted:
            acted.append(event)
            act(job, event)

    return observe


def test_a_run_is_recorded_whole_and_its_checkpoint_removed(run_jobs, make_job) -> None:
    job, events = make_job(checkpoint_seconds=0.0), []
    execution = run_jobs(job, observer=lambda _, event: events.append(event))
    assert execution.ended[job.run_id].status == "completed"
    assert [type(event) for event in events if not isinstance(event, Advanced)] == [
        Started,
        EpochEnded,
        Ended,
    ]
    store, row = Store(job.results), recorded(job)
    assert row is not None
    assert (row["status"], row["parameters"], row["macs"]) == ("completed", 269_722, 40_551_040)
    assert row["initial_weights_sha256"] != row["weights_sha256"]
    assert row["environment_sha256"].startswith(job.run_id.rsplit("-", 1)[1])
    epochs, predictions = store.read("epochs")[0], store.read("predictions")[0]
    assert epochs.column("iteration").to_pylist() == [10]
    assert row["test_accuracy"] == pytest.approx(1 - epochs.column("test_error")[-1].as_py())
    right = [
        max(range(10), key=logits.__getitem__) == label
        for logits, label in zip(
            predictions.column("logits").to_pylist(), predictions.column("label").to_pylist(), strict=True
        )
    ]
    assert row["test_accuracy"] == sum(right) / len(right)
    assert not store.checkpoint(job.run_id).exists()
    assert store.check() == (3, [])


def test_the_same_seed_gives_the_same_bits_and_another_does_not(run_jobs, make_job) -> None:
    jobs = [make_job(results="a"), make_job(results="b"), make_job(seed=1)]
    run_jobs(*jobs, num_workers=3)
    first, again, other = (recorded(job)["weights_sha256"] for job in jobs)
    assert first == again != other


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_worker_is_recorded_and_the_next_start_gives_the_same_bits(
    run_jobs, make_job, long_recipe
) -> None:
    whole = make_job(results="whole", recipe=long_recipe)
    killed = make_job(results="killed", recipe=long_recipe, checkpoint_seconds=0.0)
    other = make_job(results="killed", iterations=4, seed=5)

    def kill_in_mid_run(job, event) -> None:
        if job is killed and isinstance(event, Advanced) and event.iteration > 3:
            for process in multiprocessing.active_children():
                if process.name == job.run_id:
                    process.kill()

    execution = run_jobs(killed, other, num_workers=2, observer=kill_in_mid_run)
    assert execution.ended[killed.run_id].reason == f"the process died with exit code -{signal.SIGKILL.value}"
    assert execution.ended[other.run_id].status == "completed"
    assert recorded(killed)["status"] == "failed"
    assert Store(killed.results).checkpoint(killed.run_id).exists()

    run_jobs(killed, whole, num_workers=2)
    expected, result = recorded(whole), recorded(killed)
    assert result["status"] == "completed"
    assert len(result["resumed_at"]) == 1
    for column in ("weights_sha256", "trajectory_sha256", "test_accuracy", "test_loss", "train_loss"):
        assert result[column] == expected[column]


def test_a_run_that_raises_is_recorded_and_the_others_go_on(run_jobs, make_job) -> None:
    broken, sound = make_job(results="r", seed=1), make_job(results="r", iterations=2)
    checkpoint = Store(broken.results).checkpoint(broken.run_id)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"no checkpoint")
    execution = run_jobs(broken, sound)
    assert execution.ended[sound.run_id].status == "completed"
    row = recorded(broken)
    assert row["status"] == "failed"
    assert "remove it to start the run afresh" in row["reason"]
    assert row["test_accuracy"] is None
    assert checkpoint.exists()


def test_a_run_that_another_process_is_at_is_left_alone(run_jobs, make_job) -> None:
    job = make_job()
    checkpoint = Store(job.results).checkpoint(job.run_id)
    checkpoint.parent.mkdir(parents=True)
    with FileLock(checkpoint.with_suffix(".lock")):
        execution = run_jobs(job)
    assert execution.ended[job.run_id].status == "busy"
    assert recorded(job) is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")
def test_the_first_signal_drains_and_starts_nothing_more(run_jobs, make_job, long_recipe) -> None:
    running, waiting = make_job(recipe=long_recipe), make_job(seed=1)

    def interrupt(_job, _event) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    execution = run_jobs(running, waiting, observer=_once(interrupt))
    assert signal.getsignal(signal.SIGINT) is before
    assert execution.signal_number == signal.SIGINT
    assert execution.ended[running.run_id].status == "interrupted"
    assert waiting.run_id not in execution.ended
    assert Store(running.results).checkpoint(running.run_id).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")
def test_the_second_signal_kills_and_breaks_no_file(run_jobs, make_job, long_recipe) -> None:
    job = make_job(recipe=long_recipe, checkpoint_seconds=0.0)

    def interrupt_twice(_job, _event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    execution = run_jobs(job, observer=_once(interrupt_twice))
    assert execution.signal_number == signal.SIGTERM
    assert execution.ended[job.run_id].status == "interrupted"
    assert recorded(job) is None
    assert run_jobs(job).ended[job.run_id].status == "completed"
