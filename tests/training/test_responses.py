import pytest
import torch
from torch import nn

from harness.models import find
from harness.training.responses import ResponseMeter

IMAGES = torch.randn(70, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def metered(network, *batches):
    with ResponseMeter(network.eval()) as meter, torch.inference_mode():
        for batch in batches:
            network(batch)
    return meter.responses()


def layers(**modules):
    network = nn.Sequential()
    for name, module in modules.items():
        network.add_module(name, module)
    return network


def test_std_is_that_of_all_responses_together():
    torch.manual_seed(0)
    network = layers(conv=nn.Conv2d(3, 8, 3), bn=nn.BatchNorm2d(8), relu=nn.ReLU(inplace=True))
    network.bn.running_mean.fill_(3.0)
    network.bn.weight.data.uniform_(0.5, 2)
    expected = network.eval()[:2](IMAGES).double().std(correction=0).item()
    # of very different mini-batches, so that a mean of their deviations would be another
    batches = IMAGES[:1], IMAGES[1:60], IMAGES[60:]
    (response,) = metered(network, *batches)
    assert response.layer == "bn"
    assert response.std == pytest.approx(expected, rel=1e-6)


def test_mini_batches_of_different_means_add_to_the_spread():
    network = layers(conv=nn.Conv2d(3, 1, 3, bias=False), bn=nn.BatchNorm2d(1, affine=False, eps=0))
    network.conv.weight.data.fill_(1 / 27)
    ones = torch.ones(2, 3, 5, 5)
    (response,) = metered(network, ones, 3 * ones, 3 * ones)
    # 1, 3, 3: mean 7/3, variance ((4/3)^2 + 2 (2/3)^2) / 3 = 8/9
    assert response.std == pytest.approx((8 / 9) ** 0.5, rel=1e-5)


@pytest.mark.parametrize(
    ("key", "num_layers"),
    [("resnet20", 19), ("plain20", 19), ("resnet20-b", 19), ("resnet56", 55), ("torchvision-resnet20", 19)],
)
def test_every_3x3_layer_has_a_response_and_no_projection(key, num_layers):
    responses = metered(find(key).build(), IMAGES[:4])
    assert len(responses) == len({response.layer for response in responses}) == num_layers
    assert all(response.std > 0 for response in responses)


def test_layers_come_in_order_of_execution():
    responses = metered(find("resnet20").build(), IMAGES[:4])
    assert [response.layer for response in responses[:4]] == [
        *("bn1", "stages.0.0.bn1", "stages.0.0.bn2", "stages.0.1.bn1"),
    ]


def test_what_a_network_computes_stays_the_same_and_nothing_stays_on_it():
    network = find("resnet20").build().eval()
    with torch.inference_mode():
        before = network(IMAGES)
        with ResponseMeter(network):
            meanwhile = network(IMAGES)
        after = network(IMAGES)
    assert torch.equal(before, meanwhile)
    assert torch.equal(before, after)
    assert not any(module._forward_hooks for module in network.modules())


def test_network_without_batch_normalisation_has_no_responses():
    network = layers(conv=nn.Conv2d(3, 4, 3), relu=nn.ReLU(), other=nn.BatchNorm2d(4))
    assert metered(network, IMAGES[:2]) == []


def test_a_layer_that_is_executed_twice_is_one_layer():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

        def forward(self, x):
            return self.bn(self.conv(self.bn(self.conv(x))))

    assert [response.layer for response in metered(Twice(), IMAGES[:2])] == ["bn"]
