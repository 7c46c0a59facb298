"""Networks made of torchvision's and timm's classes, against ours and against what the packages do."""

import copy
import subprocess
import sys

import pytest
import timm.models.resnet
import torch
import torch.nn.functional as F
import torchvision.models.resnet
from torch import nn

from harness.models import find
from harness.models.composition import ZeroShortcut
from harness.models.resnet import PadShortcut
from harness.training.digest import weights_sha256
from harness.training.initialization import build_model

PACKAGES = {"torchvision": torchvision.models.resnet, "timm": timm.models.resnet}
NAMES = ("resnet20", "resnet20-b", "plain20")
pairs = pytest.mark.parametrize(("package", "name"), [(p, n) for p in PACKAGES for n in NAMES])


def started(key, seed=0, initialization="he"):
    return build_model(find(key), seed=seed, initialization=initialization)


def set_at_random(model):
    """Scales, shifts and statistics of normalisation, which initialisation leaves without effect."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            with torch.no_grad():
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(std=0.2, generator=generator)
                module.running_mean.normal_(std=0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


def pair(package, name):
    """Ours and theirs, with weights that were copied from parameter to parameter in order."""
    ours, theirs = set_at_random(started(name)), find(f"{package}-{name}").build()
    for one, other in ((ours.parameters(), theirs.parameters()), (ours.buffers(), theirs.buffers())):
        for source, target in zip(one, other, strict=True):
            assert source.shape == target.shape
            target.data.copy_(source.data)
    return ours, theirs


@pytest.fixture
def images():
    return torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    return torch.arange(16) % 10


def gradients(model, images, labels):
    model.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pairs
def test_logits_are_ours(package, name, images, dtype, tolerance):
    ours, theirs = (model.to(dtype).eval() for model in pair(package, name))
    with torch.no_grad():
        expected, actual = ours(images.to(dtype)), theirs(images.to(dtype))
    assert expected.std(dim=0).min() > 0.01  # there is something to compare
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pairs
def test_gradients_and_statistics_of_training_are_ours(package, name, images, labels):
    ours, theirs = (model.double().train() for model in pair(package, name))
    expected, actual = (gradients(model, images.double(), labels) for model in (ours, theirs))
    assert all(gradient.any() for gradient in expected)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(list(theirs.buffers()), list(ours.buffers()), rtol=0, atol=1e-12)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_kinds_differ_where_weights_are_equal(package, images):
    residual, plain = started(f"{package}-resnet20").eval(), started(f"{package}-plain20").eval()
    assert weights_sha256(residual) == weights_sha256(plain)
    with torch.no_grad():
        assert not torch.allclose(residual(images), plain(images), atol=0.1)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("name", [*NAMES, "resnet56", "plain110"])
def test_he_initialisation_gives_every_parameter_the_value_it_has_in_ours(package, name):
    ours, theirs = started(name, seed=5), started(f"{package}-{name}", seed=5)
    for expected, actual in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(expected, actual)
    assert weights_sha256(ours) == weights_sha256(theirs)
    assert weights_sha256(ours) != weights_sha256(started(f"{package}-{name}", seed=6))


@pairs
def test_what_computes_is_the_package_s(package, name):
    model, classes = find(f"{package}-{name}").build(), PACKAGES[package]
    assert type(model) is classes.ResNet
    blocks = [block for stage in (model.layer1, model.layer2, model.layer3) for block in stage]
    assert [type(block) for block in blocks] == [classes.BasicBlock] * 9
    assert len(model.layer4) == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_option_b_is_what_the_package_puts_there_itself(package):
    theirs = find(f"{package}-resnet18").build().layer2[0].downsample
    composed = find(f"{package}-resnet20-b").build().layer2[0].downsample
    assert [type(module) for module in composed] == [type(module) for module in theirs]
    for setting in ("kernel_size", "stride", "padding", "bias"):
        assert getattr(composed[0], setting) == getattr(theirs[0], setting)


@pairs
def test_initialisation_by_implementation_is_the_package_s(package, name):
    # deviation sqrt(2 / fan_out), and PyTorch's own, uniform, for the classifier
    model = started(f"{package}-{name}", initialization="implementation")
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach()
            expected = (2 / weight[:, 0].numel()) ** 0.5
            assert abs(weight.std() / expected - 1) < 4 / (2 * weight.numel()) ** 0.5
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
    assert 0 < model.fc.weight.abs().max() <= 1 / 8
    assert weights_sha256(model) == weights_sha256(
        started(f"{package}-{name}", initialization="implementation")
    )


@pytest.mark.parametrize(("package", "scale"), [("torchvision", 1), ("timm", 0)])
def test_resnet18_starts_as_shipped(package, scale):
    model = find(f"{package}-resnet18").build()
    assert {block.bn2.weight.unique().item() for block in (*model.layer1, *model.layer4)} == {scale}
    assert started(f"{package}-resnet18").layer1[0].bn2.weight.unique().item() == 1
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


@pairs
def test_networks_survive_copies_and_the_channels_last_layout(package, name, images):
    model = set_at_random(started(f"{package}-{name}")).eval()
    copied = copy.deepcopy(model).to(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = model(images)
        actual = copied(images.contiguous(memory_format=torch.channels_last))
        copied.fc.bias.add_(1)
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)
        assert torch.equal(model(images), expected)


def test_first_network_of_a_process_starts_like_the_next():
    """Importing a package must draw no random numbers; the other tests have imported them already."""
    code = (
        "from harness.models import find; from harness.training.digest import weights_sha256 as digest; "
        "from harness.training.initialization import build_model as build; "
        "make = lambda key: digest(build(find(key), seed=0, initialization='implementation')); "
        f"assert all(make(key) == make(key) for key in {[f'{package}-resnet20' for package in PACKAGES]})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pairs
def test_no_weight_is_left_without_memory(package, name):
    model = find(f"{package}-{name}").build()
    assert {tensor.device.type for tensor in [*model.parameters(), *model.buffers()]} == {"cpu"}


def test_zero_shortcut_adds_nothing_to_any_shape_and_type():
    x = torch.full((2, 3, 4, 4), torch.inf, dtype=torch.bfloat16)
    out = torch.randn(2, 6, 2, 2, dtype=torch.bfloat16)
    expected = out.clone()
    out += ZeroShortcut()(x)
    assert torch.equal(out, expected)
    assert not list(ZeroShortcut().state_dict())


@pytest.mark.parametrize("package", PACKAGES)
def test_option_a_is_our_padding_where_dimensions_grow(package):
    model = find(f"{package}-resnet20").build()
    pads = [module for module in model.modules() if isinstance(module, PadShortcut)]
    assert [(pad.before, pad.after, pad.stride) for pad in pads] == [(8, 8, 2), (16, 16, 2)]
