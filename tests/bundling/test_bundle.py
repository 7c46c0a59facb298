"""What goes into a bundle, and into which part of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.bundling import wheels
from harness.bundling.bundle import Content, make_bundle, pack, parse_size, upstream_contents
from harness.bundling.unbundle import Manifest, check_pieces, read_manifest
from harness.bundling.wheels import Target
from harness.errors import BundleError, ModelError, StorageError, UnknownNameError, UsageError
from harness.models import find, upstream

from .conftest import SMALL_PART, write_wheel

HERE = Target(python="3.12", platform="linux-x86_64")
LOCK = f"""\
# comment
numpy==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via timm
numpy==2.1 ; python_full_version >= '3.12' \\
    --hash=sha256:{"c" * 64}
torch==2.15.0 \\
    --hash=sha256:{"d" * 64}
torchvision==0.29.2 \\
    --hash=sha256:{"e" * 64}
"""
PROJECT = """\
[project]
dependencies = ["numpy>=2.0", "torch>=2.9", "torchvision>=0.24"]
[project.optional-dependencies]
ray = ["ray"]
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source tree with a lock, from which the harness seems to run."""
    folder = tmp_path / "tree"
    (folder / "harness").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT, "utf-8")
    (folder / "requirements.lock").write_text(LOCK, "utf-8")
    monkeypatch.setattr("harness.__file__", str(folder / "harness" / "__init__.py"))
    return folder


@pytest.mark.parametrize(
    ("text", "size"),
    [("52MiB", 52 * 2**20), ("1GB", 10**9), (" 1.5 kib ", 1536), ("700", 700), ("2 GiB", 2**31), ("8b", 8)],
)
def test_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["0", "abc", "", "-1MB", "52 MiBs", "0.1B", "1e9", "9" * 5000, "٣MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--part-size .*write a size with its unit, e\.g\. 52MiB"):
        parse_size(text)


@pytest.mark.parametrize("python", ["3.10", "3", "2.7", "3.12.1", "4.0", "3.12\n"])
def test_what_is_no_version_of_python_is_refused(python: str) -> None:
    with pytest.raises(UsageError, match=r"--python .*write 3\.11 or a newer one"):
        Target(python=python, platform="linux-x86_64")


def test_unknown_platform_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean linux-x86_64"):
        Target(python="3.12", platform="linux-x86")


@pytest.mark.parametrize("size", [SMALL_PART, 100_000, 10**6])
def test_parts_are_no_larger_than_asked_and_hold_everything(
    size: int, tmp_path: Path, contents: list[Content], with_size: Callable[[int], Manifest]
) -> None:
    folder = tmp_path / "bundle"
    manifest = pack(folder, with_size(size), contents)
    assert read_manifest(folder)[0] == manifest
    parts = sorted(path.name for path in folder.iterdir() if path.is_dir())
    assert parts == manifest.parts == [f"part-{number + 1:03d}" for number in range(len(parts))]
    for part in parts:
        files = [path for path in (folder / part).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) <= size
        assert (folder / part / "manifest.json").read_bytes() == (folder / "manifest.json").read_bytes()
    listed = {piece.path for file in manifest.files for piece in file.pieces}
    lying = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {path for path in lying if not path.endswith("manifest.json")} == listed
    assert (folder / "part-001" / "unbundle.py").is_file()
    for content, file in zip(contents, manifest.files[1:], strict=True):
        joined = b"".join((folder / piece.path).read_bytes() for piece in file.pieces)
        assert joined == content.source.read_bytes()
        assert file.sha256 == hashlib.sha256(joined).hexdigest()


def test_chunks_say_which_of_how_many_they_are(small_bundle: Path) -> None:
    manifest, _ = read_manifest(small_bundle)
    (images,) = [file for file in manifest.files if file.what == "data"]
    names = [Path(piece.path).name for piece in images.pieces]
    assert names == [f"train_images.npy.chunk-{number:03d}-of-003" for number in (1, 2, 3)]
    assert len({piece.part for piece in images.pieces}) == 3


def test_manifest_of_many_files_has_room(tmp_path: Path, with_size: Callable[[int], Manifest]) -> None:
    """It grows beyond what was kept for it at first."""
    source = tmp_path / "empty.npy"
    source.touch()
    contents = [Content(path=f"cifar10/{number}.npy", what="data", source=source) for number in range(50)]
    manifest = pack(tmp_path / "bundle", with_size(SMALL_PART), contents)
    assert (tmp_path / "bundle" / "manifest.json").stat().st_size > 2 * 4096
    check_pieces(tmp_path / "bundle", manifest)


def test_parts_that_are_too_small_are_refused(
    tmp_path: Path, contents: list[Content], with_size: Callable[[int], Manifest]
) -> None:
    with pytest.raises(UsageError, match="--part-size: 30000 bytes are too few"):
        pack(tmp_path / "bundle", with_size(30_000), contents)
    assert not (tmp_path / "bundle").exists()


def test_folder_of_something_else_is_refused_and_stays(
    tmp_path: Path, contents: list[Content], description: Manifest
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.tex").write_text("all of it", "utf-8")
    (folder / "manifest.json").write_text('{"format": "another"}', "utf-8")
    with pytest.raises(UsageError, match="is there already, and is no bundle; name another folder with -o"):
        pack(folder, description, contents)
    with pytest.raises(UsageError, match="is no bundle"):
        make_bundle(folder, HERE, part_size_bytes=SMALL_PART, with_torch=True, say=print)
    assert (folder / "thesis.tex").read_text("utf-8") == "all of it"


def test_bundle_takes_the_place_of_an_earlier_one(
    small_bundle: Path, description: Manifest, contents: list[Content]
) -> None:
    pack(small_bundle, description, contents[:2])
    assert [file.what for file in read_manifest(small_bundle)[0].files] == ["script", "wheel", "wheel"]
    assert not (small_bundle / "part-003").exists()
    assert [path for path in small_bundle.parent.iterdir() if path.name.startswith(".")] == []


def test_earlier_bundle_stays_if_the_new_one_fails(
    small_bundle: Path, description: Manifest, contents: list[Content]
) -> None:
    contents[0].source.unlink()
    with pytest.raises(StorageError):
        pack(small_bundle, description, contents)
    check_pieces(small_bundle, read_manifest(small_bundle)[0])
    assert [path for path in small_bundle.parent.iterdir() if path.name.startswith(".")] == []


def test_earlier_bundle_stays_if_the_new_one_cannot_take_its_place(
    small_bundle: Path, description: Manifest, contents: list[Content], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, rename = read_manifest(small_bundle), Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if source.name == "bundle" and source != small_bundle:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        pack(small_bundle, description, contents[:2])
    assert read_manifest(small_bundle) == before
    check_pieces(small_bundle, before[0])
    with pytest.raises(StorageError, match="Permission denied"):
        pack(small_bundle.with_name("another"), description, contents[:2])
    assert {path.name for path in small_bundle.parent.iterdir()} == {"bundle", "source"}


def test_hashes_are_those_of_the_lock(tree: Path) -> None:
    assert wheels.locked_hashes(tree) == {
        "numpy==2.0": [f"--hash=sha256:{'a' * 64}", f"--hash=sha256:{'b' * 64}"],
        "numpy==2.1": [f"--hash=sha256:{'c' * 64}"],
        "torch==2.15.0": [f"--hash=sha256:{'d' * 64}"],
        "torchvision==0.29.2": [f"--hash=sha256:{'e' * 64}"],
    }
    assert [(each.name, each.at_least, each.tested) for each in wheels.provided(tree)] == [
        ("torch", "2.9", "2.15.0"),
        ("torchvision", "0.24", "0.29.2"),
    ]


def test_this_project_can_leave_torch_to_the_node() -> None:
    assert [each.name for each in wheels.provided(wheels.source_tree())] == ["torch", "torchvision"]


def test_harness_without_source_tree_makes_no_bundles(tree: Path) -> None:
    (tree / "requirements.lock").unlink()
    with pytest.raises(BundleError, match="make bundles in a clone of the repository"):
        wheels.source_tree()


def test_extra_that_does_not_exist_is_refused(tree: Path) -> None:
    with pytest.raises(UnknownNameError, match="no extra named 'rai'; did you mean ray"):
        wheels.requirements(tree, HERE, extras=["rai"])


def test_version_that_is_not_locked_is_refused(tree: Path) -> None:
    with pytest.raises(
        BundleError, match=r"numpy==1\.0: not in requirements\.lock; renew it with nox -s lock"
    ):
        wheels.download(["numpy==1.0"], tree, HERE, tree / "wheels")


def test_missing_tool_is_named_with_the_remedy(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tree))
    with pytest.raises(BundleError, match="there is no uv; install it with: pip install uv"):
        wheels.requirements(tree, HERE, extras=[])


def test_tools_are_asked_for_the_target_and_what_they_say_is_shown(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option stands where the tool reads it; the programs are stand-ins that tell how they were called."""
    program = tree / "uv"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *compile*) echo "# none"; echo "numpy==2.1" ;; *) echo "$@" >&2; exit 3 ;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tree}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(wheels, "_pip", lambda: ("uv", "pip-stand-in"))
    assert wheels.requirements(tree, HERE, extras=["ray"], leave_out=["torch"]) == ["numpy==2.1"]
    with pytest.raises(BundleError, match="a wheel cannot be had; uv says:\npip-stand-in download") as caught:
        wheels.download(["numpy==2.1"], tree, HERE, tree / "wheels")
    said = str(caught.value)
    assert "--no-deps --only-binary=:all: --python-version 3.12" in said
    assert "--platform manylinux_2_28_x86_64" in said
    assert "--platform manylinux2014_x86_64" in said
    assert "--require-hashes" in said


def test_bundle_of_the_harness_says_what_was_left_out(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def requirements(tree: Path, target: Target, *, extras: object, leave_out: object = ()) -> list[str]:
        return ["numpy==2.1"] if leave_out else ["numpy==2.1", "nccl==1", "torch==2.15.0"]

    def download(pins: list[str], tree: Path, target: Target, into: Path) -> None:
        assert pins == ["numpy==2.1"]
        write_wheel(into, "numpy", {"numpy.py": ""})

    monkeypatch.setattr(wheels, "requirements", requirements)
    monkeypatch.setattr(wheels, "download", download)
    monkeypatch.setattr(
        wheels, "build_wheel", lambda tree, into: write_wheel(into, "harness", {"harness.py": ""})
    )
    folder, heard = tree.parent / "bundle", []
    manifest = make_bundle(
        folder, HERE, part_size_bytes=SMALL_PART, with_torch=False, extras=["ray"], say=heard.append
    )
    written = json.loads((folder / "manifest.json").read_bytes())
    assert written["left_out"] == ["nccl==1", "torch==2.15.0"]
    assert written["provided"][0] == {"name": "torch", "at_least": "2.9", "tested": "2.15.0"}
    assert (written["python"], written["platform"], written["extras"]) == ("3.12", "linux-x86_64", ["ray"])
    assert (written["commit"], written["modified"]) == (None, None)  # no checkout
    assert [file.path for file in manifest.files[1:]] == [
        "wheels/harness-1.0-py3-none-any.whl",
        "wheels/numpy-1.0-py3-none-any.whl",
    ]
    assert heard == ["getting 1 wheels for Python 3.12 on linux-x86_64", "packing"]
    assert sorted(path.name for path in tree.parent.iterdir()) == ["bundle", "tree"]


def test_code_of_others_lies_as_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is put below the cache's folder by its path in the bundle is found by the harness."""
    file = find("akamaster-resnet20").upstream
    assert file is not None
    monkeypatch.setattr(upstream, "fetch", lambda _: tmp_path / "anywhere")
    (content,) = upstream_contents(["akamaster-resnet20", "resnet20"])
    place = tmp_path / content.path
    place.parent.mkdir(parents=True)
    place.write_text("something else", "utf-8")
    monkeypatch.delenv(upstream.CLONES_VARIABLE, raising=False)
    with pytest.raises(ModelError, match="has SHA-256"):  # found, and it is not the pinned one
        upstream.read(file, cache=tmp_path / "upstream")
