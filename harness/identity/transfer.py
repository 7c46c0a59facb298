"""Tensors of a network's layers, carried over to another network of the same layers.

Two networks of the same layers compute the same function up to a permutation if the channels of each stage's
outputs, which every block of the stage reads and writes, can be put into the other's order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn

from harness.errors import ModelError
from harness.identity.graph import Graph, Layer, probe, trace
from harness.paper import STAGE_CHANNELS

__all__ = ["LayerTensors", "carry_over", "fill", "first_difference", "gradients", "permuted", "values"]

LayerTensors = dict[str, Tensor]
"""Of one layer: ``weight``, and where there are such ``bias``, ``scale``, ``shift``, ``mean``, ``variance``."""


def carry_over(network: nn.Module, reference: nn.Module) -> None:
    """Copy weights and statistics of a network into one of ours that has the same layers.

    Raises:
        ModelError: it has other layers.
    """
    graph, target = (trace(model.eval(), probe()) for model in (network, reference))
    if deviation := first_difference(network, graph, target):
        raise ModelError(f"the weights cannot be carried over: {deviation}")
    for layers, targets in ((graph.main_layers, target.main_layers), (graph.side_layers, target.side_layers)):
        fill(targets, [values(layer) for layer in layers])


def first_difference(network: nn.Module, graph: Graph, reference: Graph) -> str | None:
    """What keeps the layers of a network from taking the place of another's, None if nothing does.

    Args:
        network: whose forward pass the graph is.
        graph: its layers are compared one by one, those of the main path first.
        reference: with these.
    """
    for place, ours, theirs in (
        ("main path", graph.main_layers, reference.main_layers),
        ("shortcuts", graph.side_layers, reference.side_layers),
    ):
        for number, (layer, expected) in enumerate(zip_longest(ours, theirs), start=1):
            where = f"layer {number} of the {place}"
            if expected is None:
                return f"{where}, {layer.name}, {layer}, is one too many"
            if layer is None:
                return f"{where}, {expected}, is missing"
            if str(layer) != str(expected):
                return f"{where}, {layer.name}, is {layer}, not {expected}"
    return _surplus_parameter(network, graph)


def _surplus_parameter(network: nn.Module, graph: Graph) -> str | None:
    """A parameter that belongs to no layer."""
    known = set()
    for layer in graph.layers:
        known |= {id(layer.weight), id(layer.bias)}
        if layer.normalization is not None:
            known |= {id(layer.normalization.weight), id(layer.normalization.bias)}
    surplus = [name for name, parameter in network.named_parameters() if id(parameter) not in known]
    return f"parameter {surplus[0]} has no counterpart" if surplus else None


def values(layer: Layer) -> LayerTensors:
    """The parameters and statistics of a layer themselves, not copies."""
    tensors = {"weight": layer.weight.data}
    if layer.bias is not None:
        tensors["bias"] = layer.bias.data
    if (normalization := layer.normalization) is not None:
        tensors |= {"scale": normalization.weight.data, "shift": normalization.bias.data}
        if normalization.running_mean is not None and normalization.running_var is not None:
            tensors |= {"mean": normalization.running_mean, "variance": normalization.running_var}
    return tensors


def gradients(layer: Layer) -> LayerTensors:
    """The gradients of a layer's parameters; zero where there is none."""
    parameters = {"weight": layer.weight, "bias": layer.bias}
    if layer.normalization is not None:
        parameters |= {"scale": layer.normalization.weight, "shift": layer.normalization.bias}
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in parameters.items()
        if parameter is not None
    }


def fill(layers: Sequence[Layer], tensors: Sequence[LayerTensors]) -> None:
    """Copy tensors into the layers."""
    for layer, given in zip(layers, tensors, strict=True):
        for name, tensor in values(layer).items():
            tensor.copy_(given[name])


def permuted(
    tensors: Sequence[LayerTensors], orders: Mapping[int, Tensor], blocks_per_stage: int
) -> list[LayerTensors]:
    """Tensors of the main path of a network of section 4.2, with the channels of stages in other orders.

    Args:
        tensors: of the stem, of the two layers of every block, and of the classifier.
        orders: stage -> which of the present channels stands at each place, int64 (channels,).
        blocks_per_stage: n.
    """
    arranged = [dict(layer) for layer in tensors]
    last_stage = len(STAGE_CHANNELS) - 1
    for stage, order in orders.items():
        for block in range(blocks_per_stage):
            first = 1 + 2 * (stage * blocks_per_stage + block)
            if block > 0:
                _order_inputs(arranged[first], order)
            _order_outputs(arranged[first + 1], order)
        behind = 1 + 2 * (stage + 1) * blocks_per_stage  # the next stage's first layer, or the classifier
        _order_inputs(arranged[behind if stage < last_stage else -1], order)
    return arranged


def _order_inputs(layer: LayerTensors, order: Tensor) -> None:
    layer["weight"] = layer["weight"][:, order]


def _order_outputs(layer: LayerTensors, order: Tensor) -> None:
    layer.update({name: tensor[order] for name, tensor in layer.items()})
