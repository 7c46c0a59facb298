"""A disk that fails at each write in turn: a clear error, and nothing that was there is lost."""

from __future__ import annotations

import errno
import shutil

import pytest

from harness.records import Store


@pytest.fixture
def broken_disk(laboratory):
    """A function from a folder, an error and a number to a disk that fails from that operation on."""
    from launcher import BrokenDisk

    def make(folder, number, at):
        counter = laboratory.folder / f"operations-{folder.name}"
        return BrokenDisk(folder, number, at, counter)

    return make


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*.parquet")}


def fail_at(laboratory, broken_disk, results, experiment, number, at):
    """Start the experiment on a disk that fails at an operation; its exit code and words."""
    disk = broken_disk(results, number, at)
    started = laboratory.reproduce(experiment, results, "--checkpoint-seconds", 0, disk=disk)
    return started.wait(), started.said()


def test_a_full_or_broken_disk_is_told_and_loses_nothing(laboratory, broken_disk, size, figure, bits):
    earlier = laboratory.experiment(seeds=[7], iterations=2, name="earlier")
    experiment = laboratory.experiment(seeds=[0], iterations=3)
    reference = laboratory.folder / "reference"
    for each in (earlier, experiment):
        assert laboratory.reproduce(each, reference).wait() == 0
    recorded = laboratory.folder / "recorded"
    assert laboratory.reproduce(earlier, recorded).wait() == 0
    num_clear = num_trials = 0
    every = size(1, 11)
    for number in (errno.ENOSPC, errno.EIO):
        code, at = None, 1 - every
        while code != 0:  # until it is through before the disk fails
            at += every
            results = laboratory.folder / f"{errno.errorcode[number]}-{at}"
            shutil.copytree(recorded, results)
            before = contents(results)
            code, said = fail_at(laboratory, broken_disk, results, experiment, number, at)
            assert before.items() <= contents(results).items()
            if code == 0:
                break
            num_trials += 1
            last = said.strip().splitlines()[-1]
            num_clear += (
                code == 1
                and "Traceback" not in said
                and last.startswith(f"harness: cannot write {results}")
                and last.endswith("start again: what is recorded already is untouched")
            )
            again = laboratory.reproduce(experiment, results)
            assert again.wait() == 0, again.said()
            assert bits(results) == bits(reference)
            assert Store(results).check() == (6, [])
    figure(
        f"ENOSPC and EIO at each write ({num_trials} of them)",
        "clear error, exit 1, old data intact, every time",
        f"{num_clear} of {num_trials}",
    )
    assert num_clear == num_trials > 4
