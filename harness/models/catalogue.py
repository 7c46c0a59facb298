"""Every model the harness can train, as data with a lazy builder. Reading it imports no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import UnknownNameError, UsageError
from harness.models import own
from harness.models.distributions import import_distribution
from harness.models.entry import Family, ModelEntry
from harness.models.upstream import UpstreamFile, load_module
from harness.paper import BLOCKS_PER_STAGE

if TYPE_CHECKING:
    from torch import nn

__all__ = ["find", "models"]

Option = Literal["A", "B", "none"]


def models() -> dict[str, ModelEntry]:
    """The catalogue, by key: the harness's, and what installed packages add by their entry points."""
    return own.entries_of_packages() | _CATALOGUE


def find(key: str) -> ModelEntry:
    """The entry of a key of the catalogue, or of a network of one's own, ``package.module:factory``.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
        UsageError: two have the key, or there is no such module.
    """
    if ":" in key:
        return own.entry_of_factory(key)
    added = own.added_by_packages(key)
    if added is not None and key in _CATALOGUE:
        raise UsageError(
            f"model {key!r}: {added.distribution} adds a model of the same name as one of the harness's; rename it in "
            f"its entry points ({own.GROUP})"
        )
    entry = added or _CATALOGUE.get(key)
    if entry is None:
        raise UnknownNameError("model", key, models())
    return entry


_OPTIONS: tuple[Option, ...] = ("A", "B", "none")

_LICENCES = {"torchvision": "BSD-3-Clause", "timm": "Apache-2.0"}
"""Of the packages; the module ``harness.models.<package>_resnet`` builds their networks."""

_COMPOSED_DEPTHS = (20, 32, 44, 56, 110)

_COMPOSED: dict[Option, str] = {
    "A": "; and where dimensions grow it gets our shortcut of option A, because it has projections only",
    "B": "",
    "none": "; and every shortcut is replaced by zero, because it has no plain network",
}


def _adapted(distribution: str, option: Option) -> str:
    return (
        f"{distribution}'s ResNet and BasicBlock get a 3x3 stem with stride 1 and no max pooling, and three stages "
        f"of 16, 32 and 64 channels, because it ships no network for 32x32 images{_COMPOSED[option]}."
    )


def _name(depth: int, option: Option) -> str:
    return f"{_family(option)}{depth}{'-b' if option == 'B' else ''}"


def _family(option: Option) -> Family:
    return "plain" if option == "none" else "resnet"


def _ours(depth: int, option: Option) -> ModelEntry:
    def build() -> nn.Module:
        from harness.models.resnet import CifarResNet

        if option == "none":
            return CifarResNet(depth, residual=False)
        return CifarResNet(depth, shortcut=option)

    return ModelEntry(
        key=_name(depth, option),
        source="ours",
        licence="MIT",
        family=_family(option),
        depth=depth,
        shortcut=option,
        build=build,
    )


def _as_shipped(distribution: str) -> ModelEntry:
    return ModelEntry(
        key=f"{distribution}-resnet18",
        source="pypi",
        distribution=distribution,
        licence=_LICENCES[distribution],
        family="resnet",
        depth=18,
        shortcut="B",
        build=_builder(distribution, "resnet18"),
    )


def _composed(distribution: str, depth: int, option: Option) -> ModelEntry:
    return ModelEntry(
        key=f"{distribution}-{_name(depth, option)}",
        source="pypi",
        distribution=distribution,
        licence=_LICENCES[distribution],
        family=_family(option),
        depth=depth,
        shortcut=option,
        adapted=_adapted(distribution, option),
        build=_builder(distribution, "cifar_resnet", depth, None if option == "none" else option),
    )


def _builder(distribution: str, function: str, *arguments: object) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import_distribution(distribution)
        module = import_module(f"harness.models.{distribution}_resnet")
        network: nn.Module = getattr(module, function)(*arguments)
        return network

    return build


def _of_packages() -> Iterator[ModelEntry]:
    for listed in _listed_in("packages.toml"):
        for depth in listed["depths"]:
            yield ModelEntry(
                key=listed["key"].format(depth=depth),
                source="pypi",
                distribution=listed["distribution"],
                licence=listed["licence"],
                family=listed["family"],
                depth=depth,
                shortcut=listed["shortcut"],
                build=_shipped(listed["distribution"], listed["module"], listed["call"].format(depth=depth)),
            )


def _shipped(distribution: str, module: str, function: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        import_distribution(distribution)
        network: nn.Module = getattr(import_module(module), function)()
        return network

    return build


def _of_repositories() -> Iterator[ModelEntry]:
    for listed in _listed_in("upstream.toml"):
        file = UpstreamFile(**{name: listed[name] for name in ("repository", "commit", "path", "sha256")})
        for depth in listed["depths"]:
            yield ModelEntry(
                key=listed["key"].format(depth=depth),
                source="git",
                upstream=file,
                licence=listed["licence"],
                family=listed["family"],
                depth=depth,
                shortcut=listed["shortcut"],
                adapted=listed.get("adapted", ""),
                build=_caller(
                    file,
                    listed["call"].format(depth=depth),
                    listed.get("arguments", {}),
                    classes_only=listed.get("classes_only", False),
                ),
            )


def _caller(
    file: UpstreamFile, function: str, arguments: Mapping[str, Any], *, classes_only: bool
) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        module = load_module(file, classes_only=classes_only)
        # a text that begins with @ names something in the same module
        given = {
            name: getattr(module, value[1:]) if isinstance(value, str) and value.startswith("@") else value
            for name, value in arguments.items()
        }
        network: nn.Module = getattr(module, function)(**given)
        return network

    return build


def _listed_in(name: str) -> list[dict[str, Any]]:
    text = resources.files("harness.models").joinpath(name).read_text(encoding="utf-8")
    listed: list[dict[str, Any]] = tomllib.loads(text)["models"]
    return listed


def _entries() -> Iterator[ModelEntry]:
    yield from (_ours(depth, option) for option in _OPTIONS for depth in BLOCKS_PER_STAGE)
    for distribution in _LICENCES:
        yield _as_shipped(distribution)
        yield from (
            _composed(distribution, depth, option) for option in _OPTIONS for depth in _COMPOSED_DEPTHS
        )
    yield from _of_packages()
    yield from _of_repositories()


_CATALOGUE = {entry.key: entry for entry in _entries()}
