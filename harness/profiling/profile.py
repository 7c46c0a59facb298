"""A profile: many cells measured in turn in one process, so that drift of the machine hits all alike."""

from __future__ import annotations

import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from harness.analysis.roofline import PASSES
from harness.config import Precision, load_recipe
from harness.data import ImageSet
from harness.environment import Environment
from harness.errors import HarnessError, UsageError
from harness.models import ModelEntry
from harness.profiling.ceilings import Ceilings, make_reference, measure_ceilings
from harness.profiling.cost import StaticCost, static_cost
from harness.profiling.energy import open_meter
from harness.profiling.load import LoadWatch, is_busy
from harness.profiling.memory import PeakMemory, cuda_peak, resident_peaks
from harness.profiling.operators import operator_rows
from harness.profiling.subjects import Cell, Mode, Subject, SubjectNetwork
from harness.profiling.timing import calls_per_visit, visit, warm_up
from harness.training.batches import DeviceImages
from harness.training.device import configure, new_stream

__all__ = ["Plan", "Profile", "Tell", "plan_cells", "profile"]

MIN_ROUNDS = 5
"""Fewer have no interval."""
REFERENCE_CALLS = 10
"""In each round."""
OPERATORS_BATCH_SIZE = 128

Tell = Callable[[str, int, int], None]
"""Is given what is being done, how much of it is done, and how much there is."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to measure."""

    cells: Sequence[Cell]
    max_rounds: int
    max_seconds: float
    """For all; of the rounds at least `MIN_ROUNDS` are made."""
    seconds_per_visit: float
    """In each round a cell is called for about so long, at least once."""
    trace_folder: Path | None = None
    """For the course of a step of each model and mode."""


def plan_cells(
    models: Sequence[str],
    *,
    modes: Sequence[Mode],
    batch_sizes: Sequence[int],
    precisions: Sequence[Precision],
) -> list[Cell]:
    """Every model in every mode, size and precision."""
    return [
        Cell(model=model, mode=mode, batch_size=size, precision=precision)
        for model in models
        for mode in modes
        for size in batch_sizes
        for precision in precisions
    ]


@dataclass
class _Measured:
    """What is known of a cell so far."""

    cell: Cell
    subject: Subject | None = None
    reason: str | None = None
    """Why it failed."""
    warmup_seconds: list[float] = field(default_factory=list)
    round_seconds: list[list[float]] = field(default_factory=list)
    memory: PeakMemory | None = None
    joules: float = 0.0


@dataclass(frozen=True)
class Profile:
    """Rows of the records of the kinds ``profiles`` and ``operators``."""

    profiles: list[dict[str, Any]]
    operators: list[dict[str, Any]]
    interrupted: bool


def profile(
    plan: Plan,
    entries: Mapping[str, ModelEntry],
    images: ImageSet,
    *,
    device: torch.device,
    here: Environment,
    tell: Tell,
) -> Profile:
    """Measure all cells. A cell that fails is recorded with the reason; an interrupt ends the rounds and keeps the rest.

    Args:
        plan: what to measure.
        entries: the models by key; they must be on this machine.
        images: mini-batches are cut from its test images.
        device: where to measure.
        here: this process.
        tell: is told of progress.

    Raises:
        UsageError: there are fewer test images than the largest mini-batch has.
    """
    session = _Session(plan, entries, images, device=device, here=here, tell=tell)
    interrupted = False
    try:
        with torch.cuda.stream(new_stream(device)):  # graphs are not captured on the default stream
            session.measure()
    except KeyboardInterrupt:
        interrupted = True
    return Profile(session.rows(), session.operators, interrupted)


class _Session:
    def __init__(
        self,
        plan: Plan,
        entries: Mapping[str, ModelEntry],
        images: ImageSet,
        *,
        device: torch.device,
        here: Environment,
        tell: Tell,
    ) -> None:
        self.plan, self.entries, self.device, self.here, self.tell = plan, entries, device, here, tell
        self.started = time.monotonic()
        self.session_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}-{here.device}"
        self.measured = [_Measured(cell) for cell in plan.cells]
        self.costs: dict[str, StaticCost] = {}
        self.ceilings: dict[Precision, Ceilings] = {}
        self.operators: list[dict[str, Any]] = []
        self.meter = open_meter(device)
        self.others: float | None = None
        self.reference_seconds: list[float] = []
        size = max(cell.batch_size for cell in plan.cells)
        if size > len(images.test_labels):
            raise UsageError(
                f"a mini-batch of {size:,} images: {images.name} has {len(images.test_labels):,} test images; "
                "profile smaller ones"
            )
        recipe = load_recipe("short")
        on_cpu = DeviceImages(images, recipe.augmentation, recipe.normalization, torch.device("cpu"))
        self.images = on_cpu.test_batch(0, size)
        self.labels = torch.from_numpy(images.test_labels[:size].astype(np.int64))

    def measure(self) -> None:
        """All of it; what is measured is kept at every moment."""
        for precision in dict.fromkeys(cell.precision for cell in self.plan.cells):
            self._configure(precision)
            self.ceilings[precision] = measure_ceilings(self.device, precision)
        try:
            self._prepare()
            if self.device.type == "cpu":
                self._measure_resident()
            self._measure_operators()
            watch = LoadWatch()
            try:
                self._take_rounds()
            finally:
                self.others = watch.share_of_others()
        finally:
            gc.unfreeze()

    def _configure(self, precision: Precision) -> None:
        configure(self.device, precision, self.here.threads)

    def _prepare(self) -> None:
        """Build every network, and call every cell until it is warm."""
        pool = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        networks: dict[str, SubjectNetwork] = {}
        for number, measured in enumerate(self.measured):
            cell = measured.cell
            self.tell("warming up", number, len(self.measured))
            self._configure(cell.precision)
            try:
                if cell.model not in networks:
                    entry = self.entries[cell.model]
                    self.costs[cell.model] = static_cost(entry.build)
                    networks[cell.model] = SubjectNetwork(entry, self.device, self.images, self.labels)
                    gc.collect()
                    gc.freeze()  # no step is charged with a search for garbage among the networks of others
                self._check_memory(cell)
                subject = networks[cell.model].subject(cell, pool)
                measured.warmup_seconds = warm_up(subject.call, self.device)
                if self.device.type == "cuda":
                    measured.memory = cuda_peak(subject.step, self.device, networks[cell.model].nbytes)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and the others go on
                measured.reason = _reason(error)
            else:
                measured.subject = subject

    def _check_memory(self, cell: Cell) -> None:
        """Refuse what would not fit: on a CPU the system would kill the whole process for it.

        Raises:
            HarnessError: what training keeps for the backward pass is more than what is free.
        """
        if self.device.type != "cpu" or cell.mode != "train":
            return
        share = 0.5 if cell.precision is Precision.BF16 else 1.0  # of what is kept in float32
        needed = share * self.costs[cell.model].activation_bytes_per_image * cell.batch_size
        free = psutil.virtual_memory().available
        if needed > free:
            raise HarnessError(f"needs {needed / 2**30:,.1f} GiB of memory; {free / 2**30:,.1f} are free")

    def _measure_resident(self) -> None:
        to_do = total = self._alive()
        while to_do:
            peaks = resident_peaks([measured.cell for measured in to_do], num_threads=self.here.threads)
            while to_do:
                self.tell("measuring memory", len(total) - len(to_do), len(total))
                measured, *to_do = to_do
                try:
                    measured.memory = next(peaks)
                except HarnessError as error:  # its process died, and another one goes on
                    measured.reason = _reason(error)
                    break

    def _measure_operators(self) -> None:
        """Of each model and mode one cell, of the usual size where there is one."""
        chosen: dict[tuple[str, Mode], _Measured] = {}
        for measured in sorted(
            self._alive(), key=lambda each: each.cell.batch_size != OPERATORS_BATCH_SIZE
        ):  # stable
            chosen.setdefault((measured.cell.model, measured.cell.mode), measured)
        for number, measured in enumerate(chosen.values()):
            self.tell("profiling operators", number, len(chosen))
            cell, folder = measured.cell, self.plan.trace_folder
            trace = folder and folder / re.sub(r"[^A-Za-z0-9.-]+", "-", f"{cell}.json")
            self._configure(cell.precision)
            assert measured.subject is not None
            try:
                rows = operator_rows(measured.subject.call, self.device, trace=trace)
            except Exception as error:  # noqa: BLE001 - as when warming up
                measured.reason = _reason(error)
            else:
                self.operators += [{**self._what(cell), **row} for row in rows]

    def _take_rounds(self) -> None:
        """As many as there is time for; those to come are taken to last as long as the last one did."""
        reference = make_reference(self.device)
        warm_up(reference, self.device)
        alive = self._alive()
        num_done, num_rounds = 0, self._rounds_in_time(0, sum(map(self._seconds_per_visit, alive)))
        while alive and num_done < num_rounds:
            start = time.monotonic()
            self.reference_seconds.append(statistics.median(visit(reference, self.device, REFERENCE_CALLS)))
            for position, measured in enumerate(alive):
                self.tell("timing in turn", num_done * len(alive) + position, num_rounds * len(alive))
                self._visit(measured)
            num_done, alive = num_done + 1, self._alive()
            num_rounds = self._rounds_in_time(num_done, time.monotonic() - start)

    def _rounds_in_time(self, num_done: int, seconds_per_round: float) -> int:
        left = self.plan.max_seconds - (time.monotonic() - self.started)
        return min(
            self.plan.max_rounds, max(MIN_ROUNDS, num_done + int(left // max(seconds_per_round, 1e-9)))
        )

    def _seconds_per_visit(self, measured: _Measured) -> float:
        return self._num_calls(measured) * measured.warmup_seconds[-1]

    def _num_calls(self, measured: _Measured) -> int:
        return calls_per_visit(measured.warmup_seconds[-1], self.plan.seconds_per_visit)

    def _visit(self, measured: _Measured) -> None:
        assert measured.subject is not None
        self._configure(measured.cell.precision)
        before = self._joules()
        try:
            seconds = visit(measured.subject.call, self.device, self._num_calls(measured))
        except Exception as error:  # noqa: BLE001 - as when warming up
            measured.reason = _reason(error)
            return
        measured.joules += self._joules() - before
        measured.round_seconds.append(seconds)

    def _joules(self) -> float:
        """What the meter shows; one that fails once is used no more, and what it showed is not either."""
        try:
            return self.meter.read() if self.meter else 0.0
        except HarnessError:
            self.meter = None
            return 0.0

    def _alive(self) -> list[_Measured]:
        return [measured for measured in self.measured if measured.subject and not measured.reason]

    def rows(self) -> list[dict[str, Any]]:
        """A row for every cell that has failed or was timed at least once."""
        now = datetime.now(UTC)
        return [
            self._row(measured) | {"measured_at": now}
            for measured in self.measured
            if measured.reason or measured.round_seconds
        ]

    def _what(self, cell: Cell) -> dict[str, Any]:
        return {
            "session_id": self.session_id,
            "model": cell.model,
            "mode": cell.mode,
            "batch_size": cell.batch_size,
            "precision": cell.precision.value,
        }

    def _row(self, measured: _Measured) -> dict[str, Any]:
        cell, memory, cost = measured.cell, measured.memory, self.costs.get(measured.cell.model)
        ceilings = self.ceilings[cell.precision]
        calls = [seconds for part in measured.round_seconds for seconds in part]
        rate = cell.batch_size / statistics.median(calls) if calls else None
        counted = asdict(cost) if cost else dict.fromkeys(StaticCost.__dataclass_fields__)
        stages = counted.pop("parameters_by_stage")
        return {
            **self._what(cell),
            "model_source": self.entries[cell.model].origin,
            "status": "failed" if measured.reason else "measured",
            "reason": measured.reason,
            "engine": measured.subject.engine if measured.subject else None,
            **counted,
            "parameters_by_stage": stages
            and [{"stage": stage, "parameters": number} for stage, number in stages.items()],
            "warmup_seconds": measured.warmup_seconds,
            "round_seconds": measured.round_seconds,
            "peak_memory_bytes": memory and memory.peak,
            "base_memory_bytes": memory and memory.base,
            "reserved_memory_bytes": memory and memory.reserved,
            "joules_per_image": measured.joules / (len(calls) * cell.batch_size)
            if self.meter and calls
            else None,
            "energy_source": self.meter and self.meter.source,
            "ceiling_flops": ceilings.flops,
            "ceiling_copy_bytes": ceilings.copy_bytes,
            "flops_share": 2 * PASSES[cell.mode] * cost.macs * rate / ceilings.flops
            if cost and rate
            else None,
            "reference_seconds": self.reference_seconds,
            "others_share": self.others,
            "busy": None if self.others is None else is_busy(self.others),
            **self.here.columns(),
        }


def _reason(error: Exception) -> str:
    """In one line."""
    return f"{type(error).__name__}: {error}".splitlines()[0]
