"""What a node makes of a bundle: all of it, or one clear message and nothing."""

from __future__ import annotations

import ast
import ensurepip
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bundling import unbundle as script
from harness.bundling.bundle import Content, pack
from harness.bundling.unbundle import Manifest, Provided, UnbundleError, read_manifest, unbundle

from .conftest import UPSTREAM

Rewrite = Callable[[Callable[[Any], None]], None]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the harness of the bundle looks for data."""
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def pip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Python's own wheel of pip, unpacked, where there is no pip: the script would install it in each environment."""
    wheel = next(Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"), None)
    if importlib.util.find_spec("pip") is not None or wheel is None:
        return None
    folder = tmp_path_factory.mktemp("pip")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture
def node(tmp_path: Path, cache: Path, pip_folder: Path | None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment is to be, on a node with pip."""
    if pip_folder:
        monkeypatch.syspath_prepend(pip_folder)
        monkeypatch.setenv("PYTHONPATH", str(pip_folder))
    return tmp_path / "node" / "env"


def refused(bundle: Path, into: Path, match: str) -> str:
    """What is said against a bundle, of which nothing is then installed."""
    with pytest.raises(UnbundleError, match=match) as caught:
        unbundle(bundle, into, lambda _: None)
    assert not into.parent.exists()
    assert not Path(os.environ["HARNESS_DATA_DIR"]).exists()
    return str(caught.value)


def run_script(bundle: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The script that lies in a bundle, run by itself."""
    command = [sys.executable, "-P", "-W", "error", str(bundle / "part-001" / "unbundle.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_script_needs_the_standard_library_alone() -> None:
    tree = ast.parse(Path(script.__file__).read_bytes())
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }
    assert imported <= sys.stdlib_module_names


def test_bundle_is_installed_mended_and_replaced(
    small_bundle: Path, node: Path, cache: Path, description: Manifest, contents: list[Content]
) -> None:
    """One environment through all of its life, since each takes seconds to make."""
    killed = node.with_name(".env.partial")
    killed.mkdir(parents=True)
    (killed / "half").touch()
    done = run_script(small_bundle, "--into", str(node))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Installed. Next: {node}/bin/harness reproduce smoke\n"
    assert "checking 6 files in 5 parts" in done.stderr
    called = subprocess.run([node / "bin" / "harness"], capture_output=True, text=True, check=True)
    assert called.stdout == "harness 42\n"
    code = "import large; print(large.SIZE)"  # put together from chunks
    called = subprocess.run([node / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    assert called.stdout == "200000\n"
    images, network = (
        cache / "cifar10" / "train_images.npy",
        cache / "up" / UPSTREAM.removeprefix("upstream/"),
    )
    assert images.read_bytes() == contents[2].source.read_bytes()
    assert network.read_bytes() == contents[3].source.read_bytes()
    assert [
        path.name for folder in (node.parent, cache) for path in folder.iterdir() if "partial" in path.name
    ] == []
    for path in (node / "bin").iterdir():
        assert path.is_symlink() or b"partial" not in path.read_bytes()

    # once more, after some of what was put elsewhere was damaged
    before = (node / "pyvenv.cfg").stat().st_mtime_ns
    images.write_bytes(b"damaged")
    network.unlink()
    heard: list[str] = []
    assert unbundle(small_bundle, node, heard.append) == node / "bin" / "harness"
    assert f"{node} has what is in this bundle already" in heard
    assert images.read_bytes() == contents[2].source.read_bytes()
    assert network.read_bytes() == contents[3].source.read_bytes()
    assert (node / "pyvenv.cfg").stat().st_mtime_ns == before

    # a bundle whose harness does not start leaves the earlier environment as it was
    pack(small_bundle, description, [content for content in contents if "dependency" in content.path])
    with pytest.raises(UnbundleError, match="No module named 'harness'"):
        unbundle(small_bundle, node, heard.append)
    assert subprocess.run([node / "bin" / "harness"], check=False).returncode == 0

    # another bundle takes its place
    (node / "stray").touch()
    pack(small_bundle, description, contents[:2])
    unbundle(small_bundle, node, heard.append)
    assert not (node / "stray").exists()
    assert subprocess.run([node / "bin" / "harness"], check=False).returncode == 0
    assert [path.name for path in node.parent.iterdir()] == ["env"]


def test_what_was_left_out_is_seen_in_the_environment(
    tmp_path: Path,
    node: Path,
    description: Manifest,
    contents: list[Content],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The node has it in the virtual environment that runs the script."""
    packages = tmp_path / "packages of the node"
    packages.mkdir()
    (packages / "torch.py").write_text("WHERE = 'node'\n", "utf-8")
    (packages / "dependency.py").write_text("ANSWER = 'not of the bundle'\n", "utf-8")
    monkeypatch.setattr("site.getsitepackages", lambda: [str(packages)])
    monkeypatch.setattr("site.ENABLE_USER_SITE", False)
    monkeypatch.setattr(script.metadata, "version", {"torch": "2.9.0a0+ab12"}.__getitem__)
    torch = Provided(name="torch", at_least="2.9", tested="2.15.0")
    pack(tmp_path / "bundle", replace(description, provided=(torch,)), contents)
    harness = unbundle(tmp_path / "bundle", node, lambda _: None)
    assert subprocess.run([harness], capture_output=True, text=True, check=True).stdout == "harness 42\n"
    code = "import torch; print(torch.WHERE)"
    assert (
        subprocess.run(
            [node / "bin" / "python", "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "node\n"
    )


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (None, "has no torch, and it was left out of the bundle; install torch 2.9 or newer"),
        ("2.8.1", "has torch 2.8.1, which is too old; install torch 2.9 or newer"),
        ("unknown", "has torch unknown, which is too old"),
    ],
)
def test_node_without_what_was_left_out_is_told(
    found: str | None,
    complaint: str,
    tmp_path: Path,
    node: Path,
    description: Manifest,
    contents: list[Content],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(name: str) -> str:
        if found is None:
            raise script.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr(script.metadata, "version", version)
    torch = Provided(name="torch", at_least="2.9", tested="2.15.0")
    pack(tmp_path / "bundle", replace(description, provided=(torch,)), contents)
    refused(tmp_path / "bundle", node, complaint)


def test_one_byte_that_changed_is_found_wherever_it_is(small_bundle: Path, node: Path) -> None:
    for path in sorted(small_bundle.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        said = refused(small_bundle, node, "copy")
        assert str(path.relative_to(small_bundle)) in said
        path.write_bytes(content)
    assert read_manifest(small_bundle)[0].parts == [f"part-00{number}" for number in range(1, 6)]


def test_missing_parts_are_named(small_bundle: Path, node: Path) -> None:
    shutil.rmtree(small_bundle / "part-002")
    (small_bundle / "manifest.json").unlink()  # the parts tell by themselves
    refused(small_bundle, node, "part-002 of 5 parts missing; copy them there, and start again")
    done = run_script(small_bundle, "--into", str(node))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("part-002 of 5 parts missing; copy them there, and start again\n")
    assert "Traceback" not in done.stderr


def test_truncated_long_and_missing_files_are_named(small_bundle: Path, node: Path) -> None:
    chunk = next(small_bundle.rglob("*.chunk-002-of-003"))
    with chunk.open("r+b") as file:
        file.truncate(1000)
    wheel = next(small_bundle.rglob("dependency*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"more")
    next(small_bundle.rglob("harness*.whl")).unlink()
    said = refused(small_bundle, node, "copy these files")
    assert "chunk-002-of-003: truncated: 1000 bytes, not " in said
    assert "dependency-1.0-py3-none-any.whl: too long: " in said
    assert "harness-1.0-py3-none-any.whl: missing" in said


def test_part_of_another_bundle_is_named(
    small_bundle: Path, node: Path, tmp_path: Path, description: Manifest, contents: list[Content]
) -> None:
    pack(tmp_path / "other", replace(description, harness="2.0"), contents)
    shutil.rmtree(small_bundle / "part-002")
    shutil.copytree(tmp_path / "other" / "part-002", small_bundle / "part-002")
    refused(
        small_bundle,
        node,
        r"part-002/manifest\.json differs from .*manifest\.json: one of them is damaged or of another",
    )


def test_symbolic_links_are_refused(small_bundle: Path, node: Path, tmp_path: Path) -> None:
    wheel = next(small_bundle.rglob("dependency*.whl"))
    wheel.rename(tmp_path / "elsewhere.whl")
    wheel.symlink_to(tmp_path / "elsewhere.whl")
    refused(
        small_bundle,
        node,
        "dependency-1.0-py3-none-any.whl: no regular file, or reached through a symbolic link",
    )
    (tmp_path / "elsewhere.whl").replace(wheel)
    part = small_bundle / "part-002"
    part.rename(tmp_path / "elsewhere")
    part.symlink_to(tmp_path / "elsewhere")
    refused(small_bundle, node, r"part-002/manifest\.json is no manifest")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "part-001/../../x.whl",
        "part-001/./x.whl",
        "part-001//x.whl",
        "part-001\\x.whl",
        "C:/x.whl",
        "part-001/x y\x1b[2J.whl",
        "part-1/x.whl",
        "wheels/x.whl",
        "",
        "part-001/" + "x" * 300,
    ],
)
def test_hostile_path_of_a_piece_is_refused(
    path: str, small_bundle: Path, node: Path, rewrite: Rewrite
) -> None:
    rewrite(lambda table: table["files"][1]["pieces"][0].update(path=path))
    assert "\x1b" not in refused(small_bundle, node, r"manifest\.json: path")


@pytest.mark.parametrize(
    ("what", "path"),
    [
        ("wheel", "wheels/../../x.whl"),
        ("wheel", "wheels/x.tar.gz"),
        ("wheel", "/x.whl"),
        ("data", "cifar10/../x.npy"),
        ("data", "cifar10/deeper/x.npy"),
        ("data", "elsewhere/x.npy"),
        ("upstream", "upstream/a+b@main/x.py"),
        ("upstream", f"upstream/a+b@{'0' * 40}/../../x.py"),
        ("program", "wheels/x.whl"),
    ],
)
def test_hostile_target_is_refused(
    what: str, path: str, small_bundle: Path, node: Path, rewrite: Rewrite
) -> None:
    rewrite(lambda table: table["files"][1].update(what=what, path=path))
    refused(small_bundle, node, r"manifest\.json: ")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            lambda table: table.update(format="resnet-repro-harness bundle 2"),
            "use the unbundle.py in the bundle",
        ),
        (lambda table: table.update(files=None), "files is 'None'"),
        (lambda table: table["files"].append(7), "path is 'None'"),
        (lambda table: table["files"].append(table["files"][1]), "names a path twice"),
        (lambda table: table["files"][1].update(size_bytes=True), "size_bytes is 'True'"),
        (lambda table: table["files"][1].update(size_bytes=-1), "no size and SHA-256"),
        (lambda table: table["files"][1].update(size_bytes=1), "do not make 1 bytes"),
        (lambda table: table["files"][1].update(sha256="0"), "no size and SHA-256"),
        (lambda table: table["files"][1].update(pieces=[]), "do not make"),
        (lambda table: table["files"][3].update(sha256="0" * 64), "put together, is not what was packed"),
        (
            lambda table: table.update(python="2.7"),
            r"and the bundle is for '2\.7'; run unbundle\.py with that one",
        ),
        (lambda table: table.update(platform="plan9-vax"), "the bundle is for 'plan9-vax'"),
        (
            lambda table: table.update(provided=[{"name": "os", "at_least": "1", "tested": "1"}]),
            "provided 'os'",
        ),
    ],
)
def test_manifest_that_makes_no_sense_is_refused(
    change: Callable[[Any], None],
    complaint: str,
    small_bundle: Path,
    node: Path,
    rewrite: Rewrite,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(script, "_install", lambda *_: None)
    monkeypatch.setattr(
        script, "_places", lambda _: (node.parent.parent / "cache", node.parent.parent / "cache")
    )
    rewrite(change)
    with pytest.raises(UnbundleError, match=complaint):
        unbundle(small_bundle, node, lambda _: None)
    assert not node.exists()
    assert not (node.parent.parent / "cache" / "cifar10").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff", b"[]", b"null"])
def test_what_is_no_manifest_is_refused(content: bytes, small_bundle: Path, node: Path) -> None:
    for path in small_bundle.rglob("manifest.json"):
        path.write_bytes(content)
    refused(small_bundle, node, "copy the bundle again")


def test_folder_that_is_no_bundle_is_refused(tmp_path: Path, node: Path) -> None:
    refused(tmp_path, node, r"no manifest\.json in it or in its parts; name the folder that holds part-001")


def test_folder_of_something_else_is_not_installed_into(small_bundle: Path, node: Path, cache: Path) -> None:
    node.mkdir(parents=True)
    (node / "thesis.tex").touch()
    with pytest.raises(
        UnbundleError, match="is there already, and unbundle did not make it; name another folder"
    ):
        unbundle(small_bundle, node, lambda _: None)
    assert [path.name for path in node.iterdir()] == ["thesis.tex"]
    assert not cache.exists()


def test_interruption_leaves_nothing(small_bundle: Path, node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(script, "_install", interrupt)
    assert script.main([str(small_bundle), "--into", str(node)]) == 130
    assert list(node.parent.iterdir()) == []


def test_disk_that_fails_is_one_line(
    small_bundle: Path, node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "some/file")

    monkeypatch.setattr(script, "_install", fail)
    assert script.main([str(small_bundle), "--into", str(node)]) == 1
    assert capsys.readouterr().err.endswith(
        "unbundle: some/file: No space left on device; mend that, and start again\n"
    )
