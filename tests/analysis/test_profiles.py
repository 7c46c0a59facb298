"""Cells of two models, or of two sessions, beside each other."""

import subprocess
import sys

import pytest

from harness.analysis.profiles import compare_machines, compare_models, compare_sessions


def row(*round_seconds, model="a", mode="train", batch_size=8, precision="fp32", reference=None):
    """As much of a record as is compared; a number stands for a round of one call."""
    rounds = [[seconds] if isinstance(seconds, float) else seconds for seconds in round_seconds]
    return {
        "model": model,
        "mode": mode,
        "batch_size": batch_size,
        "precision": precision,
        "round_seconds": rounds,
        "reference_seconds": reference,
    }


def test_two_models_are_compared_round_by_round():
    # whatever slows a round slows both
    rows = [row(2.0, 40.0, [5.0, 6.0, 7.0], 8.0, 0.5), row(1.0, 20.0, 3.0, 4.0, 0.25, model="b")]
    [cell] = compare_models(rows, "a", "b")
    assert (cell.mode, cell.batch_size, cell.precision) == ("train", 8, "fp32")
    comparison = cell.comparison
    assert (comparison.ratio, comparison.low, comparison.high) == (2.0, 2.0, 2.0)
    assert not comparison.is_noise
    assert cell.num_rounds == 5


def test_the_ratio_is_of_the_first_over_the_second():
    rows = [row(2.0, 2.0, 2.0), row(1.0, 1.0, 1.0, model="b")]
    assert compare_models(rows, "b", "a")[0].comparison.ratio == 0.5


def test_cells_are_paired_with_the_same_mode_size_and_precision():
    rows = [
        row(1.0, model="b", precision="bf16"),
        row(2.0, model="b", batch_size=128),
        row(4.0, model="b", mode="infer"),
        row(8.0, model="b"),
        row(1e9, model="c"),
        row(16.0),
        row(16.0, mode="infer"),
        row(16.0, batch_size=128),
        row(16.0, precision="bf16"),
    ]
    found = compare_models(rows, "a", "b")
    assert {(each.mode, each.batch_size, each.precision): each.comparison.ratio for each in found} == {
        ("train", 8, "fp32"): 2.0,
        ("infer", 8, "fp32"): 4.0,
        ("train", 128, "fp32"): 8.0,
        ("train", 8, "bf16"): 16.0,
    }


@pytest.mark.parametrize("surplus", [0, 1])
def test_of_an_interrupted_session_the_rounds_are_compared_that_both_cells_have(surplus):
    rows = [row(*[2.0] * 5, 900.0), row(*[1.0] * 5, model="b")]
    first, second = ("a", "b") if surplus == 0 else ("b", "a")
    [cell] = compare_models(rows, first, second)
    assert cell.comparison.ratio == cell.comparison.low == cell.comparison.high == (0.5 if surplus else 2.0)
    assert cell.num_rounds == 5


def test_of_few_rounds_nothing_is_concluded():
    [cell] = compare_models([row(*[2.0] * 6), row(*[1.0] * 4, model="b")], "a", "b")
    assert cell.comparison.ratio == 2.0
    assert cell.comparison.low is cell.comparison.high is None
    assert cell.comparison.is_noise


@pytest.mark.parametrize("lacking", ["a", "b"])
def test_a_cell_that_one_model_lacks_or_that_failed_is_not_compared(lacking):
    rows = [
        row(1.0, model=model, batch_size=size)
        for model in "ab"
        for size in (1, 8)
        if (model, size) != (lacking, 1)
    ]
    assert [cell.batch_size for cell in compare_models(rows, "a", "b")] == [8]
    assert [
        cell.batch_size for cell in compare_models([*rows, row(model=lacking, batch_size=1)], "a", "b")
    ] == [8]


def test_two_sessions_are_compared_as_timed_apart():
    then, now = row(1.0, 2.0, 3.0, 2.0, 2.0), row([3.0, 3.0], 3.0, 3.0)
    [change] = compare_sessions([now], [then])
    assert (change.model, change.mode, change.batch_size, change.precision) == ("a", "train", 8, "fp32")
    assert (change.then.median, change.now.median) == (2.0, 3.0)
    assert (change.then.num_calls, change.now.num_calls) == (5, 4)
    assert change.comparison.ratio == 1.5


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        ([1.0] * 5, [1.0] * 5, "not told apart"),
        ([1.0] * 5, [1.001] * 5, "slower"),
        ([1.0] * 5, [0.999] * 5, "faster"),
        # medians of five rounds drawn reach from the least to the greatest
        ((1.0, 2.0, 3.0, 4.0, 5.0), (5.0, 6.0, 7.0, 8.0, 9.0), "not told apart"),
        ((1.0, 2.0, 3.0, 4.0, 5.0), (5.1, 6.0, 7.0, 8.0, 9.0), "slower"),
        ((5.1, 6.0, 7.0, 8.0, 9.0), (1.0, 2.0, 3.0, 4.0, 5.0), "faster"),
        ([1.0] * 4, [2.0] * 5, "unknown"),
        ([1.0] * 5, [2.0] * 4, "unknown"),
    ],
)
def test_sessions_differ_where_their_intervals_have_nothing_in_common(then, now, verdict):
    [change] = compare_sessions([row(*now, reference=FAST)], [row(*then, reference=FAST)])
    assert change.verdict == verdict


SLOW, FAST, UNSTEADY = [2.0] * 5, [1.0] * 5, [0.5, 1.0, 1.5, 2.0, 2.5]
APART, MACHINE = "not told apart", "not told from the machine"


@pytest.mark.parametrize(
    (
        "references",
        "verdicts",
    ),  # of then and now, of cells that take 1.5, 0.7, 1, 3 and 0.3 times as long as then
    [
        ((FAST, FAST), ["slower", "faster", APART, "slower", "faster"]),
        # the machine has become slower by 2, and what takes less than twice as long has not, nor has it become faster
        ((FAST, SLOW), [MACHINE, "faster", APART, "slower", "faster"]),
        ((SLOW, FAST), ["slower", MACHINE, APART, "slower", "faster"]),
        # it may have changed by 0.5 to 2.5
        ((FAST, UNSTEADY), [MACHINE, MACHINE, APART, "slower", "faster"]),
        ((FAST, SLOW[:4]), [MACHINE, MACHINE, APART, MACHINE, MACHINE]),
        ((FAST, None), [MACHINE, MACHINE, APART, MACHINE, MACHINE]),
        ((None, SLOW), [MACHINE, MACHINE, APART, MACHINE, MACHINE]),
    ],
)
def test_a_change_within_that_of_the_machine_says_nothing_of_the_code(references, verdicts):
    before, after = references
    sizes = range(5)
    then = [row(*[1.0] * 5, batch_size=size, reference=before) for size in sizes]
    seconds = zip(sizes, (1.5, 0.7, 1.0, 3.0, 0.3), strict=True)
    now = [row(*[each] * 5, batch_size=size, reference=after) for size, each in seconds]
    assert [change.verdict for change in compare_sessions(now, then)] == verdicts


@pytest.mark.parametrize(
    ("reference", "verdict"), [(1.4, "slower"), (1.6, MACHINE), (1.5, MACHINE), (2.6, MACHINE)]
)
def test_all_of_an_interval_must_lie_beyond_all_of_the_references(reference, verdict):
    """A cell takes 1.5 to 2.5 times as long as then, the reference 1 to so much."""
    then = row(*[1.0] * 5, reference=FAST)
    now = row(1.5, 1.5, 2.0, 2.5, 2.5, reference=[1.0, 1.0, 1.2, reference, reference])
    [change] = compare_sessions([now], [then])
    assert (change.comparison.low, change.comparison.high) == (1.5, 2.5)
    assert change.verdict == verdict


def test_machines_are_compared_by_their_reference():
    comparison = compare_machines([row(reference=SLOW)] * 3, [row(reference=FAST)])
    assert (comparison.ratio, comparison.low, comparison.high, comparison.is_noise) == (2.0, 2.0, 2.0, False)
    assert compare_machines([], [row(reference=FAST)]) is None
    assert compare_machines([row(reference=[])], [row(reference=FAST)]) is None


def test_cells_of_sessions_are_paired_by_all_that_they_are():
    cells = [{"model": "b"}, {"mode": "infer"}, {"batch_size": 1}, {"precision": "bf16"}, {}]
    then = [row(float(number), **cell) for number, cell in enumerate(cells, start=1)]
    now = [row(60.0, **cell) for cell in reversed(cells)]
    ratios = [change.comparison.ratio for change in compare_sessions(now, then)]
    assert ratios == [12.0, 15.0, 20.0, 30.0, 60.0]
    failed, new = row(model="b"), row(1.0, model="c")
    assert [change.mode for change in compare_sessions([failed, new, now[3]], then)] == ["infer"]
    assert compare_sessions([row(1.0)], [row()]) == []
    assert compare_sessions([row(1.0)], []) == []


def test_comparing_does_not_need_torch():
    code = "import sys, harness.analysis.profiles; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
