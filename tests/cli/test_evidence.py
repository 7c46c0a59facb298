"""identify, audit and verify: what they print, what they record, and how they exit."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.models import models
from harness.records import KINDS, Store

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
    assert "no model named 'resnet21'; did you mean " in err
    for command in (
        ("identify", "zzz", "--data", "synthetic", "--results", tmp_path),
        ("models", "fetch", "zzz"),
    ):
        code, _, err = harness(*command)
        assert (code, err.count("\n")) == (2, 1)
        listed = err.removeprefix("harness: no model named 'zzz'; known: ")
        names, more, see = re.fullmatch(r"(.*) and (\d+) more; (.*)\n", listed).groups()
        assert len(set(names.split(", ")) & set(models())) == 15
        assert int(more) == len(models()) - 15
        assert see == "see: harness models list"
    code, _, err = harness("audit", "resnet20", "--data", "synthetic", "--results", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "no published checkpoint named 'resnet20'" in err
    code, _, err = harness("results", "list", "--kind", "audit", "--results", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("runs", "reproduce quick"),
        ("identities", "identify"),
        ("audits", "audit"),
        ("benchmarks", "results import-benchmarks FILE"),
        ("profiles", "profile"),
        ("operators", "profile"),
        ("verifications", "verify"),
    ],
)
def test_where_nothing_is_recorded_the_command_that_would_is_named(
    harness: Harness, tmp_path: Path, kind: str, command: str
) -> None:
    code, out, err = harness("results", "list", "--kind", kind, "--results", tmp_path)
    assert (code, out) == (0, "")
    assert err == f"no {kind} in {tmp_path}; make some with: harness {command} --results {tmp_path}\n"


def test_benchmarks_that_are_not_there_are_wrong_usage(harness: Harness, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    for there, code in ((False, 2), (True, 1)):
        if there:
            report.write_text("no json")
        left, out, err = harness("results", "import-benchmarks", report, "--results", tmp_path / "results")
        assert (left, out) == (code, "")
        assert (err == f"harness: {report}: no such file\n") is not there
    assert not (tmp_path / "results").exists()


def test_the_published_audits_are_listed_as_claimed(harness: Harness) -> None:
    results = Path(__file__).parents[2] / "results"
    code, out, _ = harness("results", "list", "--kind", "audits", "--results", results)
    assert code == 0
    for depth, accuracy in ((20, "91.73"), (32, "92.63"), (44, "93.10"), (56, "93.39")):
        [line] = [line for line in out.splitlines() if line.startswith(f"akamaster-resnet{depth}")]
        assert line.count(accuracy) == 3
        assert "NOT" not in line


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the records of one run, trained once for all tests of this module."""
    return tmp_path_factory.mktemp("original")


@pytest.fixture
def results(
    original: Path, harness: Harness, write_module: Callable[..., Path], tiny_recipe: Path, tmp_path: Path
) -> Path:
    """A store with one run of 40 iterations: an epoch of 32, and one of 8."""
    write_module()
    if not (original / "runs").exists():
        code, _, err = harness(
            *("run", "--model", "mynet:net", "--recipe", tiny_recipe, "--data", "synthetic"),
            *("--iterations", 40, "--precision", "fp32", "--device", "cpu", "--threads", 1),
            *("--results", original),
        )
        assert code == 0, err
    return Path(shutil.copytree(original, tmp_path / "results"))


def recorded_run(results: Path) -> dict[str, Any]:
    [row] = Store(results).read("runs")[0].to_pylist()
    return row


def verifications(results: Path) -> list[dict[str, Any]]:
    return Store(results).read("verifications")[0].to_pylist()


def contents(results: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in results.rglob("*.parquet")}


def test_verify_says_that_a_run_gives_the_same_bits(harness: Harness, results: Path) -> None:
    before, run_id = contents(results), recorded_run(results)["run_id"]
    code, out, err = harness("verify", run_id[:-3], "--results", results)
    assert code == 0, err
    [line] = [line for line in out.splitlines() if line.startswith(run_id)]
    assert line.split()[1:5] == ["2", "(all)", "40", "bit-identical"]
    assert "environment" not in out
    assert "repeating: " in err
    [row] = verifications(results)
    assert (row["run_id"], row["identical"], row["complete"]) == (run_id, True, True)
    assert (row["num_epochs"], row["num_iterations"]) == (2, 40)
    after = contents(results)
    assert set(after) - set(before) == {results / "verifications" / f"{row['verification_id']}.parquet"}
    assert before.items() <= after.items()
    assert not list(results.glob("checkpoints/*"))
    assert Store(results).check() == (4, [])
    listed = harness("results", "list", "--kind", "verifications", "--results", results)
    assert listed == (0, out, "")


def test_verify_repeats_as_many_epochs_as_told(harness: Harness, results: Path) -> None:
    run_id = recorded_run(results)["run_id"]
    code, out, err = harness("verify", run_id, "--epochs", 1, "--results", results, "--json")
    assert code == 0
    content = json.loads(out)
    assert content["version"] == 1
    [row] = content["verifications"]
    assert set(row) == set(KINDS["verifications"].names)
    assert (row["num_epochs"], row["num_iterations"], row["complete"], row["identical"]) == (
        1,
        32,
        False,
        True,
    )
    [kept] = verifications(results)
    assert row == kept | {"verified_at": row["verified_at"]}
    assert "/32" in err


def test_verify_says_where_a_run_differs_and_why_it_may(harness: Harness, results: Path) -> None:
    store, run = Store(results), recorded_run(results)
    epochs = store.read("epochs")[0].to_pylist()
    epochs[0]["losses"][0] += 0.5
    store.write_run(run | {"torch": "0.1.0", "commit": "a" * 40}, epochs)
    code, out, _ = harness("verify", run["run_id"], "--results", results)
    assert code == 3
    lines = out.splitlines()
    [line] = [line for line in lines if line.startswith(run["run_id"]) and "(all)" in line]
    assert "differs from epoch 0 on, first in the loss of iteration 1 " in line
    assert "bit-identical" not in out
    assert lines[-2:] == [
        f"{run['run_id']} differs; a likely cause is in its environment, then and now:",
        f"  torch: 0.1.0 -> {run['torch']}",
    ]
    [row] = verifications(results)
    assert (row["identical"], row["first_epoch"], row["first_iteration"]) == (False, 0, 1)
    assert harness("results", "list", "--kind", "verifications", "--results", results) == (0, out, "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["resnet21"],
            "harness: no run 'resnet21' in {0}; list them with: harness results list --results {0}",
        ),
        (["mynet", "--epochs", 3], "has 2 epochs; verify 1 to so many, not 3"),
    ],
)
def test_what_cannot_be_verified_is_exit_code_2(
    harness: Harness, results: Path, arguments: list[object], complaint: str
) -> None:
    [run] = Store(results).read("runs")[0].to_pylist()
    assert run["run_id"].startswith("mynet")
    before = contents(results)
    code, out, err = harness("verify", *arguments, "--results", results)
    assert (code, out) == (2, "")
    assert complaint.format(results) in err.splitlines()[-1]
    assert contents(results) == before


def test_the_beginning_of_several_runs_is_refused_with_some_of_them(harness: Harness, results: Path) -> None:
    run = recorded_run(results)
    names = [f"{run['run_id']}-{number}" for number in range(1, 5)]
    for name in names:
        Store(results).write_run(run | {"run_id": name})
    code, out, err = harness("verify", "mynet", "--results", results)
    assert (code, out) == (2, "")
    assert (
        err
        == f"harness: 'mynet' matches 5 runs, e.g. {', '.join([run['run_id'], *names[:2]])}; give more of the id\n"
    )
    # a whole id is none of several, though others begin so
    code, _, err = harness("verify", run["run_id"], "--epochs", 3, "--results", results)
    assert (code, "has 2 epochs" in err) == (2, True)


@pytest.mark.parametrize("options", [("--epochs", 0), ()])
def test_verify_needs_a_run_and_positive_numbers(
    harness: Harness, tmp_path: Path, options: tuple[object, ...]
) -> None:
    run = ("mynet",) if options else ()
    assert harness("verify", *run, *options, "--results", tmp_path)[0] == 2


def test_a_repetition_that_fails_is_exit_code_1_and_records_nothing(
    harness: Harness, results: Path, write_module: Callable[..., Path]
) -> None:
    write_module("def net():\n    raise ArithmeticError('not today')\n")
    code, out, err = harness("verify", "mynet", "--results", results)
    assert (code, out) == (1, "")
    assert "harness: the repetition failed: model 'mynet:net': ArithmeticError" in err.splitlines()[-1]
    assert verifications(results) == []
