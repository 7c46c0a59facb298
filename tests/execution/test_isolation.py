"""A recorded run with knobs turned: which decide its bits, and where they first do."""

from __future__ import annotations

import pytest

from harness.errors import HarnessError, UnknownNameError, UsageError
from harness.execution.isolation import KNOBS, Isolation, turned
from harness.execution.local import execute
from harness.execution.verification import find_recorded
from harness.records import Store
from harness.training.trace import Settings

AS_RECORDED = Settings(threads=1, precision="fp32")


@pytest.mark.parametrize(
    ("knob", "value", "before", "after"),
    [
        ("threads", None, 1, 2),
        ("threads", None, 4, 1),
        ("threads", "3", 1, 3),
        ("precision", None, "fp32", "bf16"),
        ("precision", None, "bf16", "fp32"),
        ("precision", "tf32", "fp32", "tf32"),
        ("deterministic", None, True, False),
        ("channels_last", "off", True, False),
        ("compilation", "on", False, True),
    ],
)
def test_a_knob_is_turned_and_no_other(knob, value, before, after):
    fields = {"threads": 1, "precision": "fp32"} | {knob: before}
    assert turned(Settings(**fields), knob, value) == Settings(**(fields | {knob: after}))


@pytest.mark.parametrize(
    ("knob", "value", "error", "words"),
    [
        ("thread", None, UnknownNameError, "no knob named 'thread'; did you mean threads"),
        ("threads", "0", UnknownNameError, "no number of threads named '0'"),
        ("threads", "many", UnknownNameError, "no number of threads named 'many'"),
        ("threads", "1", UsageError, "threads is 1 in the record; turn it to another value"),
        ("precision", "fp16", UnknownNameError, "no precision named 'fp16'"),
        ("deterministic", "no", UnknownNameError, "no value of deterministic named 'no'"),
        ("deterministic", "on", UsageError, "deterministic is on in the record"),
    ],
)
def test_what_cannot_be_turned_is_refused(knob, value, error, words):
    with pytest.raises(error, match=words):
        turned(AS_RECORDED, knob, value)


@pytest.fixture
def record(make_job, make_environment, tmp_path):
    """A function from changed fields to the record of a run of two epochs, 128 and 2 iterations."""

    def record(**changes):
        job = make_job(recipe={"iterations": 130}, **changes)
        execution = execute([job], make_environment(), num_workers=1, observer=lambda job, event: None)
        assert execution.ended[job.run_id].status == "completed"
        return find_recorded(Store(tmp_path / "results"), job.run_id)

    return record


@pytest.fixture
def own_network(write_module):
    write_module()
    return "mynet:net"


def isolation_of(recorded, steps=None, **options):
    """Without timing unless told; what it says of its steps is added to a list."""
    observer = (lambda *step: None) if steps is None else (lambda *step: steps.append(step))
    return Isolation(recorded, **({"num_rounds": 0, "observer": observer} | options))


def first(row):
    return row["first_epoch"], row["first_iteration"], row["first_column"], row["first_tensor"]


def test_a_run_repeated_as_recorded_is_identical_and_precision_is_found(record, own_network, tmp_path):
    recorded, steps = record(model=own_network), []
    isolation = isolation_of(recorded, steps)
    base, row = isolation.repeat(), isolation.turn("precision", "bf16")
    assert (base["identical"], base["knob"], base["num_iterations"]) == (True, None, 128)
    assert (row["identical"], row["complete"], row["num_epochs"]) == (False, False, 1)
    # images and the convolution's input are rounded: the first normalisation already sees others
    assert first(row) == (0, 1, "buffer", "1.running_mean")
    assert row["num_iterations"] == 1
    assert (row["knob"], row["knob_then"], row["knob_now"]) == ("precision", "fp32", "bf16")
    assert row["time_ratio"] is None
    assert steps[0] == ("as recorded", 1, 128)
    assert steps[-1] == ("precision fp32 -> bf16", 1, 128)
    store = Store(tmp_path / "results")
    for each in (base, row):
        store.write("verifications", each)
    assert store.check() == (5, [])


def test_what_does_not_matter_is_identical_over_all_epochs_asked_for(record, own_network):
    row = isolation_of(record(model=own_network), num_epochs=2).turn("deterministic")
    assert (row["identical"], row["num_epochs"], row["num_iterations"]) == (True, 2, 130)
    assert first(row) == (None, None, None, None)
    assert (row["knob_then"], row["knob_now"]) == ("on", "off")


def test_both_are_timed_in_turn(record, own_network):
    row = isolation_of(record(model=own_network), num_rounds=5).turn("deterministic")
    assert 0 < row["time_ratio_low"] <= row["time_ratio"] <= row["time_ratio_high"]


def test_a_record_that_is_not_repeated_says_where(record, own_network):
    recorded = record(model=own_network)
    recorded.epochs[0]["losses"][70] += 1
    row = isolation_of(recorded).repeat()
    assert not row["identical"]
    assert (row["first_epoch"], row["first_iteration"], row["first_column"]) == (0, 71, "losses")


LATE = """\
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3072, 10)
        self.register_buffer("calls", torch.zeros(1, dtype=torch.int64))

    def forward(self, x):
        if self.training:
            self.calls += 1
        logits = self.linear(x.flatten(1))
        if not torch.are_deterministic_algorithms_enabled() and self.calls > 129:
            logits = logits + 1e-3 * logits.detach().sin()
        return logits
"""


def test_a_late_difference_is_found_with_its_epoch(record, write_module):
    write_module(LATE)
    row = isolation_of(record(model="mynet:Net"), num_epochs=2).turn("deterministic")
    assert not row["identical"]
    assert first(row) == (1, 130, "loss", None)
    assert row["num_iterations"] == 130


BROKEN_LATE = LATE.replace("logits = logits + 1e-3 * logits.detach().sin()", "raise ArithmeticError('no')")


def test_a_repetition_that_fails_says_which_and_why(record, write_module):
    write_module(BROKEN_LATE)
    isolation = isolation_of(record(model="mynet:Net"), num_epochs=2)
    with pytest.raises(HarnessError, match=r"^deterministic on -> off: ArithmeticError: no$"):
        isolation.turn("deterministic")


def test_a_precision_that_the_device_lacks_is_refused(record, own_network):
    with pytest.raises(UsageError, match="tf32"):
        isolation_of(record(model=own_network)).turn("precision", "tf32")


def test_every_knob_is_a_setting():
    assert KNOBS == ("threads", "precision", "deterministic", "channels_last", "compilation")
