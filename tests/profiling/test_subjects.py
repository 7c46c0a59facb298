"""What is called again and again: a training step, or an inference."""

import pytest
import torch
import torch.nn.functional as F

from harness.config import Precision
from harness.models import find
from harness.profiling.subjects import Cell, SubjectNetwork

CPU = torch.device("cpu")
FP32, BF16 = Precision.FP32, Precision.BF16

# notes what it is given, and in which mode
NOTING = """\
from torch import nn

class net(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn, self.fc = nn.BatchNorm2d(3), nn.Linear(3072, 10)
        self.seen = []

    def forward(self, x):
        logits = self.fc(self.bn(x).flatten(1))
        self.seen.append((x.detach().clone(), self.training, logits.dtype))
        return logits
"""

LINEAR = """\
from torch import nn

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
"""


@pytest.fixture(autouse=True)
def _settings(torch_settings):
    """For all tests here."""


@pytest.fixture
def images():
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def labels():
    return torch.tensor([3, 1, 4, 1, 5, 9])


@pytest.fixture
def make_network(write_module, images, labels):
    """A function from the code of a network to it, ready for calls."""

    def make(code=NOTING):
        write_module(code)
        network = SubjectNetwork(find("mynet:net"), CPU, images, labels)
        if code == NOTING:
            network.model.seen.clear()
        return network

    return make


def cell(mode, batch_size, precision=FP32):
    return Cell(model="mynet:net", mode=mode, batch_size=batch_size, precision=precision)


def state_of(network):
    return {name: tensor.clone() for name, tensor in network.model.state_dict().items()}


def changed(network, before):
    return {
        name for name, tensor in network.model.state_dict().items() if not torch.equal(tensor, before[name])
    }


@pytest.mark.parametrize("precision", [FP32, BF16])
def test_training_changes_weights_and_statistics(make_network, precision):
    network = make_network()
    before = state_of(network)
    network.subject(cell("train", 4, precision)).call()
    assert changed(network, before) == set(before)
    assert all(parameter.grad is None for parameter in network.model.parameters())


@pytest.mark.parametrize("precision", [FP32, BF16])
def test_inference_changes_nothing(make_network, precision):
    network = make_network()
    before = state_of(network)
    network.subject(cell("infer", 4, precision)).call()
    assert changed(network, before) == set()


def test_a_training_step_is_one_of_sgd_with_momentum_and_weight_decay(make_network, images, labels):
    network = make_network(LINEAR)
    [_, linear] = network.model
    weight, momentum = linear.weight.detach().double(), 0.0
    bias, momentum_of_bias = linear.bias.detach().double(), 0.0
    step = network.subject(cell("train", 4)).call
    inputs, targets = images[:4].flatten(1).double(), F.one_hot(labels[:4], 10)
    for _ in range(3):
        step()
        # the gradient of the mean cross-entropy, by hand
        error = ((inputs @ weight.T + bias).softmax(dim=1) - targets) / 4
        momentum = 0.9 * momentum + error.T @ inputs + 1e-4 * weight
        momentum_of_bias = 0.9 * momentum_of_bias + error.sum(dim=0) + 1e-4 * bias
        weight, bias = weight - 1e-3 * momentum, bias - 1e-3 * momentum_of_bias
    torch.testing.assert_close(linear.weight.detach().double(), weight, rtol=0, atol=1e-6)
    torch.testing.assert_close(linear.bias.detach().double(), bias, rtol=0, atol=1e-6)


def test_the_first_images_are_used(make_network, images):
    network = make_network()
    for mode, size in (("train", 2), ("infer", 6), ("infer", 1), ("train", 5)):
        network.subject(cell(mode, size)).call()
        [(seen, _, _)] = network.model.seen
        assert torch.equal(seen, images[:size])
        network.model.seen.clear()


def test_cells_of_one_network_may_be_called_in_any_order(make_network):
    network = make_network()
    train, infer = network.subject(cell("train", 4)), network.subject(cell("infer", 4))
    for subject in (infer, train, train, infer, infer, train):
        subject.call()
    assert [training for _, training, _ in network.model.seen] == [False, True, True, False, False, True]
    assert network.model.bn.num_batches_tracked == 3
    assert (train.engine, infer.engine) == ("eager", "eager")


def test_precisions_may_be_mixed(make_network):
    network = make_network()
    for mode in ("train", "infer"):
        for precision in (BF16, FP32, BF16):
            network.subject(cell(mode, 4, precision)).call()
    assert [dtype for _, _, dtype in network.model.seen] == [
        torch.bfloat16,
        torch.float32,
        torch.bfloat16,
    ] * 2
    assert {parameter.dtype for parameter in network.model.parameters()} == {torch.float32}


def test_a_network_starts_from_the_weights_that_its_class_gives_it_with_the_same_seed(make_network):
    first, second = make_network(), make_network()
    assert changed(first, state_of(second)) == set()


def test_a_cell_is_told_in_four_words():
    assert (
        str(Cell(model="resnet20", mode="train", batch_size=128, precision=BF16)) == "resnet20 train 128 bf16"
    )
