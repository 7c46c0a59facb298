"""Ten thousand runs in a file each, and after compaction: what they take on the disk, and how long reading takes."""

import shutil
from time import perf_counter

import pytest

from harness.records import Store
from harness.records.compact import compact

from ..thousands import write_thousands
from .clock import Clock

NUM_ROUNDS = 3
CLOCK = Clock()
STATES = ("a file each", "compacted")


def timed(function, *arguments):
    start = perf_counter()
    function(*arguments)
    return perf_counter() - start


def first_reading(store):
    """Of all runs, by a reader who finds no index."""
    shutil.rmtree(store.root / ".index", ignore_errors=True)
    store.read("runs")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """By state: seconds of every way of reading, and what lies on the disk; and the seconds of the compaction."""
    store = Store(tmp_path_factory.mktemp("many") / "results")
    write_thousands(store)
    runs = store.read("runs")[0]
    few = runs.column("run_id").to_pylist()[:5]
    readings = {
        "all runs, first": lambda: first_reading(store),
        "all runs, again": lambda: store.read("runs"),
        "epochs of five runs": lambda: store.read("epochs", few),
        "epochs of all": lambda: store.read("epochs"),
    }
    found = {}
    for state in STATES:
        if state == "compacted":
            found["compaction"] = timed(compact, store)
        files = list(store.root.rglob("*.parquet"))
        room = {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}
        for name, read in readings.items():
            found[name, state] = [timed(read) for _ in range(NUM_ROUNDS)], room
        assert store.read("runs")[0].num_rows == runs.num_rows
    return found


@pytest.mark.benchmark(group="reading 10,000 runs, a file each and compacted", timer=CLOCK)
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "reading", ["all runs, first", "all runs, again", "epochs of five runs", "epochs of all"]
)
def test_reading(benchmark, measured, reading, state):
    seconds, room = measured[reading, state]
    benchmark.extra_info.update(room)
    CLOCK.tabulate(benchmark, seconds)


@pytest.mark.benchmark(group="compacting 10,000 runs", timer=CLOCK)
def test_compaction(benchmark, measured):
    CLOCK.tabulate(benchmark, [measured["compaction"]])
