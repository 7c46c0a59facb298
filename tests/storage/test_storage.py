"""Folders of an object store, beside those of this machine, which must look the same."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harness import storage
from harness.atomic import half_written, leftovers, write_atomically
from harness.errors import StorageError, UsageError


@pytest.fixture(params=["here", "s3"])
def folder(request, tmp_path):
    return tmp_path / "results" if request.param == "here" else request.getfixturevalue("results")


def test_what_is_written_is_listed_and_read(folder):
    for name in ("b.parquet", "a.parquet", ".c.parquet", "d.json"):
        write_atomically(folder / "runs" / name, name.encode())
    listed = storage.listing(folder / "runs", ".parquet")
    assert [file.path.name for file in listed] == ["a.parquet", "b.parquet"]
    assert [file.path for file in listed] == [folder / "runs" / file.path.name for file in listed]
    assert storage.read(listed[0].path) == b"a.parquet"
    assert list(storage.read_many([file.path for file in listed])) == [b"a.parquet", b"b.parquet"]
    assert storage.exists(listed[0].path)
    assert leftovers(listed[0].path) == half_written(folder / "runs") == []
    assert abs(datetime.now(UTC) - storage.changed_at(listed[0].path)) < timedelta(minutes=1)


def test_what_takes_the_place_of_a_file_has_another_stamp(folder):
    path = folder / "runs" / "a.parquet"
    stamps = set()
    for content in (b"1", b"2", b"11"):
        write_atomically(path, content)
        [listed] = storage.listing(path.parent, ".parquet")
        stamps.add(listed.stamp)
    assert len(stamps) == 3
    assert storage.listing(path.parent, ".parquet") == [listed]


def test_what_is_not_there(folder):
    path = folder / "runs" / "a.parquet"
    assert not storage.exists(path)
    assert storage.listing(path.parent, ".parquet") == []
    storage.remove(path)
    with pytest.raises(FileNotFoundError) as raised:
        storage.read(path)
    assert raised.value.strerror == "No such file or directory"
    write_atomically(path, b"1")
    found, missing = storage.read_many([path, path.with_name("b.parquet")])
    assert (found, missing.strerror) == (b"1", "No such file or directory")
    storage.remove(path)
    assert not storage.exists(path)


def test_a_folder_of_a_store_travels_between_processes(results):
    write_atomically(results / "a", b"1")
    assert storage.read(pickle.loads(pickle.dumps(results)) / "a") == b"1"
    assert storage.is_remote(results)
    assert str(results).startswith("s3://")


def test_one_of_many_creates_an_object(results):
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda number: storage.create(results / "claim", b"%d" % number), range(8)))
    assert sorted(told) == [False] * 7 + [True]
    assert storage.read(results / "claim") == b"%d" % told.index(True)


def test_more_objects_than_are_asked_for_at_once(results, monkeypatch):
    monkeypatch.setattr(storage, "_AT_ONCE", 3)
    paths = [results / str(number) for number in range(8)]
    for path in paths:
        storage.put(path, path.name.encode())
    assert list(storage.read_many(paths)) == [path.name.encode() for path in paths]


def test_names_of_this_machine_are_paths(tmp_path):
    assert storage.open_folder("results") == Path("results")
    assert storage.open_folder(str(tmp_path)) == tmp_path
    assert not storage.is_remote(tmp_path)
    assert not storage.is_url("C:/results")


def test_a_bucket_that_is_not_there_is_said(bucket):
    with pytest.raises(StorageError, match="no such bucket"):
        write_atomically(storage.open_folder("s3://nobodys-bucket/results") / "a", b"1")


def test_a_store_out_of_reach_is_said_with_the_remedy(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    folder = storage.open_folder("s3://out-of-reach/results")
    folder.fs.clear_instance_cache()
    folder = storage.open_folder("s3://out-of-reach/results")
    for ask in (lambda: storage.exists(folder / "a"), lambda: storage.listing(folder, ".parquet")):
        with pytest.raises(StorageError, match=r"cannot reach s3://out-of-reach/.*network.*credentials"):
            ask()
    with pytest.raises(StorageError, match="cannot write s3://out-of-reach/results/a"):
        write_atomically(folder / "a", b"1")
    folder.fs.clear_instance_cache()


@pytest.mark.parametrize(
    ("name", "message"),
    [("xyz://bucket/results", "cannot be opened"), ("s3://bucket/results", r"resnet-repro-harness\[s3\]")],
)
def test_urls_of_which_nothing_is_known(monkeypatch, name, message):
    if name.startswith("s3"):
        monkeypatch.setitem(sys.modules, "upath", None)
    with pytest.raises(UsageError, match=message):
        storage.open_folder(name)
