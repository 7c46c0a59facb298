import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.errors import UsageError
from harness.models.resnet import CifarResNet, PadShortcut, ProjectionShortcut

KINDS = {"A": {}, "B": {"shortcut": "B"}, "plain": {"residual": False}}


@pytest.fixture
def build():
    """A function from depth and kind to a network whose weights and statistics are all set at random."""

    def make(kind, depth=20, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = CifarResNet(depth, **KINDS[kind])
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(module.weight)
                elif isinstance(module, nn.BatchNorm2d):
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, std=0.2)
                    module.running_mean.normal_(std=0.2)
                    module.running_var.uniform_(0.5, 1.5)
        return model

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_starts_by_itself_with_the_weights_of_he(kind):
    checked = 0
    for module in CifarResNet(20, **KINDS[kind]).modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.detach()
            expected = (2 / weight[0].numel()) ** 0.5
            # the deviation of a sample deviation is sigma / sqrt(2 n); torch's own draws are 2.4 times narrower
            assert abs(weight.std() / expected - 1) < 5 / (2 * weight.numel()) ** 0.5
            assert module.bias is None or (module.bias == 0).all()
            checked += 1
    assert checked == (22 if kind == "B" else 20)


@pytest.fixture
def images():
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def reference_forward(weights, kind, x, n):
    """Section 4.2 in functions, for evaluation; weights in the order of the state dict."""
    queue = iter(weights)

    def layer(x, stride=1, padding=1):
        x = F.conv2d(x, next(queue), stride=stride, padding=padding)
        gamma, beta, mean, var, _count = (next(queue) for _ in range(5))
        x = (x - mean.view(-1, 1, 1)) / torch.sqrt(var.view(-1, 1, 1) + 1e-5)
        return x * gamma.view(-1, 1, 1) + beta.view(-1, 1, 1)

    x = layer(x).relu()
    for stage in range(3):
        for block in range(n):
            stride = 2 if stage > 0 and block == 0 else 1
            out = layer(layer(x, stride).relu())
            if kind == "plain":
                x = out.relu()
                continue
            if stride == 2 and kind == "B":
                x = layer(x, stride, padding=0)
            elif stride == 2:
                zeros = torch.zeros_like(out[:, : x.shape[1] // 2])
                x = torch.cat([zeros, x[:, :, ::2, ::2], zeros], dim=1)
            x = (out + x).relu()
    x = F.avg_pool2d(x, 8).flatten(1)
    return x @ next(queue).T + next(queue)


@pytest.mark.parametrize("kind", KINDS)
def test_network_computes_what_section_4_2_says(build, images, kind):
    model = build(kind).eval()
    with torch.no_grad():
        expected = reference_forward(model.state_dict().values(), kind, images, n=3)
        actual = model(images)
    assert actual.shape == (4, 10)
    assert expected.std(dim=0).min() > 0.01  # images are told apart, so there is something to compare
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("training", [True, False])
def test_plain_network_is_the_residual_one_with_shortcuts_of_zero(build, images, training):
    residual, plain = build("A").train(training), build("plain", seed=1).train(training)
    plain.load_state_dict(residual.state_dict())
    with_shortcuts = residual(images)
    for module in residual.modules():
        if hasattr(module, "shortcut"):
            module.shortcut.register_forward_hook(lambda _module, _inputs, output: torch.zeros_like(output))
    assert torch.equal(residual(images), plain(images))
    assert not torch.equal(with_shortcuts, plain(images))


def test_plain_and_option_a_networks_have_the_same_parameters(build):
    names = [list(build(kind).state_dict()) for kind in ("A", "plain")]
    assert names[0] == names[1]


def test_option_a_takes_every_second_pixel_and_pads_channels_with_zeros():
    x = torch.arange(32.0).view(1, 2, 4, 4)
    expected = torch.zeros(1, 4, 2, 2)
    expected[0, 1] = torch.tensor([[0.0, 2.0], [8.0, 10.0]])
    expected[0, 2] = torch.tensor([[16.0, 18.0], [24.0, 26.0]])
    assert torch.equal(PadShortcut(2, stride=2)(x), expected)


def test_option_a_puts_an_odd_channel_behind():
    x = torch.ones(1, 1, 1, 1)
    assert PadShortcut(3, stride=1)(x).flatten().tolist() == [0, 1, 0, 0]


def test_option_b_projects_every_second_pixel():
    x = torch.arange(32.0).view(1, 2, 4, 4)
    shortcut = ProjectionShortcut(2, 1, stride=2).eval()
    with torch.no_grad():
        shortcut[0].weight.copy_(torch.tensor([1.0, -10.0]).view(1, 2, 1, 1))
        scale = 1 / (1 + shortcut[1].eps) ** 0.5
        expected = torch.tensor([[0.0 - 160, 2.0 - 180], [8.0 - 240, 10.0 - 260]]) * scale
        torch.testing.assert_close(shortcut(x)[0, 0], expected)


def test_option_a_is_used_where_dimensions_grow_and_identity_elsewhere(build):
    shortcuts = [type(module.shortcut) for module in build("A").modules() if hasattr(module, "shortcut")]
    assert shortcuts == [nn.Identity] * 3 + [PadShortcut, nn.Identity, nn.Identity] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_reaches_every_parameter(build, images, kind):
    model = build(kind)
    F.cross_entropy(model(images), torch.tensor([0, 3, 5, 9])).backward()
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert untouched == []


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_carries_the_whole_network(build, images, kind):
    model, other = build(kind).eval(), build(kind, seed=1).eval()
    with torch.no_grad():
        assert not torch.equal(model(images), other(images))
        other.load_state_dict(model.state_dict())
        assert torch.equal(model(images), other(images))


def test_output_has_as_many_columns_as_there_are_classes(images):
    assert CifarResNet(20, num_classes=7)(images).shape == (4, 7)


@pytest.mark.parametrize("depth", [0, 18, 21, 50])
def test_depth_that_the_paper_does_not_have_is_refused(depth):
    with pytest.raises(UsageError, match=f"depth {depth} .* 20, 32, 44, 56, 110, 1202"):
        CifarResNet(depth)
