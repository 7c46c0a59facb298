import numpy as np
import pytest

from harness.data import synthetic
from harness.errors import UsageError

GOLDEN_SHA256 = "e67f83aa97d1fc607995ef93662b13d23f01314332ef085481deb9502efe6a86"


@pytest.fixture(scope="module")
def images():
    return synthetic()


def test_the_bytes_are_the_same_everywhere(images):
    assert images.sha256 == GOLDEN_SHA256


def test_it_looks_like_cifar10(images):
    assert images.name == "synthetic"
    assert images.train_images.shape == (2048, 3, 32, 32)
    assert images.test_images.shape == (512, 3, 32, 32)
    assert not images.train_images.flags.writeable


def test_the_classes_are_balanced(images):
    assert np.ptp(np.bincount(images.train_labels, minlength=10)) <= 1
    assert np.ptp(np.bincount(images.test_labels, minlength=10)) <= 1


def test_the_labels_are_in_no_order(images):
    assert len(set(images.train_labels[:20].tolist())) > 5
    assert images.train_labels[:100].tolist() != sorted(images.train_labels[:100])


def test_no_image_stands_twice(images):
    both = np.concatenate([images.train_images, images.test_images])
    assert len({image.tobytes() for image in both}) == len(both)


def test_another_seed_gives_other_images():
    assert synthetic(20, 10, seed=1).sha256 != synthetic(20, 10).sha256


def test_the_size_of_one_split_does_not_touch_the_other():
    np.testing.assert_array_equal(synthetic(20, 10).test_images, synthetic(30, 10).test_images)


@pytest.mark.parametrize(
    ("arguments", "complaint"), [((0, 1), "num_train=0"), ((1, 0), "num_test=0"), ((1, 1, -1), "seed=-1")]
)
def test_impossible_sizes_and_seeds_are_refused(arguments, complaint):
    with pytest.raises(UsageError, match=complaint):
        synthetic(*arguments)


@pytest.fixture
def one_thread():
    """So small a network is slower on several threads, and far slower on a busy machine."""
    import torch

    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.mark.usefixtures("one_thread")
def test_a_small_network_learns_it_but_not_at_once(images):
    import torch
    from torch import nn

    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)

    def tensors(split_images, labels):
        return torch.tensor(np.array(split_images)) / 128 - 1, torch.tensor(np.array(labels)).long()

    inputs, labels = tensors(images.train_images, images.train_labels)
    for _ in range(50):
        batch = torch.randint(len(inputs), (128,))
        # mirrored as in training: the classes must bear it
        mirrored = torch.where(torch.rand(128, 1, 1, 1) < 0.5, inputs[batch], inputs[batch].flip(3))
        loss = nn.functional.cross_entropy(network(mirrored), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    inputs, labels = tensors(images.test_images, images.test_labels)
    with torch.no_grad():
        accuracy = (network(inputs).argmax(1) == labels).float().mean().item()
    assert 0.35 < accuracy < 0.95
