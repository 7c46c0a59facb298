"""The loop that ours is compared with."""

import numpy as np
import pytest
import torch
from torch import nn

from harness.config import load_recipe
from harness.data import load
from harness.profiling.baseline import BaselineLoop

NORMALIZATION = load_recipe("short").normalization


@pytest.fixture
def images():
    return load("synthetic")


def make_loop(images, network, **changes):
    torch.manual_seed(0)
    return BaselineLoop(
        network, images, NORMALIZATION, device=torch.device("cpu"), **({"num_workers": 0} | changes)
    )


def test_it_sees_each_image_once_a_pass_cropped_mirrored_and_normalised(images):
    loop = make_loop(images, nn.Linear(1, 1), batch_size=images.num_train)
    inputs, labels = next(loop.batches())
    assert sorted(labels.tolist()) == sorted(images.train_labels.tolist())
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (NORMALIZATION.mean, NORMALIZATION.std))
    pixels = ((inputs * std + mean) * 255).round().byte().numpy()
    originals = {image.tobytes() for image in images.train_images}
    mirrored = {np.ascontiguousarray(image[:, :, ::-1]).tobytes() for image in images.train_images}
    whole = [image.tobytes() for image in pixels if image.tobytes() in originals | mirrored]
    # one crop in 81 is the whole image
    assert 0 < len(whole) < len(pixels) / 20
    assert inputs.is_contiguous()


def test_it_learns(images):
    convolution = nn.Conv2d(3, 16, 5, stride=4)
    network = nn.Sequential(convolution, nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(784, 10))
    loop = make_loop(images, network)
    first, _ = loop.train(2)
    loop.train(30)
    last, accuracy = loop.train(10)
    assert last < first
    assert accuracy > 0.2


def test_it_evaluates_on_the_test_images_as_they_are(images):
    class Oracle(nn.Module):
        """Knows the labels of the images in their order, but for the first seven."""

        def __init__(self):
            super().__init__()
            self.unused, self.inputs = nn.Linear(1, 1), []

        def forward(self, x):
            assert not self.training
            seen = sum(map(len, self.inputs))
            self.inputs.append(x)
            labels = torch.from_numpy(images.test_labels[seen : seen + len(x)].astype(np.int64))
            wrong = torch.arange(seen, seen + len(x)) < 7
            return nn.functional.one_hot((labels + wrong) % 10, 10).float()

    oracle = Oracle()
    loop = make_loop(images, oracle, batch_size=100)
    assert loop.evaluate() == 1 - 7 / images.num_test
    assert oracle.training
    mean, std = (torch.tensor(three).view(3, 1, 1) for three in (NORMALIZATION.mean, NORMALIZATION.std))
    pixels = ((torch.cat(oracle.inputs) * std + mean) * 255).round().byte().numpy()
    assert np.array_equal(pixels, images.test_images)
