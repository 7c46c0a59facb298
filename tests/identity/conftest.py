"""Variants of ResNet-20 that differ from the paper's in one thing each."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.models.resnet import BasicBlock, CifarResNet


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """For all tests here."""


@pytest.fixture
def images():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    return torch.tensor([3, 1, 4, 1])


class Shortcut(nn.Module):
    """Option A with the zeros, and the rows and columns that are kept, elsewhere."""

    def __init__(self, before, after, first=0):
        super().__init__()
        self.before, self.after, self.first = before, after, first

    def forward(self, x):
        kept = x[:, :, self.first :: 2, self.first :: 2]
        return F.pad(kept, (0, 0, 0, 0, self.before, self.after))


def resnet(*, shortcuts=None):
    network = CifarResNet(20)
    for stage, shortcut in (shortcuts or {}).items():
        network.stages[stage][0].shortcut = shortcut
    return network


class AveragePooled(CifarResNet):
    def forward(self, x):
        x = self.stages(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.avg_pool2d(x, 8).flatten(1))


class ActivatedBeforeAddition(BasicBlock):
    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out))) + self.shortcut(x)


class Reordered(nn.Module):
    """The same network, its parts registered the other way round."""

    def __init__(self):
        super().__init__()
        whole = CifarResNet(20)
        self.last, self.middle, self.normalize, self.first = whole.fc, whole.stages, whole.bn1, whole.conv1

    def forward(self, x):
        return self.last(self.middle(F.relu(self.normalize(self.first(x)))).mean(dim=(2, 3)))


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.network, self.temperature = CifarResNet(20), nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.network(x) * self.temperature


def changed(change):
    network = CifarResNet(20)
    change(network)
    return network


def set_eps(network):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


def activate_before_addition(network):
    for block in network.stages.modules():
        if isinstance(block, BasicBlock):
            block.__class__ = ActivatedBeforeAddition


def share(network):
    network.stages[0][1].conv1.weight = network.stages[0][1].conv2.weight


VARIANTS = {
    "as it is": CifarResNet,
    "zeros behind": lambda: resnet(shortcuts={1: Shortcut(0, 16), 2: Shortcut(0, 32)}),
    "zeros before": lambda: resnet(shortcuts={1: Shortcut(16, 0), 2: Shortcut(32, 0)}),
    "zeros behind in one stage": lambda: resnet(shortcuts={2: Shortcut(0, 32)}),
    "other rows kept": lambda: resnet(shortcuts={1: Shortcut(8, 8, first=1)}),
    "average pooling": lambda: AveragePooled(20),
    "registered in reverse": Reordered,
    "activated before addition": lambda: changed(activate_before_addition),
    "another epsilon": lambda: changed(set_eps),
    "dropout": lambda: changed(lambda net: setattr(net, "fc", nn.Sequential(nn.Dropout(), net.fc))),
    "a parameter more": Scaled,
    "shared weights": lambda: changed(share),
    "not a number": lambda: changed(lambda net: setattr(net, "fc", nn.Sequential(net.fc, NotANumber()))),
    "a bias": lambda: changed(lambda net: setattr(net, "conv1", nn.Conv2d(3, 16, 3, padding=1))),
    "no classifier bias": lambda: changed(lambda net: setattr(net, "fc", nn.Linear(64, 10, bias=False))),
    "not normalised": lambda: changed(lambda net: setattr(net, "bn1", nn.Identity())),
    "no scale": lambda: changed(lambda net: setattr(net, "bn1", nn.BatchNorm2d(16, affine=False))),
    "no statistics": lambda: changed(
        lambda net: setattr(net, "bn1", nn.BatchNorm2d(16, track_running_stats=False))
    ),
    "a block more": lambda: changed(lambda net: net.stages[1].append(BasicBlock(32, 32, 1, nn.Identity()))),
    "frozen": lambda: CifarResNet(20).requires_grad_(False),
}


class NotANumber(nn.Module):
    def forward(self, x):
        return x * float("nan")


@pytest.fixture
def make_variant():
    """A function from a name to a network, with the same weights each time."""

    def make(name):
        torch.manual_seed(0)
        return CifarResNet(20) if name == "as it is" else VARIANTS[name]()

    return make
