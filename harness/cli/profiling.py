"""The command that measures what networks cost."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.options import (
    DEFAULT_RESULTS,
    EXIT_OUT_OF_TOLERANCE,
    EXIT_SOME_FAILED,
    Data,
    Device,
    Json,
    Results,
    Upstream,
    is_integer,
    names,
)
from harness.errors import ModelError, UnknownNameError, UsageError, printable

if TYPE_CHECKING:
    from harness.analysis.profiles import CellChange, CellComparison
    from harness.analysis.timing import Comparison
    from harness.config import Precision
    from harness.models import ModelEntry
    from harness.profiling.profile import Profile
    from harness.profiling.subjects import Mode

__all__ = ["profile"]

EXIT_INTERRUPTED = 130
MANY_MODELS = 5
"""From so many on, a profile is of few sizes and one precision unless told, and its visits are short."""
LONG_VISIT, SHORT_VISIT = 0.1, 0.03
"""Seconds."""
ALL_BATCH_SIZES = (1, 8, 32, 128, 512)
FEW_BATCH_SIZES = (1, 128)
FEW_BATCH_SIZES_CPU = (1, 32)
"""The whole catalogue is to take less than ten minutes on two cores."""
MAX_BATCH_SIZE = 10_000


def profile(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys of the catalogue, or package.module:factory. Default: the whole catalogue."
        ),
    ] = None,
    *,
    modes: Annotated[str, typer.Option(help="train, infer, or both, separated by a comma.")] = "train,infer",
    batch_sizes: Annotated[
        str | None,
        typer.Option(
            help="Images of a mini-batch. Default: 1,8,32,128,512; of five models or more: 1,128, on a CPU 1,32."
        ),
    ] = None,
    precisions: Annotated[
        str | None,
        typer.Option(
            help="fp32, tf32, bf16, auto. Default: all that the device has; of five models or more: auto."
        ),
    ] = None,
    device: Device = "auto",
    minutes: Annotated[float, typer.Option(min=0, help="Start no round that would end later.")] = 9.0,
    rounds: Annotated[
        int, typer.Option(min=1, help="At most so many; five are made, however long they take.")
    ] = 15,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(help="Two models, measured too, and set beside each other.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="An earlier session to set this one beside: its id, its file, or last."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(help="Folder for the course of a step of each model, for Perfetto.", file_okay=False),
    ] = None,
    data: Data = "cifar10",
    results: Results = DEFAULT_RESULTS,
    upstream: Upstream = None,
    as_json: Json = False,
) -> None:
    """Measure what models cost: size, speed, memory, energy, operators; all of them in turn, in one process."""
    from harness import allocator, environment

    num_threads, allocator_state = environment.num_cores(), allocator.configure()
    if device == "cpu" or (device == "auto" and environment.nvidia_driver() is None):
        # read when torch is imported; it would bind the threads that launch kernels, too
        os.environ.setdefault("OMP_PROC_BIND", "true")
        os.environ.setdefault("OMP_PLACES", "cores")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own chatter
    from harness.analysis.profiles import compare_machines, compare_models, compare_sessions
    from harness.console import load_images, say
    from harness.models import models as catalogue
    from harness.models.upstream import use_clones_in
    from harness.profiling.profile import Plan, plan_cells
    from harness.profiling.profile import profile as measure
    from harness.progress import observe_steps
    from harness.records import Store
    from harness.training.device import configure, resolve_device

    wanted_modes, wanted_sizes = _modes(modes), _sizes(batch_sizes)
    if upstream is not None:
        use_clones_in(upstream)
    keys = [*(models or []), *(compare or [])] or list(catalogue())
    entries, all_here = _have(list(dict.fromkeys(keys)))
    torch_device = resolve_device(device)
    many = len(entries) >= MANY_MODELS
    chosen = _precisions(precisions, torch_device, many=many)
    configure(torch_device, chosen[0], num_threads)
    here = environment.capture(torch_device, num_threads=num_threads, allocator=allocator_state)
    store = Store(results)
    earlier = _earlier(against, store) if against else []
    images = load_images(data)
    few_sizes = FEW_BATCH_SIZES_CPU if torch_device.type == "cpu" else FEW_BATCH_SIZES
    cells = plan_cells(
        list(entries),
        modes=wanted_modes,
        batch_sizes=wanted_sizes or (few_sizes if many else ALL_BATCH_SIZES),
        precisions=chosen,
    )
    say(
        f"{len(cells)} cells of {len(entries)} model{'s' * (len(entries) > 1)} on {here.device_name}, {num_threads} thread{'s' * (num_threads > 1)}"
    )
    plan = Plan(
        cells=cells,
        max_rounds=rounds,
        max_seconds=60 * minutes,
        seconds_per_visit=SHORT_VISIT if many else LONG_VISIT,
        trace_folder=trace,
    )
    with observe_steps() as tell:
        found = measure(plan, entries, images, device=torch_device, here=here, tell=tell)
    if found.profiles:
        store.write("profiles", *found.profiles)
    if found.operators:
        store.write("operators", *found.operators)
    comparisons = None if compare is None else compare_models(found.profiles, *compare)
    changes = compare_sessions(found.profiles, earlier) if earlier else None
    machines = compare_machines(found.profiles, earlier) if earlier else None
    _show(found, compare, comparisons, changes, machines, as_json=as_json)
    if found.interrupted:
        say("Stopped. What was measured is recorded.")
        raise typer.Exit(EXIT_INTERRUPTED)
    if not all_here or any(row["status"] == "failed" for row in found.profiles):
        raise typer.Exit(EXIT_SOME_FAILED)
    if any(change.verdict == "slower" for change in changes or ()):
        raise typer.Exit(EXIT_OUT_OF_TOLERANCE)


def _show(
    found: Profile,
    compared: tuple[str, str] | None,
    comparisons: Sequence[CellComparison] | None,
    changes: Sequence[CellChange] | None,
    machines: Comparison | None,
    *,
    as_json: bool,
) -> None:
    """What was measured, and what it was asked to be set beside."""
    from dataclasses import asdict

    from harness import tables
    from harness.console import print_json

    if as_json:
        print_json(
            profiles=found.profiles,
            operators=found.operators,
            comparisons=[asdict(cell) for cell in comparisons or ()],
            changes=[asdict(change) for change in changes or ()],
            machines=machines and asdict(machines),
        )
        return
    tables.print_profiles(found.profiles)
    if compared is not None and comparisons is not None:
        tables.print_comparisons(comparisons, *compared)
    if changes is not None:
        tables.print_changes(changes, machines)


def _have(keys: Sequence[str]) -> tuple[dict[str, ModelEntry], bool]:
    """The models that can be had, and whether that is all; what cannot is named.

    Raises:
        ModelError: not one can be had.
    """
    from harness.console import say
    from harness.execution.networks import have_network
    from harness.models import find

    entries = {key: find(key) for key in keys}
    here = {}
    for key, entry in entries.items():
        try:
            have_network(entry, say)
        except ModelError as error:
            say(f"{key}: {error}")
        else:
            here[key] = entry
    if not here:
        raise ModelError(f"none of the {len(entries)} models can be had; each is named above")
    return here, len(here) == len(entries)


def _precisions(text: str | None, device: Any, *, many: bool) -> list[Precision]:
    from harness.config import Precision
    from harness.training.device import has_native_bf16, resolve_precision

    if text is not None:
        if not names(text):
            raise UsageError(
                f"--precisions {printable(repr(text))}: there is none in it; write e.g. fp32,bf16"
            )
        return list(dict.fromkeys(resolve_precision(name, device) for name in names(text)))
    if many:
        return [resolve_precision("auto", device)]
    tf32 = [Precision.TF32] if device.type == "cuda" else []
    return [Precision.FP32, *tf32, *([Precision.BF16] if has_native_bf16(device) else [])]


def _modes(text: str) -> list[Mode]:
    known: list[Mode] = ["train", "infer"]
    for name in names(text):
        if name not in known:
            raise UnknownNameError("mode", name, known)
    if not names(text):
        raise UsageError(
            f"--modes {printable(repr(text))}: there is none in it; write train, infer, or train,infer"
        )
    return [mode for mode in known if mode in names(text)]


def _sizes(text: str | None) -> list[int] | None:
    if text is None:
        return None
    parts = names(text)
    if not parts or not all(is_integer(part, MAX_BATCH_SIZE) and int(part) for part in parts):
        raise UsageError(
            f"--batch-sizes {printable(repr(text))}: sizes are integers from 1 to {MAX_BATCH_SIZE:,}; write e.g. 1,128"
        )
    return list(dict.fromkeys(map(int, parts)))


def _earlier(against: str, store: Any) -> list[dict[str, Any]]:
    """Rows of an earlier session.

    Raises:
        UsageError: there is no such session.
    """
    rows: list[dict[str, Any]] = store.read("profiles")[0].to_pylist()
    sessions = sorted({row["session_id"] for row in rows})
    wanted = sessions[-1] if against == "last" and sessions else Path(against).name.removesuffix(".parquet")
    chosen = [row for row in rows if row["session_id"] == wanted]
    if not chosen:
        raise UsageError(
            f"--against {printable(repr(against))}: no such session in {printable(store.root)}; there is {', '.join(sessions) or 'none'}"
        )
    return chosen
