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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import ModelError, UsageError
from harness.models.entry import ModelEntry

if TYPE_CHECKING:
    from torch import nn

__all__ = ["GROUP", "entries_of_packages", "entry_of_factory"]

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


@functools.cache
def entries_of_packages() -> dict[str, ModelEntry]:
    """What installed packages add, by key.

    Raises:
        UsageError: an entry point is none of a factory; the message names its package.
    """
    return {
        point.name: _entry(point.name, point.value, point.dist.name if point.dist else None)
        for point in metadata.entry_points(group=GROUP)
    }


def _entry(key: str, factory: str, distribution: str | None) -> ModelEntry:
    label = f"model {key!r}" + (f", an entry point of {distribution}" if distribution else "")
    found = _FACTORY.fullmatch(factory)
    if found is None:
        raise UsageError(f"{label}: write package.module:factory, e.g. mynet:resnet20, not {factory!r}")
    module, attributes = found.groups()
    return ModelEntry(
        key=key,
        source="own",
        distribution=distribution,
        code_sha256=_code_sha256(label, module),
        build=_builder(label, module, attributes),
    )


def _code_sha256(label: str, module: str) -> str:
    """SHA-256 of the digests of a module's file; of one in a package, of all Python files of the package."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    files = [Path(spec.origin)] if spec and spec.origin and Path(spec.origin).is_file() else []
    for folder in (spec and spec.submodule_search_locations) or ():
        files += sorted(Path(folder).rglob("*.py"))
    if not files:
        raise UsageError(
            f"{label}: there is no module {top!r} in {Path.cwd()} or among the installed packages"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _builder(label: str, module: str, attributes: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with _named(label):
            factory = importlib.import_module(module)
        for attribute in attributes.split("."):
            if not hasattr(factory, attribute):
                raise ModelError(f"{label}: {module} has no {attributes}; name what makes the network")
            factory = getattr(factory, attribute)
        with _named(label):
            network: nn.Module = factory()  # type: ignore[operator]
        _check(label, network)
        return network

    return build


@contextmanager
def _named(label: str) -> Iterator[None]:
    """Whatever somebody's code raises becomes one line: whose, what, where."""
    try:
        yield
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        raise ModelError(
            f"{label}: {type(error).__name__} in {frame.filename}, line {frame.lineno}: {text}"
        ) from error


def _check(label: str, network: object) -> None:
    """Hold a network to the contract.

    Raises:
        ModelError: it breaks it; the message says how.
    """
    import torch

    if not isinstance(network, torch.nn.Module):
        raise ModelError(
            f"{label}: the factory returned a {type(network).__name__}, not a torch.nn.Module; return the network"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ModelError(f"{label}: no parameter requires a gradient, so there is nothing to train")
    images = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    for mode in ("training", "evaluation"):
        with _named(f"{label}, given images (2, 3, 32, 32) in {mode}"), torch.no_grad():
            # of a copy, because a forward pass moves statistics
            logits = copy.deepcopy(network).train(mode == "training")(images)
        if not isinstance(logits, torch.Tensor):
            raise ModelError(
                f"{label}: in {mode} it returns a {type(logits).__name__}; return a tensor of logits (N, 10)"
            )
        if logits.shape != (2, 10) or not logits.is_floating_point():
            raise ModelError(
                f"{label}: for images (2, 3, 32, 32) in {mode} it returns {logits.dtype} of shape "
                f"{tuple(logits.shape)}; return logits (N, 10)"
            )
