"""What the generated blocks of the documents are made by: ``nox -s documents`` writes them, a test compares them."""

from __future__ import annotations

import functools
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import cog

from harness.config import Group, load_experiment, load_recipe
from harness.config.values import NUM_TRAIN_IMAGES
from harness.findings import QUESTIONS, Answer, Finding, find, in_brief
from harness.findings.timings import sessions_of, speed_of
from harness.findings.words import counted
from harness.formats import duration, listed
from harness.records import Store
from harness.records.compact import MAX_BYTES, MAX_RECORDS
from harness.report import Evidence, gather
from harness.report.document import Code, Table
from harness.report.rendering import markdown_cell, markdown_table

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published"
NUM_TEST_IMAGES = 10_000
RACE = "training of ResNet-20, 16 mini-batches of 128 images on all cores"


@functools.cache
def published() -> Evidence:
    """What the project ships."""
    return gather(Store(PUBLISHED))


@functools.cache
def _finding(key: str) -> Finding:
    finding = find(QUESTIONS[key], published())
    assert finding is not None, f"nothing is published that answers {key!r}"
    return finding


def _answer(key: str) -> Answer:
    return _finding(key).answer


def findings(*keys: str) -> None:
    """Summaries with their pictures: ``harness findings KEY... --brief``."""
    _block(in_brief([_finding(key) for key in keys], "docs/pictures"))


def summary(key: str) -> None:
    """What to remember of a finding."""
    _block(markdown_cell(_answer(key).summary.text))


def details(key: str) -> None:
    """What stands below a summary, as a list."""
    _block("\n".join(f"- {markdown_cell(statement.text)}" for statement in _answer(key).details))


def tables(key: str) -> None:
    """Of a finding."""
    for table in _answer(key).tables:
        _table(table)


def inventory() -> None:
    """``harness results summary --markdown``."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "results",
        "summary",
        "--markdown",
        "--results",
        str(PUBLISHED),
    ]
    _block(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def experiments(*names: str) -> None:
    """What each trains, and how long that takes at the images/s of the newest benchmark."""
    _table(
        Table(
            columns=("experiment", "runs", "on two cores"),
            rows=[
                (
                    Code(name),
                    "; ".join(map(_group, load_experiment(name).groups)),
                    f"about {_roughly(_seconds(name))}",
                )
                for name in names
            ],
        )
    )


def larger() -> None:
    """Runs under the paper's protocol in great numbers, reckoned from what few take."""
    kinds = ("runs", "epochs", "predictions")
    sizes = {kind: [path.stat().st_size for path in (PUBLISHED / kind).glob("*.parquet")] for kind in kinds}
    bytes_of_run = {kind: statistics.mean(its) for kind, its in sizes.items()}
    recipe = load_recipe("paper")
    seconds_of_run = recipe.num_iterations() * recipe.batch_size / images_per_second("fp32")
    _block(
        f"A run leaves {bytes_of_run['runs'] + bytes_of_run['epochs']:,.0f} bytes of records and "
        f"{bytes_of_run['predictions']:,.0f} of predictions, and takes {duration(seconds_of_run)} of both cores."
    )
    rows = []
    for number in (10**3, 10**5, 10**7):
        files = sum(math.ceil(number / min(MAX_RECORDS, MAX_BYTES // bytes_of_run[kind])) for kind in kinds)
        days = number * seconds_of_run / 86_400
        rows.append(
            (
                f"{number:,}",
                _bytes(number * sum(bytes_of_run.values())),
                f"{files:,}",
                f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.0f} years",
            )
        )
    _table(
        Table(
            columns=("runs", "records", "files, compacted", "training, on two cores"),
            rows=rows,
            numeric=frozenset({"runs", "records", "files, compacted"}),
        )
    )


def _bytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB" if number < 1e12 else f"{number / 1e12:.3g} TB"


def faults() -> None:
    """What ``nox -s faults`` reached."""
    reached = json.loads((PUBLISHED / "faults.json").read_text("utf-8"))
    cog.outl(
        f"{reached['when']}, {reached['machine']}, Python {reached['python']}, torch {reached['torch']}:\n"
    )
    _table(Table(columns=reached["columns"], rows=reached["rows"]))


def _table(table: Table) -> None:
    _block("\n".join(markdown_table(table)))


def _block(text: str) -> None:
    """Between empty lines, as Markdown wants it."""
    cog.out(f"\n{text.strip()}\n\n")


def _roughly(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    if minutes < 120:
        return counted(minutes, "minute")
    hours = round(minutes / 60)
    return counted(hours, "hour") if hours < 48 else counted(round(hours / 24), "day")


def _group(group: Group) -> str:
    return f"{listed(group.models)}: {counted(len(group.seeds), 'seed')}, {_length(group)} of {group.recipe}"


def _length(group: Group) -> str:
    if group.iterations is not None:
        return f"{group.iterations:,} iterations"
    recipe = load_recipe(group.recipe)
    if group.epochs is None and recipe.iterations is not None:
        return f"{recipe.iterations:,} iterations"
    epochs = group.epochs or recipe.epochs
    return f"{epochs:g} epoch{'s' * (epochs != 1)}"


def _seconds(experiment: str) -> float:
    """Of all its runs on two cores: images by multiply-accumulates, over the images/s of ResNet-20; evaluation is a third of training."""
    asked = load_experiment(experiment)
    macs = {card["model"]: card["macs"] for card in published().cards}
    total = 0.0
    for group in asked.groups:
        recipe = load_recipe(group.recipe)
        changes = {"epochs": group.epochs, "iterations": group.iterations}
        if any(its is not None for its in changes.values()):
            recipe = recipe.model_copy(update=changes)
        images = recipe.num_iterations() * recipe.batch_size
        evaluated = math.ceil(images / NUM_TRAIN_IMAGES) * NUM_TEST_IMAGES / 3
        relative = sum(macs[model] / macs["resnet20"] for model in group.models)
        for precision in group.precisions or [asked.precision]:
            if precision != "tf32":  # which is CUDA's
                speed = images_per_second("fp32" if precision == "fp32" else "bf16")
                total += (images + evaluated) * relative * len(group.seeds) / speed
    return total


@functools.cache
def images_per_second(precision: str) -> float:
    """Of ResNet-20 on two cores, two runs side by side, in the newest benchmark."""
    newest, *_ = sessions_of(published().benchmarks, RACE)
    speed = speed_of(newest.rows[f"ours, {precision}, 2 runs"])
    assert speed is not None, "the race says how many images a round has"
    return speed.value
