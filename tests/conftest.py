"""Builders of what most tests need: a tiny recipe, a run of it, its row, a network, a listener. No torch."""

import importlib
import math
import os
import sys
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from harness.config import (
    Augmentation,
    Normalization,
    Precision,
    Recipe,
    RunSpec,
    Sgd,
    StepSchedule,
    load_recipe,
)
from harness.models import upstream
from harness.records import KINDS, LiveEpoch, LiveRun, LiveSweep, Store


def pytest_addoption(parser):
    parser.addoption(
        "--faults-report",
        metavar="FILE",
        help="run the tests in tests/faults with as many trials as their table has, and write it to FILE",
    )
    parser.addoption("--browser", action="store_true", help="run the tests that need Chromium")
    parser.addoption("--cluster", action="store_true", help="run the tests that need Ray, and minutes")
    parser.addoption("--screenshots", metavar="DIR", help="keep screenshots of those tests in DIR")


@pytest.fixture
def one_thread():
    """Machines that run tests have other work as well."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def torch_settings(monkeypatch, one_thread):
    """What a test sets in torch, or in the variables that torch and its libraries read, is set back."""
    import torch

    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    arithmetic = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    benchmark, generator = torch.backends.cudnn.benchmark, torch.get_rng_state()
    # known to monkeypatch, they are put back to what they were; no thread of a test is bound to a core
    variables = {
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "KINETO_LOG_LEVEL": "99",
        "OMP_PLACES": "cores",
        "OMP_PROC_BIND": "false",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = fill
    torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = arithmetic
    torch.backends.cudnn.benchmark = benchmark
    torch.set_rng_state(generator)


@pytest.fixture
def make_recipe():
    """A function from changed fields to a recipe of 10 mini-batches of 16 images."""

    def make(**changes):
        fields = {
            "name": "tiny",
            "summary": "for tests",
            "source": "none",
            "batch_size": 16,
            "iterations": 10,
            "optimizer": Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4),
            "schedule": StepSchedule(kind="steps", milestones=(0.5,), factor=0.1),
            "augmentation": Augmentation(pad=4, flip=True),
            "normalization": Normalization(kind="per-pixel-mean"),
            "initialization": "he",
        }
        return Recipe(**(fields | changes))

    return make


@pytest.fixture
def make_spec(make_recipe):
    """A function from changed fields to a run of the tiny recipe, at its full length unless told.

    ``recipe`` is a recipe, or the changed fields of the tiny one.
    """

    def make(**changes):
        recipe = changes.pop("recipe", {})
        recipe = make_recipe(**recipe) if isinstance(recipe, dict) else recipe
        fields = {
            "model": "resnet20",
            "recipe": recipe,
            "iterations": recipe.num_iterations(),
            "seed": 0,
            "precision": Precision.FP32,
            "data": "synthetic",
        }
        return RunSpec(**(fields | changes))

    return make


@pytest.fixture
def make_environment():
    """A function from changed fields to the environment of this process on the CPU."""
    import torch

    from harness import environment

    here = environment.capture(torch.device("cpu"), num_threads=1, allocator="default")
    return lambda **changes: replace(here, **changes)


@pytest.fixture
def make_job(tmp_path, make_spec, make_environment):
    """A function from changed fields of a run to a job for a worker on the CPU."""
    from harness.execution.job import Job
    from harness.execution.plan import run_id
    from harness.models import find

    def make(checkpoint_seconds=1e9, results="results", **changes):
        spec, here = make_spec(**changes), make_environment()
        return Job(
            run_id=run_id(spec, here),
            spec=spec,
            experiment="test",
            device="cpu",
            num_threads=1,
            results=tmp_path / results,
            checkpoint_seconds=checkpoint_seconds,
            place=here.deciding(find(spec.model).origin),
        )

    return make


@pytest.fixture
def make_planned(make_spec, tmp_path):
    """A function from a seed and an estimate to a planned run of ten iterations and its job."""
    from harness.execution.job import Job
    from harness.execution.plan import PlannedRun

    def make(seed, seconds, state="new"):
        spec = make_spec(seed=seed)
        run = PlannedRun(run_id=f"r{seed}", spec=spec, state=state, note="", estimated_seconds=seconds)
        job = Job(
            run_id=run.run_id,
            spec=spec,
            experiment="e",
            device="cpu",
            num_threads=1,
            results=tmp_path,
            checkpoint_seconds=1.0,
        )
        return run, job

    return make


@pytest.fixture
def clock(monkeypatch):
    """A function that sets the clock of runs in progress, which stands at 0 until then."""
    from harness import progress
    from harness.execution import eta, live

    now = [0.0]
    for module in (eta, live, progress):
        monkeypatch.setattr(module, "monotonic", lambda: now[0])

    def set_to(seconds):
        now[0] = seconds

    return set_to


@pytest.fixture
def make_live_run():
    """A function from errors by epoch, in training and testing, and changed fields to a run in progress; ten iterations an epoch."""

    def make(*errors, **changes):
        epochs = tuple(
            LiveEpoch(
                epoch=epoch,
                iteration=10 * (epoch + 1),
                seconds=1.0,
                train_error=train_error,
                test_error=test_error,
                images_per_second=None,
            )
            for epoch, (train_error, test_error) in enumerate(errors)
        )
        fields = {
            "run_id": "r",
            "experiment": "e",
            "model": "resnet20",
            "recipe": "paper",
            "precision": "fp32",
            "seed": 0,
            "device": "cpu",
            "host": "h",
            "state": "running",
            "iteration": 10 * len(errors),
            "iterations": 100,
            "seconds_left": 1.0,
            "heard_at": datetime.now(UTC),
            "epochs": epochs,
        }
        return LiveRun(**(fields | changes))

    return make


@pytest.fixture
def make_live_sweep():
    """A function from changed fields to a call of the harness at work."""

    def make(**changes):
        now = datetime.now(UTC)
        counts = {"num_runs": 3, "num_running": 1, "num_completed": 1, "num_failed": 0}
        fields = {"sweep_id": "s", "experiment": "e", "host": "h", "seconds_left": 9.0} | counts
        return LiveSweep(**(fields | {"started_at": now, "heard_at": now} | changes))

    return make


@dataclass
class Ear:
    """Listens to a run, and can tell it to stop, or die, after an iteration."""

    stop_at: int | None = None
    die_at: int | None = None
    starts: list = field(default_factory=list)
    iterations: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def noted(self, text):
        self.notes.append(text)

    def started(self, iteration, num_iterations):
        self.starts.append((iteration, num_iterations))

    def advanced(self, iteration):
        self.iterations.append(iteration)
        if iteration == self.die_at:
            raise KeyboardInterrupt

    def epoch_ended(self, row):
        self.rows.append(row)

    def should_stop(self):
        return self.stop_at is not None and self.iterations[-1] >= self.stop_at


@pytest.fixture
def ear():
    """The class of listeners to a run."""
    return Ear


@pytest.fixture
def keep(tmp_path):
    """A function from a run's name to how it is kept: in the test's folder, with a checkpoint only when it stops."""

    def make(run_id):
        from harness.training.loop import CheckpointPolicy

        checkpoint = tmp_path / f"{run_id}.safetensors"
        return CheckpointPolicy(run_id=run_id, place={}, checkpoint=checkpoint, seconds=math.inf)

    return make


@pytest.fixture
def in_turn():
    """A function that advances runs in turn until they end: their outcomes, or the errors that ended them."""

    def advance(*runs):
        ends = {}
        while len(ends) < len(runs):
            for number, run in enumerate(runs):
                if number not in ends:
                    try:
                        next(run)
                    except StopIteration as end:
                        ends[number] = end.value
                    except Exception as error:  # noqa: BLE001 - looked at by the test
                        ends[number] = error
        return [ends[number] for number in range(len(runs))]

    return advance


NETWORK = """\
from torch import nn

def net(num_outputs=10):
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(256, num_outputs))

def hundred():
    return net(100)
"""


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """A function from code and a path to that file, in a new working folder; what is imported is forgotten.

    Unless told, it is mynet.py, with a factory ``net`` and one of 100 outputs, ``hundred``.
    """
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    written = set()

    def write(code=NETWORK, path="mynet.py"):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code)
        written.add(Path(path).parts[0].removesuffix(".py"))
        importlib.invalidate_caches()
        return file

    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] in written]:
        del sys.modules[name]


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Nothing is cached, and git finds no repository."""
    monkeypatch.delenv("HARNESS_UPSTREAM_DIR", raising=False)
    monkeypatch.setattr(upstream, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{tmp_path}/nowhere/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")


@pytest.fixture
def make_run():
    """A completed run: ``make_run(model="plain20", recipe="paper", iterations=64_000, seed=3, test_accuracy=0.9)``.

    What was asked (model, recipe, iterations, seed, precision, data) is in the request as well as in the columns;
    everything else is a column. The length is by default the recipe's. Later rows are of later runs.
    """
    rows_made = 0

    def make(
        model="resnet20",
        recipe="short",
        *,
        iterations=None,
        seed=0,
        precision="fp32",
        data="cifar10",
        recipe_changes=None,
        **columns,
    ):
        nonlocal rows_made
        rows_made += 1
        asked = load_recipe(recipe)
        asked = asked.model_validate(asked.model_dump() | (recipe_changes or {}))
        spec = RunSpec(
            model=model,
            recipe=asked,
            iterations=iterations or asked.num_iterations(),
            seed=seed,
            precision=Precision(precision),
            data=data,
        )
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=rows_made)
        row = dict.fromkeys(KINDS["runs"].names)
        return row | {
            **spec.columns(),
            "run_id": f"run-{rows_made}",
            "experiment": "test",
            "spec": spec.model_dump_json(),
            "model_source": "ours",
            "status": "completed",
            "started_at": moment,
            "finished_at": moment + timedelta(seconds=30),
            "resumed_at": [],
            "resumed_from": [],
            "test_accuracy": 0.9,
            "test_accuracy_best": 0.9,
            "images_per_second": 1000.0,
            "seconds": 60.0,
            "device": "cpu",
            "device_name": "Some CPU",
            "threads": 1,
            "torch": "2.9.0",
            "weights_sha256": "w",
            "environment_sha256": "e",
            **columns,
        }

    return make


@pytest.fixture
def make_seeds(make_run):
    """Completed runs of seeds 0, 1, ... with these test accuracies; the best epoch is the last unless told."""

    def make(*accuracies, **changes):
        return [
            make_run(seed=seed, test_accuracy=accuracy, **{"test_accuracy_best": accuracy} | changes)
            for seed, accuracy in enumerate(accuracies)
        ]

    return make


@pytest.fixture
def make_card():
    """An identity card: ``make_card("timm-resnet20", counterpart="resnet20", equivalence="identical")``."""

    def make(model, *, counterpart=None, equivalence="reference", **columns):
        row = dict.fromkeys(KINDS["identities"].names)
        return row | {
            "identity_id": f"{model}-card",
            "model": model,
            "model_source": "ours",
            "counterpart": counterpart,
            "equivalence": equivalence,
            "initialization": "He et al. by fan-in",
            "layers_on_main_path": 20,
            "identified_at": datetime(2026, 1, 1, tzinfo=UTC),
            **columns,
        }

    return make


_FILLINGS = {pa.string(): "text", pa.int64(): 7, pa.float64(): 0.5, pa.bool_(): False}


def _filling(kind):
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 2, tzinfo=UTC)
    return [] if pa.types.is_list(kind) else _FILLINGS[kind]


@pytest.fixture
def fill():
    """A function from a kind and some columns to a whole row: null where it may be, else some value."""

    def make(kind, columns=(), **changes):
        given = {**dict(columns), **changes}
        row = {field.name: None if field.nullable else _filling(field.type) for field in KINDS[kind]}
        assert set(given) <= set(row)
        return row | {name: value for name, value in given.items() if value is not None}

    return make


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def record(store, fill):
    """A function that records runs, each with epochs of these test errors, and which images are right."""

    def write(runs, errors=(0.5, 0.2), right=None):
        for number, run in enumerate(runs):
            epochs = [
                fill(
                    "epochs",
                    run_id=run["run_id"],
                    epoch=epoch,
                    iteration=10 * (epoch + 1),
                    test_error=error,
                    train_error=error + 0.1,
                )
                for epoch, error in enumerate(errors)
            ]
            predictions = None if right is None else _predictions(run["run_id"], right[number])
            store.write_run(fill("runs", run), epochs, predictions)
        return runs

    return write


def _predictions(run_id, right):
    """Of images of class 0, answered as 0 where right, else as 1."""
    logits = [[1.0 if correct else 0.0, 0.5, *[0.0] * 8] for correct in right]
    return pa.table(
        {
            "run_id": [run_id] * len(right),
            "image": pa.array(range(len(right)), pa.int32()),
            "label": pa.array([0] * len(right), pa.uint8()),
            "logits": pa.array(logits, pa.list_(pa.float32(), 10)),
        }
    )
