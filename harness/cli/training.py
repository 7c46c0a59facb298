"""The commands that plan and train."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import (
    DEFAULT_CHECKPOINT_SECONDS,
    DEFAULT_RESULTS,
    EXIT_SOME_FAILED,
    MAX_SEED,
    Address,
    AtOnce,
    CheckpointSeconds,
    Data,
    Device,
    Eager,
    ExecutorChoice,
    ExperimentName,
    IfChangedChoice,
    Iterations,
    Json,
    Models,
    PrecisionName,
    Results,
    Seeds,
    Threads,
    Upstream,
    Workers,
    names,
    numbers,
)

if TYPE_CHECKING:
    from harness.config import Experiment
    from harness.execution.executors import Executor
    from harness.execution.job import Event, Job
    from harness.execution.plan import PlannedRun
    from harness.execution.session import IfChanged, Session

__all__ = ["plan", "reproduce", "run"]


def plan(
    experiment: ExperimentName = None,
    *,
    models: Models = None,
    seeds: Seeds = None,
    device: Device = "auto",
    precision: PrecisionName = None,
    iterations: Iterations = None,
    results: Results = DEFAULT_RESULTS,
    data: Data = "cifar10",
    workers: Workers = None,
    threads: Threads = None,
    at_once: AtOnce = None,
    eager: Eager = False,
    upstream: Upstream = None,
    as_json: Json = False,
) -> None:
    """Show every run of an experiment, whether it would be skipped and why, and the time. Writes nothing."""
    session = _plan(
        experiment, models=models, seeds=seeds, device=device, precision=precision, iterations=iterations,
        results=results, data=data, workers=workers, threads=threads, at_once=at_once, eager=eager,
        upstream=upstream,
    )  # fmt: skip
    from harness.console import print_json, print_plan

    if as_json:
        print_json(plan=[_plan_row(run) for run in session.planned])
    else:
        print_plan(session)


def reproduce(
    experiment: ExperimentName = None,
    *,
    models: Models = None,
    seeds: Seeds = None,
    device: Device = "auto",
    precision: PrecisionName = None,
    iterations: Iterations = None,
    results: Results = DEFAULT_RESULTS,
    data: Data = "cifar10",
    workers: Workers = None,
    threads: Threads = None,
    at_once: AtOnce = None,
    eager: Eager = False,
    upstream: Upstream = None,
    checkpoint_seconds: CheckpointSeconds = DEFAULT_CHECKPOINT_SECONDS,
    if_changed: IfChangedChoice = "refuse",
    executor: ExecutorChoice = "local",
    address: Address = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="Write the report of all records when done, as harness report does."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Train and record every run of an experiment that is not recorded yet; go on with interrupted ones."""
    session = _plan(
        experiment, models=models, seeds=seeds, device=device, precision=precision, iterations=iterations,
        results=results, data=data, workers=workers, threads=threads, at_once=at_once, eager=eager,
        upstream=upstream,
    )  # fmt: skip
    from harness.execution.executors import choose_executor

    all_done = _execute(
        session,
        data,
        checkpoint_seconds,
        if_changed,
        choose_executor(executor, session, address=address, num_workers=workers),
        as_json=as_json,
    )
    if report:
        from harness.cli.verdicts import default_reports, write_report

        write_report(results, default_reports(results), quietly=as_json)
    if not all_done:
        raise typer.Exit(EXIT_SOME_FAILED)


def run(
    *,
    model: Annotated[
        str, typer.Option(help="A key of the catalogue (harness models list), or package.module:factory.")
    ],
    recipe: Annotated[str, typer.Option(help="paper, short, ..., or a TOML file.")],
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED)] = 0,
    device: Device = "auto",
    precision: Annotated[str, typer.Option(help="fp32, tf32, bf16 or auto.")] = "auto",
    iterations: Iterations = None,
    results: Results = DEFAULT_RESULTS,
    data: Data = "cifar10",
    threads: Threads = None,
    eager: Eager = False,
    upstream: Upstream = None,
    checkpoint_seconds: CheckpointSeconds = DEFAULT_CHECKPOINT_SECONDS,
    if_changed: IfChangedChoice = "refuse",
    executor: ExecutorChoice = "local",
    address: Address = None,
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
        threads=threads, eager=eager, upstream=upstream,
    )  # fmt: skip
    from harness.execution.executors import choose_executor

    if not _execute(
        session,
        data,
        checkpoint_seconds,
        if_changed,
        choose_executor(executor, session, address=address),
        as_json=as_json,
    ):
        raise typer.Exit(EXIT_SOME_FAILED)


def _plan(
    experiment: str | Experiment | None,
    *,
    device: str,
    precision: str | None,
    iterations: int | None,
    results: Path,
    data: str,
    threads: int | None,
    eager: bool,
    upstream: Path | None,
    at_once: int | None = None,
    models: str | None = None,
    seeds: str | None = None,
    workers: int | None = None,
) -> Session:
    from harness.execution.session import Request, resolve
    from harness.models.upstream import use_clones_in

    if upstream is not None:
        use_clones_in(upstream)
    return resolve(
        Request(
            experiment=experiment,
            models=None if models is None else names(models),
            seeds=None if seeds is None else numbers(seeds),
            device=device,
            precision=precision,
            iterations=iterations,
            results=results,
            synthetic=data == "synthetic",
            num_workers=workers,
            num_threads=threads,
            runs_at_once=at_once,
            eager=eager,
        )
    )


def _execute(
    session: Session,
    data: str,
    checkpoint_seconds: float,
    if_changed: IfChanged,
    execute: Executor,
    *,
    as_json: bool,
) -> bool:
    """Do what is to do, and show the summary.

    Returns:
        Whether every run that was to do is completed, or is left to another process that is at it.
    """
    from harness.console import announce, load_images, say, stderr, this_program
    from harness.execution.eta import Eta
    from harness.execution.live import tell_live
    from harness.execution.networks import prepare_networks
    from harness.progress import observe_runs

    announce(session)
    session.settle_changed(if_changed)
    jobs = session.jobs(checkpoint_seconds)
    if not jobs:
        _report(session, as_json=as_json)
        return True
    num_jobs = len(jobs)
    jobs = prepare_networks(jobs, session.environment, say)
    if data != "synthetic":
        load_images(data)
    begin = {job.run_id for job in jobs}
    eta = Eta([run for run in session.planned if run.run_id in begin], session.num_lanes)
    with observe_runs(eta) as show, tell_live(session.store.root, session.experiment.name, eta) as tell:

        def observe(job: Job, event: Event) -> None:
            eta.hear(job, event)
            with suppress(OSError, ValueError):  # a log on a full disk stops no run
                show(job, event)
            tell(job, event)

        execution = execute(jobs, session.environment, observer=observe)
    if execution.signal_number is not None:
        stderr.print("Stopped. What was done is kept; this goes on from there:")
        stderr.print(f"  {this_program()} {shlex.join(sys.argv[1:])}")
        raise typer.Exit(128 + execution.signal_number)
    _report(session, as_json=as_json)
    return len(jobs) == num_jobs and all(
        end.status in {"completed", "busy"} for end in execution.ended.values()
    )


def _report(session: Session, *, as_json: bool) -> None:
    """The recorded runs of the experiment, summed up, and set beside those that the project published."""
    from harness.console import print_json, print_report

    runs = [row for run in session.planned if (row := session.store.local_run(run.run_id)) is not None]
    if as_json:
        print_json(runs=runs)
    else:
        published = session.store.published().read("runs")[0].to_pylist()
        print_report(session, runs, published)


def _plan_row(planned: PlannedRun) -> dict[str, Any]:
    return {
        "run_id": planned.run_id,
        **planned.spec.columns(),
        "state": planned.state,
        "to_do": planned.to_do,
        "note": planned.note,
        "estimated_seconds": planned.estimated_seconds,
    }
