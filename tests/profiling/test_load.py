"""The load of others, from clocks that are made up, and the clocks of this machine."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from harness.profiling import load
from harness.profiling.load import BUSY_SHARE, CpuTimes, LoadWatch, is_busy, read_cpu_times


@pytest.fixture
def share(monkeypatch):
    """A function from two states of the clocks to the share of others, on four cores."""
    monkeypatch.setattr(load, "num_cores", lambda: 4)

    def between(start, end):
        readings = iter([start, end])
        return LoadWatch(lambda: next(readings)).share_of_others()

    return between


START = CpuTimes(clock=100.0, busy=5000.0, own=30.0)


@pytest.mark.parametrize(
    ("busy", "own", "expected"),
    [
        (0.0, 0.0, 0.0),
        (10.0, 10.0, 0.0),
        (26.0, 20.0, 0.15),  # 6 of 10 seconds times 4 cores
        (40.0, 0.0, 1.0),
        (80.0, 0.0, 2.0),  # the machine has more cores than this process may use
        (9.99, 10.0, 0.0),  # the system counts its own time less finely
    ],
)
def test_others_have_what_this_process_has_not(share, busy, own, expected):
    end = CpuTimes(clock=110.0, busy=5000.0 + busy, own=30.0 + own)
    assert share(START, end) == pytest.approx(expected)


def test_share_is_since_the_watch_began(monkeypatch):
    monkeypatch.setattr(load, "num_cores", lambda: 1)
    readings = iter([START, *(CpuTimes(clock=100.0 + t, busy=5000.0 + t / 2, own=30.0) for t in (2, 4))])
    watch = LoadWatch(lambda: next(readings))
    assert [watch.share_of_others(), watch.share_of_others()] == [0.5, 0.5]


@pytest.mark.parametrize(("start", "end"), [(None, START), (START, None), (START, START)])
def test_share_is_unknown_without_two_readings(share, start, end):
    assert share(start, end) is None


def test_a_machine_is_busy_above_a_share_of_others():
    assert not is_busy(0.0)
    assert not is_busy(BUSY_SHARE)
    assert is_busy(0.051)


class Process:
    """As much of psutil's as is needed: a process that has used some CPU time."""

    def __init__(self, *times, children=()):
        self._times = times
        self._children = children

    def children(self, recursive):
        assert recursive
        return self._children

    def cpu_times(self):
        if not self._times:
            raise psutil.NoSuchProcess(1)
        return SimpleNamespace(
            **dict(zip(("user", "system", "children_user", "children_system"), self._times, strict=True))
        )


LINUX = {
    "user": 100.0,
    "nice": 20.0,
    "system": 3.0,
    "idle": 9000.0,
    "iowait": 900.0,
    "irq": 0.5,
    "softirq": 0.25,
    "steal": 0.125,
    "guest": 50.0,
    "guest_nice": 10.0,
}
MACOS = {"user": 100.0, "nice": 20.0, "system": 3.0, "idle": 9000.0}


@pytest.fixture
def machine(monkeypatch):
    """A function that makes psutil say something else."""

    def say(times, here):
        monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(**times))
        monkeypatch.setattr(psutil, "Process", lambda: here)

    return say


@pytest.mark.parametrize(("times", "busy"), [(LINUX, 123.875), (MACOS, 123.0)])
def test_busy_is_all_that_is_neither_idle_nor_counted_twice(machine, times, busy):
    machine(times, Process(1.0, 0.0, 0.0, 0.0))
    assert read_cpu_times().busy == busy


def test_own_is_this_process_with_children_that_live_and_that_ended(machine):
    child, grandchild, ended = Process(4.0, 0.5, 8.0, 0.25), Process(16.0, 0.0, 0.0, 0.0), Process()
    machine(LINUX, Process(1.0, 0.125, 32.0, 2.0, children=[child, grandchild, ended]))
    assert read_cpu_times().own == 1.125 + 34.0 + 4.5 + 8.25 + 16.0


def test_clocks_that_stand_still_are_unknown(machine):
    machine(dict.fromkeys(LINUX, 0.0), Process(1.0, 0.0, 0.0, 0.0))
    assert read_cpu_times() is None


@pytest.mark.parametrize("error", [psutil.AccessDenied(), FileNotFoundError("/proc/stat")])
def test_clocks_that_cannot_be_read_are_unknown(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(psutil, "cpu_times", fail)
    assert read_cpu_times() is None


CHILD = """
import sys, time
while time.process_time() < 0.1:
    pass
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="others keep no account of children that ended")
def test_time_of_a_child_is_own_while_it_lives_and_after():
    before = load._own_seconds()
    with subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        living = load._own_seconds()
    ended = load._own_seconds()
    assert living - before >= 0.08  # the system counts in hundredths
    assert ended >= living - 0.02
