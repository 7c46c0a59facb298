import gzip
import io
import tarfile

import pytest

from harness.data import members
from harness.data.members import MAX_MEMBER_BYTES, is_archive, iter_archive, iter_folder
from harness.errors import SourceError


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_reads_only_the_wanted_members_in_archive_order(tmp_path, write_tar, mode):
    path = write_tar(tmp_path / "a", {"x/two": b"2", "x/other": b"!", "one": b"1"}, mode)
    assert is_archive(path)
    assert list(iter_archive(path, {"one", "two"})) == [("two", b"2"), ("one", b"1")]


def test_nothing_is_written_whatever_the_members_are_called(tmp_path, write_tar):
    inner = tmp_path / "in"
    inner.mkdir()
    path = write_tar(inner / "a.tgz", {"../../data_batch_1": b"out", str(tmp_path / "test_batch"): b"out"})
    before = sorted(tmp_path.rglob("*"))
    assert [name for name, _ in iter_archive(path, {"data_batch_1", "test_batch"})] == [
        "data_batch_1",
        "test_batch",
    ]
    assert sorted(tmp_path.rglob("*")) == before


def test_links_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            link = tarfile.TarInfo("data_batch_1")
            link.type, link.linkname = kind, str(secret)
            archive.addfile(link)
    assert list(iter_archive(path, {"data_batch_1"})) == []


def test_a_large_member_is_refused_by_its_header(tmp_path):
    member = tarfile.TarInfo("readme.html")
    member.size = MAX_MEMBER_BYTES + 1
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(member.tobuf()))
    with pytest.raises(SourceError, match=r"readme\.html has 64 MiB"):
        list(iter_archive(path, {"data_batch_1"}))


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_cannot_ask_for_much(tmp_path, write_tar, kind):
    # tarfile reads such a header whole, before any member is seen
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 2**32
    member = write_tar(tmp_path / "b.tar", {"data_batch_1": bytes(2**16)}, "w").read_bytes()[: 2**16 + 512]
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(member + header.tobuf(tarfile.GNU_FORMAT) + bytes(2**20)))
    found = iter_archive(path, {"data_batch_1"})
    assert len(next(found)[1]) == 2**16
    with pytest.raises(SourceError, match="a header of more than 32 KiB"):
        next(found)


def test_an_archive_cannot_unpack_to_much(tmp_path, write_tar, monkeypatch):
    monkeypatch.setattr(members, "_MAX_ARCHIVE_BYTES", 2**16)
    path = write_tar(tmp_path / "a.tgz", {"readme.html": bytes(2**17)})
    with pytest.raises(SourceError, match="unpacks to more than"):
        list(iter_archive(path, {"data_batch_1"}))


SPARSE = {"GNU.sparse.map": "0,512", "GNU.sparse.size": "512"}


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [(SPARSE, "is a sparse file"), (SPARSE | {"GNU.sparse.map": "x"}, "is damaged or cut short")],
)
def test_sparse_files_are_refused(tmp_path, fields, complaint):
    member = tarfile.TarInfo("data_batch_1")
    member.pax_headers = fields
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.PAX_FORMAT) + bytes(1024)))
    with pytest.raises(SourceError, match=complaint):
        list(iter_archive(path, {"data_batch_1"}))


def test_headers_upon_headers_are_refused(tmp_path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.GNUTYPE_LONGNAME
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(header.tobuf() * 20_000))
    with pytest.raises(SourceError, match="a header of more than 32 KiB"):
        list(iter_archive(path, {"data_batch_1"}))


def test_a_member_s_name_does_nothing_to_the_terminal(tmp_path):
    member = tarfile.TarInfo("\n\x1b[2J")
    member.size = MAX_MEMBER_BYTES + 1
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(member.tobuf()))
    with pytest.raises(SourceError) as caught:
        list(iter_archive(path, {"data_batch_1"}))
    assert str(caught.value).isprintable()


def test_an_archive_of_very_many_members_is_refused(tmp_path, write_tar):
    path = write_tar(tmp_path / "a.tar", {str(number): b"" for number in range(1001)}, "w")
    with pytest.raises(SourceError, match="more than 1000 members"):
        list(iter_archive(path, {"data_batch_1"}))


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_an_archive_cut_short_is_refused(fakes, tmp_path, kept):
    content = fakes.write_tarball(tmp_path / "a.tgz").read_bytes()
    path = tmp_path / "b.tgz"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(SourceError, match=r"b\.tgz is damaged or cut short"):
        list(iter_archive(path, fakes.table.names))


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<html>please log in</html>")
    assert not is_archive(path)


def test_a_folder_gives_the_wanted_files_sorted(tmp_path):
    for name in ("b", "a", "c"):
        (tmp_path / name).write_text(name)
    (tmp_path / "d").mkdir()
    assert list(iter_folder(tmp_path, {"a", "b", "d", "e"})) == [("a", b"a"), ("b", b"b")]


def test_a_large_file_is_refused_unread(tmp_path):
    with (tmp_path / "data_batch_1").open("wb") as file:
        file.truncate(MAX_MEMBER_BYTES + 2**20)  # sparse: takes no room
    with pytest.raises(SourceError, match="data_batch_1 has 65 MiB"):
        list(iter_folder(tmp_path, {"data_batch_1"}))


def test_the_limited_reader_counts_what_it_delivers():
    reader = members._LimitedReader(io.BytesIO(bytes(10)), 8)
    assert reader.read(8) == bytes(8)
    with pytest.raises(SourceError):
        reader.read(1)
