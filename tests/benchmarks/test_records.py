"""Writing a run's records, and reading a store as it grows."""

import shutil
from pathlib import Path

import pytest

from harness.records import Store

PUBLISHED = Store(Path(__file__).parents[2] / "results" / "published")


@pytest.fixture(scope="module")
def run():
    """A published run, its epochs and its predictions."""
    row = PUBLISHED.read("runs")[0].to_pylist()[0]
    ids = [row["run_id"]]
    return row, PUBLISHED.read("epochs", ids)[0].to_pylist(), PUBLISHED.read("predictions", ids)[0]


@pytest.mark.benchmark(group="writing the records of a run")
def test_writing(benchmark, run, tmp_path):
    store = Store(tmp_path)
    benchmark(store.write_run, *run)


@pytest.mark.benchmark(group="reading the runs of a store", min_rounds=3)
@pytest.mark.parametrize("num_runs", [1, 10, 100, 1_000, 10_000])
def test_reading(benchmark, run, tmp_path, num_runs):
    store = Store(tmp_path)
    store.write_run(run[0])
    [first] = (tmp_path / "runs").iterdir()
    for number in range(1, num_runs):
        shutil.copy(first, first.with_name(f"run-{number}.parquet"))
    table, broken = benchmark(store.read, "runs")
    assert (len(table), broken) == (num_runs, [])
