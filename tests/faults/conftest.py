"""Experiments of tiny runs, started as from the command line, and killed; the table of what was reached."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
import pytest

from harness import environment
from harness.execution.processes import process_context
from harness.records import Store

FOLDER = Path(__file__).parent
REPORT = pytest.StashKey[list]()

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # faults are injected as Linux has them


def pytest_configure(config):
    config.stash[REPORT] = []


@pytest.fixture
def size(request):
    """A function from the number of trials that the table has, and that of every day, to the one that is wanted."""
    full = request.config.getoption("--faults-report") is not None
    return lambda at_full, at_fast: at_full if full else at_fast


@pytest.fixture
def figure(request):
    """A function that notes what a test has reached, as a row of the table."""
    started = time.monotonic()

    def note(test, wanted, reached):
        seconds = time.monotonic() - started
        request.config.stash[REPORT].append((test, wanted, reached, f"{seconds:.0f} s"))

    return note


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[REPORT]
    path = config.getoption("--faults-report")
    if not rows or path is None:
        return
    columns = ["test", "figure", "reached", "time"]
    report = {
        "command": "nox -s faults",
        "when": f"{datetime.now(UTC):%d %B %Y}",
        "machine": f"{environment.num_cores()} cores of {environment.cpu_name()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "columns": columns,
        "rows": rows,
    }
    Path(path).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    terminalreporter.write_sep("=", f"written to {path}")
    for row in (columns, *rows):
        terminalreporter.write_line(" | ".join(row))


NETWORK = """\
from torch import nn

def net():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, 10)
    )

def drawing():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 10))
"""

RECIPE = """\
name = "tiny"
summary = "for tests"
source = "none"
batch_size = {batch_size}
iterations = {iterations}
initialization = "he"
[optimizer]
{optimizer}
[schedule]
kind = "steps"
milestones = [0.5]
factor = 0.1
[augmentation]
pad = 4
flip = true
[normalization]
kind = "per-pixel-mean"
"""

EXPERIMENT = """\
name = "faults"
summary = "for tests"
precision = "{precision}"
shows = "how runs end."
shows_not = "anything else."
[[groups]]
models = [{models}]
recipe = "{recipe}"
seeds = [{seeds}]
"""


@dataclass
class Started:
    """A command line that is at work, or has ended."""

    process: object
    output: Path
    server: int

    def wait(self, seconds=120.0):
        """Its exit code."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still at work after {seconds} s:\n{self.said()}"
        return self.process.exitcode

    def said(self):
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""

    def workers(self):
        """Processes that were forked since, and are still there."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.server).children()
            return [child for child in children if child.pid != self.process.pid]
        return []

    def kill_all(self):
        """As a power failure would: it and its workers, without a word."""
        for victim in (psutil.Process(self.process.pid), *self.workers()):
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
        self.process.join()
        psutil.wait_procs(self.workers(), timeout=30)


class Laboratory:
    """A folder with a network, experiments, results and the output of commands."""

    SGD = 'kind = "sgd"\nlearning_rate = 0.05\nmomentum = 0.9\nweight_decay = 1e-4'
    ADAM = 'kind = "adam"\nlearning_rate = 0.001'

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._num_started = 0
        self._server = None

    def experiment(
        self, *, models=("mynet:net",), seeds=range(1), iterations=4, batch_size=16, optimizer=SGD,
        precision="fp32", name="faults",
    ):  # fmt: skip
        """Write an experiment, and return the path to it."""
        recipe = self.folder / f"{name}-recipe.toml"
        recipe.write_text(
            RECIPE.format(batch_size=batch_size, iterations=iterations, optimizer=optimizer), encoding="utf-8"
        )
        path = self.folder / f"{name}.toml"
        path.write_text(
            EXPERIMENT.format(
                precision=precision,
                models=", ".join(f'"{model}"' for model in models),
                recipe=recipe,
                seeds=", ".join(map(str, seeds)),
            ),
            encoding="utf-8",
        )
        return path

    def start(self, *arguments, disk=None):
        """Start ``harness`` with these arguments in a process of its own."""
        from launcher import run_command_line

        self._num_started += 1
        output = self.folder / f"output-{self._num_started}.txt"
        context = process_context("cpu")
        context.set_forkserver_preload(PRELOADED)  # if it is this that makes the first process
        process = context.Process(target=run_command_line, args=([*map(str, arguments)], output, disk))
        process.start()
        if self._server is None:
            self._server = psutil.Process(process.pid).ppid()
        return Started(process, output, self._server)

    def reproduce(self, experiment, results, *options, disk=None):
        """Start an experiment on made-up images."""
        words = ("reproduce", experiment, "--data", "synthetic", "--device", "cpu", "--threads", 1)
        return self.start(*words, "--results", results, *options, disk=disk)


@pytest.fixture
def laboratory(tmp_path, monkeypatch):
    """A working folder; the process that all commands are forked from has torch already."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    (tmp_path / "mynet.py").write_text(NETWORK, encoding="utf-8")
    yield Laboratory(tmp_path)
    for child in psutil.Process(os.getpid()).children(
        recursive=True
    ):  # none shall outlive a test that failed
        with contextlib.suppress(psutil.NoSuchProcess):
            if "forkserver" not in " ".join(child.cmdline()) and "resource_tracker" not in " ".join(
                child.cmdline()
            ):
                child.kill()


PRELOADED = [
    "harness.execution.preloaded",
    *("harness.cli", "harness.console", "harness.progress", "pandas", "pyarrow.parquet"),
    *("harness.execution.session", "harness.execution.local", "harness.execution.networks"),
]
"""What a command imports on its way; hundreds need not import it each for itself."""

OF_TIMES = {"seconds", "images_per_second"}
OF_RUNS = ("status", "test_accuracy", "test_loss", "train_loss", "weights_sha256", "trajectory_sha256")


@pytest.fixture
def bits():
    """A function from a folder of results to all that must be the same whenever its runs are repeated."""

    def bits(results):
        store = Store(results)
        runs = {row["run_id"]: [row[name] for name in OF_RUNS] for row in store.read("runs")[0].to_pylist()}
        epochs = sorted(
            repr([(name, value) for name, value in row.items() if name not in OF_TIMES])
            for row in store.read("epochs")[0].to_pylist()
        )
        predictions = store.read("predictions")[0].sort_by([("run_id", "ascending"), ("image", "ascending")])
        return runs, epochs, predictions.to_pylist()

    return bits
