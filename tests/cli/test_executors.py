"""The same runs, whoever executes them."""

from pathlib import Path

import pytest

from harness.records import Store

WORDS = (
    "run",
    "--model",
    "plain20",
    "--recipe",
    "short",
    "--data",
    "synthetic",
    "--iterations",
    "3",
    "--threads",
    "1",
)


@pytest.mark.parametrize(
    "words", [("--executor", "local"), ("--executor", "in-process")], ids=lambda words: words[-1]
)
def test_address_is_for_ray_alone(harness, tmp_path, words):
    code, _, err = harness(*WORDS, *words, "--address", "127.0.0.1:1", "--results", tmp_path)
    assert code == 2
    assert "--address 127.0.0.1:1: only --executor ray has an address" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("executor", ["in-process", "ray"])
def test_workers_are_of_this_machine(harness, tmp_path, executor):
    words = ("reproduce", "smoke", "--data", "synthetic", "--executor", executor, "--workers", "2")
    code, _, err = harness(*words, "--results", tmp_path)
    assert code == 2
    assert "--workers 2: only --executor local has workers" in err
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_executor_is_refused(harness, tmp_path):
    code, _, err = harness(*WORDS, "--executor", "wishes", "--results", tmp_path)
    assert code == 2
    assert "in-process" in err


def test_a_run_in_this_process_has_the_bits_of_one_in_another(harness, tmp_path):
    found = []
    for executor in ("local", "in-process"):
        folder: Path = tmp_path / executor
        assert harness(*WORDS, "--executor", executor, "--results", folder)[0] == 0
        [run] = Store(folder).read("runs")[0].to_pylist()
        assert run["status"] == "completed"
        found.append((run["run_id"], run["weights_sha256"], run["trajectory_sha256"]))
        assert Store(folder).check() == (3, [])
    assert found[0] == found[1]
