"""The order of sources, and what becomes of those that fail."""

import numpy as np
import pytest

from harness.data.fetch import fetch
from harness.data.npm import NpmSource
from harness.data.sources import HttpSource, LocalSource, remote_sources
from harness.errors import DataError, DigestError, SourceError

NO_NPM = NpmSource(command="no-such-npm")
PARQUET_PATH = "/datasets/uoft-cs/cifar10/resolve/main/plain_text/"


@pytest.fixture
def fetch_from(downloads, fakes, progress):
    def fetch_from(*sources):
        return fetch(sources, downloads, fakes.table, progress)

    return fetch_from


def slow_clock():
    """Makes a download of 8 KiB chunks one of 8 KiB/s."""
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    return clock


@pytest.fixture
def downloads(tmp_path):
    return tmp_path / "downloads"


@pytest.fixture
def tarball(fakes, tmp_path):
    return fakes.write_tarball(tmp_path / "cifar-10-python.tar.gz").read_bytes()


@pytest.fixture
def official(host, tarball):
    host.files["/cifar-10-python.tar.gz"] = tarball
    return HttpSource(name="official", urls=(f"{host.url}/cifar-10-python.tar.gz",))


@pytest.fixture
def slow(official):
    return HttpSource(name="official", urls=official.urls, clock=slow_clock())


def test_the_first_source_that_has_it_is_enough(fakes, host, progress, tmp_path, fetch_from):
    for path in fakes.write_parquet(tmp_path / "hub").iterdir():
        host.files[PARQUET_PATH + path.name] = path.read_bytes()
    sources = remote_sources(huggingface_endpoint=host.url, official_url=f"{host.url}/x.tar.gz", npm=NO_NPM)
    arrays = fetch_from(*sources)
    np.testing.assert_array_equal(arrays["train_images"], fakes.train_images)
    assert [path for path, _ in host.requests] == list(host.files)
    assert progress.messages == []


def test_each_failure_is_told_with_what_comes_next(fakes, host, tarball, progress, fetch_from):
    host.files["/cifar-10-python.tar.gz"] = tarball
    sources = remote_sources(
        huggingface_endpoint=host.url, official_url=f"{host.url}/cifar-10-python.tar.gz", npm=NO_NPM
    )
    arrays = fetch_from(*sources)
    np.testing.assert_array_equal(arrays["train_images"], fakes.train_images)
    (message,) = progress.messages
    assert message.startswith("huggingface: answers 404 Not Found")
    assert message.endswith("; trying official")


def test_when_all_fail_each_reason_and_the_remedy_are_given(host, progress, fetch_from):
    sources = remote_sources(huggingface_endpoint=host.url, official_url=f"{host.url}/x.tar.gz", npm=NO_NPM)
    with pytest.raises(DataError) as raised:
        fetch_from(*sources)
    text = str(raised.value)
    assert "huggingface: answers 404" in text
    assert "official: answers 404" in text
    assert "npm: needs the npm client" in text
    assert "harness data fetch --source PATH" in text
    assert "--data synthetic" in text
    assert [message.rpartition("; ")[2] for message in progress.messages] == [
        "trying official",
        "trying npm",
        "no source is left",
    ]


def test_wrong_content_is_dropped_and_the_next_source_tried(host, official, downloads, progress, fetch_from):
    host.files["/portal.tar.gz"] = b"<html>please log in</html>"
    portal = HttpSource(name="portal", urls=(f"{host.url}/portal.tar.gz",))
    fetch_from(portal, official)
    assert "portal: is neither a tar archive nor parquet" in progress.messages[0]
    assert not (downloads / "portal").exists()


def test_an_altered_copy_is_passed_over(fakes, official, progress, tmp_path, fetch_from):
    fakes.pixels["data_batch_1"][0, 0] ^= 1
    altered = LocalSource(fakes.write_tarball(tmp_path / "altered.tar.gz"))
    fetch_from(altered, official)
    assert progress.messages[0].startswith(f"{altered.path}: data_batch_1: pixels with SHA-256")


def test_a_slow_source_is_left_and_taken_up_again_when_all_others_fail(
    fakes, host, slow, progress, fetch_from
):
    arrays = fetch_from(slow, NO_NPM)
    np.testing.assert_array_equal(arrays["train_images"], fakes.train_images)
    first, second = progress.messages
    assert first == "official: delivers less than 250 kB/s over 15 s (what came is kept); trying npm"
    assert second.endswith("; going back to official, however slow")
    (_, again) = host.ranges_asked
    assert again is not None
    assert int(again.removeprefix("bytes=").removesuffix("-")) > 100_000, "resumed, not started anew"


def test_a_slow_source_is_left_for_good_when_another_delivers(host, slow, fetch_from):
    host.files["/other.tar.gz"] = host.files["/cifar-10-python.tar.gz"]
    fetch_from(slow, HttpSource(name="other", urls=(f"{host.url}/other.tar.gz",)))
    assert [path for path, _ in host.requests] == ["/cifar-10-python.tar.gz", "/other.tar.gz"]


@pytest.mark.parametrize("before", [[], [NO_NPM]])
def test_the_only_source_left_is_never_left_for_slowness(host, slow, before, fetch_from):
    fetch_from(*before, slow)
    assert host.ranges_asked == [None]


def test_a_slow_source_that_fails_in_the_end_says_so(host, tarball, slow, progress, fetch_from):
    host.files["/cifar-10-python.tar.gz"] = tarball[:-1000]
    with pytest.raises(DataError, match=r"official: cifar-10-python\.tar\.gz is damaged or cut short"):
        fetch_from(slow, NO_NPM)
    assert progress.messages[-1].endswith("no source is left")


def test_the_only_source_fails_with_its_own_error(progress, fetch_from):
    with pytest.raises(
        SourceError, match=r"^npm: needs the npm client.*; other sources are huggingface, official, npm"
    ):
        fetch_from(NO_NPM)
    assert progress.messages == []


def test_a_person_s_own_files_are_never_removed(fakes, tmp_path, fetch_from):
    fakes.pixels["test_batch"][0, 0] ^= 1
    path = fakes.write_python_folder(tmp_path / "mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DigestError, match=f"^{path}: test_batch: pixels"):
        fetch_from(LocalSource(path))
    assert sorted(tmp_path.rglob("*")) == before
