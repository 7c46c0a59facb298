import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from harness.data.cache import Cache, cache_folder
from harness.data.sources import LocalSource
from harness.errors import DataError


@pytest.fixture
def cache(tmp_path, fakes):
    return Cache(tmp_path / "cache", fakes.table)


@pytest.fixture
def sources(fakes, tmp_path):
    local = LocalSource(fakes.write_tarball(tmp_path / "cifar-10-python.tar.gz"))
    return lambda: [local]


def no_sources():
    raise AssertionError("nothing was to be fetched")


def test_the_set_is_fetched_once(cache, sources, fakes, progress):
    images = cache.load(sources, progress)
    np.testing.assert_array_equal(images.train_images, fakes.train_images)
    np.testing.assert_array_equal(images.train_labels, fakes.train_labels)
    np.testing.assert_array_equal(images.test_images.reshape(-1, 3072), fakes.pixels["test_batch"])
    np.testing.assert_array_equal(images.test_labels, fakes.labels["test_batch"])
    assert (images.name, images.sha256) == ("cifar10", fakes.table.sha256)
    again = cache.load(no_sources, progress)
    np.testing.assert_array_equal(again.train_images, images.train_images)
    assert progress.messages == []


def test_the_arrays_are_mapped_and_cannot_be_written(cache, sources, progress):
    images = cache.load(sources, progress)
    assert isinstance(images.train_images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images.train_images[0, 0, 0, 0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        images.train_images.setflags(write=True)


def test_nothing_else_stays_behind(cache, sources, progress):
    (cache.root / "cifar10.tmp").mkdir(parents=True)
    (cache.root / "cifar10.tmp" / "train_images.npy").write_bytes(b"from a process that was killed")
    (cache.root / "downloads" / "official").mkdir(parents=True)
    cache.load(sources, progress)
    assert {path.name for path in cache.root.iterdir()} <= {"cifar10", "cifar10.lock"}
    assert len(list(cache.folder.iterdir())) == 4


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "one bit": flip_a_byte,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "nonsense": lambda path: path.write_bytes(b"nonsense"),
    "gone": Path.unlink,
    "another dtype": lambda path: np.save(path, np.load(path).astype(np.int16)),
    "another shape": lambda path: np.save(path, np.load(path)[1:]),
    "a pickle": lambda path: np.save(path, np.load(path).astype(object), allow_pickle=True),
}


def test_every_byte_of_a_header_is_looked_at(cache, sources, progress):
    cache.load(sources, progress)
    path = cache.folder / "test_labels.npy"
    content = path.read_bytes()
    for place in range(content.index(b"\n") + 1):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert not cache.verify()[-1].ok
    path.write_bytes(content)
    assert cache.verify()[-1].ok


@pytest.mark.parametrize("file", ["train_images", "test_labels"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_copy_is_told_of_and_replaced(cache, sources, progress, file, damage):
    cache.load(sources, progress)
    damage(cache.folder / f"{file}.npy")
    assert not all(report.ok for report in cache.verify())
    cache.load(sources, progress)
    (message,) = progress.messages
    assert message.startswith(f"the CIFAR-10 in {cache.folder} is damaged (")
    assert message.endswith("fetching it again")
    assert all(report.ok for report in cache.verify())


def test_a_damaged_copy_is_not_used_even_when_no_other_can_be_had(cache, sources, progress, tmp_path):
    cache.load(sources, progress)
    flip_a_byte(cache.folder / "train_images.npy")
    with pytest.raises(DataError):
        cache.load(lambda: [LocalSource(tmp_path / "gone")], progress)
    assert progress.messages[0].count("data_batch_5") == 1
    with pytest.raises(DataError, match="harness data fetch"):
        cache.verify()


def test_verify_reports_each_batch_and_fetches_nothing(cache, sources, fakes, progress):
    cache.load(sources, progress)
    flip_a_byte(cache.folder / "test_labels.npy")
    reports = cache.verify()
    assert [report.name for report in reports] == list(fakes.table.names)
    assert [report.ok for report in reports] == [True] * 5 + [False]
    assert (reports[5].pixels_match, reports[5].labels_match) == (True, False)


def test_verify_of_nothing_says_what_to_do(cache):
    with pytest.raises(DataError, match=f"no CIFAR-10 in {cache.root}; get it with `harness data fetch`"):
        cache.verify()
    assert not cache.root.exists()


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path, fakes, sources, progress):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written .*; set HARNESS_DATA_DIR"):
        Cache(tmp_path / "file" / "cache", fakes.table).load(sources, progress)


class WaitingSource:
    """Delivers only when it is told that somebody else waits."""

    name = "waiting"

    def __init__(self, path):
        self.path, self.asked, self.go_on = path, threading.Event(), threading.Event()
        self.num_asked = 0

    def obtain(self, downloads, progress, *, patient):
        self.num_asked += 1
        self.asked.set()
        assert self.go_on.wait(timeout=60)
        return self.path

    def discard(self, downloads):
        pass


def test_who_comes_second_waits_and_uses_the_result(cache, fakes, tmp_path, new_progress):
    source = WaitingSource(fakes.write_tarball(tmp_path / "cifar-10-python.tar.gz"))
    second_progress = new_progress(on_message=lambda _: source.go_on.set())
    loaded = []
    first = threading.Thread(target=lambda: loaded.append(cache.load(lambda: [source], new_progress())))
    first.start()
    assert source.asked.wait(timeout=60)
    loaded.append(cache.load(no_sources, second_progress))
    first.join()
    assert source.num_asked == 1
    assert second_progress.messages == [
        f"another process is fetching CIFAR-10 into {cache.root}; waiting for it"
    ]
    for images in loaded:
        np.testing.assert_array_equal(images.train_images, fakes.train_images)


LOAD_IN_A_PROCESS = """
import sys
from pathlib import Path
from harness.data import Cache, DigestTable, SilentProgress
from harness.data.sources import HttpSource
root, table, url = sys.argv[1:]
cache = Cache(Path(root), DigestTable.from_toml(Path(table).read_text()))
print(cache.load(lambda: [HttpSource(name="official", urls=(url,))], SilentProgress()).sha256)
"""


def test_processes_at_once_download_once(cache, fakes, tmp_path, host):
    host.files["/cifar-10-python.tar.gz"] = fakes.write_tarball(tmp_path / "a").read_bytes()
    table = tmp_path / "digests.toml"
    table.write_text(
        f"batch_size = {fakes.table.batch_size}\n"
        + "".join(
            f'[batches.{batch.name}]\npixels = "{batch.pixels}"\nlabels = "{batch.labels}"\n'
            for batch in fakes.table.batches
        )
    )
    url = f"{host.url}/cifar-10-python.tar.gz"
    command = [sys.executable, "-c", LOAD_IN_A_PROCESS, str(cache.root), str(table), url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0].strip() for process in processes] == [fakes.table.sha256] * 3
    assert len(host.requests) == 1


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HARNESS_DATA_DIR", "~/data")
    assert cache_folder() == tmp_path / "data"


@pytest.mark.parametrize("folder", ["a" * 5000, "~nobody-has-this-name/data", "file/data"])
def test_what_can_be_no_folder_is_named(monkeypatch, tmp_path, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HARNESS_DATA_DIR", folder)
    with pytest.raises(DataError, match=r"^HARNESS_DATA_DIR: .* cannot be used .*; set it to") as caught:
        cache_folder()
    assert len(str(caught.value)) < 400


@pytest.mark.skipif(sys.platform != "linux", reason="the place is the system's")
def test_else_it_is_the_user_s_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", os.fspath(tmp_path))
    assert cache_folder() == tmp_path / "resnet-repro-harness"
