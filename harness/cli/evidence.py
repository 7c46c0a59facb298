"""The commands that examine networks and runs: identify, audit, verify."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from harness.cli.options import (
    DEFAULT_RESULTS,
    EXIT_OUT_OF_TOLERANCE,
    EXIT_SOME_FAILED,
    Data,
    Device,
    ExistingResults,
    Json,
    Results,
    Upstream,
)
from harness.errors import HarnessError, ModelError

if TYPE_CHECKING:
    import torch

    from harness.data import ImageSet
    from harness.environment import Environment
    from harness.execution.verification import Recorded
    from harness.records import Store

__all__ = ["audit", "identify", "verify"]

_Examined = TypeVar("_Examined")


def identify(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys of the catalogue, or package.module:factory. Default: the whole catalogue."
        ),
    ] = None,
    *,
    data: Data = "cifar10",
    results: Results = DEFAULT_RESULTS,
    upstream: Upstream = None,
    as_json: Json = False,
) -> None:
    """Write an identity card per model: size, structure, initial weights, and whether it is the paper's function."""
    from harness.console import print_json, say
    from harness.execution.networks import have_network
    from harness.identity.card import identity_card
    from harness.models import ModelEntry, find
    from harness.models import models as catalogue
    from harness.tables import print_identities

    entries = {key: find(key) for key in models} if models else catalogue()
    images, _, here = _prepare(data, "cpu", upstream)

    def measure(entry: ModelEntry) -> dict[str, Any]:
        have_network(entry, say)
        return identity_card(entry, images, here)

    rows, all_done = _examine("identities", entries, measure, results)
    if as_json:
        print_json(identities=rows)
    else:
        print_identities(rows)
    if not all_done:
        raise typer.Exit(EXIT_SOME_FAILED)


def audit(
    models: Annotated[
        list[str] | None, typer.Argument(help="Models with a published checkpoint. Default: all.")
    ] = None,
    *,
    device: Device = "auto",
    data: Data = "cifar10",
    results: Results = DEFAULT_RESULTS,
    upstream: Upstream = None,
    as_json: Json = False,
) -> None:
    """Evaluate published checkpoints as their repositories say, through their class and through ours."""
    from harness.audit import PublishedCheckpoint, find_checkpoint, published_checkpoints
    from harness.audit import audit as audit_checkpoint
    from harness.console import print_json, say
    from harness.execution.networks import have_file, have_network
    from harness.models import find
    from harness.tables import print_audits

    checkpoints = {key: find_checkpoint(key) for key in models} if models else published_checkpoints()
    images, torch_device, here = _prepare(data, device, upstream)

    def measure(checkpoint: PublishedCheckpoint) -> dict[str, Any]:
        have_network(find(checkpoint.model), say)
        have_file(checkpoint.file, checkpoint.model, say)
        return audit_checkpoint(checkpoint, images, torch_device, here)

    rows, all_done = _examine("audits", checkpoints, measure, results)
    if as_json:
        print_json(audits=rows)
    else:
        print_audits(rows)
    if not all_done:
        raise typer.Exit(EXIT_SOME_FAILED)


def verify(
    run: Annotated[str, typer.Argument(help="Id of a recorded run, or a beginning of it that no other has.")],
    *,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Repeat only so many. Default: all, or 1 where knobs are turned."),
    ] = None,
    isolate: Annotated[
        bool,
        typer.Option("--isolate", help="Turn every knob: which of them decides the bits, and at what price?"),
    ] = False,
    turn: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KNOB[=VALUE]",
            help="Turn this one: threads, precision, deterministic, channels_last or compilation. Can be repeated.",
        ),
    ] = None,
    timing: Annotated[bool, typer.Option(help="Time an update with and without each knob turned.")] = True,
    results: ExistingResults = DEFAULT_RESULTS,
    upstream: Upstream = None,
    as_json: Json = False,
) -> None:
    """Repeat a recorded run in a fresh process, and say whether it gives the same bits, or where it first does not.

    With --isolate or --turn, also repeat it with one knob turned, up to the first tensor that differs.
    """
    from harness.console import load_images, print_json, say
    from harness.execution.networks import have_network
    from harness.execution.verification import find_recorded
    from harness.models import find
    from harness.models.upstream import use_clones_in
    from harness.records import Store
    from harness.tables import print_verifications

    if upstream is not None:
        use_clones_in(upstream)
    store = Store(results)
    recorded = find_recorded(store, run)
    have_network(find(recorded.spec.model), say)
    load_images(recorded.spec.data)
    if isolate or turn:
        rows, all_done = _turn_knobs(recorded, store, turn, epochs=epochs, timing=timing)
    else:
        rows, all_done = [_repeat(recorded, epochs)], True
        store.write("verifications", *rows)
    if as_json:
        print_json(verifications=rows)
    else:
        print_verifications(rows)
    if not all(row["identical"] for row in rows):
        raise typer.Exit(EXIT_OUT_OF_TOLERANCE)
    if not all_done:
        raise typer.Exit(EXIT_SOME_FAILED)


def _repeat(recorded: Recorded, num_epochs: int | None) -> dict[str, Any]:
    from harness.execution.job import Advanced, Event, Job
    from harness.execution.verification import verify as repeat
    from harness.progress import observe_steps

    num_iterations = recorded.epochs[: num_epochs or None][-1]["iteration"]
    with observe_steps() as tell:

        def observe(_job: Job, event: Event) -> None:
            if isinstance(event, Advanced):
                tell("repeating", event.iteration, num_iterations)

        return repeat(recorded, num_epochs=num_epochs, observer=observe)


def _turn_knobs(
    recorded: Recorded, store: Store, turn: Sequence[str] | None, *, epochs: int | None, timing: bool
) -> tuple[list[dict[str, Any]], bool]:
    """Repeat a run as recorded and with each knob turned, and record each; what cannot be turned is named.

    Returns:
        The rows, and whether all could be turned.

    Raises:
        UsageError: there is no such knob or value.
    """
    from harness.console import say
    from harness.execution.isolation import KNOBS, NUM_ROUNDS, Isolation, turned
    from harness.progress import observe_steps

    wanted = [text.partition("=") for text in turn or KNOBS]
    with observe_steps() as tell:
        isolation = Isolation(
            recorded, num_epochs=epochs, num_rounds=NUM_ROUNDS if timing else 0, observer=tell
        )
        for knob, _, value in wanted:
            turned(isolation.settings, knob, value or None)
        rows = [isolation.repeat()]
        store.write("verifications", rows[0])
        for knob, _, value in wanted:
            try:
                row = isolation.turn(knob, value or None)
            except HarnessError as error:
                say(str(error))
            else:
                store.write("verifications", row)
                rows.append(row)
    return rows, len(rows) == 1 + len(wanted)


def _prepare(
    data: str, device_name: str, upstream: Path | None
) -> tuple[ImageSet, torch.device, Environment]:
    """The images, the device, set up for reproducible float32, and what describes this process."""
    from harness import allocator, environment

    allocator_state = allocator.configure()
    from harness.config import Precision
    from harness.console import load_images
    from harness.models.upstream import use_clones_in
    from harness.training.device import configure, resolve_device

    if upstream is not None:
        use_clones_in(upstream)
    device, num_threads = resolve_device(device_name), environment.num_cores()
    configure(device, Precision.FP32, num_threads)
    images = load_images(data)
    return images, device, environment.capture(device, num_threads=num_threads, allocator=allocator_state)


def _examine(
    kind: str,
    subjects: Mapping[str, _Examined],
    measure: Callable[[_Examined], dict[str, Any]],
    results: Path,
) -> tuple[Sequence[dict[str, Any]], bool]:
    """Measure and record one after another; what cannot be had is named, and the rest goes on.

    Returns:
        The rows, and whether all were had.

    Raises:
        ModelError: not one was had.
    """
    from harness.console import say
    from harness.records import Store

    store, rows = Store(results), []
    for number, (key, subject) in enumerate(subjects.items(), start=1):
        try:
            row = measure(subject)
        except ModelError as error:
            if len(subjects) == 1:
                raise
            say(f"{key}: {error}")
        else:
            store.write(kind, row)
            rows.append(row)
            say(f"{key}: done ({number} of {len(subjects)})")
    if not rows:
        raise ModelError(f"none of the {len(subjects)} models can be had; each is named above")
    return rows, len(rows) == len(subjects)
