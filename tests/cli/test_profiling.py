"""profile: what it measures, records, prints and compares, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import allocator, environment
from harness.cli import profiling as cli
from harness.execution import networks
from harness.models import models as catalogue
from harness.profiling import memory
from harness.profiling import profile as module
from harness.profiling.ceilings import Ceilings
from harness.profiling.profile import Plan, Profile
from harness.records import Store

Harness = Callable[..., tuple[int, str, str]]
Rows = list[dict[str, Any]]

# `normalized` cannot be trained on one image
NETWORKS = """\
from torch import nn

def net(num_outputs=10):
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(256, num_outputs))

def linear():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))

def normalized():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))

def hundred():
    return net(100)
"""


@pytest.fixture(autouse=True)
def _settings(
    torch_settings: None, monkeypatch: pytest.MonkeyPatch, write_module: Callable[..., Path]
) -> None:
    """What the command sets for its own process is set back, or not set."""
    monkeypatch.setattr(allocator, "configure", lambda: "default")
    monkeypatch.setattr(environment, "num_cores", lambda: 1)
    write_module(NETWORKS)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is made up."""
    monkeypatch.setattr(module, "measure_ceilings", lambda device, precision: Ceilings(1e12, 1e10))
    monkeypatch.setattr(module, "resident_peaks", lambda cells, num_threads: iter([None] * len(cells)))
    monkeypatch.setattr(module, "LoadWatch", lambda: SimpleNamespace(share_of_others=lambda: None))
    monkeypatch.setattr(cli, "LONG_VISIT", 1e-9)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def profile(harness: Harness, results: Path) -> Harness:
    """Call the command on models and options, for five rounds on the CPU."""
    usual = ("--data", "synthetic", "--device", "cpu", "--results", results)

    def call(*arguments: object) -> tuple[int, str, str]:
        given = {argument for argument in arguments if isinstance(argument, str)}
        few = [("--batch-sizes", "2,4"), ("--precisions", "fp32"), ("--rounds", 5)]
        options = [part for option in few if option[0] not in given for part in option]
        return harness("profile", *arguments, *usual, *options)

    return call


def recorded(results: Path, kind: str = "profiles") -> Rows:
    table, broken = Store(results).read(kind)
    assert broken == []
    rows: Rows = table.to_pylist()
    return rows


def cells(rows: Rows) -> list[tuple[str, str, int]]:
    return [(row["model"], row["mode"], row["batch_size"]) for row in rows]


FOUR = [("mynet:net", mode, size) for mode in ("train", "infer") for size in (2, 4)]


def test_what_is_measured_is_printed_and_recorded(
    harness: Harness, profile: Harness, results: Path, tmp_path: Path
) -> None:
    code, out, err = profile("mynet:net", "--trace", tmp_path / "traces")
    assert code == 0
    sizes, times = out.split("Time of a step")
    assert "mynet:net       2,690" in sizes
    _, _, *lines = times.splitlines()
    assert [tuple(line.split()[:4]) for line in lines[:4]] == [(*map(str, cell), "fp32") for cell in FOUR]
    for phase in (
        "warming up: 0/4",
        "profiling operators: 0/2",
        "timing in turn: 0/20",
    ):
        assert phase in err
    rows = recorded(results)
    assert cells(rows) == FOUR
    for row in rows:
        assert len(row["round_seconds"]) == 5
        # of a tenth of a second each, but of no more than 100 calls
        assert all(1 <= len(calls) <= 100 for calls in row["round_seconds"])
        assert 0 < row["ceiling_flops"] < 1e15
        assert 0 < row["ceiling_copy_bytes"] < 1e14
        assert 0 < row["flops_share"] < 1
        assert row["parameters"] == 2690
        assert (row["threads"], row["allocator"], row["device"]) == (1, "default", "cpu")
        if memory._RESET_PEAK.exists():
            assert row["peak_memory_bytes"] >= row["base_memory_bytes"] > 2**26
    operators = recorded(results, "operators")
    assert {(row["mode"], row["batch_size"]) for row in operators} == {("train", 2), ("infer", 2)}
    assert {path.name for path in (tmp_path / "traces").iterdir()} == {
        "mynet-net-train-2-fp32.json",
        "mynet-net-infer-2-fp32.json",
    }
    [session] = {row["session_id"] for row in (*rows, *operators)}
    assert {path.relative_to(results).as_posix() for path in results.rglob("*.parquet")} == {
        f"{kind}/{session}.parquet" for kind in ("profiles", "operators")
    }
    assert harness("results", "list", "--kind", "profiles", "--results", results)[1] == out
    assert f"({session})" in harness("results", "list", "--kind", "operators", "--results", results)[1]
    assert harness("results", "check", "--results", results)[0] == 0


@pytest.mark.usefixtures("quick")
def test_two_models_are_measured_once_and_set_beside_each_other(profile: Harness, results: Path) -> None:
    code, out, _ = profile("mynet:net", "--compare", "mynet:net", "mynet:linear", "--modes", "infer")
    assert code == 0
    assert cells(recorded(results)) == [
        (model, "infer", size) for model in ("mynet:net", "mynet:linear") for size in (2, 4)
    ]
    lines = out.splitlines()
    start = lines.index("Time of mynet:net over that of mynet:linear, round by round")
    assert [line.split()[:3] for line in lines[start + 2 :]] == [
        ["infer", "2", "fp32"],
        ["infer", "4", "fp32"],
    ]


@pytest.mark.usefixtures("quick")
def test_with_json_there_is_one_object_and_nothing_else(profile: Harness, results: Path) -> None:
    code, out, _ = profile("--compare", "mynet:net", "mynet:linear", "--batch-sizes", "4", "--json")
    assert code == 0
    content = json.loads(out)
    assert content.keys() == {"version", "profiles", "operators", "comparisons", "changes", "machines"}
    rows = recorded(results)
    assert len(rows) == 4
    assert [row | {"measured_at": None} for row in content["profiles"]] == [
        row | {"measured_at": None} for row in rows
    ]
    assert content["operators"] == recorded(results, "operators")
    assert [(each["mode"], each["batch_size"]) for each in content["comparisons"]] == [
        ("train", 4),
        ("infer", 4),
    ]
    assert all(each["comparison"]["ratio"] > 0 for each in content["comparisons"])
    assert content["changes"] == []
    code, out, _ = profile("mynet:net", "--batch-sizes", "4", "--json", "--against", rows[0]["session_id"])
    assert code in {0, 3}
    changes = json.loads(out)["changes"]
    assert [(each["mode"], each["batch_size"]) for each in changes] == [("train", 4), ("infer", 4)]
    assert code == (3 if "slower" in {each["verdict"] for each in changes} else 0)


@pytest.fixture
def earlier(profile: Harness, results: Path, quick: None) -> Callable[..., Path]:
    """A function that records a session of a name in which every call took so long; to its file."""
    assert profile("mynet:net", "--modes", "infer")[0] == 0
    [path] = (results / "profiles").iterdir()
    rows = recorded(results)
    path.unlink()

    def write(session: str, seconds: float, **columns: Any) -> Path:
        changes = {"session_id": session, "round_seconds": [[seconds]] * 5} | columns
        Store(results).write("profiles", *(row | changes for row in rows))
        return results / "profiles" / f"{session}.parquet"

    return write


@pytest.mark.parametrize(("seconds", "verdict", "exit_code"), [(1e-9, "slower", 3), (1e3, "faster", 0)])
def test_slower_than_before_is_exit_code_3_and_faster_is_0(
    profile: Harness, earlier: Callable[..., Path], seconds: float, verdict: str, exit_code: int
) -> None:
    earlier("20200101T000000-cpu", seconds)
    code, out, _ = profile("mynet:net", "--modes", "infer", "--against", "last")
    assert code == exit_code
    *_, first, second, count, machine = out.splitlines()
    assert [line.split()[-1] for line in (first, second)] == [verdict] * 2
    assert count == "0 of 2 cells are not told apart: their intervals overlap."
    assert machine.startswith("This machine takes ")


@pytest.mark.parametrize("reference", [None, [1e-12] * 5])
def test_what_is_not_told_from_the_machine_is_no_regression(
    profile: Harness, earlier: Callable[..., Path], reference: list[float] | None
) -> None:
    """Cells take very much longer than then, and so does the reference, or it was not timed then."""
    earlier("20200101T000000-cpu", 1e-9, reference_seconds=reference)
    code, out, _ = profile("mynet:net", "--modes", "infer", "--against", "last")
    assert code == 0
    assert out.count("not told from the machine") == 2
    assert "slower" not in out


def test_two_sessions_in_a_row_are_compared(profile: Harness, results: Path, quick: None) -> None:
    assert profile("mynet:net")[0] == 0
    code, out, _ = profile("mynet:net", "--against", "last")
    _, _, a, b, c, d, count, *_ = out.split("Then and now")[1].splitlines()
    verdicts = [line.split()[-1] for line in (a, b, c, d)]
    assert set(verdicts) <= {"apart", "slower", "faster", "machine"}
    assert count == f"{verdicts.count('apart')} of 4 cells are not told apart: their intervals overlap."
    assert code == (3 if "slower" in verdicts else 0)


@pytest.mark.parametrize("spelling", ["id", "file", "last"])
def test_an_earlier_session_is_named_by_its_id_its_file_or_as_the_last(
    profile: Harness, earlier: Callable[..., Path], spelling: str
) -> None:
    path = earlier("20200102T000000-cpu", 1e3)
    # the order of files is not the order of writing
    earlier("20200101T000000-cpu", 1e-9)
    against = {"id": path.stem, "file": path, "last": "last"}[spelling]
    code, out, _ = profile("mynet:net", "--modes", "infer", "--against", against)
    assert code == 0
    assert out.count("faster") == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--modes", "training"], "no mode named 'training'; did you mean train"),
        (["--modes", "train,eval"], "no mode named 'eval'; known: train, infer"),
        (["--modes", ","], "--modes ','"),
        (["--batch-sizes", "0"], "--batch-sizes '0': sizes are integers from 1 to 10,000; write e.g. 1,128"),
        (["--batch-sizes", "8,x"], "--batch-sizes '8,x'"),
        (["--batch-sizes", "10001"], "--batch-sizes '10001'"),
        (["--batch-sizes", "-1"], "--batch-sizes '-1'"),
        (["--batch-sizes", ""], "--batch-sizes ''"),
        (["--precisions", "fp8"], "no precision named 'fp8'"),
        (["--precisions", "tf32"], "'tf32' exists on CUDA only"),
        (["--precisions", ","], "--precisions ','"),
        (["--against", "20200101T000000-cpu"], "--against '20200101T000000-cpu': no such session in"),
        (["--against", "last"], "--against 'last': no such session in"),
        (["resnet21"], "no model named 'resnet21'"),
        (["mynet"], "no model named 'mynet'"),
        (["--compare", "mynet:net", "resnet21"], "no model named 'resnet21'"),
        (["--upstream", "no/such/folder"], "no/such/folder: no such folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    profile: Harness, results: Path, arguments: list[str], complaint: str
) -> None:
    code, out, err = profile("mynet:net", *arguments)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1
    assert not results.exists()


@pytest.mark.parametrize("arguments", [["--rounds", 0], ["--minutes", -1], ["--compare", "mynet:net"]])
def test_impossible_numbers_are_exit_code_2(profile: Harness, arguments: list[object]) -> None:
    code, out, _ = profile("mynet:net", *arguments)
    assert (code, out) == (2, "")


def test_more_images_than_there_are_is_exit_code_2(profile: Harness, results: Path) -> None:
    code, out, err = profile("mynet:net", "--batch-sizes", "1,513")
    assert (code, out) == (2, "")
    assert "a mini-batch of 513 images: synthetic has 512 test images" in err
    assert not results.exists()


@pytest.mark.usefixtures("quick")
def test_a_cell_that_fails_is_exit_code_4_and_the_others_are_recorded(
    profile: Harness, results: Path
) -> None:
    code, out, _ = profile("mynet:normalized", "mynet:net", "--batch-sizes", "1")
    assert code == 4
    assert out.splitlines()[-1].startswith(
        "mynet:normalized train 1 fp32: failed: ValueError: Expected more than 1"
    )
    statuses = {(row["model"], row["mode"]): row["status"] for row in recorded(results)}
    assert statuses.pop(("mynet:normalized", "train")) == "failed"
    assert len(statuses) == 3
    assert set(statuses.values()) == {"measured"}
    code, out, _ = profile("mynet:hundred", "--batch-sizes", "2", "--modes", "infer")
    assert code == 4
    assert "return logits (N, 10)" in out


@pytest.mark.usefixtures("quick", "nowhere")
def test_what_cannot_be_had_is_named_and_the_rest_is_measured(profile: Harness, results: Path) -> None:
    code, _, err = profile("akamaster-resnet20", "mynet:net")
    assert code == 4
    assert "akamaster-resnet20: https://github.com/akamaster/pytorch_resnet_cifar10 at d5489e8995" in err
    assert cells(recorded(results)) == FOUR
    code, out, err = profile("akamaster-resnet20")
    assert (code, out) == (1, "")
    assert "none of the 1 models can be had; each is named above" in err


@pytest.mark.usefixtures("quick")
def test_an_interrupt_keeps_what_was_measured_and_is_exit_code_130(
    profile: Harness, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit, visited = module.visit, []

    def interrupted(*arguments: Any) -> list[float]:
        visited.append(arguments)
        if len(visited) == 9:  # a round begins with the reference
            raise KeyboardInterrupt
        return visit(*arguments)

    monkeypatch.setattr(module, "visit", interrupted)
    code, out, err = profile("mynet:net")
    assert code == 130
    assert err.splitlines()[-1] == "Stopped. What was measured is recorded."
    assert [len(row["round_seconds"]) for row in recorded(results)] == [2, 2, 1, 1]
    assert len(out.splitlines()) >= 6


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What would be measured; nothing is."""
    plans: list[Plan] = []

    def take(plan: Plan, *arguments: Any, **options: Any) -> Profile:
        plans.append(plan)
        return Profile([], [], interrupted=False)

    monkeypatch.setattr(module, "profile", take)
    monkeypatch.setattr(networks, "have_network", lambda entry, say: None)
    return plans


def test_few_models_are_measured_in_many_ways_and_many_in_few(harness: Harness, planned: list[Plan]) -> None:
    usual = ("--data", "synthetic", "--device", "cpu", "--results", "results")
    assert harness("profile", "mynet:net", *usual)[0] == 0
    assert harness("profile", *usual)[0] == 0
    one, all_of_them = planned
    sizes = [cell.batch_size for cell in one.cells if (cell.mode, cell.precision) == ("train", "fp32")]
    assert sizes == [1, 8, 32, 128, 512]
    assert {cell.mode for cell in one.cells} == {"train", "infer"}
    assert "tf32" not in {cell.precision for cell in one.cells}
    assert list(dict.fromkeys(cell.model for cell in all_of_them.cells)) == list(catalogue())
    assert {cell.batch_size for cell in all_of_them.cells} == {1, 32}
    assert len({cell.precision for cell in all_of_them.cells}) == 1
    assert (one.max_rounds, one.max_seconds, one.trace_folder) == (15, 540.0, None)
    assert one.seconds_per_visit > all_of_them.seconds_per_visit
    # where nothing was measured, nothing is recorded
    assert not Path("results").exists()


def test_what_is_asked_for_is_measured_once(profile: Harness, planned: list[Plan], tmp_path: Path) -> None:
    code, _, _ = profile(
        *("mynet:net", "mynet:net", "--modes", "infer, train", "--batch-sizes", "4,1,4"),
        *("--precisions", "bf16,fp32,bf16", "--minutes", "0.5", "--rounds", "7", "--trace", tmp_path),
    )
    assert code == 0
    [plan] = planned
    assert [str(cell).removeprefix("mynet:net ") for cell in plan.cells] == [
        f"{mode} {size} {precision}"
        for mode in ("train", "infer")
        for size in (4, 1)
        for precision in ("bf16", "fp32")
    ]
    assert (plan.max_rounds, plan.max_seconds, plan.trace_folder) == (7, 30.0, tmp_path)
