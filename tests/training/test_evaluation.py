import math

import pytest
import torch
from torch import nn

from harness.config import Augmentation, Normalization, Precision
from harness.models import find
from harness.training import evaluation
from harness.training.batches import DeviceImages
from harness.training.evaluation import evaluate
from harness.training.initialization import build_model


@pytest.fixture
def images(small_set, cpu):
    return DeviceImages(small_set, Augmentation(pad=4, flip=True), Normalization(kind="per-pixel-mean"), cpu)


class Oracle(nn.Module):
    """Answers 3 for the first of ``num_right`` test images' labels, and is sure of the next class elsewhere."""

    def __init__(self, labels, num_right):
        super().__init__()
        answers = labels.clone()
        answers[num_right:] = (answers[num_right:] + 1) % 10
        self.logits = 3.0 * torch.nn.functional.one_hot(answers, 10)
        self.seen = 0

    def forward(self, x):
        """The next logits."""
        self.seen += len(x)
        return self.logits[self.seen - len(x) : self.seen]


@pytest.mark.parametrize("num_right", [0, 29, 40])
@pytest.mark.parametrize("batch_size", [7, 40, 1000])
def test_error_and_loss_are_those_of_the_logits(images, cpu, monkeypatch, num_right, batch_size):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", batch_size)
    oracle = Oracle(images.test_labels, num_right)
    result = evaluate(oracle, images, cpu, Precision.FP32)
    log_sum = math.log(math.exp(3) + 9)
    assert result.error == pytest.approx(1 - num_right / 40)
    assert result.loss == pytest.approx((num_right * (log_sum - 3) + (40 - num_right) * log_sum) / 40)
    assert torch.equal(result.logits, oracle.logits)
    assert oracle.seen == 40


@pytest.fixture
def network():
    return build_model(find("resnet20"), seed=0, initialization="he")


def test_network_is_evaluated_with_running_statistics_and_left_in_training(images, cpu, network):
    network.train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, images, cpu, Precision.FP32)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_result_does_not_depend_on_the_batches(images, cpu, network, monkeypatch):
    whole = evaluate(network, images, cpu, Precision.FP32)
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 9)
    torch.testing.assert_close(evaluate(network, images, cpu, Precision.FP32).logits, whole.logits)


def test_logits_are_float32_in_every_precision(images, cpu, network):
    full = evaluate(network, images, cpu, Precision.FP32).logits
    half = evaluate(network, images, cpu, Precision.BF16).logits
    assert full.dtype == half.dtype == torch.float32
    assert not torch.equal(full, half)
    # bfloat16 has 8 bits of mantissa
    torch.testing.assert_close(half, full, rtol=0.1, atol=0.1 * full.std().item())
