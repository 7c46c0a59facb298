import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from harness.records import Live, Store
from harness.records.compact import compact

NOW = datetime.now(UTC)


@pytest.fixture
def run(make_live_run):
    run = make_live_run((0.5, 0.6), (0.5, 0.6), iteration=7, iterations=10, seconds_left=2.5)
    return replace(run, epochs=(run.epochs[0], replace(run.epochs[1], images_per_second=100.0)))


@pytest.fixture
def sweep(make_live_sweep):
    return make_live_sweep()


@pytest.fixture
def live(tmp_path):
    return Live(tmp_path)


def test_what_was_told_is_read(live, run, sweep):
    live.tell_run(run)
    live.tell_run(replace(run, iteration=8))
    live.tell_sweep(sweep)
    assert live.runs() == [replace(run, iteration=8)]
    assert live.run("r") == replace(run, iteration=8)
    assert live.sweeps() == [sweep]


def test_nothing_is_told_of_an_empty_folder(live, tmp_path):
    assert (live.runs(), live.sweeps(), live.run("r")) == ([], [], None)
    assert list(tmp_path.iterdir()) == []


def test_what_is_forgotten_is_gone(live, tmp_path, run, sweep):
    live.tell_run(run)
    live.tell_sweep(sweep)
    for _ in range(2):
        live.forget_run("r")
        live.forget_sweep("s")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_sweep_that_ends_forgets_those_that_died_long_ago(live, tmp_path, sweep):
    for number in range(3):
        live.tell_sweep(replace(sweep, sweep_id=str(number)))
    long_ago = (NOW - timedelta(days=2)).timestamp()
    os.utime(tmp_path / ".live" / "sweeps" / "1.json", (long_ago, long_ago))
    live.forget_sweep("0")
    assert [sweep.sweep_id for sweep in live.sweeps()] == ["2"]


@pytest.mark.parametrize("status", ["completed", "diverged"])
def test_a_run_that_has_ended_is_no_longer_in_progress(live, tmp_path, run, make_run, status):
    store = Store(tmp_path)
    store.write_run(make_run(run_id="r", status=status))
    live.tell_run(run)
    assert live.runs() == []
    assert compact(store).num_files == 1
    assert live.runs() == []


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_run_that_is_tried_again_is_in_progress(live, tmp_path, run, make_run, status):
    Store(tmp_path).write_run(make_run(run_id="r", status=status))
    live.tell_run(run)
    assert live.runs() == [run]


def test_a_run_whose_record_is_broken_is_in_progress(live, tmp_path, run):
    live.tell_run(run)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "r.parquet").touch()
    assert live.runs() == [run]


def test_sweeps_are_latest_first(live, sweep):
    for number in (0, 2, 1):
        live.tell_sweep(replace(sweep, sweep_id=str(number), started_at=NOW + timedelta(seconds=number)))
    assert [sweep.sweep_id for sweep in live.sweeps()] == ["2", "1", "0"]


@pytest.mark.parametrize("age", [0, 119, 121])
def test_silence_is_seen(age, run, sweep):
    then = datetime.now(UTC) - timedelta(seconds=age)
    assert replace(run, heard_at=then).is_silent == (age > 120)
    assert not replace(run, heard_at=then, state="interrupted").is_silent
    assert replace(sweep, heard_at=then).is_silent == (age > 120)


@pytest.mark.parametrize(
    "change",
    [
        {"iteration": -1},
        {"iteration": "7"},
        {"seconds_left": float("inf")},
        {"seconds_left": 1e300},
        {"state": "dancing"},
        {"heard_at": "yesterday"},
        {"heard_at": "2026-01-01T00:00:00"},
        {"unknown": 1},
        {"run_id": "another"},
        {"epochs": [{}]},
    ],
    ids=str,
)
def test_what_others_wrote_there_is_passed_over(live, tmp_path, change, run):
    live.tell_run(run)
    path = tmp_path / ".live" / "runs" / "r.json"
    content = json.loads(path.read_text())
    live.tell_run(replace(run, run_id="sound"))
    path.write_text(json.dumps(content | change))
    assert [run.run_id for run in live.runs()] == ["sound"]


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff", b'{"run_id": "r"', b" " * (2**20 + 1)])
def test_what_is_no_json_is_passed_over(live, tmp_path, content, run):
    live.tell_run(run)
    (tmp_path / ".live" / "runs" / "r.json").write_bytes(content)
    assert live.runs() == []
    assert live.run("r") is None
