"""Processes killed at random moments: nothing acknowledged is lost, and what goes on gives the same bits."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import time

import psutil
import pytest

from harness.errors import CheckpointError
from harness.records import Store
from harness.training.checkpoint import CheckpointHeader

ACKNOWLEDGED = re.compile(r"^(\S+)/tiny/fp32/seed (\d+): completed", re.MULTILINE)
IN_BETWEEN = ("belongs to a run that is not recorded", "was not written to the end")
"""What a kill may leave until the run is done: files that no reader takes for a record."""


def unreadable(store):
    return [broken for broken in store.check()[1] if not broken.reason.startswith(IN_BETWEEN)]


def finished(store):
    """Seed -> when the run was recorded, and what came of it."""
    rows = store.read("runs")[0].to_pylist()
    return {
        row["seed"]: (row["finished_at"], row["trajectory_sha256"])
        for row in rows
        if row["status"] == "completed"
    }


def test_no_acknowledged_run_is_lost(laboratory, size, figure, bits):
    draw, num_kills, wanted, num_runs = random.Random(1), 0, size(200, 4), size(24, 8)
    experiment = laboratory.experiment(seeds=range(num_runs), iterations=20)
    reference = laboratory.folder / "reference"
    assert laboratory.reproduce(experiment, reference, "--workers", 2).wait() == 0
    lost = duplicates = broken = num_sweeps = num_acknowledged = 0
    while num_kills < wanted:
        results = laboratory.folder / f"results-{num_sweeps}"
        num_sweeps += 1
        store, acknowledged, complete = Store(results), {}, False
        while not complete:
            started = laboratory.reproduce(
                experiment, results, "--workers", 2, "--checkpoint-seconds", draw.choice([0, 0.05, 100])
            )
            # the whole of it, or the main process alone, whose workers notice
            if num_kills < wanted:
                started.process.join(draw.uniform(0.0, 2.0))
                if started.process.exitcode is None:
                    num_kills += 1
                    if draw.random() < 0.5:
                        started.kill_all()
                    else:
                        started.process.kill()
                        started.process.join()
            else:
                assert started.wait() == 0, started.said()
            complete = started.process.exitcode == 0 and len(finished(store)) == num_runs
            for _, seed in ACKNOWLEDGED.findall(started.said()):
                acknowledged.setdefault(int(seed), finished(store).get(int(seed)))
            now = finished(store)
            lost += sum(now.get(seed) != then for seed, then in acknowledged.items())
            broken += len(unreadable(store))
        num_acknowledged += len(acknowledged)
        duplicates += len(store.read("runs")[0]) - num_runs
        assert store.check() == (3 * num_runs, [])
        assert bits(results) == bits(reference)
    figure(
        f"SIGKILL at {num_kills} random moments of a sweep of short runs",
        "0 acknowledged runs lost, 0 duplicates, 0 unreadable files",
        f"{lost} of {num_acknowledged} lost, {duplicates} duplicates, {broken} unreadable",
    )
    assert (lost, duplicates, broken) == (0, 0, 0)


SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
EXIT_CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}


def iteration_of(checkpoint):
    try:
        return CheckpointHeader.read(checkpoint).progress["iteration"]
    except CheckpointError:
        return 0


def test_an_interrupted_run_ends_with_the_bits_of_one_that_was_not(laboratory, size, figure, bits):
    draw, num_trials = random.Random(2), size(50, 3)
    sgd, adam = laboratory.SGD, laboratory.ADAM
    kinds = [
        ("net", sgd, "fp32"),
        ("drawing", adam, "bf16"),
        ("net", adam, "fp32"),
        ("drawing", sgd, "fp32"),
    ][: size(4, 2)]
    references = {}
    num_identical = 0
    for trial in range(num_trials):
        kind = kinds[trial % len(kinds)]
        model, optimizer, precision = kind
        experiment = laboratory.experiment(
            models=[f"mynet:{model}"], iterations=300, batch_size=64, optimizer=optimizer, precision=precision
        )
        if kind not in references:
            reference = laboratory.folder / f"reference-{len(references)}"
            assert laboratory.reproduce(experiment, reference).wait() == 0
            references[kind] = bits(reference)
        results = laboratory.folder / f"trial-{trial}"
        number, iteration = SIGNALS[trial % 3], draw.randrange(1, 290)
        started = laboratory.reproduce(experiment, results, "--checkpoint-seconds", 0)
        interrupt(started, Store(results), iteration, number)
        assert started.process.exitcode == EXIT_CODES[number], started.said()
        again = laboratory.reproduce(experiment, results)
        assert again.wait() == 0, again.said()
        [run] = Store(results).read("runs")[0].to_pylist()
        was_resumed = len(run["resumed_at"]) == 1 and run["resumed_at"][0] >= iteration
        num_identical += was_resumed and bits(results) == references[kind]
        assert list((results / "checkpoints").iterdir()) == []
    figure(
        f"kill at {num_trials} random iterations (SIGKILL, SIGTERM, Ctrl-C), resume",
        f"{num_trials} of {num_trials} bit-identical to the uninterrupted run",
        f"{num_identical} of {num_trials}",
    )
    assert num_identical == num_trials


def interrupt(started, store, iteration, number):
    """Send a signal once a checkpoint of that iteration is there; SIGKILL to the workers too."""
    deadline = time.monotonic() + 60
    while max(map(iteration_of, store.checkpoints()), default=0) < iteration:
        assert started.process.exitcode is None, started.said()
        assert time.monotonic() < deadline, started.said()
    if number == signal.SIGKILL:
        started.kill_all()
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(started.process.pid).send_signal(number)
        started.wait()


def test_the_lock_of_a_dead_process_is_recovered(laboratory):
    experiment, results = laboratory.experiment(iterations=2000), laboratory.folder / "results"
    started = laboratory.reproduce(experiment, results, "--checkpoint-seconds", 0)
    interrupt(started, Store(results), 5, signal.SIGKILL)
    [lock] = (results / "checkpoints").glob("*.lock")
    assert lock.exists()
    again = laboratory.reproduce(experiment, results, "--iterations", 2000)
    assert again.wait() == 0
    assert "busy" not in again.said()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once_and_breaks_nothing(laboratory, number):
    experiment, results = laboratory.experiment(iterations=2000), laboratory.folder / "results"
    started = laboratory.reproduce(experiment, results, "--checkpoint-seconds", 0)
    while not list(Store(results).checkpoints()):
        assert started.process.exitcode is None
    for _ in range(2):
        psutil.Process(started.process.pid).send_signal(number)
    assert started.wait() == EXIT_CODES[number]
    assert unreadable(Store(results)) == []
