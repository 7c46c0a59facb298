"""Runs in worker processes: what they record, and what happens when they die."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from filelock import FileLock

from harness.config import Precision
from harness.errors import StorageError
from harness.execution import local
from harness.execution.job import Advanced, Ended, EpochEnded, Requeued, Started
from harness.execution.ledger import Ledger
from harness.execution.local import execute
from harness.execution.recording import failed_row
from harness.models import find
from harness.records import Store


@pytest.fixture
def run_jobs(make_environment):
    """A function that runs jobs and returns how they ended."""

    def run(*jobs, num_workers=1, runs_at_once=1, observer=lambda job, event: None):
        return execute(
            jobs, make_environment(), num_workers=num_workers, runs_at_once=runs_at_once, observer=observer
        )

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


def test_a_run_that_another_process_has_let_go_of_in_the_meantime_is_taken_up(run_jobs, make_job) -> None:
    busy, other = make_job(), make_job(seed=1, iterations=4)
    checkpoint = Store(busy.results).checkpoint(busy.run_id)
    checkpoint.parent.mkdir(parents=True)
    lock = FileLock(checkpoint.with_suffix(".lock"))
    lock.acquire()
    ends = []

    def observe(job, event) -> None:
        if job is other and isinstance(event, Started):
            lock.release()
        if isinstance(event, Ended):
            ends.append((job, event.status))

    execution = run_jobs(busy, other, observer=observe)
    assert ends == [(other, "completed"), (busy, "completed")]
    assert execution.ended[busy.run_id].status == recorded(busy)["status"] == "completed"


def test_a_run_that_another_process_records_in_the_meantime_is_passed_over(
    run_jobs, make_job, make_environment
) -> None:
    running, theirs = make_job(iterations=4), make_job(seed=1)
    store, events = Store(theirs.results), []
    row = failed_row(theirs, make_environment(), "a loss", datetime.now(UTC), status="diverged")
    # a process that was started for it would find it locked
    lock = FileLock(store.checkpoint(theirs.run_id).with_suffix(".lock"))

    def observe(job, event) -> None:
        if job is running and isinstance(event, Started):
            store.write_run(row)
            lock.acquire()
        if job is theirs:
            events.append(event)

    execution = run_jobs(running, theirs, observer=observe)
    lock.release()
    assert events == [Ended("diverged", "a loss", None)]
    assert execution.ended[theirs.run_id] == events[0]
    assert execution.ended[running.run_id].status == "completed"
    assert recorded(theirs) == row


def test_a_run_that_failed_elsewhere_in_the_meantime_is_run(run_jobs, make_job, make_environment) -> None:
    job = make_job(iterations=2)
    Store(job.results).write_run(failed_row(job, make_environment(), "it broke", datetime.now(UTC)))
    assert run_jobs(job).ended[job.run_id].status == recorded(job)["status"] == "completed"


def blocked(job, kind=""):
    """A file lies where a folder of the results must be."""
    path = job.results / kind
    path.parent.mkdir(exist_ok=True)
    path.write_text("in the way", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["", "checkpoints", "epochs", "predictions", "runs"])
def test_where_results_cannot_be_written_all_stops_with_the_reason(run_jobs, make_job, kind) -> None:
    jobs = [make_job(seed=seed, iterations=2) for seed in (0, 1)]
    path, events = blocked(jobs[0], kind), []
    with pytest.raises(StorageError, match=f"cannot write {re.escape(str(path))}.*; mend that") as caught:
        run_jobs(*jobs, observer=lambda job, event: events.append((job, event)))
    assert events[-1] == (jobs[0], Ended("unwritable", str(caught.value)))
    assert jobs[1] not in [job for job, _ in events]
    assert multiprocessing.active_children() == []
    assert path.read_text(encoding="utf-8") == "in the way"
    assert Store(jobs[0].results).read("runs")[0].num_rows == 0


def test_where_results_cannot_be_written_the_others_leave_checkpoints(
    run_jobs, make_job, long_recipe
) -> None:
    sound = make_job(results="sound", recipe=long_recipe)
    doomed = make_job(results="doomed", iterations=1)
    blocked(doomed, "runs")
    with pytest.raises(StorageError, match="doomed"):
        run_jobs(sound, doomed, num_workers=2)
    assert multiprocessing.active_children() == []
    assert Store(sound.results).checkpoint(sound.run_id).exists()
    assert recorded(sound) is None


def test_a_failure_that_cannot_be_recorded_stops_all(run_jobs, make_job) -> None:
    broken, waiting = make_job(), make_job(seed=1)
    checkpoint = Store(broken.results).checkpoint(broken.run_id)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"no checkpoint")
    blocked(broken, "runs")
    ended = []
    with pytest.raises(StorageError, match="cannot write"):
        run_jobs(broken, waiting, observer=lambda job, event: ended.append((job, event.status)))
    assert ended == [(broken, "failed")]
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("error", [SystemExit(1), BrokenPipeError("nobody reads")], ids=["exit", "error"])
def test_an_observer_that_raises_ends_all_and_they_leave_checkpoints(
    run_jobs, make_job, long_recipe, error
) -> None:
    jobs, begun = [make_job(recipe=long_recipe, seed=seed) for seed in (0, 1)], set()

    def observe(job, event) -> None:
        begun.update([job.run_id] if isinstance(event, Advanced) else [])
        if len(begun) == 2:
            raise error

    with pytest.raises(type(error)) as caught:
        run_jobs(*jobs, num_workers=2, observer=observe)
    assert caught.value is error
    assert multiprocessing.active_children() == []
    assert {path.stem for path in Store(jobs[0].results).checkpoints()} == begun
    assert [recorded(job) for job in jobs] == [None, None]


@pytest.mark.parametrize("reason", ["the store", "the process"])
def test_where_the_next_run_cannot_be_begun_those_in_progress_end(
    run_jobs, make_job, long_recipe, monkeypatch, reason
) -> None:
    running, next_one = make_job(recipe=long_recipe), make_job(seed=1)
    ended_run, start = Store.ended_run, local._start

    def look_up(store, run_id):
        if reason == "the store" and run_id == next_one.run_id:
            raise PermissionError("not yours")
        return ended_run(store, run_id)

    def start_worker(jobs):
        if reason == "the process" and jobs == [next_one]:
            raise PermissionError("no more processes")
        return start(jobs)

    monkeypatch.setattr(Store, "ended_run", look_up)
    monkeypatch.setattr(local, "_start", start_worker)
    with pytest.raises(PermissionError):
        run_jobs(running, next_one, num_workers=2)
    assert multiprocessing.active_children() == []
    assert recorded(running) is None


def test_what_killed_writers_of_a_run_left_is_removed(run_jobs, make_job) -> None:
    job = make_job(iterations=2)
    store = Store(job.results)
    left = store.checkpoint(job.run_id).with_name(f".{job.run_id}.safetensors.{'f' * 16}.tmp")
    others = left.with_name(f".other{left.name}")
    left.parent.mkdir(parents=True)
    left.touch()
    others.touch()
    run_jobs(job)
    assert list(left.parent.iterdir()) == [others]


PARTICULAR = """\
import os
from torch import nn

def net():
    assert os.environ["OF_THIS_TEST"] == "{value}"
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
"""


@pytest.mark.parametrize("value", ["one", "two"])
def test_a_worker_has_its_parent_s_variables_and_code_as_they_are_now(
    run_jobs, make_job, write_module, monkeypatch, value
) -> None:
    run_jobs(make_job(iterations=1))  # what workers are forked from is there before
    monkeypatch.setenv("OF_THIS_TEST", value)
    write_module(PARTICULAR.format(value=value))
    job = make_job(model="mynet:net", iterations=1)
    run_jobs(job)
    assert (recorded(job)["status"], recorded(job)["reason"]) == ("completed", None)


def test_a_network_that_is_edited_meanwhile_is_not_trained_under_the_name_of_what_it_was(
    run_jobs, make_job, write_module
) -> None:
    code = write_module()
    first, second = make_job(model="mynet:net"), make_job(model="mynet:net", seed=1)
    planned = find("mynet:net").origin

    def edit(job, event) -> None:
        if job is first and isinstance(event, Started):  # its network is built
            write_module(code.read_text() + "# edited")

    execution = run_jobs(first, second, observer=edit)
    assert find("mynet:net").origin != planned
    assert execution.ended[first.run_id].status == "completed"
    rows = [recorded(job) for job in (first, second)]
    assert [row["status"] for row in rows] == ["completed", "failed"]
    assert [row["model_source"] for row in rows] == [planned, planned]
    assert all(
        job.run_id.endswith(row["environment_sha256"][:8])
        for job, row in zip((first, second), rows, strict=True)
    )
    change = f"model_source {find('mynet:net').origin}, not {planned}; undo that, or start the command again"
    assert rows[1]["reason"].endswith(change)

    write_module(code.read_text().removesuffix("# edited"))
    run_jobs(second)
    assert recorded(second)["status"] == "completed"


def test_a_run_that_was_planned_under_other_conditions_is_not_trained(run_jobs, make_job) -> None:
    job = make_job()
    job = replace(job, place={**job.place, "torch": "1.0", "threads": "7"})
    assert run_jobs(job).ended[job.run_id].status == "failed"
    row = recorded(job)
    assert re.search(r"changed since it was planned: torch \S+, not 1\.0, threads 1, not 7; ", row["reason"])
    assert row["weights_sha256"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers are not forked")
def test_what_workers_are_forked_from_has_torch_and_no_thread_of_it() -> None:
    # a fork keeps only the thread that makes it; numpy's OpenBLAS and arrow's jemalloc know how to do without theirs
    code = """
import os, sys, numpy
from pathlib import Path
before = set(os.listdir("/proc/self/task"))
import harness.execution.preloaded
made = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in set(os.listdir("/proc/self/task")) - before]
print("torch._dynamo" in sys.modules, *(set(made) - {"jemalloc_bg_thd"}))
"""
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


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


BITS = ("weights_sha256", "trajectory_sha256", "test_accuracy", "test_loss", "train_loss")


def bits(job):
    return [recorded(job)[column] for column in BITS]


def test_runs_of_one_process_give_the_bits_that_they_give_alone(run_jobs, make_job) -> None:
    together = [make_job(seed=0), make_job(model="plain20", iterations=3)]
    alone = make_job(results="alone", seed=0)
    execution = run_jobs(*together, runs_at_once=2)
    assert {ended.status for ended in execution.ended.values()} == {"completed"}
    run_jobs(alone)
    assert bits(together[0]) == bits(alone)
    assert [recorded(job)["runs_at_once"] for job in (*together, alone)] == [2, 2, 1]
    assert {recorded(job)["engine"] for job in together} == {"eager"}


def test_a_process_is_given_runs_of_one_precision(make_job, make_environment) -> None:
    jobs = [
        make_job(seed=seed, precision=precision)
        for seed in (0, 1)
        for precision in (Precision.FP32, Precision.BF16)
    ]
    ledger = Ledger(jobs, make_environment(), lambda job, event: None)
    assert [ledger.next_jobs(3) for _ in range(2)] == [jobs[0::2], jobs[1::2]]
    assert not ledger.has_work(1)


def test_a_run_that_raises_leaves_the_others_of_its_process_alone(run_jobs, make_job) -> None:
    broken, sound = make_job(seed=1), make_job(iterations=2)
    checkpoint = Store(broken.results).checkpoint(broken.run_id)
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"no checkpoint")
    execution = run_jobs(broken, sound, runs_at_once=2)
    assert execution.ended[sound.run_id].status == "completed"
    assert "remove it to start the run afresh" in recorded(broken)["reason"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_all_runs_of_a_killed_process_are_recorded_and_the_next_start_gives_the_same_bits(
    run_jobs, make_job, long_recipe
) -> None:
    def jobs(results):
        return [
            make_job(results=results, recipe=long_recipe, checkpoint_seconds=0.0, seed=seed)
            for seed in (0, 1)
        ]

    killed, whole = jobs("killed"), jobs("whole")

    def kill_in_mid_run(job, event) -> None:
        if job is killed[1] and isinstance(event, Advanced) and event.iteration > 3:
            for process in multiprocessing.active_children():
                process.kill()

    execution = run_jobs(*killed, runs_at_once=2, observer=kill_in_mid_run)
    assert [execution.ended[job.run_id].status for job in killed] == ["failed", "failed"]
    assert [recorded(job)["status"] for job in killed] == ["failed", "failed"]
    run_jobs(*killed, runs_at_once=2)
    run_jobs(*whole, runs_at_once=2)
    assert [bits(job) for job in killed] == [bits(job) for job in whole]
    assert [len(recorded(job)["resumed_at"]) for job in killed] == [1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")
def test_a_signal_drains_all_runs_of_a_process(run_jobs, make_job, long_recipe) -> None:
    jobs = [make_job(recipe=long_recipe, seed=seed) for seed in (0, 1)]

    def interrupt(_job, _event) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    execution = run_jobs(*jobs, runs_at_once=2, observer=_once(interrupt))
    assert [execution.ended[job.run_id].status for job in jobs] == ["interrupted", "interrupted"]
    assert all(Store(job.results).checkpoint(job.run_id).exists() for job in jobs)


SHORT_OF_MEMORY = """\
from pathlib import Path
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3072, 10)

    def forward(self, x):
        return self.linear(x.flatten(1))

    def to(self, *args, **kwargs):
        if not Path("tried").exists():
            Path("tried").touch()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB")
        return super().to(*args, **kwargs)
"""


def test_a_run_that_finds_no_memory_beside_others_is_trained_alone(run_jobs, make_job, write_module) -> None:
    write_module(SHORT_OF_MEMORY)
    jobs = [make_job(seed=1), make_job(model="mynet:Net"), make_job(seed=2)]
    put_back = []

    def observe(job, event) -> None:
        if isinstance(event, Requeued):
            put_back.append((job, event.reason))

    execution = run_jobs(*jobs, runs_at_once=3, observer=observe)
    assert put_back == [(jobs[1], "beside the others there is not enough memory on the device")]
    assert {ended.status for ended in execution.ended.values()} == {"completed"}
    assert [recorded(job)["runs_at_once"] for job in jobs] == [2, 1, 2]
