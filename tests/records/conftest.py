from datetime import UTC, datetime

import pyarrow as pa
import pytest

from harness.records import Store
from harness.records.schema import KINDS


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def make_run():
    """A function from changed fields to a row of kind ``runs`` with no column null."""

    def make(**changes):
        row = {
            "run_id": "run-1",
            "experiment": "smoke",
            "spec_sha256": "0" * 64,
            "model": "resnet20",
            "model_source": "ours",
            "recipe": "short",
            "seed": 2**63 - 1,
            "precision": "bf16",
            "data": "cifar10",
            "iterations": 100,
            "batch_size": 128,
            "shortened": True,
            "spec": '{"model": "resnet20"}',
            "status": "completed",
            "reason": "none",
            "started_at": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
            "finished_at": datetime(2026, 1, 2, 3, 5, 5, 0, UTC),
            "resumed_at": [10, 20],
            "resumed_from": ['{"iteration": 20, "run_id": "run-0"}'],
            "engine": "eager",
            "engine_note": "not wanted",
            "runs_at_once": 1,
            "test_accuracy": 0.1 + 0.2,
            "test_accuracy_best": 0.5,
            "test_accuracy_selected": 0.25,
            "test_loss": 5e-324,
            "train_loss": float("inf"),
            "train_error": 0.75,
            "seconds": 60.5,
            "images_per_second": 1e-300,
            "peak_memory_bytes": 2**40,
            "parameters": 269_722,
            "macs": 40_551_040,
            "layer_responses": [{"layer": "bn1", "std": 2.065}],
            "initial_weights_sha256": "1" * 64,
            "weights_sha256": "2" * 64,
            "trajectory_sha256": "3" * 64,
            "data_sha256": "4" * 64,
            "environment_sha256": "5" * 64,
            "device": "cpu",
            "device_name": "Some CPU",
            "device_memory_bytes": 2**34,
            "driver": "1",
            "cuda": "13",
            "cudnn": "9",
            "cpu_name": "Some CPU, très rapide",
            "cpu_capability": "AVX512",
            "cpu_cores": 2,
            "memory_bytes": 2**34,
            "threads": 1,
            "operating_system": "Linux",
            "python": "3.11.7",
            "torch": "2.9.0",
            "libraries": "{}",
            "commit": "a" * 40,
            "dirty": False,
            "code_sha256": "6" * 64,
            "allocator": "glibc-tuned",
            "deterministic": True,
        }
        assert set(changes) <= set(row)
        return row | changes

    return make


@pytest.fixture
def make_epoch():
    def make(**changes):
        row = {
            "run_id": "run-1",
            "epoch": 0,
            "iteration": 391,
            "learning_rate": 0.1,
            "train_loss": 1.5,
            "train_error": 0.5,
            "test_loss": 1.25,
            "test_error": 0.25,
            "seconds": 12.5,
            "images_per_second": 1000.5,
            "losses": [2.5, 1.25],
            "weights_sha256": "2" * 64,
            "state_sha256": "7" * 64,
            "trajectory_sha256": "3" * 64,
        }
        assert set(changes) <= set(row)
        return row | changes

    return make


@pytest.fixture
def make_predictions():
    """A function from a run's id to a table of kind ``predictions`` of three images."""

    def make(run_id="run-1"):
        return pa.table(
            {
                "run_id": [run_id] * 3,
                "image": pa.array([0, 1, 2], pa.int32()),
                "label": pa.array([9, 0, 3], pa.uint8()),
                "logits": pa.array(
                    [[0.1 * i + j for j in range(10)] for i in range(3)], pa.list_(pa.float32(), 10)
                ),
            }
        )

    return make


_VALUES = {pa.string(): "text", pa.int64(): 7, pa.float64(): 0.5, pa.bool_(): True}


@pytest.fixture
def make_row():
    """A function from a kind and a name to a row with no column null; only for kinds that are no part of a run."""

    def value(kind):
        if pa.types.is_timestamp(kind):
            return datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
        if pa.types.is_list(kind):
            return [value(kind.value_type)] * 2
        if pa.types.is_struct(kind):
            return {field.name: value(field.type) for field in kind}
        return _VALUES[kind]

    def make(kind, name="run-1"):
        schema = KINDS[kind]
        return {field.name: value(field.type) for field in schema} | {schema.names[0]: name}

    return make


@pytest.fixture
def write_kind(store, make_run, make_epoch, make_predictions, make_row):
    """A function that records a run of one epoch, or else what a kind holds, and returns the file's path."""

    def write(kind="epochs", run_id="run-1"):
        if kind not in {"runs", "epochs", "predictions"}:
            store.write(kind, make_row(kind, run_id))
            return store.root / kind / f"{run_id}.parquet"
        store.write_run(make_run(run_id=run_id), [make_epoch(run_id=run_id)], make_predictions(run_id))
        return store.root / kind / f"{run_id}.parquet"

    return write
