"""What the graph of a network says of it: stem, stages, shortcuts, pooling; and how its weights begin."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from harness.identity.graph import Graph, Layer, Operation, by, probe, short, trace

__all__ = ["InitialWeights", "Stage", "Structure", "describe", "measure_initial_weights"]

_PADDING = {"ConstantPadNd", "Slice", "Cat", "AvgPool2D", "MaxPool2DWithIndices"}
"""What shortcuts without weights are made of where dimensions grow."""

_COPIES = {"Clone", "Alias", "View"}


@dataclass(frozen=True)
class Stage:
    """Convolutions of the main path, one after another, with outputs of one shape."""

    channels: int
    height: int
    width: int
    convolutions: int


@dataclass(frozen=True, kw_only=True)
class Structure:
    """A network in words and numbers."""

    layers_on_main_path: int
    """Weighted ones."""
    layers_beside: int
    stem: str
    """The first layer, and what is pooled before the second."""
    stages: list[Stage]
    """The stem's convolution belongs to the first that has its shape."""
    num_shortcuts: int
    shortcut: str
    """Where dimensions grow: ``A``, ``B``, ``3x3``; ``C`` if every shortcut is a projection; ``identity`` where none
    grow; ``none`` without shortcuts; or the names of its operations."""
    pooling: str
    """What stands between the last convolution and the classifier."""


def describe(network: nn.Module) -> Structure:
    """The structure of a network, read off a forward pass of two images; its statistics move."""
    graph = trace(network.train(), probe())
    main = graph.main_layers
    convolutions = [layer for layer in main if layer.kernel]
    shapes = [(layer.out_channels, *layer.output_size) for layer in convolutions]
    stages = [
        Stage(channels=channels, height=height, width=width, convolutions=len(list(group)))
        for (channels, height, width), group in groupby(shapes)
    ]
    kinds = _shortcuts(graph)
    between = _between(graph, main[0], main[1]) if len(main) > 1 else []
    behind = _between(graph, convolutions[-1], main[-1]) if convolutions else []
    return Structure(
        layers_on_main_path=len(main),
        layers_beside=len(graph.side_layers),
        stem=" + ".join([str(main[0]), *filter(None, map(_pooling, between))]),
        stages=stages,
        num_shortcuts=len(kinds),
        shortcut=_summed_up(kinds),
        pooling=" + ".join(filter(None, map(_pooling, behind))) or "none",
    )


def _between(graph: Graph, first: Layer, last: Layer) -> list[Operation]:
    path = graph.main_path
    return path[path.index(first.operation) + 1 : path.index(last.operation)]


def _pooling(operation: Operation) -> str:
    if operation.name == "Mean":
        return "global average"
    kind = {"AvgPool2D": "average", "MaxPool2DWithIndices": "max", "AdaptiveAvgPool2D": "adaptive average"}
    if operation.name not in kind:
        return ""
    size = tuple(getattr(operation.node, "_saved_kernel_size", ()))
    if set(size) == {1}:
        return ""
    text = f"{by(size)} {kind[operation.name]}" if size else kind[operation.name]
    whole = size == tuple(operation.node._saved_self.shape[2:])
    stride = () if whole or not size else tuple(operation.node._saved_stride)
    return text if stride in {(), size} else f"{text}, stride {short(stride)}"


def _shortcuts(graph: Graph) -> list[str]:
    """Of every addition of two paths, what the one beside the main path does."""
    main_path = set(graph.main_path)
    kinds = []
    layer_of = {layer.operation: layer for layer in graph.layers}
    for operation in graph.main_path:
        if operation.name != "Add" or len(operation.inputs) != 2:
            continue
        side = next((source for source in operation.inputs if source not in main_path), None)
        path = []
        while side is not None and side not in main_path:
            path.append(side)
            side = next(iter(side.inputs), None)
        kinds.append(_kind(path, layer_of))
    return kinds


def _kind(path: list[Operation], layer_of: dict[Operation, Layer]) -> str:
    weighted = [layer_of[operation] for operation in path if operation.weighted]
    if len(weighted) == 1 and weighted[0].kernel:
        return by(weighted[0].kernel)
    names = {operation.name for operation in path} - _COPIES
    if not names:
        return "identity"
    if names <= _PADDING:
        return "padding"
    return "+".join(sorted(names))


def _summed_up(kinds: list[str]) -> str:
    growing = [kind for kind in kinds if kind != "identity"]
    if not kinds:
        return "none"
    if not growing:
        return "identity"
    if set(growing) == {"padding"}:
        return "A"
    if set(growing) == {"1x1"}:
        return "B" if len(growing) < len(kinds) else "C"
    return " and ".join(sorted(set(growing)))


@dataclass(frozen=True)
class InitialWeights:
    """The weights of a layer as the network's own code draws them."""

    layer: str
    num_weights: int
    std: float
    he_std: float
    """Of He et al. (2015), arXiv:1502.01852: the root of 2 / fan-in."""


def measure_initial_weights(network: nn.Module) -> tuple[list[InitialWeights], str]:
    """Spread of the initial weights of every layer, and the rule that they follow, in words.

    Args:
        network: freshly built.
    """
    layers = trace(network.train(), probe()).layers
    measured = [
        InitialWeights(layer.name, layer.weight.numel(), _std(layer), math.sqrt(2 / _fan_in(layer)))
        for layer in layers
    ]
    convolutions = [layer for layer in layers if layer.kernel]
    linear = [layer for layer in layers if not layer.kernel]
    parts = [_rule(convolutions or linear)]
    if convolutions and linear and _rule(linear) != parts[0]:
        parts.append(f"linear: {_rule(linear)}")
    normalizations = [layer.normalization for layer in layers if layer.normalization is not None]
    scales = [normalization.weight for normalization in normalizations if normalization.affine]
    num_zero = sum(not scale.any() for scale in scales)
    parts += [f"{num_zero} of {len(scales)} scales zero"] if num_zero else []
    return measured, ", ".join(parts)


_RULES: dict[str, Callable[[Layer], float]] = {
    "He (fan-in)": lambda layer: math.sqrt(2 / _fan_in(layer)),
    "He (fan-out)": lambda layer: math.sqrt(2 / (layer.out_channels * math.prod(layer.kernel))),
    "PyTorch's default": lambda layer: math.sqrt(1 / (3 * _fan_in(layer))),
}
"""Standard deviation of a layer's weights under each."""


def _rule(layers: list[Layer]) -> str:
    """The first rule that every layer follows within five standard errors."""
    for name, expected in _RULES.items():
        if all(
            abs(_std(layer) / expected(layer) - 1) * math.sqrt(2 * layer.weight.numel()) < 5
            for layer in layers
        ):
            return name
    return "otherwise"


def _std(layer: Layer) -> float:
    return layer.weight.detach().double().std().item()


def _fan_in(layer: Layer) -> int:
    return layer.weight[0].numel()
