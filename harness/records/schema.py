"""Columns of every kind of record. No torch.

Raw values are stored, statistics are derived. Accuracies and errors are fractions, times are seconds, losses
are mean cross-entropies in nats, digests are SHA-256 in hexadecimal. Readers take every schema version up
to theirs: a column that an older version lacks is null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa

from harness.errors import RecordError, printable

__all__ = ["ENDED", "ENVIRONMENT_COLUMNS", "KINDS", "SCHEMA_VERSION", "conform", "to_table"]

SCHEMA_VERSION: Final = 6
"""1: the first. 2: runs have ``model_source``. 3: runs have ``engine``, ``engine_note`` and ``runs_at_once``.
4: profiles have
``reference_seconds``; epochs have ``losses``, ``weights_sha256`` and ``state_sha256``, and so has their trajectory;
kind ``verifications``. 5: files hold the digest of their bytes; runs have ``resumed_from``; verifications have ``knob``,
``knob_then``, ``knob_now``, ``first_tensor`` and the ratios of times. 6: runs have ``layer_responses``."""

ENDED: Final = frozenset({"completed", "diverged"})
"""Statuses of runs that came to their end, and are not run again."""

_text, _int, _float, _bool = pa.string(), pa.int64(), pa.float64(), pa.bool_()


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


_ENVIRONMENT = [
    _required("device", _text),
    _required("device_name", _text),
    _required("device_memory_bytes", _int),
    pa.field("driver", _text),
    pa.field("cuda", _text),
    pa.field("cudnn", _text),
    _required("cpu_name", _text),
    _required("cpu_capability", _text),
    _required("cpu_cores", _int),
    _required("memory_bytes", _int),
    _required("threads", _int),
    _required("operating_system", _text),
    _required("python", _text),
    _required("torch", _text),
    _required("libraries", _text),
    pa.field("commit", _text),
    pa.field("dirty", _bool),
    _required("code_sha256", _text),
    _required("allocator", _text),
    _required("deterministic", _bool),
]

ENVIRONMENT_COLUMNS: Final = frozenset(field.name for field in _ENVIRONMENT)

_LAYER_RESPONSE = pa.struct([("layer", _text), ("std", _float)])

_RUNS = pa.schema(
    [
        _required("run_id", _text),
        _required("experiment", _text),
        # what was asked
        _required("spec_sha256", _text),
        _required("model", _text),
        pa.field("model_source", _text),  # ours, a distribution with its version, or a repository at a commit
        _required("recipe", _text),
        _required("seed", _int),
        _required("precision", _text),
        _required("data", _text),
        _required("iterations", _int),
        _required("batch_size", _int),
        _required("shortened", _bool),
        _required("spec", _text),  # the whole of it, as JSON
        # how it went
        _required("status", _text),  # completed, diverged, failed, skipped
        pa.field("reason", _text),
        _required("started_at", pa.timestamp("us", tz="UTC")),
        _required("finished_at", pa.timestamp("us", tz="UTC")),
        _required("resumed_at", pa.list_(_int)),  # iterations at which it was taken up again
        # checkpoints that it went on from although something had changed that decides bits: run, iteration and
        # differences, as JSON; a run with such is no evidence of its request
        pa.field("resumed_from", pa.list_(_text)),
        pa.field("engine", _text),  # eager: operation by operation; cuda graph: an update is launched at once
        pa.field("engine_note", _text),  # why not the fastest one that the device has
        pa.field("runs_at_once", _int),  # in the same process on a GPU; they share its throughput and memory
        # what came of it
        pa.field("test_accuracy", _float),  # after the last iteration: the result
        pa.field("test_accuracy_best", _float),  # of the best epoch on the test set: never the result
        pa.field(
            "test_accuracy_selected", _float
        ),  # of the best epoch on held-out images; no recipe holds out any
        pa.field("test_loss", _float),
        pa.field("train_loss", _float),  # of the last epoch, on augmented images, while the weights change
        pa.field("train_error", _float),
        pa.field("seconds", _float),  # training and evaluation, over all starts
        pa.field("images_per_second", _float),  # training, without warm-up, evaluation and checkpoints
        pa.field("peak_memory_bytes", _int),  # of the process on a CPU, taken by its allocator on a GPU
        pa.field("parameters", _int),
        pa.field("macs", _int),
        # of each 3x3 layer in order of execution, after batch normalisation, over the test set: He et al. (2015), Figure 7
        pa.field("layer_responses", pa.list_(_LAYER_RESPONSE)),
        pa.field("initial_weights_sha256", _text),
        pa.field("weights_sha256", _text),
        pa.field("trajectory_sha256", _text),
        pa.field("data_sha256", _text),
        _required("environment_sha256", _text),  # of what can change the bits
        *_ENVIRONMENT,
    ]
)

_EPOCHS = pa.schema(
    [
        _required("run_id", _text),
        _required("epoch", _int),
        _required("iteration", _int),  # mini-batches done at the end of the epoch
        _required("learning_rate", _float),  # of the last of them
        _required("train_loss", _float),
        _required("train_error", _float),
        _required("test_loss", _float),
        _required("test_error", _float),
        _required("seconds", _float),  # since the start of the run
        pa.field("images_per_second", _float),
        pa.field("losses", pa.list_(pa.float32())),  # of each mini-batch
        pa.field("weights_sha256", _text),
        pa.field("state_sha256", _text),  # of the optimiser, and of torch's generators if the network draws
        _required("trajectory_sha256", _text),  # of all epochs so far; without the state where that is null
    ]
)

_PREDICTIONS = pa.schema(
    [
        _required("run_id", _text),
        _required("image", pa.int32()),  # number in the test set
        _required("label", pa.uint8()),
        _required("logits", pa.list_(pa.float32(), 10)),
    ]
)

_STAGE = pa.struct([(name, _int) for name in ("channels", "height", "width", "convolutions")])
_INITIAL_WEIGHTS = pa.struct(
    [
        ("layer", _text),
        ("num_weights", _int),
        ("std", _float),
        ("he_std", _float),
    ]  # he_std: root of 2 / fan-in
)

_IDENTITIES = pa.schema(
    [
        _required("identity_id", _text),
        _required("model", _text),
        _required("model_source", _text),
        pa.field("licence", _text),
        _required("adapted", _text),  # what was changed in what is distributed
        _required("parameters", _int),
        _required("macs", _int),  # convolutions and linear layers, for one image
        _required("layers_on_main_path", _int),  # weighted ones
        _required("layers_beside", _int),
        _required("stem", _text),
        _required("stages", pa.list_(_STAGE)),
        _required("num_shortcuts", _int),
        _required("shortcut", _text),  # where dimensions grow: A, B, 3x3; C, identity, none
        _required("pooling", _text),
        _required("initialization", _text),  # the rule that the model's own code follows
        _required("initial_weights", pa.list_(_INITIAL_WEIGHTS)),
        pa.field("num_images", _int),  # on which functions were compared
        pa.field("counterpart", _text),  # the network of the paper that it was compared with
        _required("equivalence", _text),  # reference, identical, equal, permuted, different
        pa.field("first_deviation", _text),
        # largest differences from the counterpart, relative to the largest value
        pa.field("difference_of_logits_fp32", _float),
        pa.field("difference_of_logits_fp64", _float),
        pa.field("difference_of_gradients_fp32", _float),
        pa.field("difference_of_gradients_fp64", _float),
        _required("data_sha256", _text),
        _required("identified_at", pa.timestamp("us", tz="UTC")),
        *_ENVIRONMENT,
    ]
)

_AUDITS = pa.schema(
    [
        _required("audit_id", _text),
        _required("model", _text),
        _required("model_source", _text),
        _required("checkpoint", _text),  # its path in the repository
        _required("checkpoint_sha256", _text),
        _required("claim", _text),  # key of claims.toml
        _required("claimed_accuracy", _float),
        _required("recipe", _text),  # whose normalisation is that of the repository
        _required("accuracy", _float),  # through the repository's own class
        _required("counterpart", _text),  # the network of ours that the weights were carried over to
        _required("counterpart_accuracy", _float),
        _required("num_images", _int),
        _required("num_predictions_differing", _int),  # between the two
        _required("difference_of_logits", _float),  # the largest, relative to the largest logit
        _required("data_sha256", _text),
        _required("audited_at", pa.timestamp("us", tz="UTC")),
        *_ENVIRONMENT,
    ]
)

_BENCHMARKS = pa.schema(
    [
        _required("session_id", _text),  # one call of pytest
        _required("group", _text),  # what is compared with each other
        _required("name", _text),
        _required("parameters", _text),  # of the benchmark, as JSON
        _required("round_seconds", pa.list_(_float)),
        pa.field("images", _int),  # trained on or prepared in a round; null where that says nothing
        _required("extra", _text),  # what else the benchmark says of itself, as JSON
        _required("measured_at", pa.timestamp("us", tz="UTC")),  # the end of the session
        *_ENVIRONMENT,
    ]
)

_PARAMETERS_OF_STAGE = pa.struct([("stage", _text), ("parameters", _int)])

_PROFILES = pa.schema(
    [
        _required("session_id", _text),  # cells of one session were measured in turn
        _required("model", _text),
        _required("mode", _text),  # train: forward, backward, update; infer: forward
        _required("batch_size", _int),
        _required("precision", _text),
        _required("model_source", _text),
        _required("status", _text),  # measured, failed
        pa.field("reason", _text),
        pa.field("engine", _text),
        # counted
        pa.field("parameters", _int),
        pa.field("parameters_total", _int),  # with frozen ones
        pa.field("parameters_by_stage", pa.list_(_PARAMETERS_OF_STAGE)),  # by size of the layers' outputs
        pa.field("macs", _int),
        pa.field("weighted_layers", _int),
        pa.field("activation_bytes_per_image", _int),  # that training keeps, in float32
        # measured
        _required("warmup_seconds", pa.list_(_float)),  # of each call before the first round
        _required("round_seconds", pa.list_(pa.list_(_float))),  # of each call, by round
        pa.field("peak_memory_bytes", _int),  # resident in the process on a CPU, allocated on CUDA
        pa.field("base_memory_bytes", _int),  # of that, what is neither the network's nor the call's
        pa.field("reserved_memory_bytes", _int),  # by the allocator, on CUDA
        pa.field("joules_per_image", _float),
        pa.field("energy_source", _text),  # nvml, rapl
        # of the machine, in the same session
        # operations per second of a large matrix product or a wide convolution in this precision
        _required("ceiling_flops", _float),
        _required("ceiling_copy_bytes", _float),  # read and written per second by a large copy
        pa.field("flops_share", _float),  # of that, what the median call reaches; training is three passes
        pa.field("reference_seconds", pa.list_(_float)),  # of many small operations, in each round
        pa.field("others_share", _float),  # of the cores, what others took during the rounds
        pa.field("busy", _bool),  # so much that the times are not to be trusted
        _required("measured_at", pa.timestamp("us", tz="UTC")),
        *_ENVIRONMENT,
    ]
)

_OPERATORS = pa.schema(
    [
        _required("session_id", _text),
        _required("model", _text),
        _required("mode", _text),
        _required("batch_size", _int),
        _required("precision", _text),
        _required("operator", _text),
        _required("calls", _int),
        _required("self_seconds", _float),
        _required("share", _float),  # of all operators of the step
    ]
)

_VERIFICATIONS = pa.schema(
    [
        _required("verification_id", _text),
        _required("run_id", _text),  # the run that was repeated
        _required("model", _text),
        _required("recipe", _text),
        _required("seed", _int),
        _required("precision", _text),
        _required("num_epochs", _int),  # so many of it were repeated
        _required("num_iterations", _int),
        _required("complete", _bool),  # all of it
        _required("identical", _bool),  # bit for bit, as far as it was repeated
        pa.field("first_epoch", _int),  # that differs
        # mini-batch whose loss differs, from 1; null where none is known to
        pa.field("first_iteration", _int),
        # of kind epochs, or status, weights_sha256 or logits at the end; between repetitions: buffer, loss, gradient,
        # optimizer or weight
        pa.field("first_column", _text),
        pa.field("first_tensor", _text),  # between repetitions: its name in the network
        pa.field("knob", _text),  # that was turned; null where a record was compared with its repetition
        pa.field("knob_then", _text),
        pa.field("knob_now", _text),
        # time of an update with the knob turned, over that without, measured in turn: median and 95 % interval
        pa.field("time_ratio", _float),
        pa.field("time_ratio_low", _float),
        pa.field("time_ratio_high", _float),
        _required("environment_then", _text),  # what differs of it, as JSON
        _required("environment_now", _text),
        _required("seconds_then", _float),  # of so many epochs
        _required("seconds_now", _float),
        _required("verified_at", pa.timestamp("us", tz="UTC")),
        *_ENVIRONMENT,
    ]
)

_PYTHON_TYPES: Final[tuple[tuple[Callable[[pa.DataType], bool], Any], ...]] = (
    (pa.types.is_boolean, bool),
    (pa.types.is_integer, int),
    (pa.types.is_floating, (int, float)),
    (pa.types.is_string, str),
)

KINDS: Final[dict[str, pa.Schema]] = {
    "runs": _RUNS,
    "epochs": _EPOCHS,
    "predictions": _PREDICTIONS,
    "identities": _IDENTITIES,
    "audits": _AUDITS,
    "benchmarks": _BENCHMARKS,
    "profiles": _PROFILES,
    "operators": _OPERATORS,
    "verifications": _VERIFICATIONS,
}
"""Kind of record -> its schema. The first column names the record: it is the name of its file."""


def to_table(kind: str, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as a table of a kind.

    Raises:
        RecordError: a row lacks a column, has one too many, or holds a value of another type, or null where
            none may be.
    """
    schema = KINDS[kind]
    for row in rows:
        if row.keys() != set(schema.names):
            lacking, surplus = set(schema.names) - row.keys(), row.keys() - set(schema.names)
            raise RecordError(
                f"record of kind {kind!r}: lacks {sorted(lacking)}, has unknown {printable(sorted(surplus))}"
            )
        for field in schema:
            _check_type(kind, field, row[field.name])
    try:
        table = pa.Table.from_pylist(list(rows), schema=schema)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise RecordError(f"record of kind {kind!r}: {printable(error)}") from error
    return conform(kind, table)


def _check_type(kind: str, field: pa.Field, value: Any) -> None:
    """Refuse what arrow would quietly turn into something else, as 0.5 into the integer 0.

    Raises:
        RecordError: the value is of another type than its column.
    """
    allowed = next((types for check, types in _PYTHON_TYPES if check(field.type)), object)
    wrong = not isinstance(value, allowed) or (isinstance(value, bool) and allowed is not bool)
    if value is not None and allowed is not object and wrong:
        raise RecordError(
            f"record of kind {kind!r}: column {field.name!r} is {field.type}, not {value!r:.60}"
        )


def conform(kind: str, table: pa.Table) -> pa.Table:
    """The table with the columns and types of its kind; columns in another order are put in order.

    Raises:
        RecordError: it has other columns, values that do not fit the types, or null where none may be.
    """
    schema = KINDS[kind]
    if sorted(table.column_names) != sorted(schema.names):
        raise RecordError(
            f"record of kind {kind!r}: has columns {printable(table.column_names)}, not {schema.names}"
        )
    for field in schema:
        if not field.nullable and table.column(field.name).null_count:
            raise RecordError(f"record of kind {kind!r}: column {field.name!r} must not be null")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise RecordError(f"record of kind {kind!r}: breaks the schema: {printable(error)}") from error
