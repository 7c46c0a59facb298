import re
import subprocess
import sys
import types
from importlib import metadata

import pytest
import torch
from torch import nn

from harness.errors import ModelError, UnknownNameError
from harness.models import catalogue, find, models, upstream
from harness.models.composition import ZeroShortcut
from harness.models.resnet import PadShortcut, ProjectionShortcut

COMPOSED_OF = ("torchvision", "timm")
SHIPPED_BY = {
    "pytorchcv": ("B", {20, 56, 110}),
    "bayesian-torch": ("A", {20, 32, 44, 56, 110}),
    "torchdistill": ("B", {20, 32, 44, 56, 110}),
}
"""Packages that ship networks for 32x32 images: their shortcut and their depths."""
PACKAGES = (*COMPOSED_OF, *SHIPPED_BY)
FROM_PACKAGES = [key for key, entry in models().items() if entry.source == "pypi"]
OURS_AND_FROM_PACKAGES = [key for key, entry in models().items() if entry.source in {"ours", "pypi"}]


def build_without_data(key):
    with torch.device("meta"):
        return find(key).build()


def test_ours_are_every_depth_of_the_paper_in_three_kinds():
    kinds = [
        (entry.family, entry.shortcut, entry.depth) for entry in models().values() if entry.source == "ours"
    ]
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
        ("torchvision-resnet18", "resnet", 18, "B"),
        ("torchvision-resnet20", "resnet", 20, "A"),
        ("timm-resnet56-b", "resnet", 56, "B"),
        ("timm-plain110", "plain", 110, "none"),
        ("pytorchcv-resnet20", "resnet", 20, "B"),
        ("bayesian-torch-resnet110", "resnet", 110, "A"),
        ("torchdistill-resnet56", "resnet", 56, "B"),
    ],
)
def test_key_names_family_depth_and_shortcut(key, family, depth, shortcut):
    entry = find(key)
    assert (entry.key, entry.family, entry.depth, entry.shortcut) == (key, family, depth, shortcut)


@pytest.mark.parametrize("key", models())
def test_key_of_the_catalogue_is_the_entry_s_own(key):
    assert find(key).key == key
    assert models()[key] is find(key)


@pytest.mark.parametrize("key", OURS_AND_FROM_PACKAGES)
def test_depth_counts_the_weighted_layers_of_the_main_path(key):
    beside = {"shortcut", "downsample", "identity_conv"}
    weighted = [
        name
        for name, module in build_without_data(key).named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and not beside & set(name.split("."))
    ]
    assert len(weighted) == find(key).depth


@pytest.mark.parametrize(
    ("key", "num_pads", "num_projections", "num_zeros"),
    [
        ("resnet20", 2, 0, 0),
        ("resnet20-b", 0, 2, 0),
        ("plain20", 0, 0, 0),
        *(
            (f"{package}-{name}", *counts)
            for package in COMPOSED_OF
            for name, counts in {
                "resnet20": (2, 0, 0),
                "resnet20-b": (0, 2, 0),
                "plain20": (0, 0, 9),
                "plain56": (0, 0, 27),
            }.items()
        ),
    ],
)
def test_shortcut_is_the_one_that_the_entry_names(key, num_pads, num_projections, num_zeros):
    modules = list(build_without_data(key).modules())
    assert sum(isinstance(module, ZeroShortcut) for module in modules) == num_zeros
    assert sum(isinstance(module, PadShortcut) for module in modules) == num_pads
    assert sum(isinstance(module, ProjectionShortcut) for module in modules) == num_projections


def test_catalogue_cannot_be_changed_from_outside():
    models().clear()
    assert "resnet20" in models()


@pytest.mark.parametrize("key", ["resnet20", *(key for key in FROM_PACKAGES if "18" in key or "20" in key)])
def test_each_build_is_a_new_network(key):
    first, second = find(key).build(), find(key).build()
    tensors = [{id(t) for t in [*network.parameters(), *network.buffers()]} for network in (first, second)]
    modules = [{id(module) for module in network.modules()} for network in (first, second)]
    assert tensors[0].isdisjoint(tensors[1])
    assert modules[0].isdisjoint(modules[1])
    assert not torch.equal(next(first.parameters()), next(second.parameters()))


@pytest.mark.parametrize(("key", "hint"), [("resnet-20", "resnet20"), ("plian20", "plain20")])
def test_unknown_key_is_told_the_nearest(key, hint):
    with pytest.raises(UnknownNameError, match=f"no model named '{key}'; did you mean .*{hint}"):
        find(key)


@pytest.mark.parametrize("package", COMPOSED_OF)
def test_each_composed_package_has_its_resnet18_and_the_paper_s_networks(package):
    depths = (20, 32, 44, 56, 110)
    expected = {f"{package}-resnet18"}
    expected |= {f"{package}-{name}" for n in depths for name in (f"resnet{n}", f"resnet{n}-b", f"plain{n}")}
    assert {key for key in FROM_PACKAGES if find(key).distribution == package} == expected


@pytest.mark.parametrize("package", SHIPPED_BY)
def test_each_package_with_networks_for_32x32_images_has_them_as_it_ships_them(package):
    entries = [find(key) for key in FROM_PACKAGES if find(key).distribution == package]
    shortcut, depths = SHIPPED_BY[package]
    assert {entry.key for entry in entries} == {f"{package}-resnet{depth}" for depth in depths}
    assert {entry.depth for entry in entries} == depths
    assert {(entry.family, entry.shortcut) for entry in entries} == {("resnet", shortcut)}
    assert type(entries[0].build()).__module__.startswith(package.replace("-", "_"))


@pytest.mark.parametrize("key", OURS_AND_FROM_PACKAGES)
def test_only_what_is_composed_is_adapted_and_says_why_in_one_sentence(key):
    entry = find(key)
    if entry.distribution not in COMPOSED_OF or entry.depth == 18:
        assert entry.adapted == ""
    else:
        assert re.fullmatch(r"[^.]+ because [^.]+\.", entry.adapted)
        assert entry.adapted.startswith(entry.distribution)
        assert ("option A" in entry.adapted) == (entry.shortcut == "A")
        assert ("replaced by zero" in entry.adapted) == (entry.family == "plain")


@pytest.mark.parametrize("package", PACKAGES)
def test_licence_is_the_one_that_the_installed_package_states(package):
    installed = metadata.distribution(package)
    about = installed.metadata
    stated = f"{about['License']} {about['License-Expression']} {about.get_all('Classifier')}"
    stated += installed.read_text("LICENSE") or ""  # bayesian-torch states it nowhere else
    assert find(f"{package}-resnet20").licence.split("-")[0] in stated


@pytest.mark.parametrize("package", PACKAGES)
def test_version_is_the_installed_one(package):
    entry = find(f"{package}-resnet20")
    assert entry.version == metadata.version(package)
    assert entry.origin == f"{package} {metadata.version(package)}"


def test_ours_comes_from_no_distribution():
    entry = find("resnet20")
    assert (entry.source, entry.distribution, entry.version, entry.origin) == ("ours", None, None, "ours")


@pytest.mark.parametrize(
    "key",
    [
        "torchvision-resnet18",
        "torchvision-plain20",
        "timm-resnet18",
        "timm-resnet20",
        *(f"{package}-resnet20" for package in SHIPPED_BY),
    ],
)
def test_missing_distribution_is_named_with_its_remedy(key, monkeypatch):
    entry = find(key)

    def nothing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", nothing)
    monkeypatch.setitem(sys.modules, entry.distribution.replace("-", "_"), None)
    message = f"{entry.distribution} is not installed; install it with: pip install {entry.distribution}"
    with pytest.raises(ModelError, match=message):
        entry.build()
    assert entry.version is None
    assert entry.origin == f"{entry.distribution}, not installed"


def test_reading_the_catalogue_imports_neither_torch_nor_the_packages():
    code = (
        "import sys; from harness.models import models; "
        "assert all(entry.origin and entry.adapted is not None for entry in models().values()); "
        "heavy = {'torch', 'torchvision', 'timm', 'pytorchcv', 'bayesian_torch', 'torchdistill', 'numpy'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    process = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (process.returncode, process.stderr) == (0, "")


OF_REPOSITORIES = [key for key, entry in models().items() if entry.source == "git"]


def test_repositories_are_those_that_people_use():
    assert {key.split("-")[0] for key in OF_REPOSITORIES} == {
        "akamaster",
        "alvarobartt",
        "chenyaofo",
        "kuangliu",
        "yunjey",
    }


@pytest.mark.parametrize("key", OF_REPOSITORIES)
def test_network_of_a_repository_is_pinned_by_commit_and_digest(key):
    entry = find(key)
    assert entry.upstream is not None
    assert re.fullmatch("[0-9a-f]{40}", entry.upstream.commit)
    assert re.fullmatch("[0-9a-f]{64}", entry.upstream.sha256)
    assert entry.version == entry.upstream.commit
    assert entry.origin.endswith(f"@{entry.upstream.commit[:10]}")


def test_network_of_a_repository_that_is_not_here_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.delenv("HARNESS_UPSTREAM_DIR", raising=False)
    monkeypatch.setattr(upstream, "cache_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match="harness models fetch"):
        find("akamaster-resnet20").build()


@pytest.mark.parametrize("key", OF_REPOSITORIES)
def test_network_of_a_repository_is_the_function_or_class_that_the_data_name(key, monkeypatch, tmp_path):
    """With a stand-in for the file: what is called, with which arguments, comes from the data alone."""
    entry = find(key)
    stand_in = types.SimpleNamespace(ResidualBlock="the block")
    called = []
    for name in ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "ResNet18", "VGG", "ResNet"):
        setattr(stand_in, name, lambda name=name, **given: called.append((name, given)))
    for depth in (20, 32, 44, 56):
        setattr(
            stand_in, f"cifar10_resnet{depth}", lambda depth=depth, **given: called.append((depth, given))
        )
    loaded = []
    monkeypatch.setattr(
        catalogue,
        "load_module",
        lambda file, *, classes_only: loaded.append((file, classes_only)) or stand_in,
    )
    entry.build()
    assert loaded == [(entry.upstream, key.startswith("yunjey"))]
    [(name, given)] = called
    expected = {
        "akamaster": (f"resnet{entry.depth}", {}),
        "alvarobartt": (f"resnet{entry.depth}", {"zero_padding": False} if key.endswith("-b") else {}),
        "chenyaofo": (entry.depth, {}),
        "kuangliu": ("VGG", {"vgg_name": "VGG16"}) if "vgg" in key else ("ResNet18", {}),
        "yunjey": ("ResNet", {"block": "the block", "layers": [entry.depth // 6] * 3}),
    }
    assert (name, given) == expected[key.split("-")[0]]
