"""What judges recorded runs works where torch is not installed."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import analysis

ROOT = Path(__file__).parents[2]
ABSENT = ("torch", "torchvision", "timm")
WITHOUT = f"""
import sys
for name in {ABSENT}:
    sys.modules[name] = None  # importing it is an ImportError
from harness.cli import main
main()
"""


def harness_without_torch(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Call the command line on the records of this checkout."""
    command = [sys.executable, "-W", "error", "-c", WITHOUT, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (("verdicts",), "Test error, per cent; reproduced: shown to be within 0.5 points of the claim"),
        (("compare", "resnet20", "plain20"), "resnet20 minus plain20: test accuracy in percentage points"),
        (("findings",), "Did it reproduce?"),
        (("results", "list"), "resnet20"),
        (("results", "check"), " files are sound, 0 are not"),
        (("results", "summary"), "harness reproduce"),
        (("results", "summary", "--markdown"), "`harness reproduce"),
        (("results", "summary", "--json"), '"command": "harness reproduce'),
    ],
)
def test_command_works_on_the_published_records(arguments: tuple[str, ...], shown: str) -> None:
    left = harness_without_torch(*arguments)
    assert left.returncode in ({0, 3} if arguments == ("verdicts",) else {0}), left.stderr
    assert shown in left.stdout
    assert left.stderr == ""


def test_report_is_written_of_the_published_records(tmp_path: Path) -> None:
    files = [tmp_path / "report.html", tmp_path / "report.md"]
    left = harness_without_torch("report", "-o", files[0], "-o", files[1])
    assert (left.returncode, left.stderr) == (0, "")
    assert left.stdout.splitlines() == [f"Report: {file}" for file in files]
    for file in files:
        assert "he2015-resnet20" in file.read_text("utf-8")


def test_what_needs_torch_does_not_work_there() -> None:
    left = harness_without_torch("identify", "resnet20", "--data", "synthetic")
    assert left.returncode != 0
    assert "torch" in left.stderr


def test_judging_drawing_and_reporting_import_no_torch() -> None:
    modules = ["harness.charts", "harness.findings", "harness.report", "harness.claims", "harness.tables"]
    modules += [f"harness.analysis.{module.name}" for module in pkgutil.iter_modules(analysis.__path__)]
    assert "harness.analysis.verdicts" in modules
    code = f"import sys, {', '.join(modules)}; print(sorted({set(ABSENT)} & set(sys.modules)))"
    left = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (left.returncode, left.stdout.strip(), left.stderr) == (0, "[]", "")
