"""Reading a store of many files by what was read of them before."""

import os
import shutil

import pytest

from harness.records import store as module
from harness.records.index import Index
from harness.records.schema import KINDS
from harness.storage import listing


@pytest.fixture(autouse=True)
def worth_an_index(monkeypatch):
    monkeypatch.setattr(module, "_WORTH_AN_INDEX", 2)


@pytest.fixture
def num_opened(monkeypatch):
    """A function to the number of record files that were opened since it was last asked."""
    opened = []
    read_file = module.decode

    def counted(path, kind):
        opened.append(path)
        return read_file(path, kind)

    monkeypatch.setattr(module, "decode", counted)

    def ask():
        number = len(opened)
        opened.clear()
        return number

    return ask


@pytest.fixture
def write(store, make_run):
    def write(*numbers, **columns):
        for number in numbers:
            store.write_run(make_run(run_id=f"run-{number}", **columns))

    return write


def ids(store):
    table, broken = store.read("runs")
    assert broken == []
    return table.column("run_id").to_pylist()


def test_files_are_opened_once_and_read_the_same(store, write, num_opened):
    write(1, 2, 3)
    first = store.read("runs")[0]
    assert num_opened() == 3
    again = store.read("runs")[0]
    assert num_opened() == 0
    assert again.equals(first)
    assert again.schema == first.schema == KINDS["runs"]


def test_a_new_file_is_read_and_stands_in_its_place(store, write, num_opened):
    write(1, 3)
    store.read("runs")
    num_opened()
    write(2)
    assert ids(store) == ["run-1", "run-2", "run-3"]
    assert num_opened() == 1
    assert ids(store) == ["run-1", "run-2", "run-3"]
    assert num_opened() == 1  # one file is not worth another index


def test_a_file_that_was_replaced_is_read_anew(store, write):
    write(1, 2, 3)
    store.read("runs")
    path = store.root / "runs" / "run-2.parquet"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    write(2, seed=7)
    os.utime(path, ns=times)  # even where it claims to be as old
    assert store.read("runs")[0].column("seed").to_pylist()[1] == 7


def test_a_file_that_is_gone_has_no_rows(store, write):
    write(1, 2, 3)
    store.read("runs")
    (store.root / "runs" / "run-2.parquet").unlink()
    assert ids(store) == ["run-1", "run-3"]


def test_a_file_that_was_damaged_since_is_named(store, write):
    write(1, 2, 3)
    store.read("runs")
    path = store.root / "runs" / "run-2.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    table, [broken] = store.read("runs")
    assert table.column("run_id").to_pylist() == ["run-1", "run-3"]
    assert broken.path == path


def test_ours_shadow_the_published_with_an_index_too(store, write, make_run):
    write(1, 2)
    store.published().write_run(make_run(run_id="run-3", seed=5))
    store.published().write_run(make_run(run_id="run-1", seed=6))
    before = store.read("runs")[0]
    assert store.read("runs")[0].equals(before)
    assert before.column("run_id").to_pylist() == ["run-1", "run-2", "run-3"]
    write(3, seed=9)
    assert store.read("runs")[0].column("seed").to_pylist()[2] == 9


def test_runs_that_are_asked_for_are_found_in_it(store, write, num_opened):
    write(1, 2, 3)
    store.read("runs")
    num_opened()
    assert store.read("runs", ["run-3"])[0].column("run_id").to_pylist() == ["run-3"]
    assert num_opened() == 0


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: b"0" * 64 + content[64:],
        lambda content: b"something else",
    ],
)
def test_a_broken_index_is_none(store, write, num_opened, damage):
    write(1, 2, 3)
    first = store.read("runs")[0]
    path = store.root / ".index" / "runs.arrow"
    path.write_bytes(damage(path.read_bytes()))
    num_opened()
    assert store.read("runs")[0].equals(first)
    assert num_opened() == 3
    store.read("runs")
    assert num_opened() == 0


def test_an_index_of_another_schema_is_none(store, write):
    write(1, 2, 3)
    store.read("runs")
    index = Index.read(store.root / ".index" / "runs.arrow", KINDS["audits"])
    assert index.rows([]) == []
    [listed, *_] = listing(store.root / "runs", ".parquet")
    assert index.find("runs/run-1.parquet", listed.stamp) is None


def test_a_store_that_cannot_be_written_is_read_without(store, write, num_opened):
    write(1, 2, 3)
    (store.root / ".index").write_text("in the way")
    assert len(ids(store)) == len(ids(store)) == 3
    assert num_opened() == 6


def test_few_files_make_no_index(store, write):
    write(1)
    store.read("runs")
    assert not (store.root / ".index").exists()


def test_an_index_of_another_store_is_of_no_file_of_this(store, write, tmp_path, num_opened):
    write(1, 2, 3)
    store.read("runs")
    other = module.Store(tmp_path / "other")
    shutil.copytree(store.root, other.root)
    num_opened()
    assert len(ids(other)) == 3
    assert num_opened() == 3
