"""Pack files into parts of a limited size, with a manifest that says what lies where.

Layout of a bundle::

    manifest.json             what it holds, for whom; see `harness.bundling.unbundle.Manifest`
    part-001/unbundle.py      installs it, with nothing but Python
    part-NNN/manifest.json    the same as above, so that every part tells what it belongs to
    part-NNN/wheels/ cifar10/ upstream/
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import harness
from harness.atomic import storing
from harness.bundling import unbundle, wheels
from harness.bundling.unbundle import FORMAT, MANIFEST, File, Manifest, Piece
from harness.bundling.wheels import Target
from harness.environment import git_state
from harness.errors import BundleError, UsageError, printable

__all__ = ["Content", "make_bundle", "pack", "parse_size", "upstream_contents", "wheel_contents"]

_UNITS = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_MANIFEST_STEP_BYTES = 4096
_UNKNOWN = "0" * 64
"""In place of a digest, as long as one."""


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file that goes into a bundle."""

    path: str
    """What it is called there; see `harness.bundling.unbundle.KINDS`."""
    what: str
    source: Path


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """A run of bytes of a content, for one part."""

    path: str
    start: int
    size_bytes: int


def parse_size(text: str) -> int:
    """``"52MiB"`` -> 54525952; units are B, kB, MB, GB, KiB, MiB and GiB, in whatever case.

    Raises:
        UsageError: it is no size, or zero.
    """
    match = re.fullmatch(r"\s*([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([a-z]*)\s*", text.lower())
    size = int(float(match[1]) * _UNITS.get(match[2] or "b", 0)) if match else 0
    if size <= 0:
        raise UsageError(
            f"--part-size {printable(repr(text))}: write a size with its unit, e.g. 52MiB or 1GB"
        )
    return size


def upstream_contents(keys: Iterable[str]) -> list[Content]:
    """The pinned files of other repositories that models need, fetched where they are not on this machine.

    Raises:
        UnknownNameError: there is no such model.
        ModelError: a file cannot be had.
    """
    from harness.models import find
    from harness.models.upstream import fetch

    files = dict.fromkeys(file for key in keys if (file := find(key).upstream) is not None)
    # as they lie in the harness's cache
    return [
        Content(path=f"upstream/{file.name}@{file.commit}/{file.path}", what="upstream", source=fetch(file))
        for file in files
    ]


def wheel_contents(folder: Path) -> list[Content]:
    """Every wheel in a folder."""
    return [
        Content(path=f"wheels/{file.name}", what="wheel", source=file)
        for file in sorted(folder.glob("*.whl"))
    ]


def make_bundle(
    folder: Path,
    target: Target,
    *,
    part_size_bytes: int,
    with_torch: bool,
    extras: Sequence[str] = (),
    others: Sequence[Content] = (),
    say: Callable[[str], None],
) -> Manifest:
    """Write a bundle of the harness, of the wheels that it needs, and of other files.

    Args:
        folder: where; it is made, or an earlier bundle there is replaced.
        target: the machine that it is for.
        part_size_bytes: what the files of a part may have together.
        with_torch: otherwise torch and torchvision are left to the node, with everything that only they need.
        extras: of the project.
        others: data and code of other repositories.
        say: hears of every step.

    Raises:
        UsageError: the folder holds something else, or the parts are too small.
        BundleError: a wheel cannot be had or built.
        StorageError: the folder cannot be written.
    """
    _check_is_ours(folder)
    tree = wheels.source_tree()
    everything = wheels.requirements(tree, target, extras=extras)
    provided = () if with_torch else wheels.provided(tree)
    leave_out = [each.name for each in provided]
    needed = wheels.requirements(tree, target, extras=extras, leave_out=leave_out) if provided else everything
    commit, modified = git_state(tree)
    with _beside(folder, "wheels") as downloads:
        say(f"getting {len(needed)} wheels for Python {target.python} on {target.platform}")
        wheels.download(needed, tree, target, downloads)
        wheels.build_wheel(tree, downloads)
        description = Manifest(
            format=FORMAT,
            harness=harness.__version__,
            commit=commit,
            modified=modified,
            python=target.python,
            platform=target.platform,
            part_size_bytes=part_size_bytes,
            extras=tuple(extras),
            provided=provided,
            left_out=tuple(sorted(set(everything) - set(needed))),
            files=(),
        )
        say("packing")
        return pack(folder, description, [*wheel_contents(downloads), *others])


def pack(folder: Path, description: Manifest, contents: Sequence[Content]) -> Manifest:
    """Write files and the script that installs them as a bundle; it appears whole or not at all.

    Args:
        folder: where; it is made, or an earlier bundle there is replaced.
        description: a manifest without files.
        contents: the files.

    Returns:
        The manifest with them.

    Raises:
        UsageError: the folder holds something else, or the parts are too small.
        StorageError: it cannot be written.
    """
    _check_is_ours(folder)
    script = Content(path="unbundle.py", what="script", source=Path(unbundle.__file__))
    with _beside(folder, "bundle") as hidden, storing(folder):
        layout, reserve = _fitting_layout([script, *contents], description)
        bundle = hidden / "bundle"
        manifest = _with_files(
            description,
            [_write_pieces(content, slices, bundle) for content, slices in layout],
        )
        text = _to_json(manifest)
        assert len(text) <= reserve
        for place in (bundle, *(bundle / part for part in manifest.parts)):
            (place / MANIFEST).write_bytes(text)
        # as the node will
        assert unbundle.read_manifest(bundle) == (manifest, text)
        unbundle.check_pieces(bundle, manifest)
        old = hidden / "old"
        if folder.exists():
            folder.rename(old)
        try:
            bundle.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    return manifest


def _check_is_ours(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and (not any(folder.iterdir()) or unbundle.is_bundle(folder))):
        return
    raise UsageError(f"{printable(folder)} is there already, and is no bundle; name another folder with -o")


@contextmanager
def _beside(folder: Path, purpose: str) -> Iterator[Path]:
    """A hidden folder beside another, removed in the end, and what a killed process left of it before."""
    hidden = folder.absolute().with_name(f".{folder.absolute().name}.{purpose}.partial")
    shutil.rmtree(hidden, ignore_errors=True)
    with storing(hidden):
        hidden.mkdir(parents=True)
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


_Layout = list[tuple[Content, list[_Slice]]]


def _fitting_layout(contents: Sequence[Content], description: Manifest) -> tuple[_Layout, int]:
    """Which bytes go into which part, and how many of each part are kept for the manifest."""
    reserve = _MANIFEST_STEP_BYTES
    while True:
        room = description.part_size_bytes - reserve
        if room < contents[0].source.stat().st_size + _MANIFEST_STEP_BYTES:
            raise UsageError(
                f"--part-size: {description.part_size_bytes} bytes are too few, as the manifest alone takes {reserve} of every part; "
                "write a larger size, e.g. 52MiB"
            )
        layout = _lay_out(contents, room)
        size = len(_to_json(_with_files(description, [_without_digests(*row) for row in layout])))
        if size <= reserve:
            return layout, reserve
        reserve = -(-size // _MANIFEST_STEP_BYTES) * _MANIFEST_STEP_BYTES


def _lay_out(contents: Sequence[Content], room: int) -> _Layout:
    """First fit, largest first; what is larger than a part is cut into chunks. The first content goes into part 1."""
    script, rest = contents[0], contents[1:]
    used = [script.source.stat().st_size]
    places: dict[str, list[_Slice]] = {
        script.path: [_Slice(path=f"part-001/{script.path}", start=0, size_bytes=used[0])]
    }
    chunks = [
        (content, start, size)
        for content in rest
        for start, size in _cut(content.source.stat().st_size, room)
    ]
    for content, start, size in sorted(chunks, key=lambda chunk: (-chunk[2], chunk[0].path, chunk[1])):
        part = next((number for number, taken in enumerate(used) if taken + size <= room), len(used))
        used[part:] = used[part:] or [0]
        used[part] += size
        num_chunks = -(-content.source.stat().st_size // room)
        suffix = f".chunk-{start // room + 1:03d}-of-{num_chunks:03d}" if num_chunks > 1 else ""
        piece = _Slice(path=f"part-{part + 1:03d}/{content.path}{suffix}", start=start, size_bytes=size)
        places.setdefault(content.path, []).append(piece)
    return [(content, sorted(places[content.path], key=lambda piece: piece.start)) for content in contents]


def _cut(size: int, room: int) -> list[tuple[int, int]]:
    """Starts and sizes of chunks; an empty file is one of no bytes."""
    return [(start, min(room, size - start)) for start in range(0, size, room)] or [(0, 0)]


def _write_pieces(content: Content, slices: Sequence[_Slice], bundle: Path) -> File:
    whole, pieces = hashlib.sha256(), []
    with content.source.open("rb") as file:
        for piece in slices:
            digest, left = hashlib.sha256(), piece.size_bytes
            target = bundle / piece.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                while left and (block := file.read(min(left, 2**20))):
                    left -= len(block)
                    whole.update(block)
                    digest.update(block)
                    out.write(block)
            if left:
                raise BundleError(
                    f"{printable(content.source)} became shorter while it was read; start again"
                )
            pieces.append(Piece(path=piece.path, size_bytes=piece.size_bytes, sha256=digest.hexdigest()))
    return _file(content, pieces, whole.hexdigest())


def _without_digests(content: Content, slices: Sequence[_Slice]) -> File:
    pieces = [Piece(path=piece.path, size_bytes=piece.size_bytes, sha256=_UNKNOWN) for piece in slices]
    return _file(content, pieces, _UNKNOWN)


def _file(content: Content, pieces: Sequence[Piece], sha256: str) -> File:
    size = sum(piece.size_bytes for piece in pieces)
    return File(path=content.path, what=content.what, size_bytes=size, sha256=sha256, pieces=tuple(pieces))


def _with_files(description: Manifest, files: Iterable[File]) -> Manifest:
    fields = {name: getattr(description, name) for name in description.__dataclass_fields__}
    return Manifest(**fields | {"files": tuple(files)})


def _to_json(manifest: Manifest) -> bytes:
    return (json.dumps(asdict(manifest), indent=1) + "\n").encode()
