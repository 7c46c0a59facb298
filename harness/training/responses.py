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


class _Sums:
    """Of what a layer has answered so far.

    They are added up in place: small tensors that stay, between large ones that go, would leave an allocator with holes.
    """

    def __init__(self, device: torch.device) -> None:
        self.num = 0
        """Elements."""
        # of the elements, and of their squares; Metal has no float64
        self.totals = torch.zeros(
            2, dtype=torch.float32 if device.type == "mps" else torch.float64, device=device
        )

    def add(self, responses: Tensor) -> None:
        """Add those to a mini-batch, (N, C, H, W)."""
        images = responses.movedim(1, -1).float().flatten(start_dim=1)
        # image by image in float32, which a sum of all would be too long for; var_mean takes ten times as long
        for place, of_images in enumerate((images.sum(dim=1), images.square().sum(dim=1))):
            self.totals[place] += of_images.to(self.totals.dtype).sum()
        self.num += images.numel()

    def std(self) -> float:
        """Of all elements."""
        mean, mean_square = (total / self.num for total in self.totals.tolist())
        return math.sqrt(max(0.0, mean_square - mean**2))


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
        self._sums: dict[str, _Sums] = {}
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
        return [LayerResponse(name, sums.std()) for name, sums in self._sums.items()]

    def _note_convolution(self, _module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        self._convolved = output

    def _meter_of(self, name: str) -> Any:
        def note(_module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if inputs and inputs[0] is self._convolved:
                if name not in self._sums:
                    self._sums[name] = _Sums(output.device)
                self._sums[name].add(output.detach())  # at once, since the network may overwrite it
            self._convolved = None

        return note
