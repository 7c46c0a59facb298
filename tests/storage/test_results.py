"""Results in an object store: written by several machines' processes, each run once, and read by all that reads folders."""

import json
import subprocess
import sys

import pytest

from harness.errors import StorageError
from harness.execution import in_process, local
from harness.execution import lock as module
from harness.execution.job import Advanced
from harness.records import Store
from harness.records import store as records
from harness.records.live import Live
from harness.records.merge import merge


@pytest.fixture
def store(results):
    return Store(results)


@pytest.fixture
def make_row(make_environment, make_job, torch_settings):
    """A function from a run's id to the record of a run."""
    job = make_job(results="once")
    in_process.execute([job], make_environment(), observer=lambda job, event: None)
    row = Store(job.results).local_run(job.run_id)
    return lambda run_id: row | {"run_id": run_id}


def digests(store):
    table, broken = store.read("runs")
    assert broken == []
    return dict(
        zip(table.column("run_id").to_pylist(), table.column("weights_sha256").to_pylist(), strict=True)
    )


def test_runs_of_worker_processes_have_the_bits_of_those_here(
    make_environment,
    make_job,
    make_remote_job,
    store,
    torch_settings,
):
    here = [make_job(seed=seed) for seed in (0, 1)]
    in_process.execute(here, make_environment(), observer=lambda job, event: None)
    there = [make_remote_job(seed=seed) for seed in (0, 1)]
    execution = local.execute(there, make_environment(), num_workers=2, observer=lambda job, event: None)
    assert [end.status for end in execution.ended.values()] == ["completed", "completed"]
    assert digests(store) == digests(Store(here[0].results))
    assert store.check() == (6, [])
    assert list(store.checkpoints()) == []
    assert Live(store.root).runs() == []


def test_a_run_goes_on_from_a_checkpoint_that_another_machine_left(
    make_environment,
    make_job,
    make_remote_job,
    make_recipe,
    store,
    torch_settings,
):
    recipe = make_recipe(iterations=40)
    whole = make_job(recipe=recipe)
    in_process.execute([whole], make_environment(), observer=lambda job, event: None)
    job = make_remote_job(0.0, recipe=recipe)
    stop = StorageError("the machine is gone")

    def die(_job, event):
        if isinstance(event, Advanced) and event.iteration > 5:
            raise stop

    with pytest.raises(StorageError, match="the machine is gone"):
        in_process.execute([job], make_environment(), observer=die)
    assert [path.stem for path in store.checkpoints()] == [job.run_id]
    in_process.execute([job], make_environment(), observer=lambda job, event: None)
    assert digests(store) == digests(Store(whole.results))
    assert store.local_run(job.run_id)["resumed_at"]
    assert list(store.checkpoints()) == []


def test_a_run_that_was_taken_over_is_not_recorded_by_the_first(
    make_environment,
    make_remote_job,
    store,
    monkeypatch,
    torch_settings,
):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_BEATS", 0.01)
    job = make_remote_job(recipe={"iterations": 300})
    claimed = []

    def take_over(job, event):
        if isinstance(event, Advanced) and not claimed:
            path = store.checkpoint(job.run_id).with_name(f"{job.run_id}.000001.claim")
            claimed.append(module.storage.create(path, b"another"))

    execution = in_process.execute([job], make_environment(), observer=take_over)
    assert claimed == [True]
    assert execution.ended[job.run_id].status == "busy"
    assert store.local_run(job.run_id) is None


def test_two_machines_share_an_experiment(bucket, store, tmp_path):
    command = [sys.executable, "-m", "harness", "reproduce", "smoke", "--data", "synthetic"]
    command += ["--iterations", "3", "--results", f"{bucket}/results", "--workers", "2", "--threads", "1"]
    machines = [
        subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [machine.communicate(timeout=300) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], said
    table, broken = store.read("runs")
    assert broken == []
    assert len(table) == len(set(table.column("run_id").to_pylist())) > 1
    assert set(table.column("status").to_pylist()) == {"completed"}
    assert store.check()[1] == []
    listed = subprocess.run(
        [sys.executable, "-m", "harness", "results", "list", "--json", "--results", f"{bucket}/results"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert len(json.loads(listed.stdout)["runs"]) == len(table)
    assert list(tmp_path.iterdir()) == []


def test_stores_are_merged_either_way(make_row, store, tmp_path):
    here = Store(tmp_path / "results")
    here.write_run(make_row("here"))
    store.write_run(make_row("there"))
    assert [path.stem for path in merge(store, here).taken] == ["here"]
    assert [path.stem for path in merge(here, store).taken] == ["there"]
    assert here.read("runs")[0].equals(store.read("runs")[0])


def test_many_runs_are_read_once(make_row, store, monkeypatch):
    monkeypatch.setattr(records, "_WORTH_AN_INDEX", 2)
    for number in range(3):
        store.write_run(make_row(f"run-{number}"))
    first = store.read("runs")[0]
    asked = []
    monkeypatch.setattr(records.storage, "read_many", lambda paths: iter(asked.append(list(paths)) or []))
    assert store.read("runs")[0].equals(first)
    assert asked == [[], []]


def test_what_is_broken_is_named(make_row, store):
    store.write_run(make_row("run-1"))
    records.storage.put(store.root / "runs" / "run-2.parquet", b"torn")
    [broken] = store.read("runs")[1]
    assert str(broken.path).endswith("/runs/run-2.parquet")
    assert store.find("runs", "run-2") is None
    assert store.find("runs", "run-1") is not None
