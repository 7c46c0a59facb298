"""Who may write the files of a run, where there are no locks."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import pytest

from harness import storage
from harness.execution import lock as module
from harness.execution.lock import is_held, lock_of_run


@pytest.fixture(params=["here", "s3"])
def checkpoint(request, tmp_path):
    root = tmp_path if request.param == "here" else request.getfixturevalue("results")
    return root / "checkpoints" / "run-1.safetensors"


@pytest.fixture
def in_store(results):
    return results / "checkpoints" / "run-1.safetensors"


@pytest.fixture
def dead(monkeypatch):
    """A function after which whoever has said nothing for a moment is dead."""
    return lambda: monkeypatch.setattr(module, "SILENCE", timedelta(seconds=-5))


def claims(checkpoint):
    return [listed.path.name for listed in storage.listing(checkpoint.parent, ".claim")]


def test_one_at_a_time_holds_it(checkpoint):
    assert not is_held(checkpoint)
    with lock_of_run(checkpoint) as lock:
        assert is_held(checkpoint)
        assert not lock.is_lost()
        with lock_of_run(checkpoint) as second:
            assert second is None
        with lock_of_run(checkpoint.with_stem("run-10")) as another:
            assert another is not None
    assert not is_held(checkpoint)
    with lock_of_run(checkpoint) as lock:
        assert lock is not None
        lock.remove()


def test_nothing_is_left_of_claims(in_store):
    with lock_of_run(in_store), lock_of_run(in_store):
        assert claims(in_store) == ["run-1.000000.claim"]
    assert claims(in_store) == []


def test_one_of_many_gets_it(in_store):
    def claim(_number):
        lock = stack.enter_context(lock_of_run(in_store))
        return lock is not None

    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(8))) == 1


def test_the_run_of_a_dead_process_is_taken_and_the_sleeper_hears_of_it(in_store, dead, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_BEATS", 0.05)
    with lock_of_run(in_store) as first:
        dead()
        with lock_of_run(in_store) as second:
            assert second.path.name == "run-1.000001.claim"
            wait_for(first.is_lost)
            assert not second.is_lost()
    assert claims(in_store) == []


def test_a_sleeper_hears_of_it_when_all_is_over(in_store, dead, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_BEATS", 0.2)
    with lock_of_run(in_store) as first:
        dead()
        with lock_of_run(in_store):
            pass
        wait_for(first.is_lost)
    assert claims(in_store) == []


def test_who_is_alive_says_so(in_store, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_BEATS", 0.05)
    with lock_of_run(in_store) as lock:
        before = storage.read(lock.path)
        wait_for(lambda: storage.read(lock.path) != before)
        assert not lock.is_lost()


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
