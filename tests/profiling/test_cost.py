"""What networks cost, counted by hand."""

import pytest
import torch
from torch import nn

from harness.models import find
from harness.profiling.cost import static_cost


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """For all tests here."""


def convolution(c_in, c_out, side=3):
    """Weights, and a scale and a shift for each channel."""
    return side * side * c_in * c_out + 2 * c_out


# of ResNet-20: 464 + 6 * 2,336; 4,672 + 5 * 9,280; 18,560 + 5 * 36,992; and 64 weights and a bias for each class
STAGES = {
    "32x32": convolution(3, 16) + 6 * convolution(16, 16),
    "16x16": convolution(16, 32) + 5 * convolution(32, 32),
    "8x8": convolution(32, 64) + 5 * convolution(64, 64),
    "classifier": 64 * 10 + 10,
}

# Numbers of one stage's feature maps: 16 x 32 x 32, 32 x 16 x 16, 64 x 8 x 8. The stem and the first stage have seven
# convolutions, the others six. What is normalised is kept, and so is the output of the activation behind each
# normalisation, which is the input of the next convolution.
KEPT = 4 * (3 * 32 * 32 + 2 * (7 * 16_384 + 6 * 8_192 + 6 * 4_096) + 64)


def test_cost_of_resnet20():
    assert STAGES == {"32x32": 14_480, "16x16": 51_072, "8x8": 203_520, "classifier": 650}
    assert KEPT == 1_519_872
    cost = static_cost(find("resnet20").build)
    assert cost.parameters_by_stage == STAGES
    assert cost.parameters == cost.parameters_total == 269_722
    assert cost.weighted_layers == 20
    assert cost.macs == 40_551_040
    assert cost.activation_bytes_per_image == KEPT


def test_shortcuts_without_parameters_cost_nothing():
    assert static_cost(find("plain20").build) == static_cost(find("resnet20").build)


def test_cost_of_resnet20_with_projections():
    cost = static_cost(find("resnet20-b").build)
    assert cost.parameters == cost.parameters_total == 272_474
    assert cost.parameters_by_stage == STAGES | {
        "16x16": STAGES["16x16"] + convolution(16, 32, side=1),
        "8x8": STAGES["8x8"] + convolution(32, 64, side=1),
    }
    assert cost.weighted_layers == 22
    assert cost.macs == 40_551_040 + 16 * 32 * 256 + 32 * 64 * 64
    # their outputs are normalised and not activated; their inputs are kept for a convolution already
    assert cost.activation_bytes_per_image == KEPT + 4 * (8_192 + 4_096)


@pytest.mark.parametrize("key", ["resnet56", "torchvision-resnet20", "torchvision-resnet18"])
def test_every_parameter_is_of_one_stage(key):
    cost = static_cost(find(key).build)
    assert sum(cost.parameters_by_stage.values()) == cost.parameters_total
    assert "other" not in cost.parameters_by_stage


def partly_frozen():
    stem = nn.Conv2d(3, 4, 3, padding=1, bias=False).requires_grad_(False)
    return nn.Sequential(stem, nn.Flatten(), nn.Linear(4096, 10))


def test_frozen_parameters_are_parameters_that_are_not_trained():
    cost = static_cost(partly_frozen)
    assert (cost.parameters, cost.parameters_total) == (40_970, 40_970 + 108)
    assert cost.parameters_by_stage == {"32x32": 108, "classifier": 40_970}
    assert cost.weighted_layers == 2
    # before the linear layer nothing has a gradient
    assert cost.activation_bytes_per_image == 4 * 4096


class Scaled(nn.Module):
    """A linear layer, and a parameter that is part of no layer."""

    def __init__(self):
        super().__init__()
        self.fc, self.temperature = nn.Linear(3072, 10), nn.Parameter(torch.ones(10))

    def forward(self, x):
        return self.fc(x.flatten(1)) * self.temperature


def test_a_parameter_of_no_layer_is_of_no_stage():
    cost = static_cost(Scaled)
    assert cost.parameters_by_stage == {"classifier": 30_730, "other": 10}
    assert cost.parameters == cost.parameters_total == 30_740
    # the images for the layer, its logits for the scale, and no parameters
    assert cost.activation_bytes_per_image == 4 * (3072 + 10)


class Twice(nn.Module):
    """The same convolution with its normalisation, twice in a row."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.fc = nn.Linear(3072, 10)

    def forward(self, x):
        for _ in range(2):
            x = self.bn(self.conv(x))
        return self.fc(x.flatten(1))


def test_parameters_of_a_layer_that_is_used_twice_are_counted_once_and_its_work_twice():
    cost = static_cost(Twice)
    assert cost.parameters_by_stage == {"32x32": 81 + 3 + 6, "classifier": 30_730}
    assert cost.parameters == cost.parameters_total == 30_820
    assert cost.weighted_layers == 3
    assert cost.macs == 2 * 81 * 1024 + 30_720
    # the inputs of both convolutions, of both normalisations, and of the linear layer, all of 3 x 32 x 32
    assert cost.activation_bytes_per_image == 4 * 5 * 3072
