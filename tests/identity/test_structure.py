"""What a network's graph says of it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.errors import ModelError
from harness.identity.structure import Stage, describe, measure_initial_weights
from harness.models import find
from harness.models.resnet import CifarResNet


@pytest.mark.parametrize(
    ("key", "shortcut", "num_shortcuts", "layers_beside"),
    [
        ("resnet20", "A", 9, 0),
        ("resnet20-b", "B", 9, 2),
        ("plain20", "none", 0, 0),
        ("timm-plain20", "none", 0, 0),
    ],
)
def test_the_paper_s_networks(key, shortcut, num_shortcuts, layers_beside):
    found = describe(find(key).build())
    assert found.layers_on_main_path == 20
    assert (found.shortcut, found.num_shortcuts, found.layers_beside) == (
        shortcut,
        num_shortcuts,
        layers_beside,
    )
    assert found.stem == "3x3 3->16"
    assert found.stages == [Stage(16, 32, 32, 7), Stage(32, 16, 16, 6), Stage(64, 8, 8, 6)]
    assert found.pooling == "global average"


def test_a_network_for_large_images():
    found = describe(find("torchvision-resnet18").build())
    assert found.stem == "7x7 3->64, stride 2 + 3x3 max, stride 2"
    assert [stage.channels for stage in found.stages] == [64, 64, 128, 256, 512]
    assert (found.layers_on_main_path, found.layers_beside, found.shortcut) == (18, 3, "B")


@pytest.mark.parametrize(
    ("kernel", "everywhere", "expected"), [(1, True, "C"), (3, False, "3x3"), (1, False, "B")]
)
def test_shortcuts_with_weights(kernel, everywhere, expected):
    network = CifarResNet(20)
    for index, stage in enumerate(network.stages):
        for number, block in enumerate(stage):
            grows = index > 0 and number == 0
            if grows or everywhere:
                stride = 2 if grows else 1
                convolution = block.conv1
                block.shortcut = nn.Conv2d(
                    convolution.in_channels,
                    convolution.out_channels,
                    kernel,
                    stride=stride,
                    padding=kernel // 2,
                )
    assert describe(network).shortcut == expected


def test_shortcuts_that_only_add():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Added(8), nn.Flatten(), nn.Linear(8 * 1024, 10))
    found = describe(network)
    assert (found.shortcut, found.num_shortcuts, found.pooling) == ("identity", 1, "none")
    assert found.stem == "3x3 3->8, with bias, normalisation absent"


def test_a_network_written_as_a_function_is_read_all_the_same():
    found = describe(Functional())
    assert (found.layers_on_main_path, found.layers_beside, found.num_shortcuts) == (3, 0, 1)
    assert found.stem == "5x5 3->4, padding 0, normalisation by a function + 2x2 max"
    assert found.pooling == "14x14 average"


class Added(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.convolution(x)


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        shapes = ((4, 3, 5, 5), (4, 4, 3, 3), (10, 4))
        self.weights = nn.ParameterList(torch.randn(shape) for shape in shapes)
        self.scale, self.shift = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))

    def forward(self, x):
        x = F.conv2d(x, self.weights[0])
        x = F.batch_norm(x, None, None, self.scale, self.shift, training=True)
        x = F.max_pool2d(F.relu(x), 2)
        x = x + F.conv2d(x, self.weights[1], padding=1)
        return F.avg_pool2d(x, 14).flatten(1) @ self.weights[2].t()


@pytest.mark.parametrize(
    ("key", "rule"),
    [
        ("resnet20", "He (fan-in)"),
        ("torchvision-resnet20", "He (fan-out), linear: PyTorch's default"),
        ("timm-resnet18", "He (fan-out), linear: PyTorch's default, 8 of 20 scales zero"),
    ],
)
def test_the_rule_of_the_initial_weights_is_told_from_their_spread(key, rule):
    torch.manual_seed(0)
    measured, found = measure_initial_weights(find(key).build())
    assert found == rule
    assert len({layer.layer for layer in measured}) == len(measured)
    stem = measured[0]
    fan_in = 27 if "20" in key else 147
    assert stem.he_std == math.sqrt(2 / fan_in)
    assert stem.num_weights == fan_in * (16 if "20" in key else 64)


def test_other_rules_are_told_as_well():
    network = CifarResNet(20)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    assert measure_initial_weights(network)[1] == "PyTorch's default, linear: He (fan-in)"
    nn.init.normal_(network.conv1.weight, std=0.01)
    assert measure_initial_weights(network)[1] == "otherwise, linear: He (fan-in)"


def test_scales_that_are_not_there_are_not_zero():
    network = CifarResNet(20)
    network.bn1 = nn.BatchNorm2d(16, affine=False)
    assert measure_initial_weights(network)[1] == "He (fan-in)"


@pytest.mark.parametrize(
    ("forward", "complaint"),
    [
        (lambda network, x: x.flatten(1)[:, :10] * network.weight, "there is no convolution or linear layer"),
        (lambda network, x: x.flatten(1)[:, :10], "does not depend on anything that can be trained"),
    ],
)
def test_what_has_no_layers_is_an_error(forward, complaint):
    network = nn.Module()
    network.weight = nn.Parameter(torch.ones(10))
    network.forward = lambda x: forward(network, x)
    with pytest.raises(ModelError, match=complaint):
        describe(network)
