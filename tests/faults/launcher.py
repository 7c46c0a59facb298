"""The command line in a process that can be killed, whose disk can fail; imported by that process and its workers.

The process is forked from one that has torch already, so that hundreds of starts take minutes.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import sys
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path


@dataclass(frozen=True)
class BrokenDisk:
    """From the ``at``-th operation on (from 1) that changes something below a folder, the disk fails.

    Operations are counted over all processes, in a file; but for those on what runs in progress say of themselves, of which
    some come by the clock, and which may all fail.
    """

    folder: Path
    number: int
    at: int
    counter: Path

    @property
    def is_lasting(self) -> bool:
        """A full disk stays full; a bad block is met once."""
        return self.number == errno.ENOSPC

    def operate(self, path: object) -> bool:
        """Count an operation; whether it fails."""
        try:
            path = Path(os.path.abspath(os.fspath(path)))  # noqa: PTH100
        except TypeError:
            return False
        if not path.is_relative_to(self.folder):
            return False
        if path.is_relative_to(self.folder / ".live"):
            return True
        with _open(self.counter, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b".")
            file.flush()
            count = os.fstat(file.fileno()).st_size
        return count == self.at or (self.is_lasting and count > self.at)

    def check(self, path: object) -> None:
        if self.operate(path):
            raise OSError(self.number, os.strerror(self.number), str(path))


_open = io.open


def install(disk: BrokenDisk) -> None:
    """Let this process have that disk."""
    fsync, replace, mkdir, os_open = os.fsync, os.replace, os.mkdir, os.open

    class File(io.FileIO):
        def write(self, data):
            if disk.operate(self.name):
                super().write(bytes(data)[: len(data) // 2])
                raise OSError(disk.number, os.strerror(disk.number), str(self.name))
            return super().write(data)

    def open_file(file, mode="r", *args, **kwargs):
        if "b" in mode and set(mode) & set("wax+") and not isinstance(file, int):
            disk.check(file)
            return io.BufferedWriter(File(file, mode.replace("b", "")))
        return _open(file, mode, *args, **kwargs)

    def faulty_fsync(descriptor):
        disk.check(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    def faulty_replace(source, target, **kwargs):
        disk.check(target)
        replace(source, target, **kwargs)

    def faulty_mkdir(path, *args, **kwargs):
        if not os.path.isdir(path):  # noqa: PTH112
            disk.check(path)
        mkdir(path, *args, **kwargs)

    def faulty_open(path, flags, *args, **kwargs):
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            disk.check(path)
        return os_open(path, flags, *args, **kwargs)

    io.open, os.fsync, os.replace = open_file, faulty_fsync, faulty_replace
    os.mkdir, os.open = faulty_mkdir, faulty_open


@dataclass(frozen=True)
class FaultyWork:
    """A worker's entry point with that disk."""

    disk: BrokenDisk

    def __call__(self, *arguments):
        from harness.execution.worker import work

        install(self.disk)
        work(*arguments)


def _share_server() -> None:
    """Let workers be forked from the process that this one was forked from.

    CPython says that it does so, but starts another server, which takes seconds to import torch.
    """
    server = forkserver._forkserver
    if server._forkserver_address is not None:
        server.ensure_running = lambda: None


def run_command_line(arguments: list[str], output: Path, disk: BrokenDisk | None) -> None:
    """What ``harness`` does; the entry point of the process."""
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    _share_server()
    from harness import cli
    from harness.execution import local

    if disk is not None:
        local.work = FaultyWork(disk)
        install(disk)
    sys.argv = ["harness", *arguments]
    sys.stdout.reconfigure(line_buffering=True)
    cli.main()
