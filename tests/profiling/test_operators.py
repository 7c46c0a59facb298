"""Where the time of a step goes."""

import json

import pytest
import torch
from torch import nn

from harness.profiling import operators
from harness.profiling.operators import operator_rows

CPU = torch.device("cpu")


@pytest.fixture
def step(torch_settings):
    """A forward and backward pass of three convolutions and a linear layer, warm."""
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 26 * 26, 10))
    images = torch.randn(16, 3, 32, 32)

    def call():
        network(images).sum().backward()

    call()
    return call


def test_shares_are_of_the_time_of_all_operators_the_longest_first(step):
    rows = operator_rows(step, CPU)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    total = sum(row["self_seconds"] for row in rows)
    assert total > 0
    assert [row["share"] for row in rows] == pytest.approx([row["self_seconds"] / total for row in rows])
    named = [row["share"] for row in rows if row["operator"] != "(others)"]
    assert named == sorted(named, reverse=True)
    assert named[-1] >= 0.001
    assert len({row["operator"] for row in rows}) == len(rows)


def test_calls_of_one_step_are_counted(step, monkeypatch):
    monkeypatch.setattr(operators, "MIN_SHARE", 0.0)
    calls = {row["operator"]: row["calls"] for row in operator_rows(step, CPU)}
    assert "(others)" not in calls
    assert (calls["aten::conv2d"], calls["aten::convolution_backward"], calls["aten::linear"]) == (3, 3, 1)


def test_what_takes_little_is_summed_up(step, monkeypatch):
    monkeypatch.setattr(operators, "MIN_SHARE", 0.0)
    num_calls = sum(row["calls"] for row in operator_rows(step, CPU))
    monkeypatch.setattr(operators, "MIN_SHARE", 1.1)
    [others] = operator_rows(step, CPU)
    assert (others["operator"], others["share"], others["calls"]) == ("(others)", 1.0, num_calls)
    monkeypatch.setattr(operators, "MIN_SHARE", 0.05)
    *rows, others = operator_rows(step, CPU)
    assert others["operator"] == "(others)"
    assert all(row["share"] >= 0.05 for row in rows)
    assert sum(row["calls"] for row in rows) + others["calls"] == num_calls
    assert sum(row["share"] for row in (*rows, others)) == pytest.approx(1)


def test_the_course_of_a_step_is_written_where_it_is_wanted(step, tmp_path):
    trace = tmp_path / "new" / "step.json"
    operator_rows(step, CPU, trace=trace)
    events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    assert sum(event.get("name") == "aten::conv2d" for event in events) == 3
    operator_rows(step, CPU)
    assert [path.name for path in tmp_path.rglob("*.json")] == ["step.json"]
