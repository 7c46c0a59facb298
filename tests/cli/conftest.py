"""Small recipe and experiment files, recorded runs, and the command line called in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness import cli
from harness.records import Store

from .recorded import Record, Row, an_epoch, complete, predicted

TINY_RECIPE = """
summary = "a trial"
source = "made up for tests"
batch_size = 64
iterations = 80
initialization = "he"

[optimizer]
kind = "sgd"
learning_rate = 0.1
momentum = 0.9

[schedule]
kind = "linear"
warmup = 0.2

[augmentation]
pad = 4
flip = true

[normalization]
kind = "per-pixel-mean"
"""

TINY_EXPERIMENT = """
summary = "a trial"
precision = "fp32"
shows = "that it runs."
shows_not = "anything else."

[[groups]]
models = ["resnet20", "plain20"]
recipe = "tiny.toml"
seeds = [0]
iterations = 3
"""


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Path:
    """A recipe of two and a half passes over the synthetic images."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture
def tiny_experiment(tmp_path: Path, tiny_recipe: Path) -> Path:
    """Two networks, three iterations each."""
    path = tmp_path / "experiment.toml"
    path.write_text(TINY_EXPERIMENT)
    return path


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def record(results: Path) -> Record:
    """A function that records runs, each with an epoch; and with predictions where answers of runs are given."""

    def write(runs: Sequence[Row], answers: Sequence[Sequence[int]] = ()) -> None:
        for number, run in enumerate(runs):
            predictions = predicted(run["run_id"], answers[number]) if answers else None
            Store(results).write_run(complete("runs", run), [an_epoch(run)], predictions)

    return write


@pytest.fixture
def of_paper(make_seeds: Callable[..., list[Row]]) -> Callable[..., list[Row]]:
    """Completed runs by the paper's recipe, of ResNet-20 unless told."""

    def make(*accuracies: float | None, **changes: Any) -> list[Row]:
        return make_seeds(*accuracies, **{"recipe": "paper"} | changes)

    return make


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        code = left.value.code
        assert code is None or isinstance(code, int)
        return Outcome(code or 0, *capsys.readouterr())

    return call
