"""Workers on a GPU: several runs in a process, and what they record."""

import pytest

from harness import environment
from harness.execution.job import Job, Noted, Requeued
from harness.execution.local import execute
from harness.execution.plan import run_id
from harness.models import find
from harness.records import Store


@pytest.fixture
def make_job(tmp_path, make_gpu_spec, gpu):
    here = environment.capture(gpu, num_threads=1, allocator="default")

    def make(results="results", *, eager=False, **changes):
        spec = make_gpu_spec(**changes)
        return Job(
            run_id=run_id(spec, here),
            spec=spec,
            experiment="test",
            device=str(gpu),
            num_threads=1,
            results=tmp_path / results,
            checkpoint_seconds=1e9,
            place=here.deciding(find(spec.model).origin),
            eager=eager,
        )

    return make


@pytest.fixture
def run_jobs(gpu):
    here = environment.capture(gpu, num_threads=1, allocator="default")
    events = []

    def run(*jobs, runs_at_once=1):
        execution = execute(
            jobs,
            here,
            num_workers=1,
            runs_at_once=runs_at_once,
            observer=lambda job, event: events.append((job.run_id, event)),
        )
        assert {ended.status for ended in execution.ended.values()} == {"completed"}
        return events

    return run


def recorded(job):
    return Store(job.results).local_run(job.run_id)


def test_processes_give_the_same_bits_alone_together_and_launched_one_by_one(run_jobs, make_job):
    together = [make_job("together", seed=seed) for seed in range(3)]
    alone = [make_job("alone", seed=seed) for seed in range(3)]
    eager = [make_job("eager", seed=seed, eager=True) for seed in range(3)]
    run_jobs(*together, runs_at_once=3)
    run_jobs(*alone)
    run_jobs(*eager, runs_at_once=3)
    digests = [[recorded(job)["trajectory_sha256"] for job in jobs] for jobs in (together, alone, eager)]
    assert digests[0] == digests[1] == digests[2]
    assert [recorded(jobs[0])["engine"] for jobs in (together, alone, eager)] == ["cuda graph"] * 2 + [
        "eager"
    ]
    assert [recorded(jobs[0])["runs_at_once"] for jobs in (together, alone, eager)] == [3, 1, 3]
    row = recorded(alone[0])
    assert row["device"] == "cuda"
    assert row["cudnn"]
    assert row["driver"]
    assert 0 < row["peak_memory_bytes"] < row["device_memory_bytes"]
    assert row["images_per_second"] > 0


DRAWS = """\
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 10))
"""


def test_a_network_that_draws_is_put_back_and_trained_alone(run_jobs, make_job, write_module):
    write_module(DRAWS)
    jobs = [make_job(seed=0), make_job(model="mynet:net"), make_job(seed=1)]
    events = run_jobs(*jobs, runs_at_once=3)
    assert [name for name, event in events if isinstance(event, Requeued)] == [jobs[1].run_id]
    assert not [event for _, event in events if isinstance(event, Noted)]
    assert [recorded(job)["runs_at_once"] for job in jobs] == [2, 1, 2]
