"""What pytest-benchmark measured becomes records."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cli
from harness.errors import RecordError
from harness.profiling.benchmarks import read_report
from harness.records import Store

HERE = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of the one benchmark that takes no time."""
    path = tmp_path_factory.mktemp("report") / "report.json"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--benchmark-only",
        f"--benchmark-json={path}",
        "-p",
        "no:xdist",
    ]
    command += ["-p", "no:cacheprovider", f"{HERE / 'test_records.py'}::test_writing"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    subprocess.run(command, check=True, capture_output=True, cwd=HERE.parents[1], env=alone)
    return path


def test_every_round_is_recorded_with_where_it_was_measured(report, tmp_path):
    [row] = read_report(report)
    stats = json.loads(report.read_text())["benchmarks"][0]["stats"]
    assert (row["group"], row["name"]) == ("writing the records of a run", "test_writing")
    assert statistics.median(row["round_seconds"]) == pytest.approx(stats["median"])
    assert len(row["round_seconds"]) == stats["rounds"]
    store = Store(tmp_path)
    store.write("benchmarks", row)
    assert store.read("benchmarks")[0].to_pylist() == [row]
    assert store.check() == (1, [])


def test_the_command_imports_and_lists(report, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["harness", "results", "import-benchmarks", str(report), "--results", str(tmp_path)]
    )
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    assert "writing the records of a run" in capsys.readouterr().out
    assert len(Store(tmp_path).read("benchmarks")[0]) == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("no json", "Expecting value"),
        ("{}", "lacks 'datetime'"),
        ("[]", "list indices"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_another_file_is_refused_with_how_to_make_one(tmp_path, content, complaint):
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(RecordError, match=complaint) as caught:
        read_report(path)
    assert "pytest --benchmark-only --benchmark-json FILE" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_benchmarks_are_not_run_unless_asked_for():
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider", str(HERE)]
    process = subprocess.run(command, check=False, capture_output=True, text=True, cwd=HERE.parents[1])
    assert process.returncode == 5
    assert "deselected" in process.stdout


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"stats": {"data": []}}, "has no rounds"),
        ({"stats": {"data": [1.0, 0.0]}}, "took no time"),
        ({"extra_info": []}, "'list' object has no attribute"),
    ],
)
def test_a_report_that_says_nonsense_is_refused(report, tmp_path, changes, complaint):
    content = json.loads(report.read_text())
    content["benchmarks"][0] |= changes
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match=complaint):
        read_report(path)


def test_the_name_of_a_machine_leads_to_no_other_folder(report, tmp_path):
    content = json.loads(report.read_text())
    content["machine_info"]["node"] = f"../../a\0{'b' * 300}"
    path = tmp_path / "report.json"
    path.write_text(json.dumps(content))
    [row] = read_report(path)
    assert row["session_id"].partition("-")[2] == f"..-..-a-{'b' * 92}"
