"""Tables of profiles, verifications, verdicts and comparisons, as people read them."""

import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness.analysis.by_image import Predicted
from harness.analysis.comparison import comparable_groups, compare_groups
from harness.analysis.groups import group_runs
from harness.analysis.paired import precision_differences
from harness.analysis.profiles import compare_machines, compare_models, compare_sessions
from harness.analysis.summary import summarize
from harness.analysis.verdicts import verdict_board
from harness.claims import claims
from harness.cli.inspection import _defaults
from harness.console import PIPE_WIDTH, print_differences, print_plan, print_summary, stdout
from harness.plain_table import PlainTable, new_table
from harness.records import Store
from harness.report.inventory import inventory_table, read_inventory
from harness.tables import (
    print_audits,
    print_benchmarks,
    print_changes,
    print_comparisons,
    print_identities,
    print_inventory,
    print_model_comparisons,
    print_operators,
    print_profiles,
    print_runs,
    print_verdicts,
    print_verifications,
)

MIB = 2**20


@pytest.fixture
def make_row():
    """A function from changed columns to a cell, as far as a table reads it: five rounds of two calls."""

    def make(**changes):
        return {
            "session_id": "s1",
            "model": "resnet20",
            "mode": "train",
            "batch_size": 8,
            "precision": "fp32",
            "status": "measured",
            "reason": None,
            "round_seconds": [[0.001, 0.003], *[[0.002, 0.002]] * 4],
            "flops_share": 0.125,
            "joules_per_image": None,
            "reference_seconds": None,
            "macs": None,
            "peak_memory_bytes": 3000 * MIB,
            "base_memory_bytes": 1000 * MIB,
            "others_share": 0.01,
            "busy": False,
        } | changes

    return make


@pytest.fixture
def printed(capsys):
    """A function to the lines that were printed, as words."""
    return lambda: [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_cell_is_a_line_of_what_it_takes(make_row, printed):
    print_profiles([make_row()])
    title, columns, line = printed()
    assert " ".join(title) == "Time of a step"
    assert " ".join(columns) == (
        "model mode batch precision median 95 % interval p95 p99 calls images/s of ceiling peak MiB of it network"
    )
    assert " ".join(line) == "resnet20 train 8 fp32 2 ms 2 ms .. 2 ms (range) - - 10 4,000 12.5% 3,000 2,000"


def test_interval_of_rounds_enough_is_no_range(make_row, printed):
    print_profiles([make_row(round_seconds=[[0.002]] * 8)])
    assert " ".join(printed()[-1]).startswith("resnet20 train 8 fp32 2 ms 2 ms .. 2 ms - - 8 ")


def test_quantiles_are_those_of_all_calls(make_row, printed):
    # 1, 2, ..., 100 ms, in two rounds: of which there is no interval
    calls = [number / 1000 for number in range(1, 101)]
    print_profiles([make_row(round_seconds=[calls[::2], calls[1::2]])])
    assert " ".join(printed()[-1]) == "resnet20 train 8 fp32 50.5 ms - 95 ms 99 ms 100 158 12.5% 3,000 2,000"


def test_what_is_not_known_is_a_dash(make_row, printed):
    print_profiles([make_row(peak_memory_bytes=None, base_memory_bytes=None, flops_share=None, busy=None)])
    assert printed()[-1][-4:] == ["4,000", "-", "-", "-"]


def test_what_failed_stands_below_with_the_reason(make_row, printed):
    failed = make_row(batch_size=1, status="failed", reason="ValueError: [x]", round_seconds=[])
    later = make_row(batch_size=32, status="failed", reason="KeyError: 'y'", round_seconds=[[1.0]])
    print_profiles([failed, later, make_row()])
    lines = [" ".join(words) for words in printed()]
    assert [line.split()[2] for line in lines[2:4]] == ["32", "8"]
    assert lines[4:] == [
        "resnet20 train 1 fp32: failed: ValueError: [x]",
        "resnet20 train 32 fp32: failed: KeyError: 'y'",
    ]


def test_of_a_busy_machine_the_times_are_not_trusted(make_row, capsys):
    busy = {"others_share": 0.31, "busy": True}
    print_profiles([make_row(**busy), make_row(batch_size=1, **busy)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Other programs took 31% of the cores meanwhile: these times are not to be trusted."
    print_profiles([make_row(), make_row(session_id="s2", **busy), make_row(session_id="s3")])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "Other programs took 31% of the cores meanwhile: the times of s2 are not to be trusted."
    print_profiles([make_row()])
    assert "Other programs" not in capsys.readouterr().out


def test_operators_are_a_table_for_each_step(printed):
    step = {"session_id": "s1", "model": "resnet20", "mode": "train", "batch_size": 128, "precision": "fp32"}
    rows = [
        {"operator": "aten::[x]", "calls": 20, "self_seconds": 0.0123, "share": 0.75},
        {"operator": "(others)", "calls": 3, "self_seconds": 0.0041, "share": 0.25},
    ]
    print_operators([*(step | row for row in rows), step | {"mode": "infer"} | rows[1] | {"share": 1.0}])
    assert [" ".join(words) for words in printed()] == [
        "resnet20 train 128 fp32 (s1)",
        "operator calls self time share",
        "aten::[x] 20 12.3 ms 75.0%",
        "(others) 3 4.1 ms 25.0%",
        "",
        "resnet20 infer 128 fp32 (s1)",
        "operator calls self time share",
        "(others) 3 4.1 ms 100.0%",
        "",
    ]


def test_what_can_be_counted_is_a_line_for_each_model(make_row, printed):
    def counted(model, number):
        size = {"macs": 1000 * number, "parameters": number, "weighted_layers": 22}
        return make_row(model=model, activation_bytes_per_image=2**20, **size)

    print_profiles([counted("a", 2000), counted("a", 2000), counted("b", 3), make_row(model="nothing")])
    lines = [" ".join(words) for words in printed()]
    assert lines[:6] == [
        "Size",
        "model parameters MACs weighted layers kept for backward, KiB an image",
        "a 2,000 2,000,000 22 1,024",
        "b 3 3,000 22 1,024",
        "",
        "Time of a step",
    ]


def test_energy_is_in_the_table_where_it_was_measured(make_row, printed):
    print_profiles([make_row(joules_per_image=0.002), make_row(mode="infer", joules_per_image=0.001)])
    _, columns, train, infer = printed()
    assert " ".join(columns).endswith("of it network mJ an image kJ a run of the paper")
    # 64,000 mini-batches of 128
    assert train[-2:] == ["2", "16.4"]
    assert infer[-2:] == ["1", "-"]


def test_two_models_are_set_beside_each_other(make_row, printed):
    def rounds(*seconds):
        return {"round_seconds": [[each] for each in seconds]}

    rows = [
        make_row(**rounds(2.0, 4.0, 6.0, 8.0, 10.0)),
        make_row(mode="infer", **rounds(0.5, 1.0, 1.5, 2.0, 4.0)),
        make_row(batch_size=128, **rounds(1.0)),
    ]
    rows += [
        make_row(model="plain20", mode=mode, **rounds(1.0, 2.0, 3.0, 4.0, 5.0)) for mode in ("train", "infer")
    ]
    rows += [make_row(model="plain20", batch_size=128, **rounds(4.0))]
    rows += [make_row(model="plain20", batch_size=1, **rounds(*[1.0] * 8))]
    rows += [make_row(batch_size=1, **rounds(*[0.9] * 6, *[0.9996] * 2))]
    print_comparisons(compare_models(rows, "resnet20", "plain20"), "resnet20", "plain20")
    assert [" ".join(words) for words in printed()] == [
        "",
        "Time of resnet20 over that of plain20, round by round",
        "mode batch precision ratio 95 % interval",
        "train 8 fp32 2.000 2.000 .. 2.000 (range)",
        "infer 8 fp32 0.500 0.500 .. 0.800 (range)",
        "train 128 fp32 0.250 - noise",
        # reaches 1 as it is printed
        "train 1 fp32 0.900 0.900 .. 1.000 noise",
    ]


def test_two_sessions_are_set_beside_each_other(make_row, printed):
    def session(*seconds):
        sizes = (1, 8, 32, 128)
        return [
            make_row(
                batch_size=size,
                round_seconds=[[each]] * (2 if size == 128 else 8),
                reference_seconds=[1.0] * 5,
            )
            for size, each in zip(sizes, seconds, strict=True)
        ]

    now, then = session(1.0, 3.0, 0.5, 1.0), session(1.0, 1.0, 1.0, 1.0)
    print_changes(compare_sessions(now, then), compare_machines(now, then))
    lines = [" ".join(words) for words in printed()]
    assert lines == [
        "",
        "Then and now",
        "model mode batch precision then 95 % interval now 95 % interval ratio",
        "resnet20 train 1 fp32 1 s 1 s .. 1 s 1 s 1 s .. 1 s 1.000 not told apart",
        "resnet20 train 8 fp32 1 s 1 s .. 1 s 3 s 3 s .. 3 s 3.000 slower",
        "resnet20 train 32 fp32 1 s 1 s .. 1 s 500 ms 500 ms .. 500 ms 0.500 faster",
        "resnet20 train 128 fp32 1 s - 1 s - 1.000 unknown",
        "1 of 4 cells are not told apart: their intervals overlap.",
        "This machine takes 1.00 times as long as then (1.00 .. 1.00) for a reference without a network.",
    ]


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (
            [2.0] * 5,
            [
                "This machine takes 2.00 times as long as then (2.00 .. 2.00) for a reference without a network.",
            ],
        ),
        (
            [0.5, 1.0, 1.0, 1.0, 4.0],
            [
                "This machine takes 1.00 times as long as then (0.50 .. 4.00) for a reference without a network.",
                "What this machine may have changed by as well says nothing of the code.",
            ],
        ),
        *(
            (
                reference,
                [
                    "There is no reference of five rounds in both to tell how this machine has changed.",
                    "What this machine may have changed by as well says nothing of the code.",
                ],
            )
            for reference in ([2.0], None)
        ),
    ],
)
def test_a_change_of_the_machine_is_said(make_row, printed, reference, words):
    then = [make_row(reference_seconds=[1.0] * 5, round_seconds=[[1.0]] * 5)]
    now = [make_row(reference_seconds=reference, round_seconds=[[3.0]] * 5)]
    print_changes(compare_sessions(now, then), compare_machines(now, then))
    lines = [" ".join(line) for line in printed()]
    assert lines[lines.index("0 of 1 cells are not told apart: their intervals overlap.") + 1 :] == words


@pytest.fixture
def make_verification():
    """A function from changed columns to a verification, as far as a table reads it: of all of a run, and identical."""

    def make(**changes):
        row = {
            "run_id": "resnet20-short-fp32-s0",
            "num_epochs": 164,
            "complete": True,
            "num_iterations": 64_000,
            "identical": True,
            "first_epoch": None,
            "first_iteration": None,
            "first_column": None,
            "first_tensor": None,
            "knob": None,
            "knob_then": None,
            "knob_now": None,
            "time_ratio": None,
            "time_ratio_low": None,
            "time_ratio_high": None,
            "seconds_then": 1234.56,
            "seconds_now": 0.04,
            "environment_then": "{}",
            "environment_now": "{}",
        }
        assert set(changes) <= set(row)
        return row | changes

    return make


def test_a_run_that_was_repeated_bit_by_bit_is_a_line(make_verification, printed):
    part = make_verification(run_id="b", num_epochs=2, complete=False, num_iterations=782)
    print_verifications([make_verification(), part])
    assert [" ".join(words) for words in printed()] == [
        "Verified",
        "run epochs iterations verdict seconds then seconds now",
        "resnet20-short-fp32-s0 164 (all) 64,000 bit-identical 1,234.6 0.0",
        "b 2 782 bit-identical 1,234.6 0.0",
    ]


@pytest.mark.parametrize(
    ("epoch", "iteration", "column", "words"),
    [
        (3, 1234, "losses", "differs from epoch 3 on, first in the loss of iteration 1,234"),
        (0, 1, "losses", "differs from epoch 0 on, first in the loss of iteration 1"),
        (0, None, "weights_sha256", "differs from epoch 0 on, first in weights_sha256"),
        (None, None, "weights_sha256", "differs at the end in weights_sha256"),
        (None, None, "logits", "differs at the end in logits"),
    ],
)
def test_of_a_run_that_differs_the_first_difference_is_told(
    make_verification, printed, epoch, iteration, column, words
):
    first = {"first_epoch": epoch, "first_iteration": iteration, "first_column": column}
    print_verifications([make_verification(run_id="a", identical=False, **first)])
    lines = [" ".join(line) for line in printed()]
    assert lines[2:] == [f"a 164 (all) 64,000 {words} 1,234.6 0.0"]


def test_what_may_have_caused_a_difference_stands_below(make_verification, printed):
    environments = {
        "environment_then": '{"cuda": null, "libraries": "{\\"numpy\\": [1]}", "threads": 1}',
        "environment_now": '{"cuda": "13", "libraries": "{}", "threads": 2}',
    }
    differs = {"identical": False, "first_column": "logits"}
    print_verifications(
        [
            make_verification(run_id="same", **environments),
            make_verification(run_id="other", **differs, **environments),
            make_verification(run_id="unexplained", **differs),
        ]
    )
    lines = [" ".join(line) for line in printed()]
    assert [line.split()[0] for line in lines[2:5]] == ["same", "other", "unexplained"]
    assert lines[5:] == [
        "other differs; a likely cause is in its environment, then and now:",
        "cuda: None -> 13",
        'libraries: {"numpy": [1]} -> {}',
        "threads: 1 -> 2",
    ]


def test_a_turned_knob_is_a_line_of_a_table_of_its_own(make_verification, printed):
    turned = {"identical": False, "num_iterations": 1, "first_epoch": 0, "first_iteration": 1}
    threads = {"knob": "threads", "knob_then": "1", "knob_now": "2", "first_column": "buffer"}
    loss = {"knob": "precision", "knob_then": "fp32", "knob_now": "bf16", "first_column": "loss"}
    same = {"knob": "deterministic", "knob_then": "on", "knob_now": "off", "num_iterations": 391}
    print_verifications(
        [
            make_verification(num_epochs=1, complete=False, num_iterations=391),
            make_verification(**turned, **threads, first_tensor="bn1.running_mean", time_ratio=0.5),
            make_verification(**turned, **loss),
            make_verification(**same, time_ratio=1.0, time_ratio_low=0.98, time_ratio_high=1.02),
        ]
    )
    lines = [" ".join(line) for line in printed()]
    assert lines[2:] == [
        "resnet20-short-fp32-s0 1 391 bit-identical 1,234.6 0.0",
        "With one knob turned",
        "knob turned verdict iterations time of an update, turned over not",
        "threads 1 -> 2 differs from iteration 1 on, first in buffer bn1.running_mean 1 0.500",
        "precision fp32 -> bf16 differs from iteration 1 on, first in loss 1 -",
        "deterministic on -> off bit-identical 391 1.000 (0.980 to 1.020)",
    ]


def terminal(file, columns, color_system="standard"):
    return type(stdout)(
        file=file,
        force_terminal=True,
        color_system=color_system,
        width=columns,
        markup=False,
        emoji=False,
        highlight=False,
        soft_wrap=True,
    )


@pytest.fixture
def on_terminal(monkeypatch):
    """A function from a number of columns to what a terminal of so many is sent."""
    # the variables of where tests run decide nothing
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")

    def make(columns):
        file = io.StringIO()
        monkeypatch.setattr("harness.tables.verdicts.stdout", terminal(file, columns))
        return file

    return make


@pytest.fixture
def board(make_seeds):
    """Claims that are shown to be reproduced, better and worse, and some that are not."""
    accuracies = {
        "resnet20": (0.912, 0.9125, 0.913),
        "resnet32": (0.934, 0.935, 0.936),
        "resnet44": (0.900, 0.901, 0.902),
        "resnet56": (0.92, 0.93),
    }
    runs = [run for model, its in accuracies.items() for run in make_seeds(*its, model=model, recipe="paper")]
    runs += make_seeds(0.9, model="plain20")
    return verdict_board(claims().values(), runs)


VERDICTS = {
    "he2015-resnet20": ("reproduced", "32"),
    "he2015-resnet32": ("better", "36"),
    "he2015-resnet44": ("worse", "31"),
    "he2015-resnet56": ("inconclusive", "33"),
    "he2015-plain20": ("not comparable", "2"),
}
"""Of the board, with the codes of green, cyan, red, yellow and dim."""


def line_of(text, key):
    """Of a table: the line that starts with a key."""
    [line] = [line for line in text.splitlines() if line.startswith(f"{key} ")]
    return line.rstrip()


@pytest.mark.parametrize("key", VERDICTS)
def test_verdicts_have_colours_on_a_terminal_only(board, on_terminal, capsys, key):
    verdict, code = VERDICTS[key]
    print_verdicts(board, 0.005)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    [after] = re.findall(rf"  {verdict}  +(\S.*)", line_of(out, key))
    model = key.removeprefix("he2015-")
    assert after.split() == [
        model,
        *(("short", "1,563") if model == "plain20" else ("paper", "64,000")),
        *("fp32", "Some", "CPU"),
    ]
    file = on_terminal(200)
    print_verdicts(board, 0.005)
    assert f"\x1b[{code}m{verdict}" in line_of(file.getvalue(), key)


def test_claim_without_any_result_is_a_dim_line(make_seeds, on_terminal):
    runs = make_seeds(None, None, recipe="paper", status="diverged")
    file = on_terminal(200)
    print_verdicts(verdict_board([claims()["he2015-resnet20"]], runs), 0.005)
    assert "\x1b[2mnot measured" in line_of(file.getvalue(), "he2015-resnet20")
    assert "he2015-resnet20: 2 seeds diverged, and are left out" in file.getvalue()
    assert "Not measured: " not in file.getvalue()


def test_keys_of_claims_are_whole_on_a_narrow_terminal(make_seeds, on_terminal):
    long = ("he2015-resnet110-mean", "torchdistill-resnet20")
    runs = make_seeds(0.9, model="resnet110") + make_seeds(0.9, model="torchdistill-resnet20")
    runs += make_seeds(0.9, model=claims()["torchdistill-resnet20"].model)
    file = on_terminal(80)
    print_verdicts(verdict_board([claims()[key] for key in long], runs), 0.005)
    starts = [line.split(" ")[0] for line in file.getvalue().splitlines()]
    assert set(long) <= set(starts)


def test_pipes_get_every_column_in_full(make_seeds, make_card, capsys):
    model = "some.package.of.mine:make_a_network_of_twenty_layers"
    mine = {"model": model, "model_source": "own code"}
    card = make_card(**mine, counterpart="resnet20", equivalence="equal")
    runs = make_seeds(0.912, 0.9125, 0.913, recipe="paper", **mine)
    print_verdicts(verdict_board(claims().values(), runs, [card]), 0.005)
    line = line_of(capsys.readouterr().out, "he2015-resnet20")
    assert line.split() == [
        *("he2015-resnet20", "8.75", "8.75", "8.63", "..", "8.87", "3", "reproduced"),
        *(model, "paper", "64,000", "fp32", "Some", "CPU"),
    ]
    assert len(line) < PIPE_WIDTH


def test_numbers_of_verdicts_are_flushed_right(board, capsys):
    print_verdicts(board, 0.005)
    _, columns, *rows = capsys.readouterr().out.splitlines()
    for name, cells in (("claimed", ("8.75", "7.51")), ("measured", ("8.75", "6.50"))):
        end = columns.index(name) + len(name)
        assert [row[end - 4 : end] for row in rows[:2]] == list(cells)


def test_each_note_is_one_line_however_long(board, make_seeds, capsys):
    print_verdicts(board, 0.005)
    lines = capsys.readouterr().out.splitlines()
    notes = [line for line in lines if ": " in line][1:]
    assert [note.split(": ")[0] for note in notes] == ["he2015-resnet56", "he2015-plain20", "Not measured"]
    assert len(notes[1]) > 150
    missing = [row.claim.key for row in board if row.group is None]
    assert notes[-1] == f"Not measured: {', '.join(missing)}"


def test_of_nothing_measured_there_is_no_table(printed):
    rows = verdict_board([claims()["he2015-resnet20"], claims()["he2015-plain20"]], [])
    print_verdicts(rows, 0.005)
    assert [" ".join(words) for words in printed()] == ["Not measured: he2015-resnet20, he2015-plain20"]


def test_where_all_was_measured_nothing_is_said_to_be_missing(make_seeds, capsys):
    runs = make_seeds(0.912, 0.9125, 0.913, recipe="paper")
    print_verdicts(verdict_board([claims()["he2015-resnet20"]], runs), 0.005)
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(("margin", "shown"), [(0.005, "0.5"), (0.01, "1"), (0.00125, "0.125")])
def test_verdicts_say_their_margin(board, capsys, margin, shown):
    print_verdicts(board, margin)
    assert f" within {shown} points of the claim" in capsys.readouterr().out.splitlines()[0]


def test_settings_of_two_models_are_adjusted_for_each_other(make_seeds, printed):
    comparisons = []
    for precision in ("fp32", "bf16"):
        firsts = make_seeds(0.81, 0.83, 0.85, precision=precision)
        seconds = make_seeds(0.80, 0.80, 0.80, model="plain20", precision=precision)
        comparisons.append(compare_groups(*group_runs(firsts), *group_runs(seconds), {}))
    print_model_comparisons(comparisons)
    rows = [" ".join(words) for words in printed()[2:4]]
    # t = 3 / (2 / sqrt(3)) = 2.598 of two degrees of freedom: p = 0.122, twice that by Holm; 4.303 * 1.155 = 4.97
    assert [row.split(" - ")[0] for row in rows] == ["3 +3.00 -1.97 .. +7.97 0.243"] * 2
    assert [row.rpartition(" - ")[2] for row in rows] == [
        f"short 1,563 {precision} Some CPU" for precision in ("fp32", "bf16")
    ]


def test_very_small_p_and_what_has_no_right_answers_can_be_read(make_run, printed):
    labels = np.zeros(100, np.uint8)
    right, wrong = Predicted(labels, labels), Predicted(labels, labels + 1)
    runs = make_run(test_accuracy=1.0), make_run(model="plain20", test_accuracy=0.0)
    groups = group_runs(runs)
    predictions = {runs[0]["run_id"]: right, runs[1]["run_id"]: wrong}
    print_model_comparisons([compare_groups(*groups, predictions)])
    lines = [" ".join(words) for words in printed()]
    assert lines[2] == "1 +100.00 - - +100.00 .. +100.00 - 100.0 % - - short 1,563 fp32 Some CPU"
    assert lines[-1] == "0 100 0 < 0.001 < 0.001 short 1,563 fp32 Some CPU"


def test_long_names_of_models_are_not_cut_in_a_comparison(make_run, capsys):
    names = "mine:a_network_of_twenty_layers", "others:a_network_of_twenty_layers"
    groups = group_runs([make_run(model=name) for name in names])
    print_model_comparisons([compare_groups(*groups, {})])
    title, columns, *_ = capsys.readouterr().out.splitlines()
    assert title == f"{names[0]} minus {names[1]}: test accuracy in percentage points, paired by seed"
    assert " ".join(columns.split()).endswith(
        f" by seeds of {names[0]} by seeds of {names[1]} recipe iterations precision device"
    )


PUBLISHED = Path(__file__).parents[1] / "results" / "published"


def published(kind):
    return Store(PUBLISHED).read(kind)[0].slice(0, 120).to_pylist()


def print_published_comparison():
    groups = [group for group in group_runs(published("runs")) if group.runs]
    pairs = comparable_groups(groups, "resnet20", "plain20")
    predictions = {
        run["run_id"]: Predicted(np.arange(100) % 10, (np.arange(100) + number) % 10)
        for pair in pairs
        for group in pair
        for number, run in enumerate(group.runs)
    }
    print_model_comparisons([compare_groups(*pair, predictions) for pair in pairs])


def print_published_changes():
    rows = published("profiles")[:10]
    print_changes(compare_sessions(rows, rows), compare_machines(rows, rows))


def print_a_plan():
    runs = [
        SimpleNamespace(
            spec=SimpleNamespace(
                model="bayesian-torch-resnet110",
                recipe=SimpleNamespace(name=recipe, num_iterations=lambda: 64_000),
                seed=seed,
                precision="bf16",
                iterations=12_345,
                shortened=True,
            ),
            state="interrupted",
            to_do=True,
            estimated_seconds=45_678,
            note="goes on from iteration 10,000, of which the checkpoint was written two days ago",
        )
        for recipe in ("paper", "short-own-init")
        for seed in (0, 12)
    ]
    print_plan(
        SimpleNamespace(
            experiment=SimpleNamespace(name="mine", summary="a summary of some length"),
            environment=SimpleNamespace(device_name="AMD EPYC (family 25, model 17)"),
            planned=runs,
            to_do=runs,
            num_lanes=2,
            estimated_seconds=45_678,
        )
    )


TABLES = {
    "verdicts": lambda: print_verdicts(
        verdict_board(claims().values(), published("runs"), published("identities")), 0.005
    ),
    "compare": print_published_comparison,
    "results list": lambda: print_runs(published("runs")),
    "results summary": lambda: print_inventory(
        inventory_table(read_inventory(Store(PUBLISHED), _defaults()).batches)
    ),
    "plan": print_a_plan,
    "report of a sweep": lambda: print_summary(summarize(published("runs"))),
    "precisions of a sweep": lambda: print_differences(precision_differences(published("runs"))),
    "identify": lambda: print_identities(published("identities")),
    "audit": lambda: print_audits(published("audits")),
    "verify": lambda: print_verifications(published("verifications")),
    "benchmarks": lambda: print_benchmarks(published("benchmarks")),
    "profile": lambda: print_profiles(published("profiles")[:20]),
    "operators": lambda: print_operators(published("operators")),
    "changes": print_published_changes,
}


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("name", TABLES)
def test_no_number_and_no_name_is_cut_in_a_narrow_terminal(monkeypatch, capsys, name, columns):
    tables = []
    monkeypatch.setattr(
        stdout, "print", lambda *printed: tables.extend(its for its in printed if isinstance(its, PlainTable))
    )
    TABLES[name]()
    assert tables
    for table in tables:
        file = io.StringIO()
        terminal(file, columns, color_system=None).print(table)
        lines = file.getvalue().splitlines()
        assert "…" not in file.getvalue()
        assert max(map(len, lines)) <= columns
        whole = [
            place
            for place, name in enumerate(table.columns)
            if table._right[place] or name in {"run", "claim", "model", "checkpoint"}
        ]
        for cell in {str(row[place]) for row in table.rows for place in whole}:
            assert re.search(rf"(?<!\S){re.escape(cell)}(?![^\s,])", file.getvalue())


def rendered(table, columns):
    file = io.StringIO()
    terminal(file, columns, color_system=None).print(table)
    return file.getvalue().splitlines()


def a_table(*settings):
    table = new_table("model", "mean", "recipe", "iterations", "device", "remark", title="Means")
    for number, (recipe, iterations) in enumerate(settings):
        table.add_row(f"net{number}", "91.25", recipe, iterations, "Some CPU", "of no interest to anyone")
    return table


def test_where_there_is_room_a_table_is_as_it_is():
    assert rendered(a_table(("short", "782"), ("short", "782")), 80) == [
        "Means",
        "model   mean  recipe  iterations  device    remark",
        "net0   91.25  short          782  Some CPU  of no interest to anyone",
        "net1   91.25  short          782  Some CPU  of no interest to anyone",
    ]


def test_details_that_all_rows_share_are_said_above_a_table_without_room():
    assert rendered(a_table(("short", "782"), ("short", "782")), 50) == [
        "Means",
        "All: short, iterations 782, on Some CPU",
        "model   mean  remark",
        "net0   91.25  of no interest to anyone",
        "net1   91.25  of no interest to anyone",
    ]


def test_details_of_a_row_are_said_below_it_and_texts_take_several_lines():
    assert rendered(a_table(("short", "782"), ("paper", "64,000")), 30) == [
        "Means",
        "All: on Some CPU",
        "model   mean  remark",
        "net0   91.25  of no interest",
        "              to anyone",
        "    short, iterations 782",
        "net1   91.25  of no interest",
        "              to anyone",
        "    paper, iterations 64,000",
    ]


def test_where_nothing_else_helps_the_rightmost_columns_stand_below():
    [_, columns, row, *below] = rendered(a_table(("short", "782")), 18)
    assert (columns, row) == ("model   mean", "net0   91.25")
    assert " ".join(" ".join(below).split()) == (
        "remark of no interest to anyone, short, iterations 782, on Some CPU"
    )
