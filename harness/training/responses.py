"""Standard deviations of layer responses (He et al. 2015, section 4.2, "Analysis of Layer Responses", and Figure 7)."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["LayerResponse", "ResponseMeter"]


class LayerResponse(NamedTuple):
    """Of one layer."""

    layer: str
    """Name of its batch normalisation in the network."""
    std: float
    """Over all images, channels and places."""


class _Sums(NamedTuple):
    """Of what a layer has answered to a mini-batch; they stay on the device."""

    num: int
    """Elements."""
    sums: Tensor
    """Of the elements, float32 (N,), image by image: a sum of all would lose digits."""
    squares: Tensor
    """Of their squares, likewise."""


class ResponseMeter:
    """While it is entered, watches what a network is shown.

    A response is the output of a 3x3 convolution after its batch normalisation, before nonlinearity and addition, as
    in the paper. Layers come in the order in which they are executed; a network without such layers has none.

    Args:
        network: is not changed, and computes the same.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._convolved: Tensor | None = None
        self._sums: dict[str, list[_Sums]] = {}
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []

    def __enter__(self) -> Self:
        for name, module in self._network.named_modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
                self._hooks.append(module.register_forward_hook(self._note_convolution))
            elif isinstance(module, _BatchNorm):
                self._hooks.append(module.register_forward_hook(self._meter_of(name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._convolved = None

    def responses(self) -> list[LayerResponse]:
        """Of every layer, over all that the network was shown."""
        return [LayerResponse(name, _std(sums)) for name, sums in self._sums.items()]

    def _note_convolution(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        self._convolved = output

    def _meter_of(self, name: str) -> Any:
        def note(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if inputs and inputs[0] is self._convolved:
                # at once, since the network may overwrite its output; var_mean takes ten times as long
                responses = output.detach().movedim(1, -1).float().flatten(start_dim=1)
                sums, squares = responses.sum(dim=1), responses.square().sum(dim=1)
                self._sums.setdefault(name, []).append(_Sums(output.numel(), sums, squares))
            self._convolved = None

        return note


def _std(batches: list[_Sums]) -> float:
    """Of all mini-batches together."""
    num = sum(batch.num for batch in batches)
    # on the CPU: Metal has no float64
    mean, mean_square = (
        sum(of_batch.cpu().double().sum().item() for of_batch in its) / num
        for its in ([batch.sums for batch in batches], [batch.squares for batch in batches])
    )
    return math.sqrt(max(0.0, mean_square - mean**2))
