import numpy as np
import pytest

from harness.data import DATA_NAMES, Cache, SilentProgress, load, loading, verify
from harness.errors import DataError, UnknownNameError, UsageError


def test_synthetic_is_given_when_asked_for():
    assert load("synthetic").name == "synthetic"


def test_an_unknown_name_is_refused_with_what_is_known():
    with pytest.raises(UnknownNameError, match="no data set named 'mnist'; known: cifar10, synthetic"):
        load("mnist")
    assert DATA_NAMES == ("cifar10", "synthetic")


def test_synthetic_never_stands_in_for_the_real_set(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "cache"))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError):
        load(source=tmp_path / "nothing")


def test_a_wrong_source_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    with pytest.raises(UsageError, match="is neither a source"):
        load(source="the moon")


def test_the_environment_chooses_source_and_cache(monkeypatch, tmp_path, fakes):
    # the real digests, so the fakes must be refused: that they are read at all is the point
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_DATA_SOURCE", str(fakes.write_tarball(tmp_path / "fakes.tar.gz")))
    with pytest.raises(DataError, match=r"fakes\.tar\.gz: data_batch_4: pixels .* are no batch of CIFAR-10"):
        load()
    assert (tmp_path / "cache").is_dir()


class Told(SilentProgress):
    """Remembers its messages."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)


def test_a_source_that_was_not_used_is_told(monkeypatch, tmp_path, fakes):
    monkeypatch.setattr(loading, "Cache", lambda root: Cache(root, fakes.table))
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "cache"))
    archive = fakes.write_tarball(tmp_path / "fakes.tar.gz")
    told = Told()
    load(source=archive, progress=told)
    assert not [text for text in told.messages if "not used" in text]
    for source in (archive, "nowhere\x1b"):
        told.messages.clear()
        load(source=source, progress=told)
        name = "nowhere\\x1b" if source != archive else archive
        assert told.messages == [f"already cached in {tmp_path / 'cache'}; source '{name}' was not used"]
    told.messages.clear()
    load(progress=told)
    assert told.messages == []


def test_verify_of_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="harness data fetch"):
        verify()


@pytest.mark.real_data
def test_the_real_set():
    images = load("cifar10")
    assert images.train_images.shape == (50_000, 3, 32, 32)
    assert images.test_images.shape == (10_000, 3, 32, 32)
    assert np.bincount(images.train_labels).tolist() == [5000] * 10
    assert np.bincount(images.test_labels).tolist() == [1000] * 10
    assert images.train_labels[:8].tolist() == [6, 9, 9, 4, 1, 1, 2, 7]
    assert images.train_labels[30_000:30_008].tolist() == [0, 6, 0, 2, 7, 2, 1, 2]
    assert images.test_labels[:8].tolist() == [3, 8, 8, 0, 6, 6, 1, 6]
    # the first pixel of the first image, a frog: dark brown
    assert images.train_images[0, :, 0, 0].tolist() == [59, 62, 63]
    assert all(report.ok for report in verify())
