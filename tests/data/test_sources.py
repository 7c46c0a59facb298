import pytest

from harness.data.readers import ACCEPTED_PATHS
from harness.data.sources import SOURCE_NAMES, HttpSource, LocalSource, remote_sources, resolve_sources
from harness.errors import UsageError


def names(sources):
    return [source.name for source in sources]


def test_auto_means_every_remote_source_in_order():
    assert names(resolve_sources()) == list(SOURCE_NAMES) == ["huggingface", "official", "npm"]


@pytest.mark.parametrize("name", SOURCE_NAMES)
def test_a_name_means_that_source_alone(name):
    assert names(resolve_sources(name)) == [name]


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_a_path_means_itself(tmp_path, as_type):
    assert resolve_sources(as_type(tmp_path)) == [LocalSource(tmp_path)]


def test_the_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cifar").mkdir()
    assert resolve_sources("~/cifar") == [LocalSource(tmp_path / "cifar")]


def test_neither_name_nor_path_says_what_there_is(tmp_path):
    with pytest.raises(UsageError, match=r"^'/nowhere/at/all' is neither a source") as raised:
        resolve_sources("/nowhere/at/all")
    assert all(text in str(raised.value) for text in (*SOURCE_NAMES, *ACCEPTED_PATHS))


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_auto_honours_the_environment(tmp_path, monkeypatch, as_type):
    monkeypatch.setenv("HARNESS_DATA_SOURCE", str(tmp_path))
    assert resolve_sources() == [LocalSource(tmp_path)]
    monkeypatch.setenv("HARNESS_DATA_SOURCE", "npm")
    assert names(resolve_sources()) == ["npm"]
    monkeypatch.setenv("HARNESS_DATA_SOURCE", "auto")
    assert names(resolve_sources()) == list(SOURCE_NAMES)


def test_the_environment_does_not_overrule_a_choice(monkeypatch):
    monkeypatch.setenv("HARNESS_DATA_SOURCE", "npm")
    assert names(resolve_sources("official")) == ["official"]


def test_a_wrong_environment_is_named(monkeypatch):
    monkeypatch.setenv("HARNESS_DATA_SOURCE", "/nowhere/at/all")
    with pytest.raises(UsageError, match=r"^HARNESS_DATA_SOURCE: '/nowhere/at/all' is neither"):
        resolve_sources()


def test_the_hub_may_be_a_mirror(monkeypatch):
    assert remote_sources()[0].urls[0].startswith("https://huggingface.co/datasets/uoft-cs/cifar10/")
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert remote_sources()[0].urls == (
        "https://mirror.example/datasets/uoft-cs/cifar10/resolve/main/plain_text/train-00000-of-00001.parquet",
        "https://mirror.example/datasets/uoft-cs/cifar10/resolve/main/plain_text/test-00000-of-00001.parquet",
    )
    assert remote_sources(huggingface_endpoint="http://here")[0].urls[0].startswith("http://here/datasets/")


def test_several_files_are_fetched_into_a_folder_and_none_twice(tmp_path, host, progress):
    host.files = {"/a": b"a", "/b": b"b"}
    source = HttpSource(name="two", urls=(f"{host.url}/a", f"{host.url}/b"))
    folder = source.obtain(tmp_path, progress, patient=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b"a", "b": b"b"}
    source.obtain(tmp_path, progress, patient=False)
    assert len(host.requests) == 2
    assert {description for description, _, _ in progress.advances} == {"two: a", "two: b"}


def test_one_file_is_given_as_itself(tmp_path, host, progress):
    host.files = {"/a": b"a"}
    source = HttpSource(name="one", urls=(f"{host.url}/a",))
    assert source.obtain(tmp_path, progress, patient=False) == tmp_path / "one" / "a"
    source.discard(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a" * 5000, "a\0b", "~nobody-has-this-name/cifar"])
def test_what_can_be_no_path_is_none(path):
    with pytest.raises(UsageError, match="is neither a source"):
        resolve_sources(path)


def test_a_path_does_nothing_to_the_terminal(tmp_path):
    assert LocalSource(tmp_path / "a\n\x1b[2J").name == f"{tmp_path}/a\\n\\x1b[2J"
