"""Whether a network is the paper's function: each variant differs in one thing, and the verdict says in which."""

import math

import pytest
import torch
from torch import nn

from harness.errors import ModelError
from harness.identity.equivalence import TOLERANCE, compare
from harness.models import find
from harness.models.resnet import CifarResNet


@pytest.mark.parametrize("name", ["as it is", "registered in reverse", "frozen"])
def test_the_same_network_is_identical_bit_for_bit(make_variant, images, labels, name):
    found = compare(make_variant(name), images, labels)
    assert (found.counterpart, found.verdict, found.first_deviation) == ("resnet20", "identical", None)
    assert found.differences.largest == 0


@pytest.mark.parametrize(
    ("key", "counterpart"),
    [
        ("plain20", "plain20"),
        ("resnet32-b", "resnet32-b"),
        ("torchvision-resnet20", "resnet20"),
        ("timm-resnet20-b", "resnet20-b"),
        ("timm-plain20", "plain20"),
    ],
)
def test_every_kind_has_its_counterpart(images, labels, key, counterpart):
    found = compare(find(key).build(), images, labels)
    assert (found.counterpart, found.verdict) == (counterpart, "identical")


def test_another_order_of_summation_is_the_same_function(make_variant, images, labels):
    found = compare(make_variant("average pooling"), images, labels)
    assert found.verdict == "equal"
    assert 0 < found.differences.largest_fp64 < 1e-12
    assert 1e-9 < found.differences.gradients_fp32 < 1e-3


@pytest.mark.parametrize("name", ["zeros behind", "zeros before", "zeros behind in one stage"])
def test_channels_in_another_order_are_recognised(make_variant, images, labels, name):
    found = compare(make_variant(name), images, labels)
    assert (found.counterpart, found.verdict, found.first_deviation) == ("resnet20", "permuted", None)
    assert found.differences.largest_fp64 <= TOLERANCE


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("other rows kept", "layer 10 of the main path, stages.1.1.conv1, sees something else"),
        ("activated before addition", "layer 4 of the main path, stages.0.1.conv1, sees something else"),
        ("another epsilon", "layer 2 of the main path, stages.0.0.conv1, sees something else"),
        ("dropout", "the function behind the last layer is another, or what it does in training"),
        ("shared weights", "the function behind the last layer is another, or what it does in training"),
        ("not a number", "the function behind the last layer is another, or what it does in training"),
    ],
)
def test_another_function_of_the_same_layers_is_told_by_what_a_layer_sees(
    make_variant, images, labels, name, deviation
):
    found = compare(make_variant(name), images, labels)
    assert found.verdict == "different"
    assert found.first_deviation.startswith(deviation)
    assert found.differences.largest_fp64 > TOLERANCE


@pytest.mark.parametrize(
    ("name", "deviation"),
    [
        ("a parameter more", "parameter temperature has no counterpart"),
        ("a bias", "layer 1 of the main path, conv1, is 3x3 3->16, with bias, not 3x3 3->16"),
        (
            "no classifier bias",
            "layer 20 of the main path, fc, is linear 64->10, without bias, not linear 64->10",
        ),
        (
            "not normalised",
            "layer 1 of the main path, conv1, is 3x3 3->16, normalisation absent, not 3x3 3->16",
        ),
        (
            "no scale",
            "layer 1 of the main path, conv1, is 3x3 3->16, normalisation without scale, not 3x3 3->16",
        ),
        (
            "no statistics",
            "layer 1 of the main path, conv1, is 3x3 3->16, normalisation without statistics, not 3x3 3->16",
        ),
        (
            "a block more",
            "layer 14 of the main path, stages.1.3.conv1, is 3x3 32->32, not 3x3 32->64, stride 2",
        ),
    ],
)
def test_other_layers_are_named_and_no_weights_are_carried_over(
    make_variant, images, labels, name, deviation
):
    found = compare(make_variant(name), images, labels)
    assert (found.verdict, found.first_deviation, found.differences) == ("different", deviation, None)


def test_a_shortcut_of_another_kind_is_named(images, labels):
    network = CifarResNet(20, shortcut="B")
    network.stages[1][0].shortcut[0] = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
    found = compare(network, images, labels)
    assert (found.counterpart, found.verdict) == ("resnet20-b", "different")
    assert found.first_deviation == (
        "layer 1 of the shortcuts, stages.1.0.shortcut.0, is 3x3 16->32, stride 2, not 1x1 16->32, stride 2"
    )


def test_the_network_stays_as_it_is(make_variant, images, labels):
    network = make_variant("zeros behind").eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    compare(network, images, labels)
    assert not network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_verdict_does_not_depend_on_the_weights_drawn(make_variant, images, labels):
    assert {compare(make_variant("zeros behind"), images, labels, seed=seed).verdict for seed in (1, 2)} == {
        "permuted"
    }


def test_what_is_no_number_is_an_infinite_difference(make_variant, images, labels):
    assert math.isinf(compare(make_variant("not a number"), images, labels).differences.logits_fp64)


def test_layers_that_cannot_be_told_are_an_error(images, labels):
    network = CifarResNet(20)
    nn.utils.parametrizations.weight_norm(network.stages[0][0].conv1)
    with pytest.raises(ModelError, match="weight is computed from other parameters"):
        compare(network, images, labels)
