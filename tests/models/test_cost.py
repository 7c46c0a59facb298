import copy

import pytest
import torch
from torch import nn

from harness.models import find, models
from harness.models.cost import num_macs, num_parameters
from harness.paper import PARAMETERS_MILLION


def parameters_by_hand(n, *, projections):
    """Section 4.2: 3x3 convolutions without bias, scale and shift behind each, a 10-way linear layer."""

    def convolution(c_in, c_out, side=3):
        return side * side * c_in * c_out + 2 * c_out

    total = convolution(3, 16)
    for c_in, c_out in ((16, 16), (16, 32), (32, 64)):
        total += convolution(c_in, c_out) + (2 * n - 1) * convolution(c_out, c_out)
        if projections and c_in != c_out:
            total += convolution(c_in, c_out, side=1)
    return total + 64 * 10 + 10


def macs_by_hand(n, *, projections):
    total = 9 * 3 * 16 * 32 * 32
    for c_in, c_out, side in ((16, 16, 32), (16, 32, 16), (32, 64, 8)):
        total += 9 * (c_in * c_out + (2 * n - 1) * c_out * c_out) * side * side
        if projections and c_in != c_out:
            total += c_in * c_out * side * side
    return total + 64 * 10


def on_meta(key):
    with torch.device("meta"):
        return find(key).build()


# the counts that independent implementations of these networks have
COUNTS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}
NUM_BLOCKS = {20: 3, 32: 5, 44: 7, 56: 9, 110: 18, 1202: 200}


@pytest.mark.parametrize("depth", COUNTS)
def test_parameters_of_option_a_and_plain(depth):
    assert parameters_by_hand(NUM_BLOCKS[depth], projections=False) == COUNTS[depth]
    assert num_parameters(on_meta(f"resnet{depth}")) == COUNTS[depth]
    assert num_parameters(on_meta(f"plain{depth}")) == COUNTS[depth]


@pytest.mark.parametrize("depth", COUNTS)
def test_parameters_agree_with_table_6(depth):
    # 0.27M and the like have two decimals, 1.7M and 19.4M one
    assert COUNTS[depth] / 1e6 == pytest.approx(
        PARAMETERS_MILLION[depth], abs=0.006 if depth < 100 else 0.051
    )


@pytest.mark.parametrize("depth", [20, 56, 110])
def test_parameters_of_option_b(depth):
    expected = parameters_by_hand(NUM_BLOCKS[depth], projections=True)
    assert num_parameters(on_meta(f"resnet{depth}-b")) == expected
    # two 1x1 convolutions, 16 to 32 and 32 to 64 channels, each with scale and shift
    assert expected - COUNTS[depth] == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_parameters_of_resnet20_b():
    assert num_parameters(find("resnet20-b").build()) == 272_474


@pytest.mark.parametrize(
    ("key", "macs"), [("resnet20", 40_551_040), ("plain20", 40_551_040), ("resnet20-b", 40_813_184)]
)
def test_macs_of_20_layers(key, macs):
    assert macs_by_hand(3, projections=key.endswith("-b")) == macs
    assert num_macs(find(key).build()) == macs


@pytest.mark.parametrize("depth", [32, 56, 110])
def test_macs_of_deeper_networks(depth):
    assert num_macs(on_meta(f"resnet{depth}")) == macs_by_hand(NUM_BLOCKS[depth], projections=False)


FROM_PACKAGES = [key for key, entry in models().items() if entry.source == "pypi" and entry.depth != 18]


@pytest.mark.parametrize("key", FROM_PACKAGES)
def test_networks_of_packages_cost_what_the_paper_s_do(key):
    entry, model = find(key), on_meta(key)
    projections = entry.shortcut == "B"
    assert num_parameters(model) == parameters_by_hand(NUM_BLOCKS[entry.depth], projections=projections)
    assert num_macs(model) == macs_by_hand(NUM_BLOCKS[entry.depth], projections=projections)


@pytest.mark.parametrize(
    ("key", "parameters", "macs"),
    [
        ("pytorchcv-resnet20", 272_474, 40_813_184),
        ("bayesian-torch-resnet20", 269_722, 40_551_040),
        ("torchdistill-resnet20", 272_474, 40_813_184),
    ],
)
def test_cost_of_resnet20_as_packages_ship_it(key, parameters, macs):
    model = find(key).build()
    assert (num_parameters(model), num_macs(model)) == (parameters, macs)


@pytest.mark.parametrize("key", ["torchvision-resnet18", "timm-resnet18"])
def test_cost_of_resnet18_as_shipped(key):
    # the counts that both packages state for 1000 classes, with 10: 11,689,512 - 990 * 513
    model = on_meta(key)
    assert num_parameters(model) == 11_689_512 - 990 * 513 == 11_181_642
    assert num_macs(model) == 37_016_576


@pytest.mark.parametrize(
    "key", ["torchvision-resnet20", "torchvision-plain20", "timm-resnet18", "timm-resnet20-b"]
)
def test_cost_is_the_same_with_weights_and_without(key):
    model = find(key).build()
    assert (num_parameters(model), num_macs(model)) == (num_parameters(on_meta(key)), num_macs(on_meta(key)))


def test_frozen_parameters_are_not_counted():
    model = nn.Linear(3, 5)
    model.bias.requires_grad_(False)
    assert num_parameters(model) == 15


def test_macs_of_one_convolution_and_one_linear_layer():
    model = nn.Sequential(
        nn.Conv2d(3, 4, kernel_size=5, stride=2, padding=2),
        nn.BatchNorm2d(4),
        nn.Flatten(),
        nn.Linear(1024, 7),
    )
    assert num_macs(model) == 3 * 4 * 25 * 16 * 16 + 1024 * 7


class LooksAtItsData(nn.Module):
    """Divides by a number that it takes from its input, and so needs data."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3 * 32 * 32, 10)

    def forward(self, x):
        return self.fc((self.norm(x) / (1 + float(x.abs().max()))).flatten(1))


def test_a_network_that_cannot_run_without_data_is_counted_all_the_same():
    model = LooksAtItsData()
    with pytest.raises(RuntimeError):
        copy.deepcopy(model).to("meta")(torch.zeros(2, 3, 32, 32, device="meta"))
    assert num_macs(model) == 3 * 32 * 32 * 10


@pytest.mark.parametrize("build", [find("resnet20").build, LooksAtItsData])
def test_counting_leaves_the_network_as_it_was(build):
    model = build().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    num_macs(model)
    assert model.training
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_counting_draws_no_random_numbers():
    model = find("resnet20").build()
    before = torch.get_rng_state()
    num_macs(model)
    assert torch.equal(torch.get_rng_state(), before)
