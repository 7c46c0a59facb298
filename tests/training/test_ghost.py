"""Batch normalisation over parts of a mini-batch is that of a mini-batch that is split over several devices."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harness.errors import UsageError
from harness.models import find
from harness.training.ghost import GhostBatchNorm2d, use_ghost_batches
from harness.training.initialization import build_model


def network(key="resnet20"):
    return build_model(find(key), seed=0, initialization="he").double()


def ghostly(size, key="resnet20"):
    model = network(key)
    use_ghost_batches(model, size)
    return model


@pytest.fixture
def batch():
    """Images (12, 3, 32, 32) and labels (12,)."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(12, 3, 32, 32, dtype=torch.float64, generator=generator)
    return images, torch.randint(10, (12,), generator=generator)


def gradients(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("key", ["resnet20", "plain20", "timm-resnet20", "pytorchcv-resnet20"])
@pytest.mark.parametrize(("size", "parts"), [(6, [6, 6]), (4, [4, 4, 4]), (5, [5, 5, 2])])
def test_it_is_the_network_copied_to_as_many_devices(batch, key, size, parts):
    """What torch.nn.DataParallel does: copies compute parts, their outputs are joined, their gradients added."""
    images, labels = batch
    copies = [network(key) for _ in parts]
    outputs = [model(part) for model, part in zip(copies, images.split(parts), strict=True)]
    F.cross_entropy(torch.cat(outputs), labels).backward()

    model = ghostly(size, key)
    output = model(images)
    F.cross_entropy(output, labels).backward()

    torch.testing.assert_close(output, torch.cat(outputs))
    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, sum(gradients(one)[name] for one in copies))
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, copies[0].get_buffer(name))


def test_it_is_another_function_than_that_of_the_whole_mini_batch(batch):
    images, _ = batch
    assert not torch.allclose(ghostly(6)(images), network()(images), rtol=1e-3)


def test_of_a_mini_batch_in_one_part_it_is_the_same_bits(batch):
    images, labels = batch
    plain, ghost = network(), ghostly(12)
    for model in (plain, ghost):
        F.cross_entropy(model(images), labels).backward()
    for name, gradient in gradients(plain).items():
        assert torch.equal(gradient, gradients(ghost)[name])
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, ghost.state_dict()[name])


def test_an_evaluation_is_that_of_the_network_as_it_was(batch):
    images, _ = batch
    ghost = ghostly(4)
    ghost(images)
    plain = network()
    plain.load_state_dict(ghost.state_dict())
    assert torch.equal(ghost.eval()(images), plain.eval()(images))


def test_names_and_parameters_stay():
    model = network()
    before = dict(model.named_parameters())
    shared = model.bn1
    use_ghost_batches(model, 64)
    assert model.bn1 is shared
    assert all(parameter is before[name] for name, parameter in model.named_parameters())
    assert sum(isinstance(module, GhostBatchNorm2d) for module in model.modules()) == 19
    assert copy.deepcopy(model).bn1.ghost_batch_size == 64


def test_other_batch_normalisations_are_refused_and_nothing_is_changed():
    model = nn.Sequential(nn.BatchNorm2d(3), nn.SyncBatchNorm(3))
    with pytest.raises(UsageError, match=r"^1 of Sequential is a SyncBatchNorm: .*; use a recipe without"):
        use_ghost_batches(model, 64)
    assert type(model[0]) is nn.BatchNorm2d


def test_a_network_without_any_is_left_alone():
    use_ghost_batches(nn.Sequential(nn.Conv2d(3, 3, 1)), 64)
