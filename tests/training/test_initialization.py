import pytest
import torch
from torch import nn

from harness.models import find
from harness.models.catalogue import ModelEntry
from harness.training.initialization import build_model


def build(key, seed=0, initialization="he"):
    return build_model(find(key), seed=seed, initialization=initialization)


def weights_of(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("key", ["resnet20", "plain20", "resnet20-b"])
def test_weights_of_every_layer_have_the_deviation_of_he(key):
    # sqrt(2 / fan_in), fan_in = inputs of one output: kernel area times input channels
    checked = 0
    for module in build(key).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.detach()
            expected = (2 / weight[0].numel()) ** 0.5
            # the deviation of a sample deviation is sigma / sqrt(2 n), that of a mean sigma / sqrt(n)
            assert abs(weight.std() / expected - 1) < 4 / (2 * weight.numel()) ** 0.5
            assert abs(weight.mean() / expected) < 4 / weight.numel() ** 0.5
            checked += 1
    assert checked == (22 if key == "resnet20-b" else 20)


def test_weights_are_normal_and_not_uniform():
    weight = torch.cat([p.flatten() / p.std() for p in build("resnet20").parameters() if p.dim() == 4])
    # a normal distribution has kurtosis 3, a uniform one 1.8
    assert (weight**4).mean().item() == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("key", ["resnet20", "resnet20-b"])
def test_biases_are_0_and_normalization_is_neutral(key):
    model = build(key)
    assert (model.fc.bias == 0).all()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.running_mean == 0).all()
            assert (module.running_var == 1).all()
            assert module.num_batches_tracked == 0


@pytest.mark.parametrize("initialization", ["he", "implementation"])
def test_plain_and_residual_network_start_with_equal_weights(initialization):
    residual = build("resnet20", initialization=initialization).state_dict()
    plain = build("plain20", initialization=initialization).state_dict()
    assert residual.keys() == plain.keys()
    assert all(torch.equal(residual[name], plain[name]) for name in residual)


@pytest.mark.parametrize("initialization", ["he", "implementation"])
def test_seed_decides_the_weights(initialization):
    first, again, other = (weights_of(build("resnet20", seed, initialization)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def entry_of(build_network):
    return ModelEntry(
        key="x", source="tests", licence="MIT", family="plain", depth=2, shortcut="none", build=build_network
    )


def test_he_replaces_what_the_class_does_and_implementation_keeps_it():
    def constant():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
        for parameter in model.parameters():
            nn.init.constant_(parameter, 7.0)
        return model

    kept = build_model(entry_of(constant), seed=0, initialization="implementation")
    assert (weights_of(kept) == 7).all()
    drawn = build_model(entry_of(constant), seed=0, initialization="he")
    assert not (weights_of(drawn) == 7).any()
    assert (drawn[0].bias == 0).all()
    assert (drawn[1].weight == 1).all()


def test_equal_architectures_start_equal_whoever_wrote_the_class():
    def one():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))

    def another():  # draws more for itself
        torch.randn(100)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))

    models = [build_model(entry_of(builder), seed=5, initialization="he") for builder in (one, another)]
    assert torch.equal(weights_of(models[0]), weights_of(models[1]))


@pytest.mark.parametrize("initialization", ["he", "implementation"])
def test_torchs_own_generator_is_left_alone(initialization):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    first = weights_of(build("resnet20", 0, initialization))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(456)
    assert torch.equal(weights_of(build("resnet20", 0, initialization)), first)
