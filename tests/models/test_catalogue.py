import pytest
import torch
from torch import nn

from harness.errors import UnknownNameError
from harness.models import find, models
from harness.models.resnet import PadShortcut, ProjectionShortcut


def build_without_data(key):
    with torch.device("meta"):
        return find(key).build()


def test_catalogue_has_every_depth_of_the_paper_in_three_kinds():
    kinds = [(entry.family, entry.shortcut, entry.depth) for entry in models().values()]
    expected = [
        (*kind, depth)
        for kind in (("resnet", "A"), ("resnet", "B"), ("plain", "none"))
        for depth in (20, 32, 44, 56, 110, 1202)
    ]
    assert sorted(kinds) == sorted(expected)


@pytest.mark.parametrize(
    ("key", "family", "depth", "shortcut"),
    [
        ("resnet20", "resnet", 20, "A"),
        ("resnet20-b", "resnet", 20, "B"),
        ("plain20", "plain", 20, "none"),
        ("resnet1202", "resnet", 1202, "A"),
        ("plain110", "plain", 110, "none"),
    ],
)
def test_key_names_family_depth_and_shortcut(key, family, depth, shortcut):
    entry = find(key)
    assert (entry.key, entry.family, entry.depth, entry.shortcut) == (key, family, depth, shortcut)


@pytest.mark.parametrize("key", models())
def test_key_of_the_catalogue_is_the_entry_s_own(key):
    assert find(key).key == key
    assert models()[key] is find(key)


@pytest.mark.parametrize("key", models())
def test_depth_counts_the_weighted_layers_of_the_main_path(key):
    weighted = [
        name
        for name, module in build_without_data(key).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "shortcut" not in name
    ]
    assert len(weighted) == find(key).depth


@pytest.mark.parametrize(
    ("key", "num_pads", "num_projections"), [("resnet20", 2, 0), ("resnet20-b", 0, 2), ("plain20", 0, 0)]
)
def test_shortcut_is_the_one_that_the_entry_names(key, num_pads, num_projections):
    modules = list(build_without_data(key).modules())
    assert sum(isinstance(module, PadShortcut) for module in modules) == num_pads
    assert sum(isinstance(module, ProjectionShortcut) for module in modules) == num_projections


def test_catalogue_cannot_be_changed_from_outside():
    models().clear()
    assert "resnet20" in models()


def test_each_build_is_a_new_network():
    first, second = find("resnet20").build(), find("resnet20").build()
    assert {id(p) for p in first.parameters()}.isdisjoint(id(p) for p in second.parameters())
    assert not torch.equal(first.conv1.weight, second.conv1.weight)


@pytest.mark.parametrize(("key", "hint"), [("resnet-20", "resnet20"), ("plian20", "plain20")])
def test_unknown_key_is_told_the_nearest(key, hint):
    with pytest.raises(UnknownNameError, match=f"no model named '{key}'; did you mean .*{hint}"):
        find(key)
