"""Networks of timm: ResNet-18 as shipped, and its classes put together as in section 4.2."""

from __future__ import annotations

import timm
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from harness.models.composition import recompose
from harness.models.resnet import Shortcut
from harness.paper import STAGE_CHANNELS

__all__ = ["cifar_resnet", "resnet18"]


def resnet18() -> nn.Module:
    """ResNet-18 for 10 classes, with timm's own initial weights: the last scale of every block is zero."""
    network: nn.Module = timm.create_model("resnet18", pretrained=False, num_classes=10)
    return network


def cifar_resnet(depth: int, shortcut: Shortcut | None) -> nn.Module:
    """The network of section 4.2, with timm's initialisation; without a shortcut, the plain one.

    The last scale of a block is one, not zero as timm has it by default: a plain network that starts with
    zeros there computes nothing, and the paper has none.
    """
    with torch.device("meta"):  # everything that has weights is replaced
        network: nn.Module = ResNet(BasicBlock, (1, 1, 1), num_classes=10, channels=STAGE_CHANNELS)
    recompose(network, BasicBlock, depth=depth, shortcut=shortcut)
    ResNet.init_weights(network, zero_init_last=False)
    return network
