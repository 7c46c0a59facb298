"""Networks of torchvision: ResNet-18 as shipped, and its classes put together as in section 4.2."""

from __future__ import annotations

import torch
import torchvision.models
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from harness.models.composition import recompose
from harness.models.resnet import Shortcut

__all__ = ["cifar_resnet", "resnet18"]


def resnet18() -> nn.Module:
    """ResNet-18 for 10 classes, with torchvision's own initial weights."""
    network: nn.Module = torchvision.models.resnet18(weights=None, num_classes=10)
    return network


def cifar_resnet(depth: int, shortcut: Shortcut | None) -> nn.Module:
    """The network of section 4.2, with torchvision's initialisation; without a shortcut, the plain one."""
    with torch.device("meta"):  # everything that has weights is replaced
        network: nn.Module = ResNet(BasicBlock, [1, 1, 1, 1])
    recompose(network, BasicBlock, depth=depth, shortcut=shortcut)
    # what the constructor of ResNet does, which has seen none of these layers; normalisation needs nothing
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network
