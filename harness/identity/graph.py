"""The operations of a forward pass, read off the graph that autograd records of it.

Nothing is assumed of how a class is written: functional code, nested modules and shortcuts of any kind leave the
same graph. Only operations on the path of a gradient are in it, which in a network for classification are all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import ModelError

__all__ = ["Graph", "Layer", "Operation", "by", "probe", "short", "trace"]

_CONVOLUTION, _LINEAR, _NORMALIZATION = "Convolution", "Linear", "NativeBatchNorm"
_NAMES = {"Addmm": _LINEAR, "Mm": _LINEAR}
_NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of a forward pass."""

    name: str
    """As autograd has it without ``Backward``, e.g. ``Relu``, ``MaxPool2DWithIndices``; addmm is ``Linear``."""
    node: Any
    """Of autograd, with what it saved."""
    inputs: tuple[Operation, ...]
    parameters: tuple[nn.Parameter, ...]
    """Those that enter directly: weight, then bias."""

    @property
    def weighted(self) -> bool:
        """Whether it is a convolution or a linear layer."""
        return self.name in {_CONVOLUTION, _LINEAR}


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A convolution or linear layer, with the batch normalisation directly behind it if there is one."""

    name: str
    """Of its module."""
    operation: Operation
    weight: nn.Parameter
    bias: nn.Parameter | None
    normalization: nn.BatchNorm1d | nn.BatchNorm2d | None
    normalization_is: str
    """``usual`` if it is a module with scale, shift and statistics; else what it is instead."""
    on_main_path: bool
    kernel: tuple[int, ...]
    """(height, width) of a convolution; empty for a linear layer."""
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    in_channels: int
    out_channels: int
    input: Tensor
    """What went into it, (N, C, H, W) or (N, C)."""
    output_size: tuple[int, ...]
    """(height, width) of its output; empty for a linear layer."""

    def __str__(self) -> str:
        """E.g. ``3x3 16->32, stride 2``, ``linear 64->10``."""
        usual_padding = tuple((size - 1) // 2 for size in self.kernel)
        parts = [f"{by(self.kernel) or 'linear'} {self.in_channels}->{self.out_channels}"]
        parts += [f"stride {short(self.stride)}"] if set(self.stride) - {1} else []
        parts += [f"{self.groups} groups"] if self.groups != 1 else []
        parts += [f"dilation {short(self.dilation)}"] if set(self.dilation) - {1} else []
        parts += [f"padding {short(self.padding)}"] if self.padding != usual_padding else []
        # convolutions are normalised and have no bias, linear layers the other way round
        if (self.bias is None) != bool(self.kernel):
            parts.append("with bias" if self.kernel else "without bias")
        if self.normalization_is != ("usual" if self.kernel else "absent"):
            parts.append(f"normalisation {self.normalization_is}")
        return ", ".join(parts)


def by(numbers: Iterable[int]) -> str:
    """``(3, 3)`` -> ``3x3``."""
    return "x".join(map(str, numbers))


def short(numbers: tuple[int, ...]) -> str:
    """``(2, 2)`` -> ``2``, ``(1, 2)`` -> ``1x2``."""
    return str(numbers[0]) if len(set(numbers)) == 1 else by(numbers)


@dataclass(frozen=True)
class Graph:
    """A forward pass."""

    operations: list[Operation]
    """In the order of execution."""
    main_path: list[Operation]
    """The path from input to output with the most weighted layers."""
    layers: list[Layer]
    """In the order of execution."""

    @property
    def main_layers(self) -> list[Layer]:
        """Those on the main path."""
        return [layer for layer in self.layers if layer.on_main_path]

    @property
    def side_layers(self) -> list[Layer]:
        """Those beside it: of shortcuts."""
        return [layer for layer in self.layers if not layer.on_main_path]


def probe() -> Tensor:
    """Two images that need no data set: (2, 3, 32, 32)."""
    return torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)


def trace(network: nn.Module, images: Tensor) -> Graph:
    """Run a network in the mode it is in, and read its operations; all its parameters come to require gradients.

    Args:
        network: from images to logits, on the CPU.
        images: (N, 3, 32, 32), of the type of its weights.

    Raises:
        ModelError: its output does not depend on weights, it has no layers, or a weight is computed from others, so
            that layers cannot be told.
    """
    output = network.requires_grad_(requires_grad=True)(images)
    if output.grad_fn is None:
        raise ModelError("the output does not depend on anything that can be trained")
    operations = _operations(output.grad_fn)
    main_path = _longest_path(operations)
    layers = list(_layers(network, operations, set(main_path)))
    if not layers:
        raise ModelError("there is no convolution or linear layer between images and logits")
    return Graph(operations, main_path, layers)


def _operations(last: Any) -> list[Operation]:
    nodes = {}
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node not in nodes and not hasattr(node, "variable"):
            nodes[node] = node._sequence_nr()
            waiting += [source for source, _ in node.next_functions if source is not None]
    operations: dict[Any, Operation] = {}
    for node in sorted(nodes, key=lambda node: nodes[node]):
        sources = [_behind_transposition(source) for source, _ in node.next_functions if source is not None]
        name = node.name().partition("Backward")[0]
        operations[node] = Operation(
            name=_NAMES.get(name, name),
            node=node,
            inputs=tuple(operations[source] for source in sources if source in operations),
            # the bias of addmm comes first; a weight is what has more dimensions
            parameters=tuple(
                sorted(
                    (source.variable for source in sources if hasattr(source, "variable")),
                    key=lambda parameter: -parameter.dim(),
                )
            ),
        )
    return [operation for operation in operations.values() if operation.name != "T"]


def _behind_transposition(node: Any) -> Any:
    """The weight of a linear layer arrives transposed."""
    if node.name() == "TBackward0" and hasattr(node.next_functions[0][0], "variable"):
        return node.next_functions[0][0]
    return node


def _longest_path(operations: list[Operation]) -> list[Operation]:
    lengths: dict[Operation, int] = {}
    before: dict[Operation, Operation | None] = {}
    for operation in operations:
        best = max(operation.inputs, key=lambda source: lengths[source], default=None)
        before[operation] = best
        lengths[operation] = (lengths[best] if best else 0) + operation.weighted
    path = []
    at: Operation | None = operations[-1]
    while at is not None:
        path.append(at)
        at = before[at]
    return path[::-1]


def _layers(network: nn.Module, operations: list[Operation], main_path: set[Operation]) -> Iterator[Layer]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    modules = {
        id(module.weight): module for module in network.modules() if isinstance(module, _NORMALIZATIONS)
    }
    scales = {
        operation.inputs[0]: next(iter(operation.parameters), None)
        for operation in operations
        if operation.name == _NORMALIZATION and operation.inputs
    }
    for operation in operations:
        if not operation.weighted:
            continue
        if not operation.parameters:
            raise ModelError("a weight is computed from other parameters, so that layers cannot be compared")
        weight, *biases = operation.parameters
        node = operation.node
        convolution = operation.name == _CONVOLUTION
        inputs = node._saved_input if convolution else getattr(node, "_saved_mat1", None)
        if inputs is None:
            inputs = node._saved_self
        size = tuple(weight.shape[2:])
        normalization = modules.get(id(scales[operation])) if operation in scales else None
        stride, padding, dilation = (
            (tuple(node._saved_stride), tuple(node._saved_padding), tuple(node._saved_dilation))
            if convolution
            else ((), (), ())
        )
        yield Layer(
            name=names.get(id(weight), "?").removesuffix(".weight"),
            operation=operation,
            weight=weight,
            bias=biases[0] if biases else None,
            normalization=normalization,
            normalization_is=_what_it_is(normalization) if operation in scales else "absent",
            on_main_path=operation in main_path,
            kernel=size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=node._saved_groups if convolution else 1,
            in_channels=inputs.shape[1],
            out_channels=weight.shape[0],
            input=inputs,
            output_size=tuple(
                (side + 2 * pad - dilate * (length - 1) - 1) // step + 1
                for side, pad, dilate, length, step in zip(
                    inputs.shape[2:], padding, dilation, size, stride, strict=True
                )
            )
            if convolution
            else (),
        )


def _what_it_is(normalization: nn.BatchNorm1d | nn.BatchNorm2d | None) -> str:
    if normalization is None:
        return "by a function"
    if not normalization.affine:
        return "without scale"
    return "usual" if normalization.track_running_stats else "without statistics"
