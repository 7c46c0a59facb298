"""What people and programs read."""

import json
import sys
from datetime import UTC, datetime

import pytest

from harness.console import duration, print_json, this_program


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


def test_json_has_a_version_and_no_value_that_json_lacks(capsys):
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    print_json(runs=[{"loss": float("nan"), "rates": [1.5, float("inf")], "at": moment, "n": 3}])
    assert json.loads(capsys.readouterr().out) == {
        "version": 1,
        "runs": [{"loss": None, "rates": [1.5, None], "at": "2026-01-02T03:04:05+00:00", "n": 3}],
    }


def test_program_is_named_so_that_it_can_be_called_again(monkeypatch, tmp_path):
    monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "harness")])
    assert this_program() == "harness"
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "harness" / "__main__.py")])
    assert this_program() == f"{sys.executable} -m harness"


def test_program_of_a_nox_session_is_named_by_its_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOX_CURRENT_SESSION", "reproduce")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / ".nox" / "reproduce" / "bin" / "harness")])
    assert this_program() == ".nox/reproduce/bin/harness"
