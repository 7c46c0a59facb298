"""The same run in fresh processes, and with knobs turned."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from harness.config import load_recipe
from harness.records import Store

RECIPES = ("paper", "akamaster", "kuangliu", "chenyaofo", "yunjey")
MODELS = ("resnet20", "plain20", "torchvision-resnet20", "pytorchcv-resnet20")

GROUP = """
[[groups]]
models = [{models}]
recipe = "{recipe}"
seeds = [0]
iterations = 6
precisions = ["{precision}"]
"""


def harness(*arguments):
    """The command line in an interpreter of its own."""
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900, check=False)


def test_recipes_and_models_repeat_their_bits_in_fresh_processes(laboratory, size, figure, bits):
    recipes, models = RECIPES[: size(5, 1)], MODELS[: size(4, 2)]
    experiment = laboratory.folder / "all.toml"
    head = (
        'name = "all"\nsummary = "for tests"\nprecision = "fp32"\nshows = "bits."\nshows_not = "accuracy."\n'
    )
    groups = [
        GROUP.format(
            models=", ".join(f'"{model}"' for model in models),
            recipe=recipe,
            precision=("fp32", "bf16")[number % 2],
        )
        for number, recipe in enumerate(recipes)
    ]
    experiment.write_text(head + "".join(groups), encoding="utf-8")
    found = []
    for name in ("one", "other"):
        results = laboratory.folder / name
        if size(1, 0):
            words = ("reproduce", experiment, "--data", "synthetic", "--device", "cpu", "--threads", 1)
            done = harness(*words, "--results", results)
            assert done.returncode == 0, done.stderr
        else:
            assert laboratory.reproduce(experiment, results).wait() == 0
        found.append(bits(results))
    runs, again = found[0][0], found[1][0]
    num_runs = len(recipes) * len(models)
    num_identical = sum(runs[name] == again.get(name) for name in runs)
    figure(
        f"determinism across two fresh processes, {num_runs} recipes x models",
        f"{num_runs} of {num_runs} bit-identical",
        f"{num_identical} of {num_runs}",
    )
    assert found[0] == found[1]
    assert num_identical == num_runs == len(runs)
    assert {load_recipe(recipe).name for recipe in recipes} == set(recipes)


@pytest.mark.parametrize("knob", ["threads=2", "compilation=on"])
def test_a_turned_knob_is_reported_truthfully(laboratory, size, figure, knob):
    if not size(1, 0):
        pytest.skip("nox -s faults does it; tests/execution/test_isolation.py has more, and faster")
    experiment = laboratory.experiment(models=["resnet20"], iterations=20, batch_size=64)
    results = laboratory.folder / "results"
    assert laboratory.reproduce(experiment, results).wait() == 0
    [run] = Store(results).read("runs")[0].to_pylist()
    said = harness("verify", run["run_id"], "--results", results, "--turn", knob, "--no-timing", "--json")
    assert said.returncode in {0, 3}, said.stderr
    base, turned = json.loads(said.stdout)["verifications"]
    assert base["identical"]
    assert (said.returncode == 0) == turned["identical"]
    what = "identical"
    if turned["identical"]:
        assert turned["num_iterations"] == 20
    else:
        what = f"differs from iteration {turned['first_iteration']} on, first in {turned['first_column']} {turned['first_tensor']}"
        assert 1 <= turned["first_iteration"] <= 20
    if knob == "threads=2":
        # the same run, trained on two threads as people would
        other = laboratory.folder / "two"
        words = ("reproduce", experiment, "--data", "synthetic", "--results", other, "--threads", 2)
        assert harness(*words, "--device", "cpu").returncode == 0
        [row] = Store(other).read("runs")[0].to_pylist()
        assert (row["weights_sha256"] == run["weights_sha256"]) == turned["identical"]
    then, now = turned["knob_then"], turned["knob_now"]
    figure(
        f"same run, {turned['knob']} {then} and {now}",
        "reported truthfully: identical or first difference",
        what,
    )
