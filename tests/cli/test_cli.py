"""The command line: what it prints where, and how it exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from harness import progress
from harness.execution import executors
from harness.execution.job import Ended, Job, RunObserver
from harness.execution.ledger import Execution
from harness.execution.session import Request, resolve
from harness.models import upstream
from harness.records import KINDS, Store
from harness.training.checkpoint import Checkpoint, CheckpointHeader

Harness = Callable[..., tuple[int, str, str]]


def harness_process(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", *map(str, arguments)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def test_version_goes_to_stdout(harness: Harness) -> None:
    code, out, err = harness("--version")
    assert (code, err) == (0, "")
    assert out.startswith("harness ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["plan", "quik"], "no experiment named 'quik'; did you mean quick"),
        (["plan", "smoke", "--models", "resnet21"], "no model named 'resnet21'"),
        (["plan", "smoke", "--seeds", "one"], "--seeds 'one'"),
        (["plan", "smoke", "--seeds", "4-2"], "--seeds '4-2'"),
        (["plan", "smoke", "--seeds", "1-2-3"], "--seeds '1-2-3'"),
        (["plan", "smoke", "--seeds", "9223372036854775808"], "from 0 to 2**63 - 1"),
        (["plan", "smoke", "--seeds", "0-9999999999"], "not a range of 1 to 100,000 seeds"),
        (["plan", "smoke", "--device", "tpu"], "no device named 'tpu'"),
        (["plan", "smoke", "--device", "cpu", "--precision", "tf32"], "'tf32' exists on CUDA only"),
        (["plan", "smoke", "--precision", "fp8"], "no precision named 'fp8'"),
        (["plan", "smoke", "--device", "cpu", "--at-once", "2"], "on 'cpu' a process trains one run"),
        (["plan", "smoke", "--iterations", "2000"], "more than the 1563 of recipe 'short'"),
        (["plan", "smoke", "--data", "cifra10"], "--data 'cifra10': neither cifar10, nor synthetic"),
        (["run", "--model", "resnet20", "--recipe", "shrt"], "no recipe named 'shrt'; did you mean short"),
        (["plan", "smoke", "--upstream", "no/such/folder"], "no/such/folder: no such folder"),
        (["models", "fetch", "--upstream", "no/such/folder"], "no/such/folder: no such folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    harness: Harness, arguments: list[str], complaint: str
) -> None:
    code, out, err = harness(*arguments)
    assert code == 2
    assert out == ""
    assert complaint in err
    assert err.count("\n") == 1


def test_an_unknown_option_is_exit_code_2(harness: Harness) -> None:
    assert harness("plan", "--sedes", "1")[0] == 2


def test_plan_writes_nothing(harness: Harness, tmp_path: Path) -> None:
    results = tmp_path / "results"
    code, out, _ = harness("plan", "quick", "--results", results)
    assert code == 0
    assert not results.exists()
    assert "7 of 7 runs to do" in out


@pytest.mark.parametrize("command", ["plan", "reproduce"])
def test_help_says_what_models_and_precision_do(harness: Harness, command: str) -> None:
    _, out, _ = harness(command, "--help")
    text = " ".join(word for word in out.split() if word != "│")
    assert (
        "Train only these models (comma-separated); models that the experiment lacks are added to its first group."
        in text
    )
    assert "Default: the experiment's (paper: fp32)." in text


def test_plan_as_json_is_one_versioned_object(harness: Harness, tmp_path: Path) -> None:
    code, out, _ = harness("plan", "paper", "--results", tmp_path, "--device", "cpu", "--json")
    content = json.loads(out)
    assert code == 0
    assert content["version"] == 1
    assert [(row["model"], row["seed"]) for row in content["plan"]] == [
        (model, seed) for model in ("resnet20", "plain20") for seed in range(5)
    ]
    assert {row["iterations"] for row in content["plan"]} == {64_000}
    assert not any(row["shortened"] for row in content["plan"])


def test_named_models_filter_and_join(harness: Harness, tmp_path: Path) -> None:
    options = ("--models", "plain20,resnet32", "--seeds", "7", "--results", tmp_path, "--json")
    _, out, _ = harness("plan", "quick", *options)
    rows = json.loads(out)["plan"]
    assert [(row["model"], row["seed"]) for row in rows] == [("plain20", 7), ("resnet32", 7)]


def test_models_list_as_json_has_every_field_of_every_model(harness: Harness) -> None:
    _, out, _ = harness("models", "list", "--json")
    rows = json.loads(out)["models"]
    depths = (20, 32, 44, 56, 110, 1202)
    ours = {row["key"] for row in rows if row["source"] == "ours"}
    assert ours == {key for n in depths for key in (f"resnet{n}", f"resnet{n}-b", f"plain{n}")}
    row = {row["key"]: row for row in rows}["timm-plain20"]
    assert row.pop("adapted").startswith("timm's ResNet")
    assert row == {
        "key": "timm-plain20", "family": "plain", "depth": 20, "shortcut": "none", "source": "pypi",
        "origin": f"timm {metadata.version('timm')}", "distribution": "timm", "version": metadata.version("timm"), "licence": "Apache-2.0",
        "repository": None, "commit": None, "path": None, "sha256": None,
    }  # fmt: skip
    pinned = {row["key"]: row for row in rows}["akamaster-resnet20"]
    assert pinned["source"] == "git"
    assert pinned["repository"] == "https://github.com/akamaster/pytorch_resnet_cifar10"
    assert (len(pinned["commit"]), len(pinned["sha256"]), pinned["licence"]) == (40, 64, "BSD-2-Clause")


def test_models_list_says_where_a_model_comes_from_and_what_was_changed(harness: Harness) -> None:
    _, out, _ = harness("models", "list")
    lines = {line.split()[0]: line.split() for line in out.splitlines()}
    version = metadata.version("torchvision")
    assert lines["resnet20"] == ["resnet20", "resnet", "20", "A", "ours", "MIT"]
    assert lines["torchvision-resnet18"][3:] == ["B", "torchvision", version, "BSD-3-Clause"]
    note = lines["torchvision-plain20"][-1]
    assert lines[note][1] == "torchvision's"
    assert "replaced by zero" in " ".join(lines[note])


def test_models_fetch_names_what_cannot_be_had(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{tmp_path}/nowhere/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    code, out, err = harness("models", "fetch", "akamaster-resnet20", "akamaster-resnet56", "yunjey-resnet14")
    assert (code, out) == (1, "")
    assert "pytorch_resnet_cifar10 at d5489e8995e81e91ce6b1d69dcc98ad579b0b153: git fetch failed" in err
    assert "2 of 2 files cannot be had" in err
    assert harness("models", "fetch", "akamaster-resnet21")[0] == 2


def test_an_empty_store_says_what_to_run(harness: Harness, tmp_path: Path) -> None:
    code, out, err = harness("results", "list", "--results", tmp_path)
    assert (code, out) == (0, "")
    assert "harness reproduce" in err


def test_reproduce_records_runs_and_skips_them_the_next_time(
    harness: Harness, tiny_experiment: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    options = (tiny_experiment, "--data", "synthetic", "--results", results)
    code, out, err = harness("reproduce", *options)
    assert code == 0, err
    assert "made-up images" in out
    assert {path.parent.name for path in results.rglob("*.parquet")} == {"runs", "epochs", "predictions"}
    assert list(results.glob("checkpoints/*")) == []

    code, out, _ = harness("results", "list", "--results", results, "--json")
    rows = json.loads(out)["runs"]
    assert [row["status"] for row in rows] == ["completed", "completed"]
    assert all(set(row) == set(KINDS["runs"].names) for row in rows)
    assert all(0 <= row["test_accuracy"] <= 1 for row in rows)

    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.parquet")}
    code, _, err = harness("reproduce", *options)
    assert code == 0
    assert err.count("skipped") == 2
    assert before == {path: path.stat().st_mtime_ns for path in results.rglob("*.parquet")}


def test_a_diverged_run_is_recorded_and_makes_exit_code_4(
    harness: Harness, tiny_recipe: Path, tmp_path: Path
) -> None:
    tiny_recipe.write_text(tiny_recipe.read_text().replace("learning_rate = 0.1", "learning_rate = 1e30"))
    results = tmp_path / "results"
    code, _, err = harness(
        "run", "--model", "plain20", "--recipe", tiny_recipe, "--data", "synthetic", "--results", results,
        "--iterations", 6, "--precision", "fp32",
    )  # fmt: skip
    assert code == 4
    assert "diverged" in err
    row = Store(results).read("runs")[0].to_pylist()[0]
    assert (row["status"], row["test_accuracy"]) == ("diverged", None)


@pytest.fixture
def end_all_as(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that lets every run end so, and nothing be trained."""

    def end(status: str) -> None:
        def execute(jobs: Sequence[Job], _environment: object, *, observer: RunObserver) -> Execution:
            ended = {job.run_id: Ended(status, "so it is", test_accuracy=0.5) for job in jobs}
            for job in jobs:
                observer(job, ended[job.run_id])
            return Execution(ended, None)

        monkeypatch.setattr(executors, "choose_executor", lambda *_, **__: execute)

    return end


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("busy", 0), ("failed", 4), ("diverged", 4), ("interrupted", 4)]
)
def test_a_run_that_has_no_result_and_nobody_is_at_makes_exit_code_4(
    harness: Harness,
    end_all_as: Callable[[str], None],
    tiny_experiment: Path,
    tmp_path: Path,
    status: str,
    code: int,
) -> None:
    end_all_as(status)
    assert (
        harness("reproduce", tiny_experiment, "--data", "synthetic", "--results", tmp_path / "results")[0]
        == code
    )


@pytest.mark.usefixtures("nowhere")
def test_a_run_that_is_skipped_is_not_waited_for(
    harness: Harness, end_all_as: Callable[[str], None], tiny_experiment: Path, tmp_path: Path
) -> None:
    tiny_experiment.write_text(tiny_experiment.read_text().replace("plain20", "akamaster-resnet20"))
    end_all_as("completed")
    code, _, err = harness(
        "reproduce", tiny_experiment, "--data", "synthetic", "--results", tmp_path / "results"
    )
    assert code == 4
    assert "akamaster-resnet20: skipped" in err
    assert "1 of 1 runs completed" in err


def test_a_log_that_cannot_be_written_stops_no_run(
    harness: Harness,
    end_all_as: Callable[[str], None],
    tiny_experiment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = []

    @contextmanager
    def observe_runs(_eta: object) -> Iterator[RunObserver]:
        def show(job: Job, _event: object) -> None:
            shown.append(job)
            raise OSError(28, "No space left on device")

        yield show

    monkeypatch.setattr(progress, "observe_runs", observe_runs)
    end_all_as("completed")
    code, _, err = harness(
        "reproduce", tiny_experiment, "--data", "synthetic", "--results", tmp_path / "results"
    )
    assert (code, len(shown)) == (0, 2), err


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break as POSIX has them")
def test_when_nobody_reads_its_log_any_more_it_ends_and_leaves_a_checkpoint(
    write_module: Callable[..., Path], tiny_recipe: Path, tmp_path: Path
) -> None:
    write_module()
    tiny_recipe.write_text(tiny_recipe.read_text().replace("iterations = 80", "iterations = 20000"))
    process = harness_process(
        "run", "--model", "mynet:net", "--recipe", tiny_recipe, "--data", "synthetic", "--threads", 1,
        "--precision", "fp32", "--results", tmp_path / "results",
    )  # fmt: skip
    assert process.stderr is not None
    try:
        while "train error" not in (line := process.stderr.readline()):  # the first epoch has ended
            assert line
        process.stderr.close()
        assert process.wait(120) == 1
    finally:
        process.kill()
        process.communicate()
    assert len(list(Store(tmp_path / "results").checkpoints())) == 1


def test_a_network_of_one_s_own_in_the_working_folder_is_trained_and_recorded(
    harness: Harness, write_module: Callable[..., Path], tiny_recipe: Path, tmp_path: Path
) -> None:
    write_module()
    results = tmp_path / "results"
    code, _, err = harness(
        "run", "--model", "mynet:net", "--recipe", tiny_recipe, "--data", "synthetic", "--results", results,
        "--iterations", 3, "--precision", "fp32",
    )  # fmt: skip
    assert code == 0, err
    [row] = Store(results).read("runs")[0].to_pylist()
    assert (row["status"], row["model"]) == ("completed", "mynet:net")
    assert row["model_source"].startswith("own code ")
    # 3x3 kernels from 3 to 4 channels, scale and shift, 256 features to 10 classes
    assert row["parameters"] == (9 * 3 * 4 + 4) + 2 * 4 + (256 * 10 + 10)


def test_a_network_of_one_s_own_that_breaks_the_contract_is_exit_code_1_and_leaves_nothing(
    harness: Harness, write_module: Callable[..., Path], tiny_recipe: Path, tmp_path: Path
) -> None:
    write_module()
    code, out, err = harness(
        "run", "--model", "mynet:hundred", "--recipe", tiny_recipe, "--data", "synthetic",
        "--results", tmp_path / "results",
    )  # fmt: skip
    assert (code, out) == (1, "")
    *_announced, last = err.splitlines()
    assert last.startswith("harness: model 'mynet:hundred': ")
    assert "of shape (2, 100); return logits (N, 10)" in last
    assert err.count("harness: ") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("model", "complaint"),
    [
        ("nosuchmodule:net", "there is no module 'nosuchmodule' in "),
        ("mynet:", "write package.module:factory, e.g. mynet:resnet20, not 'mynet:'"),
    ],
)
def test_an_unknown_module_is_exit_code_2(
    harness: Harness, write_module: Callable[..., Path], tmp_path: Path, model: str, complaint: str
) -> None:
    write_module()
    code, out, err = harness("run", "--model", model, "--recipe", "short", "--results", tmp_path / "results")
    assert (code, out) == (2, "")
    assert err.startswith(f"harness: model {model!r}: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_results_check_names_a_broken_file(harness: Harness, tmp_path: Path) -> None:
    broken = tmp_path / "runs" / "x.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"PAR1 nothing")
    code, out, err = harness("results", "check", "--results", tmp_path)
    assert code == 1
    assert str(broken) in err
    assert "0 files are sound, 1 are not" in out


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_run_that_goes_on_with_the_same_bits(
    tmp_path: Path, tiny_recipe: Path, number: signal.Signals, code: int
) -> None:
    def arguments(results: str) -> list[object]:
        return [
            "run", "--model", "resnet20", "--recipe", tiny_recipe, "--data", "synthetic", "--threads", 1,
            "--precision", "fp32", "--results", tmp_path / results,
        ]  # fmt: skip

    whole = harness_process(*arguments("whole"))
    stopped = harness_process(*arguments("stopped"))
    assert stopped.stderr is not None
    seen = ""
    while "train error" not in seen:  # the first epoch has ended
        line = stopped.stderr.readline()
        assert line, seen
        seen += line
    stopped.send_signal(number)
    err = seen + stopped.communicate()[1]
    assert stopped.returncode == code, err
    assert "this goes on from there:" in err
    assert "-m harness run --model resnet20" in err
    assert list((tmp_path / "stopped").rglob("*.parquet")) == []

    resumed = harness_process(*arguments("stopped"))
    for process, text in ((resumed, "goes on after iteration"), (whole, "completed")):
        err = process.communicate()[1]
        assert process.returncode == 0, err
        assert text in err

    expected, result = (
        Store(tmp_path / name).read("runs")[0].to_pylist()[0] for name in ("whole", "stopped")
    )
    assert expected["resumed_at"] == []
    assert len(result["resumed_at"]) == 1
    for column in ("run_id", "weights_sha256", "trajectory_sha256", "test_accuracy", "test_loss"):
        assert result[column] == expected[column]
    logits = [pq.read_table(path).column("logits") for path in sorted(tmp_path.glob("*/predictions/*"))]
    assert logits[0].equals(logits[1])


def test_a_run_that_was_interrupted_before_a_change_is_refused_until_one_says_what_becomes_of_it(
    harness: Harness, tiny_experiment: Path, tiny_recipe: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    request = Request(
        experiment=str(tiny_experiment), models=["plain20"], device="cpu", results=results, synthetic=True
    )
    [job] = resolve(request).jobs(1.0)
    header = CheckpointHeader(
        run_id=job.run_id, spec=job.spec.model_dump_json(), place=dict(job.place), progress={"iteration": 2}
    )
    checkpoint = Store(results).checkpoint(job.run_id)
    Checkpoint(header, {}).write(checkpoint)
    tiny_recipe.write_text(tiny_recipe.read_text().replace("batch_size = 64", "batch_size = 32"))
    options = (
        *(tiny_experiment, "--models", "plain20", "--device", "cpu"),
        *("--data", "synthetic", "--results", results),
    )

    change = "interrupted after iteration 2, and since then: recipe.batch_size 64 -> 32"
    _, out, _ = harness("plan", *options, "--json")
    assert [(row["state"], row["note"]) for row in json.loads(out)["plan"]] == [("changed", change)]
    code, out, err = harness("reproduce", *options)
    assert (code, out) == (1, "")
    assert f"{change}\n" in err
    assert "--if-changed restart (begin anew) or resume" in err
    code, out, err = harness("reproduce", *options, "--if-changed", "resume")
    assert (code, out) == (1, "")
    assert f"{job.run_id} cannot go on: recipe.batch_size" in err
    assert harness("reproduce", *options, "--if-changed", "anyhow")[0] == 2
    assert list(results.rglob("*.parquet")) == []

    code, _, err = harness("reproduce", *options, "--if-changed", "restart")
    assert code == 0, err
    [row] = Store(results).read("runs")[0].to_pylist()
    assert (row["status"], row["batch_size"], row["resumed_from"]) == ("completed", 32, [])
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_where_results_cannot_be_written_it_is_exit_code_1_and_one_line(
    harness: Harness, tiny_experiment: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (results / "runs").write_text("in the way")
    code, out, err = harness("reproduce", tiny_experiment, "--data", "synthetic", "--results", results)
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith(f"harness: cannot write {results / 'runs'}")
    assert last.endswith("mend that and start again: what is recorded already is untouched")
    assert "Traceback" not in err


@pytest.mark.real_data
def test_a_few_iterations_on_the_real_images(harness: Harness, tmp_path: Path) -> None:
    code, out, err = harness(
        "run", "--model", "plain20", "--recipe", "short", "--iterations", 4, "--device", "cpu", "--precision", "fp32",
        "--results", tmp_path, "--json",
    )  # fmt: skip
    assert code == 0, err
    row = json.loads(out)["runs"][0]
    assert (row["data"], row["shortened"], row["parameters"]) == ("cifar10", True, 269_722)
    assert row["peak_memory_bytes"] is None or row["peak_memory_bytes"] < 2 * 2**30  # null on Windows
    predictions = Store(tmp_path).read("predictions")[0]
    assert len(predictions) == 10_000
    assert predictions.column("label").to_pylist()[:8] == [3, 8, 8, 0, 6, 6, 1, 6]
