"""Code of other people's repositories: one file at one pinned commit, verified, and loaded apart from everything.

Nothing runs that was not asked for and verified: the commit is named in full, the file by its SHA-256. It is had
through ``git``, so that mirrors, proxies and credentials that a person has configured there work; only the file is
kept. Clones that are on the machine already are used where they lie, see `use_clones_in`.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.atomic import write_atomically
from harness.environment import variables_for_git
from harness.errors import ModelError, UsageError, printable

__all__ = ["UpstreamFile", "cache_folder", "fetch", "is_here", "load_module", "read", "use_clones_in"]

GIT_TIMEOUT_SECONDS = 300
CLONES_VARIABLE = "HARNESS_UPSTREAM_DIR"


@dataclass(frozen=True, kw_only=True)
class UpstreamFile:
    """A file of a git repository at a pinned commit."""

    repository: str
    """URL to clone from, e.g. ``https://github.com/OWNER/NAME``."""
    commit: str
    """All 40 hexadecimal digits: a branch or tag could move."""
    path: str
    """Within the repository, with forward slashes."""
    sha256: str
    """Of the file's bytes."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{40}", self.commit):
            raise ModelError(
                f"{self.repository}: commit {self.commit!r} is not 40 hexadecimal digits; name it in full"
            )

    @property
    def name(self) -> str:
        """Folder name of the repository: its last two parts, ``OWNER+NAME``."""
        owner_and_name = self.repository.rstrip("/").removesuffix(".git").replace("\\", "/").split("/")[-2:]
        return re.sub(r"[^A-Za-z0-9._+-]", "-", "+".join(owner_and_name))


def cache_folder() -> Path:
    """Where fetched files are kept: ``upstream`` in the harness's cache."""
    import platformdirs

    return platformdirs.user_cache_path("resnet-repro-harness", appauthor=False) / "upstream"


def use_clones_in(folder: Path) -> None:
    """Look for files first in the clones that a folder holds, in this process and in those it starts.

    A clone is ``NAME``, ``OWNER/NAME`` or ``OWNER+NAME`` in it; the environment variable ``HARNESS_UPSTREAM_DIR``
    names such a folder too.

    Raises:
        UsageError: there is no such folder.
    """
    if not os.path.isdir(folder):  # noqa: PTH112 - is_dir() fails on a path that cannot be
        raise UsageError(
            f"{printable(folder)}: no such folder; name one that holds clones, as OWNER/NAME or NAME"
        )
    os.environ[CLONES_VARIABLE] = str(folder.resolve())


def read(file: UpstreamFile, *, cache: Path | None = None) -> bytes:
    """The verified bytes of a file that is on this machine, in a clone or else in the cache; nothing is fetched.

    Raises:
        ModelError: it is not there, or is not the pinned file.
    """
    place = _in_clones(file) or _in_cache(file, cache)
    if not place.is_file():
        raise ModelError(
            f"{file.path} of {file.repository} is not on this machine; fetch it with `harness models fetch`, or name "
            "a folder that has a clone with --upstream"
        )
    return _verified(file, place.read_bytes(), str(place))


def is_here(file: UpstreamFile, *, cache: Path | None = None) -> bool:
    """Whether the pinned file is in a clone or in the cache; a damaged one in the cache does not count.

    Raises:
        ModelError: a clone has another file in its place.
    """
    if clone := _in_clones(file):
        _verified(file, clone.read_bytes(), str(clone))
        return True
    place = _in_cache(file, cache)
    return place.is_file() and hashlib.sha256(place.read_bytes()).hexdigest() == file.sha256


def fetch(file: UpstreamFile, *, cache: Path | None = None) -> Path:
    """Get a file at its pinned commit through git into the cache, unless it is in a clone or there already.

    Returns:
        Where it lies.

    Raises:
        ModelError: git is missing, the repository or the commit cannot be had, or the file is not the pinned one.
    """
    place = _in_clones(file) or _in_cache(file, cache)
    if is_here(file, cache=cache):
        return place
    with tempfile.TemporaryDirectory() as folder:
        _git(file, folder, "init", "--quiet", "--bare")
        _git(file, folder, "config", "remote.origin.url", file.repository)
        # without contents, where the server can do so: the one file that is wanted comes with cat-file
        _git(
            file,
            folder,
            "fetch",
            "--quiet",
            "--depth=1",
            "--no-tags",
            "--filter=blob:none",
            "origin",
            file.commit,
        )
        content = _git(file, folder, "cat-file", "blob", f"{file.commit}:{file.path}")
    write_atomically(place, _verified(file, content, f"{file.path} of {file.repository} at {file.commit}"))
    return place


def load_module(
    file: UpstreamFile, *, classes_only: bool = False, cache: Path | None = None
) -> types.ModuleType:
    """Execute a verified file as a new module of its own.

    Each call executes it anew, so that what one model does to its classes does not reach another. While it runs,
    the module is known to ``sys.modules`` under a name that nothing else has, and afterwards no more.

    Args:
        file: which file; it must be on this machine, see `fetch`.
        classes_only: execute only its imports of torch, its functions and its classes, for scripts that train when
            they are imported.
        cache: in place of the harness's.

    Raises:
        ModelError: it is not there, is not the pinned file, or fails.
    """
    source = read(file, cache=cache)
    label = f"{file.repository}/{file.path}"
    try:
        tree = ast.parse(source, filename=label)
        if classes_only:
            tree.body = [node for node in tree.body if _defines(node)]
        code = compile(tree, label, "exec")
        module = types.ModuleType(f"_harness_upstream_{file.sha256[:16]}")
        with _known(module):
            exec(code, vars(module))  # noqa: S102 - pinned by SHA-256 and asked for; this is what the file is for
    except Exception as error:
        raise ModelError(f"{label} fails when it is loaded: {type(error).__name__}: {error}") from error
    return module


def _in_clones(file: UpstreamFile) -> Path | None:
    """The file in the first clone that has it, whatever its content."""
    if not (given := os.environ.get(CLONES_VARIABLE)):
        return None
    owner, _, name = file.name.partition("+")
    places = [Path(given) / clone / file.path for clone in (file.name, f"{owner}/{name}", name)]
    return next((place for place in places if os.path.isfile(place)), None)  # noqa: PTH113 - is_file() fails on a path that cannot be


def _in_cache(file: UpstreamFile, cache: Path | None) -> Path:
    return (cache or cache_folder()) / f"{file.name}@{file.commit}" / file.path


@contextmanager
def _known(module: types.ModuleType) -> Iterator[None]:
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        sys.modules.pop(module.__name__, None)


def _defines(node: ast.stmt) -> bool:
    """Whether a statement only defines, or imports from torch."""
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] == "torch" for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] == "torch"
    return isinstance(node, ast.FunctionDef | ast.ClassDef)


def _verified(file: UpstreamFile, content: bytes, where: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ModelError(f"{where} has SHA-256 {found}, not the pinned {file.sha256}; it is not loaded")
    return content


def _git(file: UpstreamFile, folder: str, *words: str) -> bytes:
    command = ["git", "-C", folder, "-c", "protocol.version=2", *words]
    # never ask for a password: there may be nobody to answer
    environment = variables_for_git() | {"GIT_TERMINAL_PROMPT": "0"}
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=GIT_TIMEOUT_SECONDS,
            env=environment,
        ).stdout
    except FileNotFoundError as error:
        raise ModelError(
            f"{file.repository}: git is not installed; install it, or name a folder that has a clone with --upstream"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"{file.repository}: git took more than {GIT_TIMEOUT_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().splitlines()
        raise ModelError(
            f"{file.repository} at {file.commit}: git {words[0]} failed ({reason[-1] if reason else error.returncode})"
        ) from error
