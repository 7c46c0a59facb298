import errno
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from harness.atomic import leftovers, write_atomically
from harness.errors import StorageError
from harness.records import Store

SIZE = 2**20


def test_file_holds_what_was_written_and_folders_are_made(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_atomically(path, b"one")
    write_atomically(path, b"")
    assert path.read_bytes() == b""
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


@pytest.fixture(params=["fsync", "replace"])
def broken_disk(request, monkeypatch):
    """A function that breaks the disk: it fails to keep the bytes, or to change the name."""

    def use(number):
        def fail(*_arguments):
            raise OSError(number, os.strerror(number))

        if request.param == "fsync":
            monkeypatch.setattr(os, "fsync", fail)
        else:
            monkeypatch.setattr(Path, "replace", fail)

    return use


@pytest.mark.parametrize("existing", [None, b"old"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, broken_disk, existing, number):
    path = tmp_path / "file"
    if existing is not None:
        path.write_bytes(existing)
    broken_disk(number)
    with pytest.raises(StorageError) as caught:
        write_atomically(path, b"new")
    assert str(caught.value).startswith(f"cannot write {path}: {os.strerror(number)}; mend that")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if existing is None else [existing])


@pytest.fixture
def small_files():
    """The system lets no file grow beyond 1,000 bytes."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.usefixtures("small_files")
def test_file_that_the_system_does_not_take_leaves_the_old_one_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, bytes(1000))
    with pytest.raises(StorageError, match=r"cannot write .*file: File too large"):
        write_atomically(path, bytes(1001))
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [bytes(1000)]


def test_path_below_a_file_cannot_be_written(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for below in (path / "a", path / "a" / "b"):
        with pytest.raises(StorageError, match="cannot write") as caught:
            write_atomically(below, b"new")
        assert str(below) in str(caught.value)
    assert path.read_bytes() == b"old"


def test_path_of_a_folder_cannot_be_written(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(path, b"new")
    assert list(tmp_path.iterdir()) == [path]
    assert list(path.iterdir()) == []


def test_leftovers_are_those_of_the_same_file(tmp_path):
    path = tmp_path / "run-[1].parquet"
    left = [tmp_path / f".run-[1].parquet.{mark}.tmp" for mark in ("1f", "2e")]
    others = [".run-1.parquet.1f.tmp", ".run-[1].safetensors.1f.tmp", "run-[1].parquet.1f.tmp"]
    for other in (path, *left, *(tmp_path / name for name in others)):
        other.write_bytes(b"half")
    assert leftovers(path) == left
    assert leftovers(tmp_path / "none" / "file") == []


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open a folder")
def test_bytes_are_on_the_disk_before_the_name_changes_hands(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace

    def note_fsync(descriptor):
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(source, target):
        assert source.read_bytes() == b"new"
        assert source.name.startswith(".")
        assert source.parent == Path(target).parent
        events.append("rename")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "replace", note_replace)
    write_atomically(tmp_path / "file", b"new")
    assert events == ["file", "rename", "folder"]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open a folder")
@pytest.mark.parametrize(
    ("number", "is_ours"),
    [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True), (errno.ENOSPC, True)],
)
def test_a_folder_that_cannot_be_synchronised_by_its_kind_is_no_error(tmp_path, monkeypatch, number, is_ours):
    fsync = os.fsync

    def refuse_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    path = tmp_path / "file"
    if is_ours:
        with pytest.raises(StorageError, match="cannot write"):
            write_atomically(path, b"new")
    else:
        write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot open a folder")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_that_cannot_be_synchronised_is_an_error(tmp_path, monkeypatch, number):
    def refuse(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StorageError, match="cannot write"):
        write_atomically(tmp_path / "file", b"new")


WRITER = """
import sys
from pathlib import Path
from harness.atomic import write_atomically

number = 0
while True:
    number += 1
    write_atomically(Path(sys.argv[1]), number.to_bytes(8, "big") * (int(sys.argv[2]) // 8))
    print(number, flush=True)
"""

RECORDER = """
import json, sys
from datetime import datetime
from pathlib import Path
from harness.records import Store

row, epoch = json.loads(sys.stdin.readline())
row |= {name: datetime.fromisoformat(row[name]) for name in ("started_at", "finished_at")}
store = Store(Path(sys.argv[1]))
number = 0
while True:
    number += 1
    epochs = [epoch | {"epoch": index, "iteration": number} for index in range(2000)]
    store.write_run(row | {"iterations": number}, epochs)
    print(number, flush=True)
"""

can_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


def kill_after(code, arguments, num_acknowledged, given=""):
    """Run a program that counts its writes aloud, and kill it once it has counted so far."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        process.stdin.write(given)
        process.stdin.flush()
        for expected in range(1, num_acknowledged + 1):
            assert process.stdout.readline() == f"{expected}\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@can_kill
@pytest.mark.parametrize("num_acknowledged", [1, 2, 5, 17])
def test_killed_writer_leaves_a_whole_file_that_is_no_older_than_acknowledged(tmp_path, num_acknowledged):
    path = tmp_path / "file"
    kill_after(WRITER, [path, SIZE], num_acknowledged)
    content = path.read_bytes()
    number = int.from_bytes(content[:8], "big")
    assert content == number.to_bytes(8, "big") * (SIZE // 8)
    assert number >= num_acknowledged
    assert set(tmp_path.iterdir()) == {path, *leftovers(path)}


@can_kill
@pytest.mark.parametrize("num_acknowledged", [1, 4, 11])
def test_killed_recorder_leaves_whole_records_and_no_others(tmp_path, make_run, make_epoch, num_acknowledged):
    given = json.dumps([make_run(train_loss=1.0), make_epoch()], default=str) + "\n"
    kill_after(RECORDER, [tmp_path], num_acknowledged, given)
    store = Store(tmp_path)
    assert all(file.path.suffix == ".tmp" for file in store.check()[1])
    store.remove_leftovers("run-1")
    assert store.check() == (2, [])
    (runs, _), (epochs, _) = store.read("runs"), store.read("epochs")
    [length] = runs.column("iterations").to_pylist()
    [written] = set(epochs.column("iteration").to_pylist())
    assert epochs.num_rows == 2000
    # the run's own file comes last, so its epochs are as new or one write newer
    assert num_acknowledged <= length <= written <= length + 1
