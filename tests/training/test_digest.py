import hashlib
import struct

import pytest
import torch
from torch import nn

from harness.training.digest import extend_trajectory, weights_sha256


class Network(nn.Module):
    """Two parameters and a buffer with given values."""

    def __init__(self, names=("a", "b", "c")):
        super().__init__()
        first, second, third = names
        self.register_parameter(first, nn.Parameter(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])))
        self.register_parameter(second, nn.Parameter(torch.tensor([0.5])))
        self.register_buffer(third, torch.tensor(7))


def test_digest_is_sha256_over_type_shape_and_bytes():
    content = (
        b"torch.float32(2, 3)"
        + struct.pack("<6f", 1, 2, 3, 4, 5, 6)
        + b"torch.float32(1,)"
        + struct.pack("<f", 0.5)
        + b"torch.int64()"
        + struct.pack("<q", 7)
    )
    assert weights_sha256(Network()) == hashlib.sha256(content).hexdigest()


def test_digest_does_not_depend_on_names():
    assert weights_sha256(Network(("x", "y", "z"))) == weights_sha256(Network())


def test_digest_does_not_depend_on_memory_layout():
    convolution = nn.Conv2d(3, 4, 3)
    before = weights_sha256(convolution)
    convolution.to(memory_format=torch.channels_last)
    assert not convolution.weight.is_contiguous()
    assert weights_sha256(convolution) == before


def flip_last_bit(network):
    network.a.data.view(torch.int32)[1, 2] ^= 1


def change_buffer(network):
    network.c += 1


def transpose(network):
    network.a.data = network.a.data.T.contiguous().view(3, 2)


def reshape(network):
    network.a.data = network.a.data.view(3, 2)


def widen(network):
    network.a.data = network.a.data.double()


@pytest.mark.parametrize("change", [flip_last_bit, change_buffer, transpose, reshape, widen])
def test_digest_changes_with_every_bit(change):
    network = Network()
    change(network)
    assert weights_sha256(network) != weights_sha256(Network())


def test_trajectory_is_a_chain_of_sha256():
    losses = torch.tensor([2.5, 1.25])
    content = b"previous" + struct.pack("<2f", 2.5, 1.25) + b"weights" + b"state"
    assert extend_trajectory("previous", losses, "weights", "state") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "arguments",
    [
        ("other", torch.tensor([2.5, 1.25]), "weights", "state"),
        ("previous", torch.tensor([1.25, 2.5]), "weights", "state"),
        ("previous", torch.tensor([2.5, 1.2500001]), "weights", "state"),
        ("previous", torch.tensor([2.5, 1.25]), "other", "state"),
        ("previous", torch.tensor([2.5, 1.25]), "weights", "other"),
    ],
)
def test_trajectory_changes_with_each_of_its_parts(arguments):
    expected = extend_trajectory("previous", torch.tensor([2.5, 1.25]), "weights", "state")
    assert extend_trajectory(*arguments) != expected
