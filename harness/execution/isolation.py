"""Which knob matters: a run repeated as recorded and with one knob turned, until the first tensor that differs.

Both are repeated here, in fresh processes, and every update of theirs is compared in fine digests; so the first
difference is found in one pass, however late it comes. The repetition as recorded is also compared with the record.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from typing import Any

from harness import allocator, environment
from harness.analysis.divergence import first_divergence
from harness.analysis.timing import compare_paired
from harness.config import Precision, RunSpec
from harness.environment import Environment
from harness.errors import HarnessError, UnknownNameError, UsageError
from harness.execution.processes import process_context
from harness.execution.verification import Recorded, num_epochs_to_repeat
from harness.profiling.race import Contestant, race
from harness.training.device import resolve_device, resolve_precision
from harness.training.trace import DIGEST_SIZE, Settings, TracedTensor

__all__ = ["KNOBS", "Isolation", "turned"]

KNOBS = tuple(Settings.__dataclass_fields__)
"""Names of what can be turned."""

SECONDS_TO_END = 10.0
NUM_ROUNDS, UPDATES_A_ROUND = 9, 5
"""Of timing."""

Observer = Callable[[str, int, int], None]
"""Is told what is being repeated, how many iterations of it are done, and how many there are."""


def turned(settings: Settings, knob: str, value: str | None = None) -> Settings:
    """The settings with one knob turned.

    Args:
        settings: as recorded.
        knob: one of `KNOBS`.
        value: to what; by default 2 threads or else 1, bf16 or else fp32, and on for what is off.

    Raises:
        UnknownNameError: there is no such knob, or it has no such value.
        UsageError: that is what it is turned to already.
    """
    if knob not in KNOBS:
        raise UnknownNameError("knob", knob, KNOBS)
    now = getattr(settings, knob)
    new: object
    if knob == "threads":
        if value is not None and not (value.isdecimal() and int(value) > 0):
            raise UnknownNameError("number of threads", value, ["1", "2", "..."])
        new = int(value) if value else (1 if now > 1 else 2)
    elif knob == "precision":
        new = value or ("fp32" if now == "bf16" else "bf16")
        if new not in set(Precision):
            raise UnknownNameError("precision", str(new), Precision)
    else:
        if value not in {None, "on", "off"}:
            raise UnknownNameError(f"value of {knob}", str(value), ["on", "off"])
        new = not now if value is None else value == "on"
    if new == now:
        raise UsageError(f"{knob} is {_text(now)} in the record; turn it to another value")
    return Settings(**(asdict(settings) | {knob: new}))


@dataclass
class _Trace:
    """What a repetition has said so far."""

    tensors: tuple[TracedTensor, ...]
    updates: list[bytes]
    epochs: list[dict[str, Any]]
    seconds: float = 0.0


class Isolation:
    """A recorded run, to be repeated as recorded and with knobs turned.

    Args:
        recorded: the run.
        num_epochs: how much of it; by default its first epoch.
        num_rounds: of timing each knob; 0 for none.
        observer: is told of progress.

    Raises:
        UsageError: this machine has no such device, or the run has fewer epochs.
    """

    def __init__(
        self,
        recorded: Recorded,
        *,
        num_epochs: int | None = None,
        num_rounds: int = NUM_ROUNDS,
        observer: Observer,
    ) -> None:
        self.recorded, self._num_rounds, self._observer = recorded, num_rounds, observer
        self.num_epochs = num_epochs_to_repeat(recorded, 1 if num_epochs is None else num_epochs)
        self._num_iterations = recorded.epochs[self.num_epochs - 1]["iteration"]
        run = recorded.run
        self._device = resolve_device(run["device"])
        self.settings = Settings(
            threads=run["threads"],
            precision=run["precision"],
            deterministic=run["deterministic"],
            channels_last=self._device.type != "mps",
        )
        self._base: _Trace | None = None

    def repeat(self) -> dict[str, Any]:
        """Repeat the run as recorded, and compare it with its record.

        Returns:
            A row for the records of kind ``verifications``.

        Raises:
            HarnessError: the repetition failed.
        """
        self._base = base = self._trace("as recorded", self.settings, None)
        divergence = first_divergence(self.recorded.epochs[: self.num_epochs], base.epochs)
        return self._row(
            base,
            identical=divergence is None,
            first_epoch=divergence and divergence.epoch,
            first_iteration=divergence and divergence.iteration,
            first_column=divergence and divergence.column,
            seconds_then=self.recorded.epochs[self.num_epochs - 1]["seconds"],
        )

    def turn(self, knob: str, value: str | None = None) -> dict[str, Any]:
        """Repeat the run with a knob turned until it differs from the repetition as recorded; time both in turn.

        Args:
            knob: one of `KNOBS`.
            value: to what it is turned; see `turned`.

        Returns:
            A row for the records of kind ``verifications``.

        Raises:
            UsageError: this machine cannot do that.
            HarnessError: the repetition failed.
        """
        if self._base is None:
            self.repeat()
        assert self._base is not None
        settings = turned(self.settings, knob, value)
        resolve_precision(settings.precision, self._device)
        then, now = _text(getattr(self.settings, knob)), _text(getattr(settings, knob))
        trace = self._trace(f"{knob} {then} -> {now}", settings, self._base)
        position = _first_difference(self._base.updates, trace.updates)
        first: dict[str, Any] = {}
        if position is not None:
            iteration, tensor = position[0] + 1, self._base.tensors[position[1]]
            first = {
                "first_epoch": next(
                    row["epoch"] for row in self.recorded.epochs if iteration <= row["iteration"]
                ),
                "first_iteration": iteration,
                "first_column": tensor.kind,
                "first_tensor": tensor.name or None,
            }
        return self._row(
            trace,
            identical=position is None,
            knob=knob,
            knob_then=then,
            knob_now=now,
            seconds_then=self._base.seconds,
            **first,
            **self._time(settings),
        )

    def _trace(self, label: str, settings: Settings, base: _Trace | None) -> _Trace:
        """Repeat with these settings, to the end or, if there is a base, until it differs from that."""
        context = process_context(self._device.type, compiles=settings.compilation)
        ours, theirs = context.Pipe(duplex=False)
        arguments = (self.recorded.spec, str(self._device), settings, self._num_iterations, theirs)
        process = context.Process(target=_serve, args=arguments, daemon=True)
        process.start()
        theirs.close()
        trace = _Trace((), [], [])
        try:
            for update in _hear(ours, trace, label):
                self._observer(label, len(trace.updates), self._num_iterations)
                if base is not None and update != base.updates[len(trace.updates) - 1]:
                    break
        finally:
            ours.close()  # it ends with its next word
            process.join(SECONDS_TO_END)
            process.kill()
        return trace

    def _time(self, settings: Settings) -> dict[str, Any]:
        if self._num_rounds == 0:
            return {}
        self._observer("timing both in turn", 0, 1)
        spec = self.recorded.spec
        results = race(
            [_contestant(self.settings), _contestant(settings)],
            model=spec.model,
            device=str(self._device),
            data=spec.data,
            recipe=spec.recipe,
            num_rounds=self._num_rounds,
            num_iterations=UPDATES_A_ROUND,
        )
        base, other = ([[seconds] for seconds in result.round_seconds] for result in results)
        comparison = compare_paired(other, base)
        return {
            "time_ratio": comparison.ratio,
            "time_ratio_low": comparison.low,
            "time_ratio_high": comparison.high,
        }

    def _row(self, trace: _Trace, **columns: Any) -> dict[str, Any]:
        return self.recorded.verification(
            self._here(),
            num_epochs=self.num_epochs,
            num_iterations=len(trace.updates),
            complete=False,
            seconds_now=trace.seconds,
            **columns,
        )

    def _here(self) -> Environment:
        return environment.capture(
            self._device, num_threads=self.settings.threads, allocator=allocator.configure()
        )


def _contestant(settings: Settings) -> Contestant:
    return Contestant(
        name=", ".join(f"{name} {_text(value)}" for name, value in asdict(settings).items()),
        loop="ours",
        precision=Precision(settings.precision),
        num_threads=settings.threads,
        deterministic=settings.deterministic,
        channels_last=settings.channels_last,
        compiled=settings.compilation,
        eager=True,
    )


def _text(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _first_difference(one: list[bytes], other: list[bytes]) -> tuple[int, int] | None:
    """Positions of the first update that differs as far as both go, and in it of the first tensor."""
    for update, (before, after) in enumerate(zip(one, other, strict=False)):
        if before != after:
            position = next(
                index for index, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]
            )
            return update, position // DIGEST_SIZE
    return None


# What the process says, in order: the tensors, then of every update the digests, and of every epoch its row.
_Words = tuple[str, Any]


def _hear(line: Connection, trace: _Trace, label: str) -> Iterator[bytes]:
    """Take in what a repetition says.

    Yields:
        The digests of each update, after it is in the trace.

    Raises:
        HarnessError: it failed.
    """
    start = 0.0
    while True:
        try:
            what, value = line.recv()
        except EOFError as error:
            raise HarnessError(f"{label}: the process died; see its output above") from error
        if what == "failed":
            raise HarnessError(f"{label}: {value}")
        if what == "tensors":
            trace.tensors, start = value, time.perf_counter()
        elif what == "epoch":
            trace.epochs.append(value)
        elif what == "end":
            return
        else:
            trace.updates.append(value)
            trace.seconds = time.perf_counter() - start
            yield value


def _serve(
    spec: RunSpec, device_name: str, settings: Settings, num_iterations: int, line: Connection
) -> None:
    """In a process of its own: repeat the run, and tell its digests."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and closes the line
    allocator.configure()
    try:
        for words in _repeat(spec, device_name, settings, num_iterations):
            line.send(words)
    except OSError:  # the parent is gone
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent says it
        line.send(("failed", traceback.format_exception_only(error)[-1].strip().splitlines()[0]))


def _repeat(spec: RunSpec, device_name: str, settings: Settings, num_iterations: int) -> Iterator[_Words]:
    import torch

    from harness import data
    from harness.training.batches import DeviceImages
    from harness.training.device import configure
    from harness.training.digest import weights_sha256
    from harness.training.trace import Tracer
    from harness.training.trainer import Trainer

    spec = spec.model_copy(update={"precision": Precision(settings.precision)})
    device, recipe = torch.device(device_name), spec.recipe
    configure(device, spec.precision, settings.threads, deterministic=settings.deterministic)
    images = DeviceImages(data.load(spec.data), recipe.augmentation, recipe.normalization, device)
    trainer = Trainer(
        spec, images, device, channels_last=settings.channels_last, compiled=settings.compilation
    )
    trainer.prepare(eager=True)
    tracer = Tracer(trainer)
    yield "tensors", tracer.tensors
    start, epoch = 0, 0
    while start < num_iterations:
        _, end = trainer.epoch(start)
        for _, digests in tracer.updates(start, end):
            yield "update", digests
        row = {
            "epoch": epoch,
            "iteration": end,
            "losses": trainer.losses(start).tolist(),
            "weights_sha256": weights_sha256(trainer.model),
            "state_sha256": trainer.state_sha256(),
        }
        yield "epoch", row
        start, epoch = end, epoch + 1
    yield "end", None
