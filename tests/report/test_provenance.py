import shlex

import pytest

from harness.report.provenance import command_of_run


@pytest.fixture
def command_rows(sections_of, cells_of):
    """A function that gives the rows of the table of commands."""
    return lambda: cells_of(sections_of()["commands"].tables[0])


@pytest.fixture
def bits(store, fill, sections_of, cells_of):
    """A function from changed columns of a verification to the row that it makes."""

    def make(**columns):
        columns = {"verification_id": "v", "run_id": "run-1", "device_name": "Some CPU"} | columns
        store.write("verifications", fill("verifications", columns))
        [table] = sections_of()["bits"].tables
        [row] = cells_of(table)
        return row

    return make


# commands


@pytest.mark.parametrize("changes", [{}, {"recipe": "paper"}, {"precision": "bf16"}, {"model": "mynet:make"}])
def test_command_repeats_the_first_run_of_a_group(record, make_seeds, command_rows, changes):
    record(make_seeds(0.9, 0.91, **changes, experiment="table"))
    asked = {"model": "resnet20", "recipe": "short", "precision": "fp32"} | changes
    [row] = command_rows()
    words = shlex.split(row["command"])
    assert words[:2] == ["harness", "run"]
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options == {f"--{name}": value for name, value in asked.items()} | {
        "--seed": "0",
        "--threads": "1",
    }
    assert row["experiment"] == "table"


def test_command_of_a_shortened_run_has_its_length(record, make_seeds, command_rows):
    record(make_seeds(0.9, iterations=100))
    [row] = command_rows()
    assert "--iterations 100" in row["command"]


def test_command_of_a_request_that_is_not_known_has_its_length(record, make_run, command_rows):
    record([make_run(spec="{}", iterations=70)])
    [row] = command_rows()
    assert "--iterations 70" in row["command"]


def test_command_says_what_else_decides_the_bits(make_run):
    on_cpu = command_of_run(make_run(data="synthetic", threads=3))
    assert on_cpu.endswith("--precision fp32 --data synthetic --threads 3")
    assert command_of_run(make_run(device="cuda", threads=1)).endswith("--precision fp32")


def test_a_recipe_that_is_not_what_ships_under_its_name_is_a_file(record, make_run, command_rows):
    record(
        [
            make_run(recipe_changes={"batch_size": 64}, iterations=1563),
            make_run(recipe_changes={"name": "mine"}),
        ]
    )
    changed, own = (shlex.split(row["command"]) for row in command_rows())
    assert (changed[5], own[5]) == ("short.toml", "mine.toml")


@pytest.mark.parametrize("text", ["a b; rm -rf /", "$(date)", "`date`", "it's", "a\nb", '"><img src=x>'])
def test_command_can_be_pasted_whatever_the_names(record, make_seeds, command_rows, text):
    record([run | {"model": text, "recipe": text} for run in make_seeds(0.9)])
    [row] = command_rows()
    words = shlex.split(row["command"])
    assert (words[words.index("--model") + 1], words[words.index("--recipe") + 1]) == (text, f"{text}.toml")
    assert len(words) == 12


@pytest.mark.parametrize(
    ("seeds", "text"),
    [((4,), "4"), ((0, 1), "0, 1"), ((0, 1, 2), "0-2"), ((3, 4, 5, 6), "3-6"), ((0, 2, 3), "0, 2, 3")],
)
def test_seeds_are_listed(record, make_run, command_rows, seeds, text):
    record([make_run(seed=seed) for seed in seeds])
    [row] = command_rows()
    assert row["seeds"] == text
    assert shlex.split(row["command"])[7] == str(seeds[0])


def test_experiments_of_a_group_are_named_once(record, make_run, command_rows):
    record([make_run(seed=seed, experiment=name) for seed, name in enumerate(("one", "two", "one"))])
    [row] = command_rows()
    assert row["experiment"] == "one, two"


# bits


@pytest.mark.parametrize(
    ("columns", "epochs", "outcome"),
    [
        ({"identical": True, "complete": True}, "3 (all)", "bit-identical"),
        ({"identical": True}, "3", "bit-identical"),
        ({"identical": False, "first_epoch": 2}, "3", "differs from epoch 2 on"),
    ],
)
def test_repetition_is_told(bits, columns, epochs, outcome):
    row = bits(num_epochs=3, num_iterations=1173, **columns)
    assert row == {
        "run": "run-1",
        "epochs repeated": epochs,
        "iterations": "1,173",
        "outcome": outcome,
        "machine": "Some CPU",
    }


@pytest.mark.parametrize(
    ("columns", "outcome"),
    [
        ({"identical": True}, "bit-identical"),
        (
            {"identical": False, "first_iteration": 2, "first_tensor": "conv1.weight"},
            "differs from iteration 2 on, first in conv1.weight",
        ),
    ],
)
def test_turned_knob_is_told(bits, columns, outcome):
    row = bits(knob="threads", knob_then="1", knob_now="2", time_ratio=0.6254, **columns)
    assert row == {
        "run": "run-1",
        "knob": "threads",
        "turned": "1 to 2",
        "outcome": outcome,
        "time of an update, turned over not": "0.625",
    }


@pytest.mark.parametrize("knob", [None, "threads"])
def test_what_is_not_known_of_a_difference_is_not_told_as_none(bits, knob):
    # a repetition may differ in nothing but what is known at its end, as in its logits
    row = bits(identical=False, first_column="logits", knob=knob)
    assert row["outcome"].startswith("differs")
    assert "None" not in row["outcome"]


@pytest.mark.parametrize(("ends", "text"), [((0.9, 1.25), "1.100 (0.900 .. 1.250)"), ((None, None), "1.100")])
def test_ratio_of_times_has_its_interval(bits, ends, text):
    row = bits(knob="k", identical=True, time_ratio=1.1, time_ratio_low=ends[0], time_ratio_high=ends[1])
    assert row["time of an update, turned over not"] == text


def test_times_that_were_not_taken_are_absent(bits):
    assert bits(knob="k", identical=True)["time of an update, turned over not"] == "-"


def test_audits_and_repetitions_are_summed_up_in_the_headlines(store, fill, report_of, sections_of, cells_of):
    for number, (identical, accuracy) in enumerate([(True, 0.9167), (True, 0.9170), (False, 0.91673)]):
        store.write("verifications", fill("verifications", verification_id=f"v{number}", identical=identical))
        audit = {"claimed_accuracy": 0.9167, "accuracy": accuracy, "counterpart_accuracy": 0.9}
        audit |= {"num_images": 10_000, "num_predictions_differing": 4, "model": "net"}
        store.write("audits", fill("audits", audit, audit_id=f"a{number}"))
    headlines = report_of().headlines
    assert "2 of 3 repetitions of a recorded run gave the same bits." in headlines
    # to two digits of a per cent, as claims are stated
    assert "2 of 3 published checkpoints do what was claimed of them." in headlines
    _, audits = sections_of()["bits"].tables
    assert cells_of(audits)[1] == {
        "checkpoint": "net",
        "claimed": "91.67",
        "measured": "91.70",
        "through our class": "90.00",
        "predictions differing": "4 of 10,000",
    }


def test_turned_knobs_are_no_repetitions(store, fill, report_of):
    store.write("verifications", fill("verifications", verification_id="v", knob="threads"))
    assert not any("repetitions" in line for line in report_of().headlines)


# machines


@pytest.fixture
def machines(sections_of, cells_of):
    """A function that gives the rows of the table of machines."""
    return lambda: cells_of(sections_of()["environments"].tables[0])


def test_machines_are_counted(record, make_seeds, machines):
    record(make_seeds(0.9, 0.91, commit="a" * 40, libraries='{"numpy": "2.3", "other": "1", "timm": "1.0"}'))
    record(make_seeds(0.9, device_name="Some GPU", commit="b" * 40, dirty=True, status="failed"))
    first, second = machines()
    assert (first["device"], first["runs"], first["harness"]) == ("Some CPU", "2", "a" * 12)
    assert (first["torch"], first["threads"], first["libraries"]) == ("2.9.0", "1", "numpy 2.3, timm 1.0")
    assert (second["device"], second["runs"]) == ("Some GPU", "1")
    assert second["harness"] == "b" * 12 + " (changed)"


def test_code_without_a_commit_is_absent(record, make_seeds, machines):
    record(make_seeds(0.9))
    [row] = machines()
    assert row["harness"] == "-"


@pytest.mark.parametrize(
    "text", ["", "{", "null", "7", '["numpy"]', '"numpy"', "{}", '{"numpy": null}', "[" * 100_000]
)
def test_libraries_that_cannot_be_read_do_no_harm(record, make_seeds, machines, text):
    record(make_seeds(0.9, libraries=text))
    [row] = machines()
    assert row["libraries"] in {"-", "numpy None"}
