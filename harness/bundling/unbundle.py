"""Install what `harness bundle` packed, on a machine without network.

One file of the standard library alone: a copy of it is in every bundle, and runs before anything is installed::

    python3 BUNDLE/part-001/unbundle.py --into harness-env

Every byte is compared with its digest first. Then the wheels go into a new virtual environment, CIFAR-10 and the
code of other repositories to where the harness looks for them. It can be run again at any time.

The environment is a new one because it can appear by a rename, whole or not at all, because nothing of the node is
changed by it, and because `harness` in it works without any variable. Where torch was left out of the bundle, a
``.pth`` file in it names the packages of the Python that runs this script: they come after its own. (``venv
--system-site-packages`` would name those of the Python beneath, and miss torch where it is in a virtual environment.)
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

if sys.version_info < (3, 11):  # noqa: UP036 - a node may have an older one
    sys.exit("unbundle: this Python is too old; run it with 3.11 or newer")

__all__ = [
    "FORMAT",
    "KINDS",
    "MANIFEST",
    "PLATFORMS",
    "PROVIDED",
    "File",
    "Manifest",
    "Piece",
    "Provided",
    "UnbundleError",
    "check_pieces",
    "is_bundle",
    "main",
    "read_manifest",
    "unbundle",
]

FORMAT = "resnet-repro-harness bundle 1"
MANIFEST = "manifest.json"
MARKER = "harness-bundle.json"
"""In an environment that was made here: the manifest of its bundle."""
PLATFORMS = ("linux-x86_64", "linux-aarch64")
PROVIDED = ("torch", "torchvision")
"""What a bundle may leave to the node."""
KINDS = {
    "script": re.compile(r"unbundle\.py"),
    "wheel": re.compile(r"wheels/[^/]+\.whl"),
    "data": re.compile(r"cifar10/[^/]+\.npy"),
    "upstream": re.compile(r"upstream/[^/]+@[0-9a-f]{40}/.+"),
}
"""What a file is -> what its path looks like."""

_MAX_MANIFEST_BYTES = 16 * 2**20
_PART = re.compile(r"part-[0-9]{3,4}")
_NAME = re.compile(r"[A-Za-z0-9_.+@=!-]{1,200}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}")
_PLACES = """
import json, sys
import harness.cli
from harness.data import cache_folder
from harness.models import upstream
sys.stdout.write(json.dumps([str(cache_folder()), str(upstream.cache_folder())]))
"""


class UnbundleError(Exception):
    """The bundle is not whole, or cannot be installed here; the message names what, and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A file that lies in a part: all of a `File`, or a chunk of it."""

    path: str
    """Below the bundle, with forward slashes; the first name is that of the part."""
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        _check_path(self.path)
        _check_digest(self.path, self.size_bytes, self.sha256)
        if not _PART.fullmatch(self.part):
            raise UnbundleError(f"{MANIFEST}: path {self.path!r} is in no part")

    @property
    def part(self) -> str:
        """Name of the part, e.g. ``part-001``."""
        return self.path.partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class File:
    """What is carried, whole."""

    path: str
    what: str
    """A key of `KINDS`."""
    size_bytes: int
    sha256: str
    pieces: tuple[Piece, ...]
    """In order; together they are the file."""

    def __post_init__(self) -> None:
        _check_path(self.path)
        _check_digest(self.path, self.size_bytes, self.sha256)
        if self.what not in KINDS or not KINDS[self.what].fullmatch(self.path):
            raise UnbundleError(f"{MANIFEST}: {self.path!r} cannot be a file of kind {self.what!r}")
        if not self.pieces or sum(piece.size_bytes for piece in self.pieces) != self.size_bytes:
            raise UnbundleError(
                f"{MANIFEST}: the pieces of {self.path!r} do not make {self.size_bytes} bytes"
            )


@dataclass(frozen=True, kw_only=True)
class Provided:
    """A distribution that the node must have."""

    name: str
    at_least: str
    """Oldest version that will do."""
    tested: str
    """The version in the lock."""

    def __post_init__(self) -> None:
        if self.name not in PROVIDED or not _VERSION.fullmatch(self.at_least):
            raise UnbundleError(
                f"{MANIFEST}: provided {self.name!r} {self.at_least!r} is none of {', '.join(PROVIDED)} with a version"
            )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in a bundle, and for whom."""

    format: str
    harness: str
    """Version."""
    commit: str | None
    """Of the source tree, where it is a git checkout."""
    modified: bool | None
    """Whether that tree differed from the commit."""
    python: str
    """E.g. ``3.12``."""
    platform: str
    part_size_bytes: int
    extras: tuple[str, ...]
    provided: tuple[Provided, ...]
    left_out: tuple[str, ...]
    """Every distribution, as ``name==version``, that is not in it since the node has torch."""
    files: tuple[File, ...]

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise UnbundleError(
                f"{MANIFEST}: its format is {self.format!r}, and this reads {FORMAT!r}; use the unbundle.py in the bundle"
            )
        for paths in (
            [file.path for file in self.files],
            [piece.path for file in self.files for piece in file.pieces],
        ):
            if len({path.lower() for path in paths}) != len(paths):
                raise UnbundleError(f"{MANIFEST}: names a path twice; make the bundle anew")

    @property
    def parts(self) -> list[str]:
        """Names of the parts, in order."""
        return sorted(
            {piece.part for file in self.files for piece in file.pieces}, key=lambda part: int(part[5:])
        )


def read_manifest(folder: Path) -> tuple[Manifest, bytes]:
    """The manifest of a bundle and its bytes, which are the same in every part that is there.

    Raises:
        UnbundleError: there is none, they differ, or it is not sound.
    """
    root = folder.resolve()
    copies = [path for path in (root / MANIFEST, *sorted(root.glob(f"part-*/{MANIFEST}"))) if path.exists()]
    if not copies:
        raise UnbundleError(
            f"{folder}: no {MANIFEST} in it or in its parts; name the folder that holds part-001"
        )
    contents = []
    for path in copies:
        if not _is_regular(path) or path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise UnbundleError(f"{path} is no manifest of a bundle; copy the bundle again")
        contents.append(path.read_bytes())
        if contents[-1] != contents[0]:
            raise UnbundleError(
                f"{path} differs from {copies[0]}: one of them is damaged or of another bundle; copy both again"
            )
    try:
        return _parse(json.loads(contents[0])), contents[0]
    except (ValueError, RecursionError) as error:
        raise UnbundleError(f"{copies[0]} is not JSON; copy the bundle again") from error


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a manifest of a bundle, of whatever format."""
    try:
        return b'"format": "resnet-repro-harness bundle' in (folder / MANIFEST).read_bytes()[:200]
    except OSError:
        return False


def check_pieces(folder: Path, manifest: Manifest) -> None:
    """Compare every file of every part with its size and digest.

    Raises:
        UnbundleError: a part or file is missing, truncated, changed, or a symbolic link; all are named.
    """
    root = folder.resolve()
    parts = manifest.parts
    missing = [part for part in parts if not (root / part).is_dir()]
    if missing:
        raise UnbundleError(
            f"{folder}: {', '.join(missing)} of {len(parts)} parts missing; copy them there, and start again"
        )
    pieces = [piece for file in manifest.files for piece in file.pieces]
    problems = [f"{piece.path}: {reason}" for piece in pieces if (reason := _problem(root, piece))]
    if problems:
        more = [f"and {len(problems) - 10} more"] if len(problems) > 10 else []
        named = "\n".join([*problems[:10], *more])
        raise UnbundleError(f"{named}\ncopy these files into {folder} again, and start again")


def unbundle(folder: Path, into: Path, say: Callable[[str], None]) -> Path:
    """Install a bundle, for the Python that runs this.

    Args:
        folder: the bundle: holds all parts.
        into: folder of the virtual environment, new or made by an earlier call.
        say: hears of every step.

    Returns:
        The command `harness` in the environment.

    Raises:
        UnbundleError: the bundle is not whole or not for this machine; nothing was installed.
        OSError: a file cannot be read or written.
    """
    into = into.absolute()
    manifest, content = read_manifest(folder)
    _check_machine(manifest)
    _check_provided(manifest)
    _check_target(into)
    total = sum(file.size_bytes for file in manifest.files)
    say(f"checking {len(manifest.files)} files in {len(manifest.parts)} parts, {total / 2**20:.1f} MiB")
    check_pieces(folder, manifest)
    root = folder.resolve()
    if _is_installed(into, content):
        say(f"{into} has what is in this bundle already")
        _place(root, manifest, _places(into), say)
    else:
        with _hidden(into) as hidden:
            say(f"installing {sum(file.what == 'wheel' for file in manifest.files)} wheels")
            _install(root, manifest, hidden, into.name)
            _place(root, manifest, _places(hidden), say)
            _finish(hidden, into, content)
    return _programs(into) / "harness"


def _parse(table: Any) -> Manifest:
    """The manifest of a JSON object; paths and values are checked by the classes."""

    def get(table: Any, key: str, *kinds: type) -> Any:
        value = table.get(key) if isinstance(table, dict) else None
        if type(value) not in kinds:
            raise UnbundleError(f"{MANIFEST}: {key} is {str(value)[:50]!r}; copy the bundle again")
        return value

    def texts(key: str) -> tuple[str, ...]:
        return tuple(str(text) for text in get(table, key, list))

    return Manifest(
        format=get(table, "format", str),
        harness=get(table, "harness", str),
        commit=get(table, "commit", str, type(None)),
        modified=get(table, "modified", bool, type(None)),
        python=get(table, "python", str),
        platform=get(table, "platform", str),
        part_size_bytes=get(table, "part_size_bytes", int),
        extras=texts("extras"),
        provided=tuple(
            Provided(**{key: get(row, key, str) for key in ("name", "at_least", "tested")})
            for row in get(table, "provided", list)
        ),
        left_out=texts("left_out"),
        files=tuple(
            File(
                path=get(row, "path", str),
                what=get(row, "what", str),
                size_bytes=get(row, "size_bytes", int),
                sha256=get(row, "sha256", str),
                pieces=tuple(
                    Piece(
                        path=get(piece, "path", str),
                        size_bytes=get(piece, "size_bytes", int),
                        sha256=get(piece, "sha256", str),
                    )
                    for piece in get(row, "pieces", list)
                ),
            )
            for row in get(table, "files", list)
        ),
    )


def _check_path(path: str) -> None:
    """Refuse whatever could lead out of the folder that it is below."""
    names = path.split("/")
    if len(path) > 500 or not all(_NAME.fullmatch(name) and name not in {".", ".."} for name in names):
        raise UnbundleError(
            f"{MANIFEST}: path {path[:200]!r} is refused: it must lie below the bundle; do not trust it"
        )


def _check_digest(path: str, size_bytes: int, sha256: str) -> None:
    if size_bytes < 0 or not _SHA256.fullmatch(sha256):
        raise UnbundleError(f"{MANIFEST}: {path!r} has no size and SHA-256; copy the bundle again")


def _check_machine(manifest: Manifest) -> None:
    python, machine = platform.python_version_tuple(), f"{sys.platform}-{platform.machine()}"
    if ".".join(python[:2]) != manifest.python:
        raise UnbundleError(
            f"this is Python {'.'.join(python)}, and the bundle is for {manifest.python!r}; run unbundle.py with that one, "
            f"or make a bundle with --python {'.'.join(python[:2])}"
        )
    if machine != manifest.platform:
        raise UnbundleError(
            f"this machine is {machine}, and the bundle is for {manifest.platform!r}; make another with --platform"
        )


def _check_provided(manifest: Manifest) -> None:
    """What was left out must be here, in a version that will do; of a pre-release, its release counts."""
    for wanted in manifest.provided:
        remedy = (
            f"install {wanted.name} {wanted.at_least} or newer (tested: {wanted.tested}), run unbundle.py with a Python that has "
            "it, or make a bundle --with-torch"
        )
        try:
            found = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            raise UnbundleError(
                f"{sys.executable} has no {wanted.name}, and it was left out of the bundle; {remedy}"
            ) from None
        if _release(found) < _release(wanted.at_least):
            raise UnbundleError(f"{sys.executable} has {wanted.name} {found}, which is too old; {remedy}")


def _release(version: str) -> tuple[int, ...]:
    match = _VERSION.match(version)
    return tuple(int(number) for number in match[0].split(".")) if match else ()


def _check_target(into: Path) -> None:
    """Only a folder that is new, empty, or of an earlier call is written."""
    if into.is_symlink() or (into.exists() and not (into / MARKER).is_file() and not _is_empty(into)):
        raise UnbundleError(
            f"{into} is there already, and unbundle did not make it; name another folder with --into"
        )


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _is_regular(path: Path) -> bool:
    """Whether it is a file, reached through no symbolic link below a folder that is resolved."""
    return os.path.realpath(path) == str(path) and path.is_file()


def _problem(root: Path, piece: Piece) -> str | None:
    path = root / piece.path
    if not path.exists():
        return "missing"
    if not _is_regular(path):
        return "no regular file, or reached through a symbolic link"
    if (size := path.stat().st_size) != piece.size_bytes:
        return (
            f"{'truncated' if size < piece.size_bytes else 'too long'}: {size} bytes, not {piece.size_bytes}"
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return None if found == piece.sha256 else f"damaged: SHA-256 {found}, not {piece.sha256}"


@contextmanager
def _hidden(path: Path) -> Iterator[Path]:
    """A folder beside a path in which to make what it will be; removed in the end, and what a killed call left before."""
    hidden = path.with_name(f".{path.name}.partial")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _join(root: Path, file: File, target: Path) -> Path:
    """Write a file from its pieces, and compare it with its digest once more."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for piece in file.pieces:
            with (root / piece.path).open("rb") as part:
                while block := part.read(2**20):
                    digest.update(block)
                    out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != file.sha256:
        target.unlink()
        raise UnbundleError(f"{file.path}, put together, is not what was packed; make the bundle anew")
    return target


def _install(root: Path, manifest: Manifest, hidden: Path, prompt: str) -> None:
    """Make a virtual environment and install the wheels into it, each named as a file: nothing is looked for."""
    has_pip = importlib.util.find_spec("pip") is not None
    if not has_pip and importlib.util.find_spec("ensurepip") is None:
        raise UnbundleError(f"{sys.executable} has neither pip nor ensurepip; use a Python that has one")
    venv.EnvBuilder(symlinks=os.name != "nt", with_pip=not has_pip, prompt=prompt).create(hidden)
    python = str(_python(hidden))
    if manifest.provided:
        _see_packages_of_this_python(hidden)
    joined = hidden / "joined"
    wheels = [
        root / file.pieces[0].path if len(file.pieces) == 1 else _join(root, file, joined / file.path)
        for file in manifest.files
        if file.what == "wheel"
    ]
    pip = [sys.executable, "-m", "pip", "--python", python] if has_pip else [python, "-m", "pip"]
    options = ("--no-index", "--no-deps", "--ignore-installed", "--no-cache-dir", "--no-input", "--quiet")
    # what a person configured, an index or a folder to install to, is for other occasions
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    _run(
        [*pip, "--disable-pip-version-check", "install", *options, *map(str, wheels)],
        environment | {"PIP_CONFIG_FILE": os.devnull},
    )
    shutil.rmtree(joined, ignore_errors=True)
    if manifest.provided:
        _run([python, "-P", "-c", f"import {', '.join(wanted.name for wanted in manifest.provided)}"])


def _see_packages_of_this_python(environment: Path) -> None:
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    calls = "; ".join(f"site.addsitedir({folder!r})" for folder in folders if os.path.isdir(folder))  # noqa: PTH112
    packages = next(environment.glob("[Ll]ib/**/site-packages"))
    # z: after what packages of the environment itself put on the path
    (packages / "zz_packages_of_the_node.pth").write_text(f"import site; {calls}\n", encoding="utf-8")


def _programs(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin")


def _python(environment: Path) -> Path:
    return _programs(environment) / ("python.exe" if os.name == "nt" else "python")


def _run(command: Sequence[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise UnbundleError(
            f"{' '.join(command[1:4])} ... failed in the new environment; nothing was installed:\n"
            + "\n".join(said[-5:])
        )
    return done.stdout


def _places(environment: Path) -> tuple[Path, Path]:
    """Where the harness in an environment looks for data and for code of other repositories; it alone knows."""
    data, upstream = json.loads(_run([str(_python(environment)), "-P", "-c", _PLACES]))
    return Path(data), Path(upstream)


def _is_installed(into: Path, content: bytes) -> bool:
    try:
        if (into / MARKER).read_bytes() != content:
            return False
        _places(into)
    except (OSError, UnbundleError):
        return False
    return True


def _place(root: Path, manifest: Manifest, places: tuple[Path, Path], say: Callable[[str], None]) -> None:
    """Bring CIFAR-10 and code of other repositories to where the harness looks, unless the same is there."""
    data, upstream = places
    files = [file for file in manifest.files if file.what == "data"]
    if files and not all(_is_there(data / file.path, file) for file in files):
        say(f"putting CIFAR-10 into {data / 'cifar10'}")
        with _hidden(data / "cifar10") as hidden:
            for file in files:
                _join(root, file, hidden / Path(file.path).name)
            # a copy that differs is damaged: there is only one CIFAR-10, and the harness would replace it as well
            shutil.rmtree(data / "cifar10", ignore_errors=True)
            hidden.rename(data / "cifar10")
    for file in manifest.files:
        target = upstream / file.path.removeprefix("upstream/")
        if file.what == "upstream" and not _is_there(target, file):
            say(f"putting {target.name} into {target.parent}")
            with _hidden(target) as hidden:
                _join(root, file, hidden / target.name).replace(target)


def _is_there(path: Path, file: File) -> bool:
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return False
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest() == file.sha256


def _finish(hidden: Path, into: Path, content: bytes) -> None:
    """Give the environment its name, in its scripts too; one of an earlier bundle makes way."""
    for path in (hidden / "pyvenv.cfg", *_programs(hidden).iterdir()):
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes()
            path.write_bytes(text.replace(os.fsencode(hidden), os.fsencode(into)))
    (hidden / MARKER).write_bytes(content)
    if _is_empty(into):
        into.rmdir()
    if not into.exists():
        hidden.rename(into)
        return
    with _hidden(into.with_name(f"{into.name}.old")) as old:
        into.rename(old / into.name)
        try:
            hidden.rename(into)
        except OSError:
            (old / into.name).rename(into)
            raise


def _arguments(words: Iterable[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="unbundle.py", description="Install a bundle of the harness without network."
    )
    parser.add_argument(
        "bundle",
        nargs="?",
        type=Path,
        default=Path(__file__).resolve().parent.parent,
        help="folder that holds part-001, part-002, ...; default: the one that this script is in",
    )
    parser.add_argument(
        "--into",
        type=Path,
        default=Path("harness-env"),
        help="folder of the new virtual environment; default: %(default)s",
    )
    return parser.parse_args(None if words is None else list(words))


def main(words: Iterable[str] | None = None) -> int:
    """Run as a script; 0 done, 1 failed with a message on stderr, 130 interrupted."""

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    given = _arguments(words)
    try:
        harness = unbundle(given.bundle, given.into, say)
    except UnbundleError as error:
        say(f"unbundle: {error}")
        return 1
    except OSError as error:
        say(f"unbundle: {error.filename}: {error.strerror or error}; mend that, and start again")
        return 1
    except KeyboardInterrupt:
        say("unbundle: interrupted; start again")
        return 130
    sys.stdout.write(f"Installed. Next: {harness} reproduce smoke\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
