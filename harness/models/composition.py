"""The networks of section 4.2 made of another package's classes.

torchvision and timm ship no network for 32x32 images, but classes that can be one: both keep the names
``conv1``, ``bn1``, ``maxpool``, ``layer1`` to ``layer4`` and ``fc``, and both have a `BasicBlock` that adds what
its ``downsample`` makes of the input. What computes is theirs; here it is only put together anew.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from harness.models.resnet import PadShortcut, ProjectionShortcut, Shortcut
from harness.paper import BLOCKS_PER_STAGE, STAGE_CHANNELS

__all__ = ["BlockClass", "ZeroShortcut", "recompose"]


class BlockClass(Protocol):
    """A package's class of blocks."""

    def __call__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> nn.Module:
        """A block whose shortcut is ``downsample``, or the identity without one."""


class ZeroShortcut(nn.Module):
    """The shortcut of a plain network in a class that always adds one: zero, which changes no number."""

    def forward(self, x: Tensor) -> Tensor:
        """Anything -> a zero (), which is added to any shape."""
        return x.new_zeros(())


def recompose(network: nn.Module, block: BlockClass, *, depth: int, shortcut: Shortcut | None) -> None:
    """Replace every layer of a package's ResNet by those of section 4.2, in place; its forward stays.

    Args:
        network: with the names of the module's docstring; it may lie on the meta device.
        block: the package's class of blocks.
        depth: weighted layers on the main path, one of the paper's.
        shortcut: what is done where dimensions grow; None for a plain network.
    """
    network.conv1 = nn.Conv2d(3, STAGE_CHANNELS[0], kernel_size=3, padding=1, bias=False)
    network.bn1 = nn.BatchNorm2d(STAGE_CHANNELS[0])
    network.maxpool = nn.Identity()
    in_channels = STAGE_CHANNELS[0]
    for stage, out_channels in enumerate(STAGE_CHANNELS):
        blocks = []
        for index in range(BLOCKS_PER_STAGE[depth]):
            stride = 2 if stage > 0 and index == 0 else 1
            mapping = _downsample(in_channels, out_channels, stride, shortcut)
            blocks.append(block(in_channels, out_channels, stride=stride, downsample=mapping))
            in_channels = out_channels
        setattr(network, f"layer{stage + 1}", nn.Sequential(*blocks))
    network.layer4 = nn.Sequential()
    network.fc = nn.Linear(STAGE_CHANNELS[-1], 10)


def _downsample(
    in_channels: int, out_channels: int, stride: int, shortcut: Shortcut | None
) -> nn.Module | None:
    if shortcut is None:
        return ZeroShortcut()
    if in_channels == out_channels:
        return None
    if shortcut == "A":
        return PadShortcut(out_channels - in_channels, stride)
    return ProjectionShortcut(in_channels, out_channels, stride)
