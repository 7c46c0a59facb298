"""Published weights: what they do through both classes, and what is refused."""

import os
import pickle
import re
from collections import OrderedDict

import pytest
import torch

from harness import environment
from harness.audit import audit, find_checkpoint, published_checkpoints
from harness.claims import claims
from harness.config import load_recipe
from harness.data import load
from harness.errors import ModelError, UnknownNameError
from harness.models import find
from harness.models.resnet import CifarResNet
from harness.records import Store

from .conftest import saved

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images():
    return load("synthetic")


@pytest.fixture(scope="module")
def here():
    return environment.capture(CPU, num_threads=1, allocator="default")


@pytest.fixture
def trained():
    """A network with statistics that are not those it starts with."""
    torch.manual_seed(0)
    network = CifarResNet(20)
    with torch.no_grad():
        network(torch.randn(8, 3, 32, 32))
    return network


def in_parallel(network):
    """The weights as DataParallel names them."""
    return OrderedDict((f"module.{name}", tensor) for name, tensor in network.state_dict().items())


def test_weights_do_the_same_through_the_repository_s_class_and_through_ours(
    publish, images, here, trained, tmp_path
):
    checkpoint = publish(saved({"state_dict": in_parallel(trained), "best_prec1": 91.78}))
    row = audit(checkpoint, images, CPU, here)
    with torch.no_grad():
        normalization = load_recipe("akamaster").normalization
        mean, std = (torch.tensor(three).view(3, 1, 1) for three in (normalization.mean, normalization.std))
        pixels = torch.from_numpy(images.test_images.copy()) / 255
        predicted = trained.eval()((pixels - mean) / std).argmax(dim=1).numpy()
    assert row["accuracy"] == (predicted == images.test_labels).mean() == row["counterpart_accuracy"]
    assert 0 < row["accuracy"] < 1
    assert row["num_predictions_differing"] == 0
    assert 0 < row["difference_of_logits"] < 1e-5
    assert (row["claimed_accuracy"], row["num_images"]) == (0.9173, images.num_test)
    Store(tmp_path / "results").write("audits", row)
    [stored] = Store(tmp_path / "results").read("audits")[0].to_pylist()
    assert stored == row


def test_weights_without_a_wrapper_are_taken_as_well(publish, images, here, trained):
    wrapped = audit(publish(saved({"state_dict": in_parallel(trained)})), images, CPU, here)
    bare = audit(publish(saved(trained.state_dict())), images, CPU, here)
    assert bare["accuracy"] == wrapped["accuracy"]


class Malicious:
    def __reduce__(self):
        return os.system, (f"touch {Malicious.canary}",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_execute_code_is_refused_in_one_line(publish, images, here, tmp_path, protocol):
    Malicious.canary = tmp_path / "canary"
    content = pickle.dumps({"state_dict": Malicious()}, protocol=protocol)
    for malicious in (content, saved({"state_dict": Malicious()})):
        with pytest.raises(ModelError, match=r"net\.th: .*it is not loaded") as caught:
            audit(publish(malicious), images, CPU, here)
        assert "\n" not in str(caught.value)
    assert not Malicious.canary.exists()
    pickle.loads(content)
    assert Malicious.canary.exists(), "it would have executed"


def test_changed_bytes_are_refused_before_they_are_read(publish, clone, images, here, trained):
    checkpoint = publish(saved(trained.state_dict()))
    content = bytearray((clone / "net.th").read_bytes())
    content[len(content) // 2] ^= 1
    (clone / "net.th").write_bytes(content)
    with pytest.raises(ModelError, match="not the pinned"):
        audit(checkpoint, images, CPU, here)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no file of weights"),
        (b"no weights here", "no file of weights"),
        (saved([1, 2]), "holds no state_dict"),
        (saved({"state_dict": {"conv1.weight": "text"}}), "holds no state_dict"),
        (saved({0: torch.zeros(1)}), "holds no state_dict"),
        (saved({"state_dict": {"conv1.weight": torch.zeros(1)}}), "does not fit the model"),
    ],
)
def test_what_holds_no_weights_of_the_model_is_said_in_one_line(publish, images, here, content, message):
    with pytest.raises(ModelError, match=message) as caught:
        audit(publish(content), images, CPU, here)
    assert "\n" not in str(caught.value)


def test_weights_of_other_layers_are_not_carried_over(publish, images, here, trained):
    with pytest.raises(ModelError, match="cannot be carried over: layer 8 of the main path"):
        audit(publish(saved(trained.state_dict()), counterpart="resnet32"), images, CPU, here)


def test_every_published_checkpoint_is_pinned_and_has_its_claim():
    for key, checkpoint in published_checkpoints().items():
        entry = find(key)
        assert (checkpoint.file.repository, checkpoint.file.commit) == (
            entry.upstream.repository,
            entry.upstream.commit,
        )
        assert re.fullmatch("[0-9a-f]{64}", checkpoint.file.sha256)
        assert claims()[checkpoint.claim].model == key
        assert find(checkpoint.counterpart).source == "ours"
        assert load_recipe(checkpoint.recipe).normalization.kind == "channel"


def test_the_claims_are_those_of_the_readme():
    claimed = {
        key: 100 - claims()[found.claim].test_error_percent for key, found in published_checkpoints().items()
    }
    assert claimed == pytest.approx(
        {
            "akamaster-resnet20": 91.73,
            "akamaster-resnet32": 92.63,
            "akamaster-resnet44": 93.10,
            "akamaster-resnet56": 93.39,
        }
    )


def test_a_model_without_published_weights_is_told_which_have_some():
    with pytest.raises(
        UnknownNameError, match="no published checkpoint named 'resnet20'; did you mean akamaster-resnet20"
    ):
        find_checkpoint("resnet20")
