import math

import pyarrow as pa
import pytest

from harness.errors import RecordError
from harness.records.schema import KINDS, SCHEMA_VERSION, to_table

NULLABLE_RUN_COLUMNS = {
    "reason",
    "test_accuracy",
    "test_accuracy_best",
    "test_accuracy_selected",
    "test_loss",
    "train_loss",
    "train_error",
    "seconds",
    "images_per_second",
    "peak_memory_bytes",
    "model_source",
    "resumed_from",
    "engine",
    "engine_note",
    "runs_at_once",
    "parameters",
    "macs",
    "layer_responses",
    "initial_weights_sha256",
    "weights_sha256",
    "trajectory_sha256",
    "data_sha256",
    "driver",
    "cuda",
    "cudnn",
    "commit",
    "dirty",
}


def test_version_6_of_the_schema_never_changes():
    # Golden values. Whoever changes a column changes the version.
    assert SCHEMA_VERSION == 6
    assert len(KINDS["runs"]) == 59
    assert KINDS["runs"].field("resumed_from").type == pa.list_(pa.string())
    assert KINDS["runs"].field("layer_responses").type == pa.list_(
        pa.struct([("layer", pa.string()), ("std", pa.float64())])
    )
    others = {
        "identities": 46,
        "audits": 36,
        "benchmarks": 28,
        "profiles": 49,
        "operators": 9,
        "verifications": 45,
    }
    assert list(KINDS) == ["runs", "epochs", "predictions", *others]
    assert {kind: len(KINDS[kind]) for kind in others} == others
    assert KINDS["epochs"].names == [
        "run_id",
        "epoch",
        "iteration",
        "learning_rate",
        "train_loss",
        "train_error",
        "test_loss",
        "test_error",
        "seconds",
        "images_per_second",
        "losses",
        "weights_sha256",
        "state_sha256",
        "trajectory_sha256",
    ]
    assert KINDS["epochs"].field("losses").type == pa.list_(pa.float32())
    assert KINDS["predictions"].names == ["run_id", "image", "label", "logits"]
    assert KINDS["predictions"].field("logits").type == pa.list_(pa.float32(), 10)
    assert KINDS["operators"].names == [
        "session_id",
        "model",
        "mode",
        "batch_size",
        "precision",
        "operator",
        "calls",
        "self_seconds",
        "share",
    ]
    assert KINDS["verifications"].names[:25] == [
        "verification_id",
        "run_id",
        "model",
        "recipe",
        "seed",
        "precision",
        "num_epochs",
        "num_iterations",
        "complete",
        "identical",
        "first_epoch",
        "first_iteration",
        "first_column",
        "first_tensor",
        "knob",
        "knob_then",
        "knob_now",
        "time_ratio",
        "time_ratio_low",
        "time_ratio_high",
        "environment_then",
        "environment_now",
        "seconds_then",
        "seconds_now",
        "verified_at",
    ]
    # a list of a round's calls for each round
    assert KINDS["profiles"].field("round_seconds").type == pa.list_(pa.list_(pa.float64()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_column_names_the_record(kind):
    assert KINDS[kind].names[0] in {
        "run_id",
        "identity_id",
        "audit_id",
        "session_id",
        "verification_id",
    }
    assert not KINDS[kind].field(0).nullable


def test_table_holds_the_rows(make_epoch):
    rows = [make_epoch(epoch=number) for number in range(3)]
    table = to_table("epochs", rows)
    assert table.schema == KINDS["epochs"]
    assert table.to_pylist() == rows


def test_no_rows_make_an_empty_table():
    table = to_table("epochs", [])
    assert (table.num_rows, table.schema) == (0, KINDS["epochs"])


@pytest.mark.parametrize("column", KINDS["epochs"].names)
def test_row_that_lacks_a_column_is_refused(make_epoch, column):
    row = make_epoch()
    del row[column]
    with pytest.raises(RecordError, match=f"kind 'epochs': lacks \\['{column}'\\], has unknown \\[\\]"):
        to_table("epochs", [make_epoch(), row])


def test_row_with_an_unknown_column_is_refused(make_epoch):
    with pytest.raises(RecordError, match=r"lacks \[\], has unknown \['mood'\]"):
        to_table("epochs", [make_epoch() | {"mood": 1}])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("epoch", "0"),
        ("epoch", True),
        ("epoch", [0]),
        ("train_loss", "1.5"),
        ("train_loss", [1.5]),
        ("run_id", 7),
        ("trajectory_sha256", {"a": 1}),
        ("epoch", 0.5),
        ("epoch", math.nan),
        ("epoch", 2**63),
        ("run_id", b"run-1"),
        ("run_id", "\udc80"),
    ],
)
def test_value_of_another_type_is_refused(make_epoch, column, value):
    with pytest.raises(RecordError, match="record of kind 'epochs'"):
        to_table("epochs", [make_epoch(**{column: value})])


NULLABLE_EPOCH_COLUMNS = {"images_per_second", "losses", "weights_sha256", "state_sha256"}


@pytest.mark.parametrize(
    "column", [name for name in KINDS["epochs"].names if name not in NULLABLE_EPOCH_COLUMNS]
)
def test_null_in_a_required_column_is_refused(make_epoch, column):
    with pytest.raises(RecordError, match=f"column '{column}' must not be null"):
        to_table("epochs", [make_epoch(), make_epoch(**{column: None})])


def test_null_elsewhere_is_kept(make_epoch):
    rows = [make_epoch(images_per_second=None)]
    assert to_table("epochs", rows).to_pylist() == rows


@pytest.mark.parametrize("column", KINDS["runs"].names)
def test_run_needs_what_was_asked_and_where_it_ran_but_not_what_came_of_it(make_run, column):
    row = make_run(**{column: None})
    if column in NULLABLE_RUN_COLUMNS:
        assert to_table("runs", [row]).to_pylist() == [row]
    else:
        with pytest.raises(RecordError, match=f"column '{column}' must not be null"):
            to_table("runs", [row])


MEASURED = {
    "reason",
    "engine",
    "parameters",
    "parameters_total",
    "parameters_by_stage",
    "macs",
    "weighted_layers",
    "activation_bytes_per_image",
    "peak_memory_bytes",
    "base_memory_bytes",
    "reserved_memory_bytes",
    "joules_per_image",
    "energy_source",
    "flops_share",
    "reference_seconds",
    "others_share",
    "busy",
}


def test_a_cell_that_failed_needs_what_it_was_and_not_what_was_found_out(make_row):
    row = make_row("profiles")
    row |= dict.fromkeys(MEASURED) | {"warmup_seconds": [], "round_seconds": []}
    assert to_table("profiles", [row]).to_pylist() == [row]
    for column in ("model", "mode", "batch_size", "precision", "model_source", "status", "ceiling_flops"):
        with pytest.raises(RecordError, match=f"column '{column}' must not be null"):
            to_table("profiles", [row | {column: None}])


DIVERGENCE = ("first_epoch", "first_iteration", "first_column", "first_tensor")
KNOB = ("knob", "knob_then", "knob_now", "time_ratio", "time_ratio_low", "time_ratio_high")


def test_of_a_verification_only_the_divergence_and_the_knob_may_be_missing(make_row):
    row = make_row("verifications") | dict.fromkeys(DIVERGENCE + KNOB)
    assert to_table("verifications", [row]).to_pylist() == [row]
    for column in KINDS["verifications"].names[:25]:
        if column not in DIVERGENCE + KNOB:
            with pytest.raises(RecordError, match=f"column '{column}' must not be null"):
                to_table("verifications", [row | {column: None}])


def test_rounds_of_a_cell_may_differ_in_length(make_row):
    row = make_row("profiles") | {"round_seconds": [[0.5], [0.25, 1e-9, 0.75], []]}
    assert to_table("profiles", [row]).to_pylist() == [row]


def test_nan_is_a_value_and_not_null(make_epoch):
    table = to_table("epochs", [make_epoch(train_loss=math.nan)])
    assert table.column("train_loss").null_count == 0
    assert math.isnan(table.column("train_loss")[0].as_py())
