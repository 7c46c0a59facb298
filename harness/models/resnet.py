"""The CIFAR-10 networks of He et al. (2015), section 4.2: residual and plain, 6n+2 weighted layers.

A 3x3 convolution, three stages of n blocks of two 3x3 convolutions with 16, 32 and 64 filters on maps of
32x32, 16x16 and 8x8 (the first convolution of stages 2 and 3 has stride 2), global average pooling and a
10-way fully-connected layer. Batch normalisation follows every convolution, before the activation.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from harness.errors import UsageError
from harness.models.initialization import initialize_he
from harness.paper import BLOCKS_PER_STAGE, STAGE_CHANNELS

__all__ = ["BasicBlock", "CifarResNet", "PadShortcut", "ProjectionShortcut", "Shortcut"]

Shortcut = Literal["A", "B"]
"""Where the dimensions grow: A subsamples and pads with zero channels, B projects with a 1x1 convolution."""


class PadShortcut(nn.Module):
    """Option A: every second row and column, and zeros for the new channels; no parameters.

    The zeros stand half before and half behind the copied channels. The paper leaves their place open, and
    another place is the same function up to a permutation of channels; this one is what most published
    implementations chose, so that they can be compared with ours bit for bit.
    """

    def __init__(self, num_new_channels: int, stride: int) -> None:
        super().__init__()
        self.before = num_new_channels // 2
        self.after = num_new_channels - self.before
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + new, H / stride, W / stride)."""
        # The mean of one pixel is the pixel, bit for bit. What slicing gives back in the backward pass lies in
        # another layout than the activations, which costs 8 % of a step on a CPU.
        kept = F.avg_pool2d(x, kernel_size=1, stride=self.stride)
        return F.pad(kept, (0, 0, 0, 0, self.before, self.after))


class ProjectionShortcut(nn.Sequential):
    """Option B: a strided 1x1 convolution, batch-normalised."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and the shortcut's output added before the last activation if there is one.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the first convolution.
        shortcut: maps the input to the output's shape, or None for a plain block.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = self.bn2(self.conv2(out))
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return F.relu(out, inplace=True)


class CifarResNet(nn.Module):
    """ResNet or plain network for 32x32 images; the two share every line but the addition.

    The weights begin as the paper's, see `initialize_he`.

    Args:
        depth: weighted layers on the main path, one of 20, 32, 44, 56, 110, 1202.
        residual: False leaves out every shortcut: the plain network.
        shortcut: what a residual network does where dimensions grow.
        num_classes: of the output.

    Raises:
        UsageError: the depth is none of the paper's.
    """

    def __init__(
        self, depth: int, *, residual: bool = True, shortcut: Shortcut = "A", num_classes: int = 10
    ) -> None:
        super().__init__()
        if depth not in BLOCKS_PER_STAGE:
            raise UsageError(
                f"depth {depth} is none of the paper's; use one of {', '.join(map(str, BLOCKS_PER_STAGE))}"
            )
        self.conv1 = nn.Conv2d(3, STAGE_CHANNELS[0], kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(STAGE_CHANNELS[0])
        stages = []
        in_channels = STAGE_CHANNELS[0]
        for stage, out_channels in enumerate(STAGE_CHANNELS):
            blocks = []
            for block in range(BLOCKS_PER_STAGE[depth]):
                stride = 2 if stage > 0 and block == 0 else 1
                mapping = _shortcut(in_channels, out_channels, stride, shortcut) if residual else None
                blocks.append(BasicBlock(in_channels, out_channels, stride, mapping))
                in_channels = out_channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(STAGE_CHANNELS[-1], num_classes)
        initialize_he(self)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images (N, 3, 32, 32) -> logits (N, num_classes)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.stages(x)
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def _shortcut(in_channels: int, out_channels: int, stride: int, option: Shortcut) -> nn.Module:
    if in_channels == out_channels:
        return nn.Identity()
    if option == "A":
        return PadShortcut(out_channels - in_channels, stride)
    return ProjectionShortcut(in_channels, out_channels, stride)
