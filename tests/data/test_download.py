import json
import socket

import numpy as np
import pytest

from harness.data.download import MAX_DOWNLOAD_BYTES, download
from harness.data.rate import RateGuard, SlowSourceError
from harness.errors import SourceError

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "file.bin"


@pytest.fixture
def fetch(host, target, progress):
    host.files["/file.bin"] = CONTENT

    def fetch(path="/file.bin", **options):
        download(host.url + path, target, description="file", progress=progress, **options)

    return fetch


def part_of(target):
    return target.with_name("file.bin.part")


def ticking():
    """A clock by which a second passes at every look."""
    now = 0.0

    def clock():
        nonlocal now
        now += 1.0
        return now

    return clock


def test_the_file_arrives_and_nothing_else_is_left(fetch, target, host, tmp_path):
    fetch()
    assert target.read_bytes() == CONTENT
    assert list(tmp_path.iterdir()) == [target]
    assert host.ranges_asked == [None]


def test_progress_goes_from_nothing_to_all(fetch, progress):
    fetch()
    assert progress.advances[0] == ("file", 0, 300_000)
    assert progress.advances[-1] == ("file", 300_000, 300_000)
    done = [advance[1] for advance in progress.advances]
    assert done == sorted(done)


def test_a_cut_is_taken_up_where_it_happened(fetch, target, host):
    host.cuts = [100_000, 50_000]
    fetch()
    assert target.read_bytes() == CONTENT
    assert host.ranges_asked == [None, "bytes=100000-", "bytes=150000-"]


def test_a_download_given_up_is_resumed_by_the_next_call(fetch, target, host):
    host.cuts = [50_000, 1000, 1000, 1000, 1000]
    with pytest.raises(SourceError, match="cut after 54000 of 300000 bytes"):
        fetch()
    assert not target.exists()
    assert part_of(target).read_bytes() == CONTENT[:54_000]
    fetch()
    assert target.read_bytes() == CONTENT
    assert host.ranges_asked[-1] == "bytes=54000-"


def test_a_long_download_may_be_cut_often(fetch, target, host):
    host.files["/file.bin"] = CONTENT * 40
    host.cuts = [2**20 + 1] * 11
    fetch()
    assert target.read_bytes() == CONTENT * 40


def test_a_part_of_another_version_is_not_used(fetch, target, host):
    host.cuts = [1000] * 5
    with pytest.raises(SourceError):
        fetch()
    host.etag, host.files["/file.bin"] = '"two"', CONTENT[::-1]
    fetch()
    assert target.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_a_server_without_a_usable_validator_is_resumed_all_the_same(fetch, target, host, etag):
    host.etag, host.cuts = etag, [1000]
    fetch()
    assert target.read_bytes() == CONTENT
    assert host.ranges_asked == [None, "bytes=1000-"]


def test_a_server_that_ignores_ranges_is_read_from_the_start(fetch, target, host):
    host.ranges, host.cuts = False, [100_000]
    fetch()
    assert target.read_bytes() == CONTENT


def test_a_server_that_always_cuts_is_given_up(fetch, host):
    host.ranges, host.cuts = False, [100_000] * 10
    with pytest.raises(SourceError, match="cut after 100000 of 300000 bytes"):
        fetch()
    assert len(host.requests) == 5


def write_part(target, url, content):
    part_of(target).write_bytes(content)
    target.with_name("file.bin.part.json").write_text(json.dumps({"url": url, "validator": '"one"'}))


def test_a_part_that_was_already_whole_is_recognised(fetch, target, host):
    write_part(target, host.url + "/file.bin", CONTENT)
    fetch()
    assert target.read_bytes() == CONTENT
    assert host.ranges_asked == ["bytes=300000-"]


def test_a_part_longer_than_the_file_is_dropped(fetch, target, host):
    write_part(target, host.url + "/file.bin", CONTENT + b"more")
    fetch()
    assert target.read_bytes() == CONTENT
    assert host.ranges_asked == ["bytes=300004-", None]


def test_a_part_from_another_url_is_dropped(fetch, target, host):
    write_part(target, "https://example.org/file.bin", b"other")
    fetch()
    assert target.read_bytes() == CONTENT
    assert host.ranges_asked == [None]


@pytest.mark.parametrize("note", ["", "nonsense", "[]", '{"url": 1}'])
def test_a_part_of_unknown_origin_is_dropped(fetch, target, host, note):
    part_of(target).write_bytes(b"other")
    target.with_name("file.bin.part.json").write_text(note)
    fetch()
    assert target.read_bytes() == CONTENT
    assert host.ranges_asked == [None]


def test_a_slow_source_is_left_and_its_part_kept(fetch, target):
    with pytest.raises(SlowSourceError, match=r"delivers less than 250 kB/s over 15 s"):
        fetch(guard=RateGuard(), clock=ticking())  # 8 kB/s
    assert part_of(target).read_bytes() == CONTENT[: part_of(target).stat().st_size]
    assert 100_000 < part_of(target).stat().st_size < 150_000


def test_a_slow_source_is_waited_for_without_a_guard(fetch, target):
    fetch(clock=ticking())
    assert target.read_bytes() == CONTENT


def test_time_lost_between_connections_counts(fetch, host):
    host.cuts = [100_000]
    times = iter([0.0] * 13 + [60.0] * 100)  # the clock jumps while the first connection hangs
    with pytest.raises(SlowSourceError):
        fetch(guard=RateGuard(), clock=lambda: next(times))
    assert len(host.requests) == 1, "judged before the connection was made again"


def test_an_error_is_reported_with_the_url(fetch, host):
    with pytest.raises(SourceError, match=rf"answers 404 Not Found to {host.url}/gone"):
        fetch("/gone?signature=x")


def test_a_file_that_is_far_too_large_is_refused_by_its_length(fetch, host, monkeypatch):
    monkeypatch.setattr("harness.data.download.MAX_DOWNLOAD_BYTES", 1000)
    assert MAX_DOWNLOAD_BYTES > 170_498_071
    with pytest.raises(SourceError, match="sends 300000 bytes or more"):
        fetch()


@pytest.mark.parametrize("part", [None, b"of an earlier version"])
def test_an_empty_file_is_a_fault_of_the_source(fetch, target, host, part):
    if part is not None:
        write_part(target, host.url + "/file.bin", part)

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    host.answer = answer
    with pytest.raises(SourceError, match=rf"answers with an empty file to {host.url}/file\.bin$"):
        fetch("/file.bin?signature=x" if part is None else "/file.bin")
    assert not target.exists()


def test_a_host_that_is_not_there_is_reported_in_the_system_s_words(target, progress, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses connections
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(SourceError, match=r"^cannot be reached \(Connection refused\)$"):
            download(url, target, description="file", progress=progress)


def test_an_impossible_address_is_reported(target, progress):
    with pytest.raises(SourceError, match=r"^fails \(MissingSchema: "):
        download("hub.local/file.bin", target, description="file", progress=progress)


def test_an_address_with_a_name_that_is_too_long_is_reported(target, progress):
    with pytest.raises(SourceError, match=r"fails .*Failed to parse") as caught:
        download(f"http://{'a' * 5000}/file.bin", target, description="file", progress=progress)
    assert len(str(caught.value)) < 400


def test_a_full_disk_is_no_fault_of_the_source(fetch, tmp_path):
    part_of(tmp_path / "file.bin").mkdir()  # cannot be written, as a stand-in
    with pytest.raises(OSError, match=r"file\.bin\.part"):
        fetch()
