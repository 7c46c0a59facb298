"""Networks of one's own: ``package.module:factory``, or an entry point of the group ``harness.models``.

The contract: the factory is called without arguments and returns a `torch.nn.Module` that maps images
(N, 3, 32, 32) to logits (N, 10), in training and in evaluation, and has something to train. Its code is imported
only when the network is built; until then its files are only read.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, UsageError
from harness.models.entry import ModelEntry

if TYPE_CHECKING:
    from torch import nn

__all__ = ["GROUP", "added_by_packages", "entries_of_packages", "entry_of_factory"]

GROUP = "harness.models"
"""Of entry points: ``name = "package.module:factory"``."""

_NAME = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
_FACTORY = re.compile(rf"({_NAME}):({_NAME})")


def entry_of_factory(factory: str) -> ModelEntry:
    """The entry of ``package.module:factory``, looked for in the present folder and among what is installed.

    Raises:
        UsageError: it is written otherwise, or there is no such module.
    """
    # an installed command does not look there by itself, as `python -m` does
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
        importlib.invalidate_caches()
    return _entry(factory, factory, None)


def added_by_packages(key: str) -> ModelEntry | None:
    """The entry of an entry point, None if there is none.

    Raises:
        UsageError: it is none of a factory, or two packages have one of this name.
    """
    points = _entry_points().get(key, [])
    if len(points) > 1:
        packages = " and ".join(_package(point) for point in points)
        raise UsageError(f"model {key!r}: {packages} add a model of this name; uninstall one of them")
    return _entry(key, points[0].value, _package(points[0])) if points else None


def entries_of_packages() -> dict[str, ModelEntry]:
    """What installed packages add, by key; without what `added_by_packages` would refuse."""
    entries = {}
    for key in _entry_points():
        try:
            entry = added_by_packages(key)
        except UsageError:
            continue
        if entry is not None:
            entries[key] = entry
    return entries


@functools.cache
def _entry_points() -> dict[str, list[metadata.EntryPoint]]:
    points: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=GROUP):
        points.setdefault(point.name, []).append(point)
    return points


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "a package"


def _entry(key: str, factory: str, distribution: str | None) -> ModelEntry:
    label = f"model {key!r}" + (f", an entry point of {distribution}" if distribution else "")
    found = _FACTORY.fullmatch(factory)
    if found is None:
        raise UsageError(f"{label}: write package.module:factory, e.g. mynet:resnet20, not {factory!r}")
    module, attributes = found.groups()
    files = _python_files(label, module)
    return ModelEntry(
        key=key,
        source="own",
        distribution=distribution,
        code_sha256=_sha256(files),
        build=_builder(label, module, attributes, files),
    )


def _python_files(label: str, module: str) -> list[Path]:
    """Where a network's code is: all files of its package; of a module in the present folder, all of the folder.

    Raises:
        UsageError: there is no such module.
    """
    top, _, inner = module.partition(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        spec = None
    folders = list((spec and spec.submodule_search_locations) or ())
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.py"))]
    if spec is not None and not folders and spec.origin and Path(spec.origin).is_file():
        if inner:
            raise UsageError(f"{label}: {top} is a module and no package; write {top}:factory")
        only = Path(spec.origin)
        files = sorted(only.parent.glob("*.py")) if only.parent == Path.cwd() else [only]
    if not files:
        raise UsageError(
            f"{label}: there is no module {top!r} in {Path.cwd()} or among the installed packages"
        )
    return files


def _sha256(files: Sequence[Path]) -> str:
    """Of the names and contents of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _builder(label: str, module: str, attributes: str, files: Sequence[Path]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with _named(label, files):
            factory: Any = importlib.import_module(module)
            for attribute in attributes.split("."):
                factory = getattr(factory, attribute)
            network = factory()
        return _held_to_contract(network, label, files)

    return build


@contextmanager
def _named(label: str, files: Sequence[Path]) -> Iterator[None]:
    """Whatever somebody's code raises becomes one line: whose, what, and where in their files."""
    try:
        yield
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = [
            f"{frame.filename}, line {frame.lineno}" for frame in frames if Path(frame.filename) in files
        ]
        where = f" in {places[-1]}" if places else ""
        text = " ".join(str(error).split())
        raise ModelError(f"{label}: {type(error).__name__}{where}: {text}") from error


def _held_to_contract(network: object, label: str, files: Sequence[Path]) -> nn.Module:
    """The network, if it keeps the contract.

    Raises:
        ModelError: it breaks it; the message says how.
    """
    import torch
    from torch.nn.parameter import is_lazy

    if not isinstance(network, torch.nn.Module):
        raise ModelError(
            f"{label}: the factory returned {type(network).__name__}, not a torch.nn.Module; return the network"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError(f"{label}: no parameter requires a gradient, so there is nothing to train")
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    given = f"{label}, given images (2, 3, 32, 32)"
    if any(is_lazy(parameter) for parameter in network.parameters()):
        with _named(given, files), torch.no_grad():
            network.eval()(images)  # lazy modules learn their shapes
            network.train()
    for mode in ("training", "evaluation"):
        with _named(f"{given} in {mode}", files), torch.no_grad():
            # of a copy, because a forward pass moves statistics
            logits = copy.deepcopy(network).train(mode == "training")(images)
        if not isinstance(logits, torch.Tensor):
            raise ModelError(
                f"{label}: in {mode} it returns {type(logits).__name__}; return a tensor of logits (N, 10)"
            )
        if logits.shape != (2, 10) or not logits.is_floating_point():
            raise ModelError(
                f"{label}: for images (2, 3, 32, 32) in {mode} it returns {logits.dtype} of shape "
                f"{tuple(logits.shape)}; return logits (N, 10)"
            )
    return network
