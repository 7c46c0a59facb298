"""A small bundle: wheels that stand for the harness and for a dependency, data, and a file of another repository."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.bundling.bundle import Content, pack
from harness.bundling.unbundle import FORMAT, Manifest

UPSTREAM = f"upstream/owner+nets@{'0' * 40}/nets/resnet.py"
SMALL_PART = 128 * 1024

HARNESS = {
    "harness/__init__.py": "",
    "harness/cli.py": "def main():\n    import dependency\n    print('harness', dependency.ANSWER)\n",
    "harness/data.py": (
        "import os\nfrom pathlib import Path\n\n\ndef cache_folder():\n    return Path(os.environ['HARNESS_DATA_DIR'])\n"
    ),
    "harness/models/__init__.py": "",
    "harness/models/upstream.py": "from harness.data import cache_folder as root\n\n\ndef cache_folder():\n    return root() / 'up'\n",
}
"""As much of the harness as `unbundle` asks."""


def write_wheel(folder: Path, name: str, files: Mapping[str, str], entry_points: str = "") -> Path:
    """A wheel of pure Python, version 1.0."""
    info = f"{name}-1.0.dist-info"
    members = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **({f"{info}/entry_points.txt": entry_points} if entry_points else {}),
    }
    rows = []
    for path, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}\n")
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in members.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))
    return wheel


@pytest.fixture
def description() -> Manifest:
    """A manifest for this machine, without files."""
    return Manifest(
        format=FORMAT,
        harness="1.0",
        commit=None,
        modified=None,
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        platform=f"{sys.platform}-{platform.machine()}",
        part_size_bytes=SMALL_PART,
        extras=(),
        provided=(),
        left_out=(),
        files=(),
    )


@pytest.fixture
def contents(tmp_path: Path) -> list[Content]:
    """Wheels, one of them larger than a part, an array of more than two, and a file of another repository."""
    source = tmp_path / "source"
    wheels = [
        write_wheel(source, "harness", HARNESS, "[console_scripts]\nharness = harness.cli:main\n"),
        write_wheel(source, "dependency", {"dependency.py": "ANSWER = 42\n"}),
    ]
    large = write_wheel(source, "large", {"large.py": f"SIZE = len('{'x' * 200_000}')\n"})
    images, network = source / "train_images.npy", source / "resnet.py"
    images.write_bytes(bytes(range(256)) * 1200)
    network.write_text("class ResNet: ...\n", "utf-8")
    return [
        *(Content(path=f"wheels/{wheel.name}", what="wheel", source=wheel) for wheel in wheels),
        Content(path="cifar10/train_images.npy", what="data", source=images),
        Content(path=UPSTREAM, what="upstream", source=network),
        Content(path=f"wheels/{large.name}", what="wheel", source=large),
    ]


@pytest.fixture
def small_bundle(tmp_path: Path, description: Manifest, contents: list[Content]) -> Path:
    """A bundle of all that, in several parts."""
    pack(tmp_path / "bundle", description, contents)
    return tmp_path / "bundle"


@pytest.fixture
def rewrite(small_bundle: Path) -> Callable[[Callable[[Any], None]], None]:
    """A function that changes the manifest in every place, as somebody might who made the bundle."""

    def change(by: Callable[[Any], None]) -> None:
        table = json.loads((small_bundle / "manifest.json").read_bytes())
        by(table)
        for path in small_bundle.rglob("manifest.json"):
            path.write_text(json.dumps(table, indent=1), "utf-8")

    return change


@pytest.fixture
def with_size(description: Manifest) -> Callable[[int], Manifest]:
    """A function from a size of parts to such a manifest."""
    return lambda size: replace(description, part_size_bytes=size)
