"""The card as a record."""

import pytest
import torch

from harness import environment
from harness.data import load
from harness.identity.card import NUM_IMAGES, identity_card
from harness.models import find
from harness.records import Store


@pytest.fixture(scope="module")
def synthetic():
    return load("synthetic")


@pytest.fixture(scope="module")
def here():
    return environment.capture(torch.device("cpu"), num_threads=1, allocator="default")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_the_card_of_a_package_s_network_is_recorded_whole(synthetic, here, store):
    row = identity_card(find("torchvision-resnet20"), synthetic, here)
    store.write("identities", row)
    [stored] = store.read("identities")[0].to_pylist()
    assert stored == row
    assert store.check() == (1, [])
    assert (row["parameters"], row["macs"]) == (269_722, 40_551_040)
    assert (row["counterpart"], row["equivalence"], row["num_images"]) == (
        "resnet20",
        "identical",
        NUM_IMAGES,
    )
    assert [row[f"difference_of_{name}"] for name in ("logits_fp32", "gradients_fp64")] == [0, 0]
    assert row["model_source"].startswith("torchvision ")
    assert len(row["initial_weights"]) == 20
    assert row["data_sha256"] == synthetic.sha256


def test_ours_are_what_others_are_compared_with(synthetic, here, store):
    row = identity_card(find("plain20"), synthetic, here)
    store.write("identities", row)
    assert (row["equivalence"], row["counterpart"], row["difference_of_logits_fp64"]) == (
        "reference",
        None,
        None,
    )


def test_another_network_has_no_differences_but_a_deviation(synthetic, here, store):
    row = identity_card(find("torchvision-resnet18"), synthetic, here)
    store.write("identities", row)
    assert (row["equivalence"], row["num_images"], row["difference_of_logits_fp64"]) == (
        "different",
        None,
        None,
    )
    assert row["first_deviation"].startswith("layer 1 of the main path, conv1")


def test_measuring_again_replaces_the_card_and_another_version_gets_its_own(
    synthetic, here, store, monkeypatch
):
    entry = find("plain20")
    for _ in range(2):
        store.write("identities", identity_card(entry, synthetic, here))
    assert len(store.read("identities")[0]) == 1
    changed = type(entry)(**{**vars(entry), "code_sha256": "0" * 64})
    assert (
        identity_card(changed, synthetic, here)["identity_id"]
        != identity_card(entry, synthetic, here)["identity_id"]
    )


def test_frozen_parameters_are_not_counted(synthetic, here, write_module):
    write_module(
        "from harness.models.resnet import CifarResNet\n"
        "def frozen():\n"
        "    network = CifarResNet(20)\n"
        "    network.conv1.requires_grad_(False)\n"
        "    return network\n"
    )
    row = identity_card(find("mynet:frozen"), synthetic, here)
    assert (row["parameters"], row["equivalence"]) == (269_722 - 432, "identical")
