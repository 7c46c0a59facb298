"""Which wheels another machine needs, and how they are had.

`uv` says which of the locked versions a target needs, `pip` downloads them, by hash. Both ask the index that they are
configured with.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
from harness.bundling.unbundle import PLATFORMS, PROVIDED, Provided
from harness.errors import BundleError, UnknownNameError, UsageError, printable

__all__ = ["Target", "build_wheel", "download", "locked_hashes", "provided", "requirements", "source_tree"]

LOCK = "requirements.lock"
NEWEST_GLIBC = 28
"""Minor version of the oldest glibc 2 that a target may have; newer ones run its wheels as well."""
_OLD_NAMES = ("manylinux2014", "manylinux2010", "manylinux1")


@dataclass(frozen=True, kw_only=True)
class Target:
    """The machine that a bundle is for."""

    python: str
    """E.g. ``3.12``."""
    platform: str
    """One of `PLATFORMS`."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"3\.(1[1-9]|[2-9][0-9])", self.python):
            raise UsageError(f"--python {printable(repr(self.python))}: write 3.11 or a newer one, e.g. 3.12")
        if self.platform not in PLATFORMS:
            raise UnknownNameError("platform", self.platform, PLATFORMS)

    @property
    def machine(self) -> str:
        """E.g. ``x86_64``."""
        return self.platform.rpartition("-")[2]


def source_tree() -> Path:
    """The checkout that the harness runs from.

    Raises:
        BundleError: it runs from somewhere else, where the locked versions are not known.
    """
    tree = Path(harness.__file__).parents[1]
    if not all((tree / name).is_file() for name in ("pyproject.toml", LOCK)):
        raise BundleError(
            f"{printable(tree)} is no source tree with {LOCK}; make bundles in a clone of the repository (nox -s dev)"
        )
    return tree


def provided(tree: Path) -> tuple[Provided, ...]:
    """What a bundle without torch leaves to the node, with the oldest version that will do."""
    oldest = dict(
        line.split(">=") for line in _project(tree)["dependencies"] if line.split(">=")[0] in PROVIDED
    )
    tested = {pin.split("==")[0]: pin.split("==")[1] for pin in locked_hashes(tree)}
    return tuple(Provided(name=name, at_least=oldest[name], tested=tested[name]) for name in PROVIDED)


def requirements(
    tree: Path, target: Target, *, extras: Sequence[str], leave_out: Iterable[str] = ()
) -> list[str]:
    """What a target needs, as ``name==version`` of the lock.

    Args:
        tree: see `source_tree`.
        target: the machine.
        extras: of the project.
        leave_out: distributions that are left out, with everything that only they need.

    Raises:
        UnknownNameError: there is no such extra.
        BundleError: uv is missing or finds no solution.
    """
    known = _project(tree)["optional-dependencies"]
    for extra in extras:
        if extra not in known:
            raise UnknownNameError("extra", extra, known)
    with tempfile.TemporaryDirectory() as folder:
        never = Path(folder, "never.txt")
        never.write_text("".join(f"{name} ; python_version < '0'\n" for name in leave_out), "utf-8")
        command = (
            *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate", "pyproject.toml"),
            *(
                "--python-version",
                target.python,
                "--python-platform",
                f"{target.machine}-manylinux_2_{NEWEST_GLIBC}",
            ),
            *("--constraint", LOCK, "--overrides", str(never)),
            *(word for extra in extras for word in ("--extra", extra)),
        )
        lines = _run(command, tree, "which wheels are needed cannot be found out").splitlines()
    return [line.partition(";")[0].strip() for line in lines if line and not line.startswith("#")]


def locked_hashes(tree: Path) -> Mapping[str, list[str]]:
    """``name==version`` -> the options ``--hash=...`` of the lock."""
    hashes: dict[str, list[str]] = {}
    for line in (tree / LOCK).read_text("utf-8").splitlines():
        if match := re.match(r"([a-z0-9._-]+==[^ ;]+)", line):
            pin = hashes.setdefault(match[0], [])
        elif match := re.match(r"    (--hash=sha256:[0-9a-f]{64})", line):
            pin.append(match[1])
    return hashes


def download(pins: Sequence[str], tree: Path, target: Target, into: Path) -> None:
    """Download wheels for a target into a folder, each with a hash of the lock.

    Raises:
        BundleError: a pin is not in the lock, a wheel cannot be had, or there is no pip.
    """
    hashes = locked_hashes(tree)
    if unknown := [pin for pin in pins if pin not in hashes]:
        raise BundleError(f"{', '.join(unknown)}: not in {LOCK}; renew it with nox -s lock")
    into.mkdir(parents=True, exist_ok=True)
    platforms = [f"manylinux_2_{minor}_{target.machine}" for minor in range(NEWEST_GLIBC, 4, -1)]
    platforms += [f"{name}_{target.machine}" for name in _OLD_NAMES]
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder, "wanted.txt")
        wanted.write_text("".join(f"{' '.join((pin, *hashes[pin]))}\n" for pin in pins), "utf-8")
        command = (
            *(
                *_pip(),
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-deps",
                "--only-binary=:all:",
            ),
            *("--python-version", target.python, "--implementation", "cp"),
            *(word for platform in platforms for word in ("--platform", platform)),
            *("--require-hashes", "--requirement", str(wanted), "--dest", str(into)),
        )
        _run(command, tree, "a wheel cannot be had")


def build_wheel(tree: Path, into: Path) -> None:
    """Build the harness itself as a wheel into a folder.

    Raises:
        BundleError: it cannot be built.
    """
    command = (
        "uv",
        "build",
        "--quiet",
        "--wheel",
        "--no-create-gitignore",
        "--out-dir",
        str(into),
        str(tree),
    )
    _run(command, tree, "the harness cannot be built")


def _pip() -> tuple[str, ...]:
    if importlib.util.find_spec("pip"):
        return (sys.executable, "-m", "pip")
    return (shutil.which("uv") or "uv", "tool", "run", "pip")


def _project(tree: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((tree / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _run(command: Sequence[str], tree: Path, failure: str) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise BundleError(
            f"{failure}: there is no {command[0]}; install it with: pip install {command[0]}"
        ) from error
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise BundleError(f"{failure}; {Path(command[0]).name} says:\n{said}")
    return done.stdout
