"""What a network costs, counted: parameters by stage, and what training keeps of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from harness.identity.graph import Layer, by, probe, trace
from harness.models.cost import num_macs, num_parameters

__all__ = ["StaticCost", "activation_bytes_per_image", "static_cost"]


@dataclass(frozen=True, kw_only=True)
class StaticCost:
    """Of one network."""

    parameters: int
    """Trainable ones."""
    parameters_total: int
    """And those that are frozen."""
    parameters_by_stage: dict[str, int]
    """``32x32``, ``16x16``, ...: of layers with outputs of that size, their normalisation included; ``classifier``: of
    linear layers; ``other``: of what is neither a layer nor its normalisation."""
    macs: int
    """Of convolutions and linear layers, for one image in evaluation."""
    weighted_layers: int
    """On the main path and beside it."""
    activation_bytes_per_image: int
    """What a training step in float32 keeps of each image for the backward pass."""


def static_cost(build: Callable[[], nn.Module]) -> StaticCost:
    """Count a network's cost.

    Args:
        build: makes the network; it is called twice, since looking at a network can change it.

    Raises:
        ModelError: its layers cannot be told.
    """
    network, traced = build(), build().train()
    layers = trace(traced, probe()).layers
    return StaticCost(
        parameters=num_parameters(network),
        parameters_total=sum(parameter.numel() for parameter in network.parameters()),
        parameters_by_stage=_parameters_by_stage(traced, layers),
        macs=num_macs(network),
        weighted_layers=len(layers),
        activation_bytes_per_image=activation_bytes_per_image(network),
    )


def _parameters_by_stage(network: nn.Module, layers: Sequence[Layer]) -> dict[str, int]:
    """Number of parameters by size of the outputs of their layers; see `StaticCost`."""
    counts: dict[str, int] = {}
    counted: set[nn.Parameter] = set()
    for layer in layers:
        normalization = () if layer.normalization is None else layer.normalization.parameters()
        own = {layer.weight, *normalization} | ({layer.bias} if layer.bias is not None else set())
        stage = by(layer.output_size) or "classifier"
        counts[stage] = counts.get(stage, 0) + sum(parameter.numel() for parameter in own - counted)
        counted |= own
    other = sum(parameter.numel() for parameter in set(network.parameters()) - counted)
    return counts | ({"other": other} if other else {})


def activation_bytes_per_image(network: nn.Module) -> int:
    """Bytes that a forward pass in training keeps for the backward pass, for every further image; float32.

    Statistics of the network move.
    """
    few, many = (_kept_bytes(network, num_images) for num_images in (2, 4))
    return (many - few) // 2


def _kept_bytes(network: nn.Module, num_images: int) -> int:
    """Of the tensors that autograd saves, those that share memory once; weights and buffers aside."""
    ours = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ours:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    images = torch.rand(num_images, 3, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logits = network.train()(images)  # alive until the end, and what it keeps with it
    total = sum(kept.values())
    del logits
    return total
