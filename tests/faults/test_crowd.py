"""Many processes that start the same experiment."""

from __future__ import annotations

import re

from harness.records import Store

TRAINED = re.compile(r"^(\S+)/tiny/fp32/seed (\d+): 4/4", re.MULTILINE)
"""The line of the only epoch of a run; whoever finds a run recorded prints none."""


def test_each_run_is_executed_once(laboratory, size, figure):
    num_processes, num_runs = size(16, 3), size(200, 6)
    experiment, results = laboratory.experiment(seeds=range(num_runs)), laboratory.folder / "results"
    crowd = [laboratory.reproduce(experiment, results, "--workers", 1) for _ in range(num_processes)]
    codes = {started.wait(900) for started in crowd}
    assert codes == {0}
    trained = [seed for started in crowd for _, seed in TRAINED.findall(started.said())]
    store = Store(results)
    once = sum(trained.count(str(seed)) == 1 for seed in range(num_runs))
    rows = store.read("runs")[0].to_pylist()
    figure(
        f"{num_processes} processes starting the same experiment of {num_runs} tiny runs",
        "each run executed once; the lock of a dead process is recovered",
        f"{once} of {num_runs} executed once; {len(rows)} recorded",
    )
    assert once == num_runs == len(rows) == len(trained)
    assert {row["status"] for row in rows} == {"completed"}
    assert store.check() == (3 * num_runs, [])
