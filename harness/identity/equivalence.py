"""Whether a network computes the function of the paper's: the same weights in both, and what comes out compared.

The weights of the candidate are drawn at random, its statistics taken from real images, and both carried over,
layer by layer in the order of execution, into the network of section 4.2 that has the same layers. Then logits in
evaluation and gradients in training are compared, in float32 and in float64.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.identity.graph import Graph, probe, trace
from harness.identity.transfer import LayerTensors, fill, first_difference, gradients, permuted, values
from harness.models.resnet import CifarResNet
from harness.paper import BLOCKS_PER_STAGE, STAGE_CHANNELS

__all__ = ["TOLERANCE", "Differences", "Equivalence", "Verdict", "compare", "counterpart"]

TOLERANCE: Final = 1e-9
"""Of float64, relative to the largest value: sums in another order differ by some 1e-13, other functions by 1e-3."""

Verdict = Literal["identical", "equal", "permuted", "different"]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Largest differences, relative to the largest value."""

    logits_fp32: float
    logits_fp64: float
    gradients_fp32: float
    gradients_fp64: float

    @property
    def largest_fp64(self) -> float:
        """What decides whether it is the same function."""
        return max(self.logits_fp64, self.gradients_fp64)

    @property
    def largest(self) -> float:
        """What decides whether every bit is the same."""
        return max(self.largest_fp64, self.logits_fp32, self.gradients_fp32)


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """What the comparison with the paper's network found."""

    counterpart: str
    """Key of the paper's network that it was compared with."""
    verdict: Verdict
    """``identical``: every number the same, bit for bit. ``equal``: the same function, summed in another order.
    ``permuted``: the same function, with channels in another order. ``different``: another function."""
    first_deviation: str | None = None
    """If different: the first layer that deviates, and how."""
    differences: Differences | None = None
    """None where weights cannot be carried over."""


def compare(network: nn.Module, images: Tensor, labels: Tensor, *, seed: int = 0) -> Equivalence:
    """Compare a network with the paper's.

    Args:
        network: on the CPU; it stays as it is.
        images: normalised, float32 (N, 3, 32, 32).
        labels: int64 (N,).
        seed: of the weights.

    Raises:
        ModelError: the layers of the network cannot be told.
    """
    network = copy.deepcopy(network)
    graph = trace(network.train(), probe())
    key, reference = counterpart(graph)
    reference_graph = trace(reference.train(), probe())
    if deviation := first_difference(network, graph, reference_graph):
        return Equivalence(counterpart=key, verdict="different", first_deviation=deviation)

    pair = _Pair(network, reference, graph, reference_graph)
    pair.draw_weights(images, seed)
    found = pair.differences(images, labels)
    if found.largest_fp64 > TOLERANCE and not graph.side_layers and pair.align(images):
        found = pair.differences(images, labels)
    verdict: Verdict = "identical" if found.largest == 0 else "equal"
    if found.largest_fp64 > TOLERANCE:
        verdict = "different"
    elif pair.orders:
        verdict = "permuted"
    return Equivalence(
        counterpart=key,
        verdict=verdict,
        first_deviation=pair.first_deviation(images) if verdict == "different" else None,
        differences=found,
    )


def counterpart(graph: Graph) -> tuple[str, CifarResNet]:
    """The paper's network that is nearest in depth and has shortcuts of the same kind, by key."""
    main = len(graph.main_layers)
    depth = min(BLOCKS_PER_STAGE, key=lambda depth: abs(depth - main))
    if graph.side_layers:
        return f"resnet{depth}-b", CifarResNet(depth, shortcut="B")
    joins = any(len(operation.inputs) == 2 for operation in graph.operations if operation.name == "Add")
    return (f"resnet{depth}" if joins else f"plain{depth}"), CifarResNet(depth, residual=joins)


class _Pair:
    """A network and the paper's, with the same layers."""

    def __init__(
        self, network: nn.Module, reference: nn.Module, graph: Graph, reference_graph: Graph
    ) -> None:
        self.network, self.reference = network, reference
        self.main, self.side = graph.main_layers, graph.side_layers
        self.reference_main, self.reference_side = reference_graph.main_layers, reference_graph.side_layers
        self.blocks_per_stage = (len(self.main) - 2) // (2 * len(STAGE_CHANNELS))
        self.orders: dict[int, Tensor] = {}
        """Stage -> for every channel of the paper's network, which one of the other's it is; if not the same."""

    def draw_weights(self, images: Tensor, seed: int) -> None:
        """Random weights, and statistics of the images, in both."""
        generator = torch.Generator().manual_seed(seed)
        for layer in (*self.main, *self.side):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1, generator=generator)
            if layer.normalization is not None:
                nn.init.uniform_(layer.normalization.weight, 0.5, 1.5, generator=generator)
                nn.init.normal_(layer.normalization.bias, std=0.1, generator=generator)
        with torch.no_grad(), _momentum(self.network, 1.0):
            self.network.train()(images)
        self._carry_over()

    def _carry_over(self) -> None:
        fill(self.reference_main, self._in_order([values(layer) for layer in self.main]))
        fill(self.reference_side, [values(layer) for layer in self.side])

    def _in_order(self, tensors: Sequence[LayerTensors]) -> list[LayerTensors]:
        return permuted(tensors, self.orders, self.blocks_per_stage)

    def differences(self, images: Tensor, labels: Tensor) -> Differences:
        """Of logits in evaluation and of gradients in training; weights and statistics stay what they are."""
        found: dict[str, float] = {}
        for name, dtype in (("fp32", torch.float32), ("fp64", torch.float64)):
            logits, expected_logits = (
                {"logits": _logits_leaving_gradients(network, images.to(dtype), labels)}
                for network in (self.network, self.reference)
            )
            found[f"logits_{name}"] = _largest_difference([logits], [expected_logits])
            found[f"gradients_{name}"] = _largest_difference(
                self._in_order([gradients(layer) for layer in self.main])
                + [gradients(layer) for layer in self.side],
                [gradients(layer) for layer in self.reference_main + self.reference_side],
            )
        self.network.float()
        self.reference.float()
        return Differences(**found)

    def align(self, images: Tensor) -> bool:
        """Find the order of the channels of each stage from what its first shortcut makes of its input.

        The other branch of that block is silenced, so that what the next layer sees is the shortcut alone: channels
        that were copied can be recognised, and those that were added are zero in both networks.

        Returns:
            Whether some stage has another order; the weights were then carried over in it.
        """
        for stage in range(1, len(STAGE_CHANNELS)):
            silenced = 2 + 2 * stage * self.blocks_per_stage
            seen = []
            for network, layers in ((self.network, self.main), (self.reference, self.reference_main)):
                branch = [layers[silenced]]
                before = {name: tensor.clone() for name, tensor in values(branch[0]).items()}
                nothing = {name: torch.zeros_like(before[name]) for name in ("scale", "shift")}
                fill(branch, [before | nothing])
                seen.append(_inputs(network, images)[silenced + 1])
                fill(branch, [before])
            order = _match(*seen)
            if order is None:
                self.orders = {}
                break
            if not torch.equal(order, torch.arange(len(order))):
                self.orders[stage] = order
            self._carry_over()
        self._carry_over()
        return bool(self.orders)

    def first_deviation(self, images: Tensor) -> str:
        """The first layer of the main path that sees something else than the paper's."""
        self.orders = {}
        self._carry_over()
        pairs = zip(_inputs(self.network, images), _inputs(self.reference, images), strict=True)
        for number, (ours, theirs) in enumerate(pairs):
            if _largest_difference([{"input": ours}], [{"input": theirs}]) > TOLERANCE:
                before = f"{self.main[number - 1].name} and " if number else ""
                return (
                    f"layer {number + 1} of the main path, {self.main[number].name}, sees something else: the "
                    f"function between {before}it is another"
                )
        return "the function behind the last layer is another, or what it does in training"


def _logits_leaving_gradients(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Logits in evaluation; the parameters are left with the gradients of the mean cross-entropy in training."""
    network.to(images.dtype).zero_grad(set_to_none=True)
    with torch.no_grad():
        logits: Tensor = network.eval()(images)
    with _momentum(network, 0.0):
        F.cross_entropy(network.train()(images), labels).backward()  # type: ignore[no-untyped-call]
    return logits


def _inputs(network: nn.Module, images: Tensor) -> list[Tensor]:
    """What the layers of the main path see in evaluation, in float64."""
    network.double().eval()
    seen = [layer.input.detach() for layer in trace(network, images.double()).main_layers]
    network.float()
    return seen


def _match(channels: Tensor, reference: Tensor) -> Tensor | None:
    """For every channel of the reference, which of (N, C, H, W) equals it; those that are zero in any order.

    Returns:
        int64 (C,), or None if a channel has no equal.
    """
    flat, expected = (tensor.transpose(0, 1).flatten(1) for tensor in (channels, reference))
    order = torch.full((len(expected),), -1)
    for place, channel in enumerate(expected):
        if channel.any():
            distances = (flat - channel).abs().amax(dim=1)
            nearest = int(distances.argmin())
            if distances[nearest] > TOLERANCE * channel.abs().max() or nearest in order:
                return None
            order[place] = nearest
    left = [number for number in range(len(flat)) if number not in order]
    order[order < 0] = torch.tensor(left, dtype=order.dtype)
    return order


def _largest_difference(found: Sequence[LayerTensors], expected: Sequence[LayerTensors]) -> float:
    """Relative to the largest value; infinite where one is no number."""
    largest = max(tensor.abs().max().item() for layer in expected for tensor in layer.values())
    difference = max(
        (layer[name] - tensor).abs().max().item()
        for layer, other in zip(found, expected, strict=True)
        for name, tensor in other.items()
    )
    if not math.isfinite(difference + largest):
        return math.inf
    return difference / largest if largest else difference


@contextmanager
def _momentum(network: nn.Module, momentum: float) -> Iterator[None]:
    """With 1, normalisation remembers the last mini-batch alone; with 0 it forgets nothing and learns nothing."""
    modules = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [module.momentum for module in modules]
    for module in modules:
        module.momentum = momentum
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.momentum = value
