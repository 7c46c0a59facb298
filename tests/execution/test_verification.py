"""Recorded runs, repeated in a worker process and compared: what is found, and what is left behind."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from multiprocessing.util import get_temp_dir

import numpy as np
import pyarrow as pa
import pytest

from harness.config import RunSpec, Sgd
from harness.errors import HarnessError, InterruptedRunError, RecordError, UsageError
from harness.execution import verification
from harness.execution.job import Ended, EpochEnded, Started
from harness.execution.ledger import Execution
from harness.execution.verification import find_recorded, verify
from harness.execution.worker import work
from harness.records import Store
from harness.records.schema import KINDS

NETWORK = """\
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(256, 10))
"""
BROKEN = """\
from torch import nn

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3072, 10)

    def forward(self, x):
        if len(x) > 2:
            raise ArithmeticError("too many of them")
        return self.linear(x.flatten(1))

net = Broken
"""
RECIPE = {"batch_size": 512, "iterations": 10}
"""Two and a half passes over the 2,048 synthetic images: epochs that end after iterations 4, 8 and 10."""


def execute_here(jobs, environment, *, num_workers, observer):
    """What `execute` does, its worker in this process: a new one takes seconds to import torch."""
    assert num_workers == 1
    ours, theirs = multiprocessing.Pipe()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    variables = dict(os.environ)
    try:
        work(jobs, theirs, variables)
    finally:
        theirs.close()
        os.environ.clear()
        os.environ.update(variables)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    execution = Execution({}, None)
    while True:
        try:
            run_id, event = ours.recv()
        except EOFError:
            return execution
        if isinstance(event, Ended):
            execution.ended[run_id] = event
        observer(next(job for job in jobs if job.run_id == run_id), event)


@pytest.fixture
def here(monkeypatch, torch_settings):
    """The worker of a repetition is this process; for tests of what comes after it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(verification, "execute", execute_here)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A store of the runs that were trained once for all tests of this module."""
    return Store(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def store_of(originals, make_job, make_environment, write_module, tmp_path, torch_settings, monkeypatch):
    """A function from changed fields to a store with the record of the run, trained if it was not before."""
    write_module(NETWORK)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def store_of(**changes):
        job = make_job(results=originals.root, model="mynet:net", recipe=RECIPE | changes)
        if originals.local_run(job.run_id) is None:
            execute_here([job], make_environment(), num_workers=1, observer=lambda job, event: None)
        store = Store(tmp_path / "results")
        for kind in ("runs", "epochs", "predictions"):
            file = originals.root / kind / f"{job.run_id}.parquet"
            if file.exists():
                (store.root / kind).mkdir(parents=True)
                shutil.copy(file, store.root / kind)
        return store

    return store_of


@pytest.fixture
def store(store_of):
    """The record of one completed run of three epochs."""
    return store_of()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files are made; nothing may be left there."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    get_temp_dir()  # of the server that workers are forked from; it stays, and a socket's path must be short
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def repeat(folder):
    """A function that verifies the run of a store, whose files must stay as they are."""

    def repeat(store, observer=lambda job, event: None, **options):
        before = contents(store)
        try:
            return verify(find_recorded(store, run_id(store)), observer=observer, **options)
        finally:
            assert contents(store) == before
            assert list(folder.iterdir()) == []

    return repeat


def contents(store):
    return {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


def run_id(store):
    [row] = store.read("runs")[0].to_pylist()
    return row["run_id"]


def rewrite(store, run=None, epochs=None, predictions=lambda table: table):
    """Record the run of a store otherwise: changed columns, those of epochs by their number, other predictions."""
    [row] = store.read("runs")[0].to_pylist()
    rows = store.read("epochs")[0].to_pylist()
    assert set(run or {}) <= set(row)
    rows = [each | (epochs or {}).get(each["epoch"], {}) for each in rows]
    store.write_run(row | (run or {}), rows, predictions(store.read("predictions")[0]))


def with_other_loss(store, epoch, position):
    """The losses of an epoch, one of them by its last bit another."""
    losses = np.float32(store.read("epochs")[0].to_pylist()[epoch]["losses"])
    losses[position] = np.nextafter(losses[position], np.float32(np.inf))
    return {epoch: {"losses": losses.tolist()}}


def with_other_logit(table):
    """Predictions, one logit by its last bit another, in another order."""
    rows = table.to_pylist()
    logits = np.float32(rows[300]["logits"])
    logits[7] = np.nextafter(logits[7], np.float32(np.inf))
    rows[300]["logits"] = logits.tolist()
    return pa.Table.from_pylist(rows[::-1], schema=KINDS["predictions"])


def asking_for(spec):
    """Columns of a record of that request."""
    spec = RunSpec.model_validate_json(json.dumps(spec))
    return {"spec": spec.model_dump_json(), "spec_sha256": spec.sha256}


def first(row):
    return row["first_epoch"], row["first_iteration"], row["first_column"]


def test_a_run_repeated_whole_is_identical(store, repeat):
    events = []
    row = repeat(store, observer=lambda job, event: events.append((job.run_id, event)))
    recorded = find_recorded(store, run_id(store))
    assert (row["identical"], row["complete"]) == (True, True)
    assert first(row) == (None, None, None)
    assert (row["num_epochs"], row["num_iterations"]) == (3, 10)
    assert (row["environment_then"], row["environment_now"]) == ("{}", "{}")
    for column in ("run_id", "model", "recipe", "seed", "precision", *("device", "threads", "code_sha256")):
        assert row[column] == recorded.run[column]
    assert row["seconds_then"] == recorded.epochs[-1]["seconds"]
    assert row["verification_id"].endswith(f"-{run_id(store)}")
    ended = [event for _, event in events if isinstance(event, EpochEnded)]
    assert row["seconds_now"] == ended[-1].row["seconds"] > 0
    assert {name for name, _ in events} == {run_id(store)}
    assert [event.row["iteration"] for event in ended] == [4, 8, 10]
    assert isinstance(events[0][1], Started)
    assert isinstance(events[-1][1], Ended)
    # the logits were compared, and not passed over
    assert recorded.logits.shape == (512, 10)
    assert recorded.logits.dtype == np.float32
    store.write("verifications", row)
    assert store.read("verifications")[0].to_pylist() == [row]
    assert store.check() == (4, [])


def test_the_beginning_of_a_run_is_repeated_and_what_follows_is_not_compared(store, repeat):
    rewrite(
        store,
        {"weights_sha256": "f" * 64},
        {2: {"losses": [9.0, 9.0], "test_loss": 9.0}},
        with_other_logit,
    )
    events = []
    row = repeat(store, num_epochs=2, observer=lambda job, event: events.append(event))
    assert (row["identical"], row["complete"]) == (True, False)
    assert first(row) == (None, None, None)
    assert (row["num_epochs"], row["num_iterations"]) == (2, 8)
    assert row["seconds_then"] == find_recorded(store, run_id(store)).epochs[1]["seconds"]
    assert sum(isinstance(event, EpochEnded) for event in events) == 2
    store.write("verifications", row)


@pytest.mark.usefixtures("here")
def test_a_difference_in_the_beginning_of_a_run_is_found(store, repeat):
    rewrite(store, epochs=with_other_loss(store, 0, 0) | {1: {"losses": [9.0] * 4}})
    row = repeat(store, num_epochs=1)
    assert (row["identical"], row["complete"], row["num_epochs"]) == (False, False, 1)
    assert first(row) == (0, 1, "losses")
    store.write("verifications", row)


@pytest.mark.usefixtures("here")
def test_as_many_epochs_as_the_run_has_are_all_of_it(store, repeat):
    rewrite(store, predictions=with_other_logit)
    row = repeat(store, num_epochs=3)
    assert (row["complete"], row["num_epochs"], row["identical"]) == (True, 3, False)
    assert first(row) == (None, None, "logits")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("run", "epochs", "expected"),
    [
        ({"weights_sha256": "f" * 64}, {}, (None, None, "weights_sha256")),
        ({"weights_sha256": "f" * 64}, {2: {"state_sha256": "e" * 64}}, (2, None, "state_sha256")),
        ({}, {0: {"weights_sha256": "f" * 64}, 2: {"losses": [1.0, 2.0]}}, (0, None, "weights_sha256")),
        ({}, {2: {"losses": [1.0, 2.0], "test_loss": 1.0}}, (2, 9, "losses")),
    ],
    ids=["at the end", "in the state", "in the weights", "in a loss"],
)
def test_what_differs_first_is_named(store, repeat, run, epochs, expected):
    rewrite(store, run, epochs)
    row = repeat(store)
    assert (row["identical"], row["complete"]) == (False, True)
    assert first(row) == expected
    store.write("verifications", row)


@pytest.mark.usefixtures("here")
def test_the_last_bit_of_one_loss_is_found(store, repeat):
    # the third mini-batch of the second epoch, each of four
    rewrite(store, epochs=with_other_loss(store, 1, 2))
    row = repeat(store)
    assert not row["identical"]
    assert first(row) == (1, 7, "losses")


OLDER = {"losses": None, "weights_sha256": None, "state_sha256": None}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("weights", "test_loss", "expected"),
    [
        (None, None, (None, None, None)),
        (None, -1.0, (1, None, "test_loss")),
        ("f" * 64, None, (None, None, "weights_sha256")),
    ],
    ids=["identical", "an epoch", "the end"],
)
def test_of_an_older_record_what_it_has_is_compared(store, repeat, weights, test_loss, expected):
    rewrite(
        store,
        {} if weights is None else {"weights_sha256": weights},
        {0: OLDER, 1: OLDER | ({} if test_loss is None else {"test_loss": test_loss}), 2: OLDER},
    )
    row = repeat(store)
    assert row["identical"] == (expected == (None, None, None))
    assert first(row) == expected
    assert row["complete"]


@pytest.mark.usefixtures("here")
def test_predictions_that_were_not_recorded_are_not_compared(store, repeat):
    (store.root / "predictions" / f"{run_id(store)}.parquet").unlink()
    assert find_recorded(store, run_id(store)).logits is None
    row = repeat(store)
    assert (row["identical"], row["complete"]) == (True, True)


@pytest.mark.usefixtures("here")
def test_another_environment_is_told_and_the_result_is_told_whichever_it_is(store, repeat):
    elsewhere = {
        "torch": "0.1.0",
        "cuda": "1",
        "commit": "a" * 40,
        "dirty": None,
        "memory_bytes": 1,
        "device_memory_bytes": 1,
        "code_sha256": "f" * 64,
        "model_source": "another",
    }
    [ours] = store.read("runs")[0].to_pylist()
    rewrite(store, elsewhere)
    row = repeat(store)
    named = ("torch", "cuda", "code_sha256", "model_source")
    then = {name: elsewhere[name] for name in named}
    now = {name: ours[name] for name in named}
    assert json.loads(row["environment_then"]) == then
    assert json.loads(row["environment_now"]) == now
    assert (row["torch"], row["num_epochs"], row["complete"]) == (ours["torch"], 3, True)
    assert (row["identical"], row["first_column"]) == (True, None)
    store.write("verifications", row)


@pytest.mark.usefixtures("here")
def test_a_run_that_diverged_diverges_again_to_the_same_bits(store_of, repeat):
    # the greatest float32 is 3.4e38
    optimizer = {"kind": "sgd", "learning_rate": 1e30}
    store = store_of(optimizer=Sgd(**optimizer))
    recorded = find_recorded(store, run_id(store))
    assert recorded.run["status"] == "diverged"
    assert recorded.logits is None
    assert not all(map(math.isfinite, recorded.epochs[-1]["losses"]))
    row = repeat(store)
    assert (row["identical"], row["complete"]) == (True, True)
    assert row["num_epochs"] == len(recorded.epochs)
    assert row["num_iterations"] == recorded.epochs[-1]["iteration"]


@pytest.mark.usefixtures("here")
def test_a_run_that_diverges_where_the_record_does_not_differs(store, repeat, store_of):
    [run] = store.read("runs")[0].to_pylist()
    spec = json.loads(run["spec"])
    spec["recipe"]["optimizer"]["learning_rate"] = 1e30
    rewrite(store, asking_for(spec))
    row = repeat(store)
    assert not row["identical"]
    # after one epoch it has diverged; that its learning rate is another is seen first
    assert first(row) == (0, None, "learning_rate")
    assert (row["num_epochs"], row["num_iterations"]) == (1, 4)


def test_a_repetition_that_fails_says_why(store, repeat, write_module):
    write_module(BROKEN)
    with pytest.raises(HarnessError, match=r"^the repetition failed: ArithmeticError: too many of them$"):
        repeat(store)


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")
def test_a_repetition_that_is_interrupted_has_no_result(store, repeat):
    [run] = store.read("runs")[0].to_pylist()
    spec = json.loads(run["spec"])
    spec["iterations"] = spec["recipe"]["iterations"] = 100_000
    spec["recipe"]["batch_size"] = 1  # 2,048 mini-batches an epoch
    rewrite(store, asking_for(spec))

    def interrupt(_job, event):
        if isinstance(event, Started):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(InterruptedRunError, match=r"^stopped; nothing is recorded of it$"):
        repeat(store, observer=interrupt)


@pytest.mark.parametrize("num_epochs", [-1, 0, 4])
def test_epochs_that_a_run_does_not_have_are_refused(store, repeat, num_epochs):
    with pytest.raises(UsageError, match=f"has 3 epochs; verify 1 to so many, not {num_epochs}$"):
        repeat(store, num_epochs=num_epochs)


def test_a_run_that_went_on_after_a_change_is_refused(store):
    rewrite(store, {"resumed_from": ['{"run_id": "other"}']})
    with pytest.raises(UsageError, match=r"went on after something had changed \(column resumed_from\)"):
        find_recorded(store, run_id(store))


@pytest.mark.parametrize("spec", ["", "[]", '{"model": "resnet20"}', "[" * 100_000])
def test_a_record_without_a_request_is_refused(store, spec):
    rewrite(store, {"spec": spec})
    with pytest.raises(RecordError, match="its column spec holds no request for a run"):
        find_recorded(store, run_id(store))


def test_a_record_that_hides_another_network_is_refused(store):
    rewrite(store, {"model": "resnet20"})
    with pytest.raises(RecordError, match="asks for another run than its other columns say"):
        find_recorded(store, run_id(store))


@pytest.mark.skipif(sys.platform == "darwin", reason="there it may be")
def test_a_device_that_is_not_here_is_refused(store, repeat):
    rewrite(store, {"device": "mps"})
    with pytest.raises(UsageError, match="device 'mps': this machine"):
        repeat(store)


@pytest.fixture
def write_as(store):
    """A function that records the run of the store under another name, with changed columns."""
    [run] = store.read("runs")[0].to_pylist()
    epochs = store.read("epochs")[0].to_pylist()
    shutil.rmtree(store.root)

    def write(name, to=store, *, with_epochs=True, **changes):
        rows = [{**epoch, "run_id": name} for epoch in reversed(epochs)] if with_epochs else []
        to.write_run(run | {"run_id": name} | changes, rows)

    return write


@pytest.mark.parametrize(
    ("name", "found"),
    [("ab-1", "ab-1"), ("ab-12", "ab-12"), ("ab-123", "ab-123"), ("c", "cd"), ("cd", "cd")],
)
def test_a_run_is_found_by_its_name_or_a_beginning_of_it(store, write_as, name, found):
    # ab-1 and ab-12 begin others as well, but are names
    for each in ("ab-1", "ab-12", "ab-123", "cd"):
        write_as(each)
    recorded = find_recorded(store, name)
    assert recorded.run["run_id"] == found
    assert {row["run_id"] for row in recorded.epochs} == {found}
    assert [row["epoch"] for row in recorded.epochs] == [0, 1, 2]
    assert recorded.spec.model == "mynet:net"


@pytest.mark.parametrize("name", ["e", "ab-1234", "AB-1", "b-1", "*"])
def test_a_name_that_no_run_has_is_refused(store, write_as, name):
    write_as("ab-1")
    with pytest.raises(UsageError) as caught:
        find_recorded(store, name)
    assert str(caught.value) == (
        f"no run {name!r} in {store.root}; list them with: harness results list --results {store.root}"
    )


def test_a_beginning_of_several_names_is_refused(store, write_as):
    for number in range(7):
        write_as(f"ab-{number}")
    write_as("cd")
    with pytest.raises(
        UsageError, match=r"'ab' matches 7 runs, e\.g\. ab-0, ab-1, ab-2; give more of the id"
    ):
        find_recorded(store, "ab")
    with pytest.raises(UsageError, match="'ab-' matches 7 runs"):
        find_recorded(store, "ab-")


def test_where_nothing_is_recorded_nothing_is_found(tmp_path):
    with pytest.raises(UsageError, match=r"no run 'ab' in .*; list them with: harness results list"):
        find_recorded(Store(tmp_path / "none"), "ab")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_run_that_came_to_nothing_is_refused(store, write_as, status):
    write_as("ab-1", status=status, with_epochs=False)
    with pytest.raises(UsageError, match=f"run ab-1 was {status}; only a run that ended can be verified"):
        find_recorded(store, "ab")


def test_a_run_without_epochs_is_refused(store, write_as):
    write_as("ab-1", with_epochs=False)
    write_as("cd")
    with pytest.raises(RecordError, match="run ab-1: its epochs are not recorded"):
        find_recorded(store, "ab-1")


def test_a_published_run_is_found_and_ours_shadows_it(store, write_as):
    write_as("ab-1", store.published(), experiment="published")
    assert find_recorded(store, "ab").run["experiment"] == "published"
    assert len(find_recorded(store, "ab").epochs) == 3
    write_as("ab-1", experiment="ours")
    recorded = find_recorded(store, "ab")
    assert recorded.run["experiment"] == "ours"
    assert len(recorded.epochs) == 3


@pytest.mark.usefixtures("here")
def test_a_published_run_is_repeated(store, repeat):
    files = store.root / "published"
    files.mkdir()
    for kind in ("runs", "epochs", "predictions"):
        (store.root / kind).rename(files / kind)
    rewritten = with_other_loss(store, 2, 1)
    rewrite(store.published(), epochs=rewritten)
    assert first(repeat(store)) == (2, 10, "losses")
