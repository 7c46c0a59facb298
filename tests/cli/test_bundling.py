"""The commands `bundle` and `unbundle`: what they ask of the packages below, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bundling import bundle as packing
from harness.bundling import unbundle as script
from harness.bundling.unbundle import UnbundleError

Harness = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["bundle", "-o", "b", "--part-size", "abc"], "--part-size 'abc': write a size with its unit"),
        (["bundle", "-o", "b", "--python", "3.9"], "--python '3.9': write 3.11 or a newer one"),
        (["bundle", "-o", "b", "--platform", "linux-arm"], "no platform named 'linux-arm'"),
        (["bundle", "-o", "b", "--models", "resnet21"], "no model named 'resnet21'"),
        (["unbundle", "no/such/folder"], "no/such/folder: no such folder"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], complaint: str, harness: Harness) -> None:
    code, out, err = harness(*arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_bundle_is_asked_for_and_shown(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def make_bundle(folder: Path, target: Any, **wishes: Any) -> script.Manifest:
        asked.update(wishes, folder=folder, python=target.python)
        pieces = (script.Piece(path="part-001/wheels/a.whl", size_bytes=3 * 2**20, sha256="0" * 64),)
        file = script.File(
            path="wheels/a.whl", what="wheel", size_bytes=3 * 2**20, sha256="0" * 64, pieces=pieces
        )
        return script.Manifest(
            format=script.FORMAT, harness="1", commit=None, modified=None, python="3.11", platform="linux-x86_64",
            part_size_bytes=1, extras=(), provided=(), left_out=("torch==2.15.0",), files=(file,),
        )  # fmt: skip

    monkeypatch.setattr(packing, "make_bundle", make_bundle)
    output = tmp_path / "b"
    code, out, _ = harness(
        "bundle", "-o", output, "--python", "3.11", "--no-data", "--without-torch", "--extra", "ray", "--part-size", "1kB"
    )  # fmt: skip
    assert code == 0
    assert asked.pop("say")
    assert asked == {
        "folder": output, "python": "3.11", "part_size_bytes": 1000, "with_torch": False, "extras": ["ray"], "others": [],
    }  # fmt: skip
    assert "Left to the other machine: torch==2.15.0" in out
    assert "python3.11 b/part-001/unbundle.py --into harness-env" in out


def test_unbundle_maps_errors_to_exit_code_1(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UnbundleError("part-002 of 3 parts missing")

    monkeypatch.setattr(script, "unbundle", fail)
    assert harness("unbundle", tmp_path) == (1, "", "harness: part-002 of 3 parts missing\n")


def test_unbundle_prints_the_next_command(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "unbundle", lambda folder, into, say: into / "bin" / "harness")
    code, out, err = harness("unbundle", tmp_path, "--into", "env")
    assert (code, out, err) == (0, "Installed. Next: env/bin/harness reproduce smoke\n", "")
