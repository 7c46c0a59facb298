"""results summary: what is in a store, as a table, in Markdown and for programs; its commands are planned again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.audit import published_checkpoints
from harness.cli import inspection
from harness.cli.profiling import ALL_BATCH_SIZES, FEW_BATCH_SIZES, FEW_BATCH_SIZES_CPU, MANY_MODELS
from harness.models import models
from harness.records import KINDS, Store

from .printed import content_of, words
from .recorded import Record, Row, complete, damage

Harness = Callable[..., tuple[int, str, str]]
OF_OTHERS = {"epochs", "predictions", "operators"}
PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def asked(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("model", "recipe", "seed", "precision", "iterations", "data"))


@pytest.fixture
def planned(harness: Harness, tmp_path: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """A function from a command for runs, as a shell takes it, to what ``harness plan`` says of the same words."""

    def plan(command: str) -> list[tuple[Any, ...]]:
        program, verb, *others = shlex.split(command)
        assert (program, verb) == ("harness", "reproduce")
        code, out, err = harness(
            "plan", *others, "--device", "cpu", "--results", tmp_path / "nothing", "--json"
        )
        assert (code, err) == (0, "")
        return sorted(asked(row) for row in content_of(out)["plan"])

    return plan


@pytest.fixture
def some_runs(make_run: Callable[..., Row], record: Record) -> list[Row]:
    """A part of an experiment, two runs of another precision, runs of made-up images, and one of no experiment."""
    machine = {"device_name": "CPU", "cpu_name": "CPU", "cpu_cores": 2}
    runs = [
        make_run(model, "paper", seed=seed, experiment="paper", **machine)
        for model in ("resnet20", "plain20")
        for seed in (0, 1, 2)
    ]
    runs += [
        make_run("plain32", "paper", seed=seed, precision="bf16", experiment="paper", **machine)
        for seed in (4, 8)
    ]
    runs += [
        make_run(iterations=100, seed=seed, data="synthetic", experiment="own", **machine) for seed in (0, 1)
    ]
    runs += [make_run("resnet56", "kuangliu", experiment="run", **machine)]
    record(runs)
    return runs


def rows_of(harness: Harness, results: Path) -> list[Row]:
    code, out, err = harness("results", "summary", "--results", results, "--json")
    assert (code, err) == (0, "")
    [(key, rows)] = content_of(out).items()
    assert key == "summary"
    found: list[Row] = rows
    return found


def test_every_command_plans_exactly_the_runs_of_its_row(
    harness: Harness, results: Path, some_runs: list[Row], planned: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    by_id = {run["run_id"]: run for run in some_runs}
    rows = rows_of(harness, results)
    assert [row["num_records"] for row in rows] == [6, 2, 2, 1]
    for row in rows[:3]:
        assert planned(row["command"]) == sorted(asked(by_id[name]) for name in row["records"])
    assert (
        rows[3]["command"]
        == "harness run --model resnet56 --recipe kuangliu --seed 0 --precision fp32 --threads 1"
    )
    assert sorted(name for row in rows for name in row["records"]) == sorted(by_id)


def test_published_commands_plan_exactly_the_runs_of_their_rows(
    harness: Harness, planned: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    runs = {run["run_id"]: run for run in Store(PUBLISHED).read("runs")[0].to_pylist()}
    rows = rows_of(harness, PUBLISHED)
    checked = 0
    for row in rows:
        reproduces = row["command"].startswith("harness reproduce ") and row["exact"]
        if row["kinds"] == ["runs"] and reproduces and row["machine"]["device"] == "cpu":
            assert planned(row["command"]) == sorted({asked(runs[name]) for name in row["records"]})
            checked += row["num_records"]
    assert checked


def test_sum_over_published_rows_is_the_number_of_records_that_check_reads(harness: Harness) -> None:
    _, out, _ = harness("results", "check", "--results", PUBLISHED)
    found = re.match(r"(\d+) files are sound, 0 are not", out)
    assert found is not None
    rows = rows_of(harness, PUBLISHED)
    if not (PUBLISHED / "compacted").exists():  # where a file is a record
        belonging = sum(len(list(Store(PUBLISHED).files(kind))) for kind in OF_OTHERS)
        assert sum(row["num_records"] for row in rows) == int(found[1]) - belonging
    for kind in KINDS.keys() - OF_OTHERS:
        listed = [name for row in rows if row["kinds"][0] == kind for name in row["records"]]
        assert sorted(listed) == sorted(Store(PUBLISHED).names(kind))


def test_all_forms_have_the_same_rows(harness: Harness, results: Path, some_runs: list[Row]) -> None:
    rows = rows_of(harness, results)
    code, table, err = harness("results", "summary", "--results", results)
    assert (code, err) == (0, "")
    assert words(table)[0] == "kind what records command machine date"
    code, markdown, err = harness("results", "summary", "--results", results, "--markdown")
    assert (code, err) == (0, "")
    lines = markdown.splitlines()
    assert lines[0] == "| kind | what | records | command | machine | date |"
    assert len(lines) == 2 + len(rows)
    for row, line in zip(rows, lines[2:], strict=True):
        assert f"| runs | {row['what']} | {row['num_records']} | `{row['command']}` | " in line
        assert line.endswith(" | CPU, unknown, 2 cores, 1 thread, torch 2.9.0 | 2026-01-01 |")
    flat = " ".join(words(table))
    assert all(row["what"].split(";")[0] in flat for row in rows)
    assert flat.count("harness reproduce") == sum("reproduce" in row["command"] for row in rows)


def test_two_forms_at_once_are_wrong_usage(harness: Harness, results: Path) -> None:
    results.mkdir()
    code, out, err = harness("results", "summary", "--results", results, "--markdown", "--json")
    assert (code, out) == (2, "")
    assert err == "harness: --markdown and --json are two forms of one answer; leave one of them out\n"


@pytest.mark.parametrize("form", [(), ("--markdown",)])
def test_an_empty_store_says_what_to_run_and_stays_empty(
    harness: Harness, results: Path, form: Sequence[str]
) -> None:
    results.mkdir()
    code, out, err = harness("results", "summary", "--results", results, *form)
    assert (code, out) == (0, "")
    assert err == f"no records in {results}; make some with: harness reproduce quick --results {results}\n"
    assert not list(results.iterdir())


def test_an_empty_store_is_an_empty_list_for_programs(harness: Harness, results: Path) -> None:
    results.mkdir()
    assert rows_of(harness, results) == []


@pytest.mark.parametrize("form", [(), ("--markdown",), ("--json",)])
def test_what_is_broken_or_lost_is_named_and_the_rest_is_shown(
    harness: Harness, results: Path, some_runs: list[Row], form: Sequence[str]
) -> None:
    files = [damage(results, kind, "broken") for kind in ("runs", "audits")]
    table = Store(results).find("epochs", some_runs[0]["run_id"])
    assert table is not None
    lost = table.to_pylist()[0] | {"run_id": "lost"}
    Store(results).write("epochs", lost)
    code, out, err = harness("results", "summary", "--results", results, *form)
    assert code == 0
    assert "harness reproduce" in out
    lines = err.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        *(f"passed over {file}" for file in files),
        "passed over epochs of 1 records that are not there",
    ]
    assert lines[-1].endswith(": lost")


@pytest.mark.parametrize("form", [(), ("--markdown",), ("--json",)])
@pytest.mark.parametrize("text", ["\x1b[2J\x1b]0;title\x07", "a\r\nb", "right\u202eleft", "nul\x00"])
def test_texts_of_others_do_nothing_to_a_terminal(
    harness: Harness, make_run: Callable[..., Row], results: Path, text: str, form: Sequence[str]
) -> None:
    columns = dict.fromkeys(
        ("experiment", "model", "recipe", "precision", "device_name", "torch", "status"), text
    )
    run = complete("runs", make_run() | columns | {"cpu_name": text, "cpu_capability": text})
    Store(results).write_run(run)
    card = complete(
        "identities", dict.fromkeys(KINDS["identities"].names) | {"identity_id": "i", "model": text}
    )
    Store(results).write("identities", card)
    code, out, _ = harness("results", "summary", "--results", results, *form)
    assert code == 0
    assert out.replace("\n", "").isprintable()
    if form == ("--json",):
        assert json.loads(out)["summary"][0]["machine"]["name"] == text


def test_defaults_are_those_of_the_commands() -> None:
    defaults = inspection._defaults()
    assert defaults.models == list(models())
    assert defaults.checkpoints == list(published_checkpoints())
    assert isinstance(defaults.rounds, int)
    assert defaults.batch_sizes(MANY_MODELS - 1, "cuda") == defaults.batch_sizes(1, "cpu") == ALL_BATCH_SIZES
    assert defaults.batch_sizes(MANY_MODELS, "cpu") == FEW_BATCH_SIZES_CPU
    assert defaults.batch_sizes(MANY_MODELS, "cuda") == FEW_BATCH_SIZES
    assert FEW_BATCH_SIZES != FEW_BATCH_SIZES_CPU


def test_whole_catalogue_and_all_checkpoints_are_not_spelt_out(harness: Harness, results: Path) -> None:
    for kind, keys in (("identities", list(models())), ("audits", list(published_checkpoints()))):
        name = KINDS[kind].names[0]
        for key in keys:
            row = dict.fromkeys(KINDS[kind].names) | {name: key, "model": key}
            Store(results).write(kind, complete(kind, row))
    assert [(row["command"], row["num_records"]) for row in rows_of(harness, results)] == [
        ("harness identify", len(models())),
        ("harness audit", len(published_checkpoints())),
    ]


def test_profile_s_rounds_by_default_need_not_be_said(harness: Harness, results: Path) -> None:
    rounds = inspection._defaults().rounds
    for number in (rounds, rounds + 1):
        row = dict.fromkeys(KINDS["profiles"].names) | {
            "session_id": f"s{number}",
            "model": "resnet20",
            "mode": "infer",
            "batch_size": 1,
            "precision": "fp32",
            "status": "measured",
            "round_seconds": [[0.1]] * number,
        }
        Store(results).write("profiles", complete("profiles", row))
    command = "harness profile resnet20 --modes infer --batch-sizes 1 --precisions fp32"
    assert sorted(row["command"] for row in rows_of(harness, results)) == [
        command,
        f"{command} --rounds {rounds + 1}",
    ]
