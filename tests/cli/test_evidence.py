"""identify and audit: what they print, what they record, and how they exit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.records import Store

Harness = Callable[..., tuple[int, str, str]]


def cards(results: Path) -> dict[str, dict[str, object]]:
    return {row["model"]: row for row in Store(results).read("identities")[0].to_pylist()}


def test_identify_tells_the_same_network_from_another(harness: Harness, tmp_path: Path) -> None:
    models = ("resnet20", "torchvision-resnet20", "torchvision-resnet18")
    code, out, err = harness("identify", *models, "--data", "synthetic", "--results", tmp_path)
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "the paper's network" in lines["resnet20"]
    assert "= resnet20, bit for bit" in lines["torchvision-resnet20"]
    assert "!= resnet20-b [1]" in lines["torchvision-resnet18"]
    assert "269,722" in lines["torchvision-resnet20"]
    assert "[1] layer 1 of the main path, conv1, is 7x7 3->64, stride 2, not 3x3 3->16" in out
    assert err.count("done") == 3
    assert set(cards(tmp_path)) == set(models)
    _, listed, _ = harness("results", "list", "--kind", "identities", "--results", tmp_path)
    assert sorted(listed.splitlines()[1:4]) == sorted(out.splitlines()[1:4])


def test_identify_takes_a_network_of_one_s_own(
    harness: Harness, tmp_path: Path, write_module: Callable[..., Path]
) -> None:
    write_module()
    options = ("--data", "synthetic", "--results", tmp_path / "results", "--json")
    code, out, _ = harness("identify", "mynet:net", *options)
    [row] = json.loads(out)["identities"]
    assert code == 0
    assert (row["model"], row["equivalence"], row["layers_on_main_path"]) == ("mynet:net", "different", 2)
    assert row["model_source"].startswith("own code ")
    code, out, err = harness("identify", "mynet:hundred", *options)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "(2, 100); return logits (N, 10)" in err
    assert set(cards(tmp_path / "results")) == {"mynet:net"}


@pytest.mark.usefixtures("nowhere")
def test_what_cannot_be_had_is_named_and_the_rest_goes_on(harness: Harness, tmp_path: Path) -> None:
    options = ("--data", "synthetic", "--results", tmp_path)
    code, out, err = harness("identify", "akamaster-resnet20", "plain20", *options)
    assert code == 4
    assert "akamaster-resnet20: https://github.com/akamaster/pytorch_resnet_cifar10 at d5489e8995" in err
    assert "plain20" in out
    assert set(cards(tmp_path)) == {"plain20"}
    code, out, err = harness("audit", *options)
    assert (code, out) == (1, "")
    assert "harness: none of the 4 models can be had; each is named above" in err


@pytest.mark.usefixtures("nowhere")
def test_a_run_that_is_skipped_is_no_success(harness: Harness, tmp_path: Path, tiny_recipe: Path) -> None:
    code, out, err = harness(
        *("run", "--model", "akamaster-resnet20", "--recipe", tiny_recipe, "--data", "synthetic"),
        *("--results", tmp_path / "results"),
    )
    assert code == 4
    assert "akamaster-resnet20: skipped: " in err
    assert "1 not completed" in out


def test_unknown_names_are_exit_code_2(harness: Harness, tmp_path: Path) -> None:
    code, _, err = harness("identify", "resnet21", "--data", "synthetic", "--results", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = harness("audit", "resnet20", "--data", "synthetic", "--results", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "no published checkpoint named 'resnet20'" in err
    code, _, err = harness("results", "list", "--kind", "audit", "--results", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("runs", "reproduce"),
        ("identities", "identify"),
        ("audits", "audit"),
        ("benchmarks", "results import-benchmarks"),
        ("profiles", "profile"),
        ("operators", "profile"),
    ],
)
def test_where_nothing_is_recorded_the_command_that_would_is_named(
    harness: Harness, tmp_path: Path, kind: str, command: str
) -> None:
    code, out, err = harness("results", "list", "--kind", kind, "--results", tmp_path)
    assert (code, out) == (0, "")
    assert err.strip().endswith(f"harness {command}")


def test_the_published_audits_are_listed_as_claimed(harness: Harness) -> None:
    results = Path(__file__).parents[2] / "results"
    code, out, _ = harness("results", "list", "--kind", "audits", "--results", results)
    assert code == 0
    for depth, accuracy in ((20, "91.73"), (32, "92.63"), (44, "93.10"), (56, "93.39")):
        [line] = [line for line in out.splitlines() if line.startswith(f"akamaster-resnet{depth}")]
        assert line.count(accuracy) == 3
        assert "NOT" not in line
