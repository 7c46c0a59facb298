"""What people and programs read."""

import json
import sys
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from harness.config import Precision, RunSpec, load_recipe
from harness.console import print_json, print_report, stdout, this_program
from harness.errors import UnknownNameError, UsageError, printable
from harness.plain_table import new_table


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


@pytest.fixture
def session(tmp_path):
    """What a report needs of one."""
    experiment = SimpleNamespace(shows="this.", shows_not="that.")
    return SimpleNamespace(experiment=experiment, store=SimpleNamespace(root=tmp_path))


@pytest.fixture
def make_run():
    """A function from changed columns to a completed run, as far as a report reads it."""

    def make(**changes):
        row = {
            "model": "resnet20",
            "recipe": "short",
            "iterations": 1563,
            "batch_size": 128,
            "shortened": False,
            "precision": "fp32",
            "data": "cifar10",
            "device_name": "Some CPU",
            "threads": 1,
            "seed": 0,
            "status": "completed",
            "test_accuracy": 0.9,
            "images_per_second": 1000.0,
            "seconds": 60.0,
            "environment_sha256": "e",
            "weights_sha256": "w",
            "model_source": "ours",
            "resumed_from": [],
            "test_accuracy_best": 0.9,
            "finished_at": datetime(2026, 1, 2, tzinfo=UTC),
        } | changes
        spec = RunSpec(
            model=row["model"],
            recipe=load_recipe(row["recipe"]),
            iterations=row["iterations"],
            seed=row["seed"],
            precision=Precision(row["precision"]),
            data=row["data"],
        )
        return {"spec": spec.model_dump_json(), "spec_sha256": spec.sha256} | row

    return make


DIFFERENCE = "Difference of test accuracy to float32, paired by seed, percentage points"


def test_report_states_what_another_precision_costs_and_gains(capsys, session, make_run):
    runs = [
        make_run(seed=0, test_accuracy=0.8231),
        make_run(seed=1, test_accuracy=0.8302),
        make_run(seed=0, test_accuracy=0.8225, precision="bf16", images_per_second=1500.0),
        make_run(seed=1, test_accuracy=0.8310, precision="bf16", images_per_second=1600.0),
        make_run(seed=1, test_accuracy=0.8302, precision="tf32", images_per_second=None),
    ]
    print_report(session, runs, [])
    lines = capsys.readouterr().out.splitlines()
    start = lines.index(DIFFERENCE)
    columns, *rows = (line.split() for line in lines[start + 1 : start + 4])
    assert " ".join(columns) == "model recipe precision n mean sd 95 % interval speed ratio"
    # -6 and 8 of 10,000 images; 0.07 * 12.706 = 0.889
    assert rows == [
        ["resnet20", "short", "bf16", "2", "+0.01", "0.10", "-0.88", "..", "+0.90", "1.55"],
        ["resnet20", "short", "tf32", "1", "+0.00", "-", "-", "-"],
    ]
    assert lines[start - 1] == ""
    assert lines[start + 4] == "This shows this."


def test_report_of_one_precision_compares_none(capsys, session, make_run):
    print_report(session, [make_run(seed=0), make_run(seed=1)], [])
    out = capsys.readouterr().out
    assert "Test accuracy after the last iteration" in out
    assert "Difference" not in out


def test_a_difference_that_rounds_to_nothing_has_no_sign_of_its_own(capsys, session, make_run):
    runs = [make_run(test_accuracy=0.5), make_run(test_accuracy=0.49999, precision="bf16")]
    print_report(session, runs, [])
    assert "-0.00" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("é, 图 and [/bold]", "é, 图 and [/bold]"),
        ("\x1b[2J\0\n\u202e\udcff", r"\x1b[2J\x00\n\u202e\udcff"),
        ("a" * 200, "a" * 200),
        ("a" * 201, "a" * 197 + "..."),
    ],
)
def test_texts_of_others_are_one_printable_line(text, shown):
    assert printable(text) == shown


def test_of_many_names_the_nearest_fifteen_are_told():
    names = [f"{number}-{'x' * number}" for number in range(30)]
    text = str(UnknownNameError("thing", "xxxxxxyz", names))
    assert text.startswith("no thing named 'xxxxxxyz'; did you mean 6-xxxxxx")
    text = str(UnknownNameError("thing", "9qqqqqqqqqqq", names))
    listed = (
        text.removeprefix("no thing named '9qqqqqqqqqqq'; known: ").removesuffix(" and 15 more").split(", ")
    )
    assert listed[0] == "9-xxxxxxxxx"
    assert (len(listed), set(listed) <= set(names)) == (15, True)
    # few are told in their order
    assert str(UnknownNameError("thing", "q", names[:15])).endswith(f"known: {', '.join(names[:15])}")


def test_an_error_keeps_its_lines_and_nothing_else_that_does_not_print():
    assert str(UsageError("one\n\x1b[2Jtwo")) == "one\n\\x1b[2Jtwo"
    assert len(str(UsageError("a" * 10**6))) == 10_000


def test_texts_of_others_are_no_markup_and_do_nothing_to_the_terminal(capsys):
    stdout.print("[bold]a[/bold] [/] :smile: \x1b[2J\udcff")
    table = new_table("[/]", title="[/bold]\x07")
    table.add_row("[link=x]\x1ba[/link]")
    stdout.print(table)
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        r"[bold]a[/bold] [/] :smile: \x1b[2J\udcff",
        r"[/bold]\x07",
        "[/]",
        r"[link=x]\x1ba[/link]",
    ]


SUMMARY = "Test accuracy after the last iteration, per cent"


def summary_lines(out):
    """Of the table of test accuracies, the columns and then the rows, as text without what aligns it."""
    lines = [" ".join(line.split()) for line in out.splitlines()]
    table = lines[lines.index(SUMMARY) + 1 :]
    return table[: table.index("This shows this.")]


def test_summary_gives_mean_and_interval_over_seeds(capsys, session, make_run):
    runs = [make_run(seed=seed, test_accuracy=accuracy) for seed, accuracy in enumerate((0.90, 0.91, 0.92))]
    runs += [make_run(model="plain20", test_accuracy=0.875)]
    print_report(session, runs, [])
    # 4.303 * 1 / sqrt(3) = 2.48
    assert summary_lines(capsys.readouterr().out) == [
        "model recipe iterations precision n mean sd 95 % interval images/s time a run",
        "resnet20 short 1,563 fp32 3 91.00 1.00 88.52 .. 93.48 1,000 1 min 00 s",
        "plain20 short 1,563 fp32 1 87.50 - - 1,000 1 min 00 s",
    ]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"status": "diverged", "test_accuracy": None}, "1 diverged"),
        ({"status": "failed", "test_accuracy": None}, "1 not completed"),
        ({"status": "skipped", "test_accuracy": None}, "1 not completed"),
        ({"resumed_from": ['{"run": "x"}'], "test_accuracy": 0.1}, "1 went on after a change, left out"),
    ],
)
def test_summary_notes_the_seeds_that_are_left_out(capsys, session, make_run, changes, note):
    print_report(session, [make_run(seed=0), make_run(seed=1), make_run(seed=2, **changes)], [])
    _, row = summary_lines(capsys.readouterr().out)
    assert row == f"resnet20 short 1,563 fp32 2 90.00 0.00 90.00 .. 90.00 1,000 1 min 00 s {note}"


def test_summary_notes_that_runs_were_shortened(capsys, session, make_run):
    print_report(session, [make_run(shortened=True, iterations=100), make_run(model="plain20")], [])
    _, shortened, whole = summary_lines(capsys.readouterr().out)
    assert shortened == "resnet20 short 100 fp32 1 90.00 - - 1,000 1 min 00 s shortened"
    assert whole == "plain20 short 1,563 fp32 1 90.00 - - 1,000 1 min 00 s"


def test_summary_has_all_notes_in_one_cell(capsys, session, make_run):
    ends = [
        {"status": "diverged", "test_accuracy": None},
        {"status": "diverged", "test_accuracy": None},
        {"status": "failed", "test_accuracy": None},
        {"resumed_from": ['{"run": "x"}']},
    ]
    runs = [make_run(seed=seed, shortened=True, **changes) for seed, changes in enumerate([{}, *ends])]
    print_report(session, runs, [])
    _, row = summary_lines(capsys.readouterr().out)
    assert row.endswith(" s shortened, 2 diverged, 1 not completed, 1 went on after a change, left out")


def test_summary_of_seeds_that_all_diverged_has_no_numbers(capsys, session, make_run):
    ended = {"status": "diverged", "test_accuracy": None, "images_per_second": None, "seconds": None}
    print_report(session, [make_run(seed=seed, **ended) for seed in range(2)], [])
    _, row = summary_lines(capsys.readouterr().out)
    assert row == "resnet20 short 1,563 fp32 0 - - - - - 2 diverged"
