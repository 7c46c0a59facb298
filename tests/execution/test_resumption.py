"""Runs that were interrupted before something changed: found, refused, taken up or begun anew."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest
import torch
from filelock import FileLock

from harness import data
from harness.config import Experiment, Group, Precision, Sgd
from harness.errors import CheckpointError, InterruptedRunError
from harness.execution.local import execute
from harness.execution.plan import plan_runs, run_id
from harness.execution.recording import failed_row
from harness.execution.session import Session
from harness.models import find
from harness.records import Store
from harness.training.checkpoint import Checkpoint, CheckpointHeader
from harness.training.device import configure
from harness.training.loop import CheckpointPolicy, train

CPU = torch.device("cpu")
RECIPE = {"batch_size": 512, "iterations": 10}
"""Two and a half passes over the 2,048 synthetic images."""
EXPERIMENT = Experiment(
    name="test",
    summary="",
    precision="fp32",
    shows="",
    shows_not="",
    groups=(Group(models=("resnet20",), recipe="short", seeds=(0,)),),
)
OTHER_CODE = {"code_sha256": "0" * 64}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def ask(write_module, make_spec):
    """A function from changed fields to what is asked: a small network's run of ten mini-batches."""
    write_module()
    return lambda **changes: make_spec(
        **{"model": "mynet:net"} | changes | {"recipe": RECIPE | changes.get("recipe", {})}
    )


@pytest.fixture
def stopped(store, make_environment):
    """A function from what was asked and where to the name of such a run, with a checkpoint that has no tensors."""

    def leave(spec, iteration=4, **there):
        place = make_environment(**there)
        name, place = run_id(spec, place), place.deciding(find(spec.model).origin)
        progress = {"iteration": iteration, "resumed_from": []}
        header = CheckpointHeader(run_id=name, spec=spec.model_dump_json(), place=place, progress=progress)
        Checkpoint(header, {}).write(store.checkpoint(name))
        return name

    return leave


@pytest.fixture
def interrupt(store, make_environment, torch_settings, ear):
    """A function that trains what was asked until an iteration, and leaves a true checkpoint; the run's name."""

    def run(spec, iteration=4, **there):
        place = make_environment(**there)
        name = run_id(spec, place)
        configure(CPU, spec.precision, place.threads)
        policy = CheckpointPolicy(
            run_id=name,
            place=place.deciding(find(spec.model).origin),
            checkpoint=store.checkpoint(name),
            seconds=math.inf,
        )
        with pytest.raises(InterruptedRunError):
            train(spec, data.load("synthetic"), CPU, policy, listener=ear(stop_at=iteration))
        return name

    return run


@pytest.fixture
def plan(store, make_environment):
    """A function from what is asked to the session that it becomes, here or elsewhere."""

    def make(*specs, results=store, **there):
        here = make_environment(**there)
        return Session(
            experiment=EXPERIMENT,
            chosen_by_device=False,
            device=CPU,
            num_workers=1,
            runs_at_once=1,
            num_threads=here.threads,
            eager=False,
            store=results,
            environment=here,
            planned=plan_runs(specs, here, results),
        )

    return make


@pytest.fixture
def carry_out():
    """A function that does what a session of one run has to do: its record."""

    def run(session):
        execute(session.jobs(math.inf), session.environment, num_workers=1, observer=lambda job, event: None)
        [planned] = session.planned
        return session.store.local_run(planned.run_id)

    return run


@pytest.fixture
def whole(plan, carry_out, tmp_path):
    """A function from what is asked to its record if nothing ever interrupted it."""
    return lambda spec: carry_out(plan(spec, results=Store(tmp_path / "whole")))


def files(store):
    return {path.name: path.read_bytes() for path in (store.root / "checkpoints").iterdir()}


def of_sgd(**changes):
    return {"optimizer": Sgd(**{"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-4} | changes)}


CHANGES = {
    "threads": ({"threads": 2}, {}, r"threads 2 -> 1"),
    "torch": ({"torch": "2.0.0"}, {}, r"torch 2\.0\.0 -> [0-9.]+.*"),
    "device": ({"device_name": "Old CPU"}, {}, r"device_name Old CPU -> .+"),
    "code": (OTHER_CODE, {}, r"code_sha256 00000000\.\. -> [0-9a-f]{8}\.\."),
    "recipe": ({}, of_sgd(learning_rate=0.1), r"recipe\.optimizer\.learning_rate 0\.1 -> 0\.05"),
    "batch size": ({}, {"batch_size": 256}, r"recipe\.batch_size 256 -> 512"),
    "both": (
        {"threads": 2},
        of_sgd(weight_decay=0.5),
        r"recipe\.optimizer\.weight_decay 0\.5 -> 0\.0001, threads 2 -> 1",
    ),
}


@pytest.mark.parametrize(("there", "recipe", "difference"), CHANGES.values(), ids=CHANGES)
def test_what_has_changed_since_is_found_and_refused(ask, stopped, plan, store, there, recipe, difference):
    stopped(ask(recipe=recipe), iteration=1234, **there)
    before, session = files(store), plan(ask())
    [run] = session.planned
    assert (run.state, run.to_do) == ("changed", True)
    note = f"interrupted after iteration 1,234, and since then: {difference}"
    with pytest.raises(CheckpointError, match=f"\n  {run.run_id}: {note}\n.*--if-changed restart"):
        session.settle_changed("refuse")
    assert files(store) == before


def test_a_network_that_has_changed_is_a_change(ask, stopped, plan, write_module):
    code = write_module()
    stopped(ask())
    write_module(code.read_text() + "# changed")
    [run] = plan(ask()).planned
    assert run.state == "changed"
    assert list(run.interrupted.differences) == ["model_source"]


def test_where_nothing_has_changed_it_goes_on_by_itself(ask, stopped, plan, store):
    name = stopped(ask())
    before, session = files(store), plan(ask())
    [run] = session.planned
    assert (run.run_id, run.state, run.interrupted) == (name, "interrupted", None)
    session.settle_changed("refuse")
    session.settle_changed("resume")
    assert files(store) == before


def test_a_run_that_failed_here_can_go_on_from_elsewhere(ask, stopped, plan, store):
    session = plan(ask())
    [job] = session.jobs(math.inf)
    store.write_run(failed_row(job, session.environment, "it broke", datetime.now(UTC)))
    name = stopped(ask(), threads=2)
    [run] = plan(ask()).planned
    assert (run.state, run.interrupted.run_id) == ("changed", name)


def test_its_own_checkpoint_comes_before_that_of_other_conditions(ask, stopped, plan):
    stopped(ask(), iteration=2)
    stopped(ask(), iteration=9, threads=2)
    [run] = plan(ask()).planned
    assert (run.state, run.note) == ("interrupted", "goes on after iteration 2")


def test_a_run_that_is_recorded_asks_for_no_checkpoint(ask, stopped, plan, carry_out):
    carry_out(plan(ask()))
    stopped(ask(), threads=2)
    assert [run.state for run in plan(ask()).planned] == ["completed"]


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "resnet20"},
        {"seed": 1},
        {"precision": Precision.BF16},
        {"iterations": 9},
        {"data": "cifar10"},
        {"recipe": {"name": "other"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_run_is_no_change(ask, stopped, plan, changes):
    stopped(ask(**changes), threads=2)
    session = plan(ask())
    assert [run.state for run in session.planned] == ["new"]
    session.settle_changed("refuse")


def test_the_one_that_has_come_farthest_is_taken(ask, stopped, plan):
    names = [stopped(ask(), iteration, threads=2 + iteration) for iteration in (3, 9, 5)]
    [run] = plan(ask()).planned
    assert (run.interrupted.run_id, run.interrupted.iteration) == (names[1], 9)


def test_one_that_a_process_is_at_is_passed_over(ask, stopped, plan, store):
    near, far = stopped(ask(), 3, threads=2), stopped(ask(), 9, threads=3)
    with FileLock(store.checkpoint(far).with_suffix(".lock")):
        [run] = plan(ask()).planned
        assert run.interrupted.run_id == near
        with FileLock(store.checkpoint(near).with_suffix(".lock")):
            assert [run.state for run in plan(ask()).planned] == ["new"]
    # the lock of a process that was killed lies there and is held by nobody
    store.checkpoint(far).with_suffix(".lock").touch()
    [run] = plan(ask()).planned
    assert run.interrupted.run_id == far


@pytest.mark.parametrize(
    ("status", "state"), [("completed", "new"), ("diverged", "new"), ("failed", "changed")]
)
def test_what_was_left_of_a_run_that_is_recorded_is_passed_over(ask, stopped, plan, store, status, state):
    elsewhere = plan(ask(), threads=2)
    [job] = elsewhere.jobs(math.inf)
    row = failed_row(job, elsewhere.environment, "so it ended", datetime.now(UTC), status=status)
    store.write_run(row)
    assert stopped(ask(), threads=2) == job.run_id
    session = plan(ask())
    assert [run.state for run in session.planned] == [state]
    near = stopped(ask(), 3, threads=3)  # has not come as far
    [run] = plan(ask()).planned
    assert run.interrupted.run_id == (near if state == "new" else job.run_id)


def test_where_nothing_can_be_written_it_can_still_be_planned(ask, stopped, plan, store):
    name = stopped(ask(), threads=2)
    store.checkpoint(name).with_suffix(".lock").mkdir()  # nobody, not even root, can open it for writing
    [run] = plan(ask()).planned
    assert run.interrupted.run_id == name


def test_checkpoints_are_listed_once_a_plan(ask, stopped, plan, monkeypatch):
    names = [stopped(ask(seed=seed), threads=2) for seed in range(3)]
    list_all, num_listed = Store.checkpoints, []

    def checkpoints(store):
        num_listed.append(1)
        return list_all(store)

    monkeypatch.setattr(Store, "checkpoints", checkpoints)
    planned = plan(*(ask(seed=seed) for seed in range(3))).planned
    assert [run.interrupted.run_id for run in planned] == names
    assert len(num_listed) == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no checkpoint",
        lambda content: content[:50],
        lambda content: content.replace(b'"format":"5"', b'"format":"3"'),
        lambda content: content.replace(b'\\"iteration\\": 4', b'\\"iteratiom\\": 4'),
        lambda content: content.replace(b'\\"iteration\\": 4', b'\\"iteration\\": []'),
        lambda content: content.replace(b'"spec":"{', b'"spec":"['),
    ],
)
def test_a_broken_checkpoint_of_another_run_is_passed_over(ask, stopped, plan, store, damage):
    path = store.checkpoint(stopped(ask(), threads=2))
    content = path.read_bytes()
    assert damage(content) != content
    path.write_bytes(damage(content))
    assert [run.state for run in plan(ask()).planned] == ["new"]


def assert_same_bits(row, expected):
    for column in ("initial_weights_sha256", "weights_sha256", "trajectory_sha256", "test_loss"):
        assert row[column] == expected[column]


def test_resumed_it_says_so_and_leaves_nothing_else(ask, interrupt, plan, carry_out, whole, store):
    name = interrupt(ask(), iteration=6, **OTHER_CODE)
    store.checkpoint(name).with_suffix(".lock").touch()
    session = plan(ask())
    session.settle_changed("resume")
    assert store.checkpoint(name).exists()
    assert [run.state for run in plan(ask()).planned] == ["interrupted"]
    row = carry_out(session)
    assert (row["status"], row["resumed_at"]) == ("completed", [6])
    [note] = map(json.loads, row["resumed_from"])
    here = session.environment.code_sha256
    assert note == {"run_id": name, "iteration": 6, "differences": {"code_sha256": ["0" * 64, here]}}
    assert list((store.root / "checkpoints").iterdir()) == []
    # the code was the same after all
    assert_same_bits(row, whole(ask()))


def test_resumed_under_another_recipe_it_has_bits_of_its_own(ask, interrupt, plan, carry_out, whole):
    interrupt(ask(recipe=of_sgd(learning_rate=0.1)))
    session = plan(ask())
    session.settle_changed("resume")
    row, expected = carry_out(session), whole(ask())
    assert row["spec_sha256"] == expected["spec_sha256"]
    assert row["initial_weights_sha256"] == expected["initial_weights_sha256"]
    assert row["weights_sha256"] != expected["weights_sha256"]
    [note] = map(json.loads, row["resumed_from"])
    assert note["differences"] == {"recipe.optimizer.learning_rate": [0.1, 0.05]}


def test_what_was_resumed_twice_says_both_and_leaves_nothing(ask, interrupt, plan, carry_out, store):
    spec = ask()
    names = [interrupt(spec, iteration=2, **OTHER_CODE)]
    elsewhere = {"code_sha256": "1" * 64}
    plan(spec, **elsewhere).settle_changed("resume")
    names.append(interrupt(spec, iteration=7, **elsewhere))
    session = plan(spec)
    session.settle_changed("resume")
    row = carry_out(session)
    notes = [json.loads(note) for note in row["resumed_from"]]
    assert [(note["run_id"], note["iteration"]) for note in notes] == [(names[0], 2), (names[1], 7)]
    assert row["resumed_at"] == [2, 7]
    assert list((store.root / "checkpoints").iterdir()) == []


def test_a_resumed_run_that_is_interrupted_goes_on_by_itself_and_still_says_so(
    ask, interrupt, plan, carry_out, store
):
    name = interrupt(ask(), iteration=2, **OTHER_CODE)
    plan(ask()).settle_changed("resume")
    interrupt(ask(), iteration=5)
    session = plan(ask())
    session.settle_changed("refuse")
    row = carry_out(session)
    assert row["resumed_at"] == [2, 5]
    assert [json.loads(note)["run_id"] for note in row["resumed_from"]] == [name]
    assert list((store.root / "checkpoints").iterdir()) == []


def test_what_was_resumed_can_still_be_taken_up_as_it_was(ask, interrupt, plan, store):
    name = interrupt(ask(), threads=2)
    before = store.checkpoint(name).read_bytes()
    plan(ask()).settle_changed("resume")
    assert store.checkpoint(name).read_bytes() == before
    [run] = plan(ask(), threads=2).planned
    assert (run.run_id, run.state) == (name, "interrupted")


def test_restarted_it_begins_anew_and_the_checkpoint_stays(ask, interrupt, plan, carry_out, whole, store):
    name = interrupt(ask(recipe=of_sgd(learning_rate=0.1)))
    before, session = files(store), plan(ask())
    session.settle_changed("restart")
    row = carry_out(session)
    assert (row["resumed_at"], row["resumed_from"]) == ([], [])
    assert_same_bits(row, whole(ask()))
    assert files(store) == before
    assert list(before) == [f"{name}.safetensors"]


@pytest.mark.parametrize(("column", "value"), [("batch_size", 256), ("last_batch", "keep")])
def test_where_other_images_would_come_next_it_cannot_be_resumed(
    ask, interrupt, plan, carry_out, store, column, value
):
    name = interrupt(ask(recipe={column: value}))
    before, session = files(store), plan(ask())
    complaint = f"{name} cannot go on: recipe.{column} decide.* which images .*--if-changed restart"
    with pytest.raises(CheckpointError, match=complaint):
        session.settle_changed("resume")
    assert files(store) == before
    session.settle_changed("restart")
    assert carry_out(session)["resumed_at"] == []


def test_a_damaged_checkpoint_is_not_resumed(ask, interrupt, plan, store):
    path = store.checkpoint(interrupt(ask(), threads=2))
    content = bytearray(path.read_bytes())
    content[-100] ^= 0x01
    path.write_bytes(content)
    before, session = files(store), plan(ask())
    with pytest.raises(CheckpointError, match=r"damaged, its digest differs; remove it"):
        session.settle_changed("resume")
    assert files(store) == before


def test_of_many_changed_runs_the_first_are_named(ask, stopped, plan):
    for seed in range(7):
        stopped(ask(seed=seed), threads=2)
    session = plan(*(ask(seed=seed) for seed in range(7)))
    with pytest.raises(CheckpointError) as caught:
        session.settle_changed("refuse")
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0].strip() for line in lines[1:6]] == [run.run_id for run in session.planned[:5]]
    assert [line.strip() for line in lines[6:7]] == ["and 2 more"]
