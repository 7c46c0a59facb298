"""What a store holds, in words, in a table and for programs."""

import json
import shlex
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

import harness
from harness.analysis.inventory import Defaults
from harness.records import KINDS, Store
from harness.report.inventory import inventory_row, inventory_table, read_inventory
from harness.report.rendering import markdown_table

PUBLISHED = Path(harness.__file__).parents[1] / "results" / "published"
DEFAULTS = Defaults(
    models=["resnet20"], checkpoints=["resnet20"], rounds=15, batch_sizes=lambda number, device: (1,)
)
OF_OTHERS = {"epochs", "predictions", "operators"}
HOSTILE = [
    "<script>alert(1)</script>",
    "a|b|c",
    "`code`",
    "``|``",
    "back\\slash\\|pipe\\",
    "[link](https://example.org)",
    "new\nline\r\n| and | row |\n# title",
    "\x1b[31mred\x1b]0;title\x07",
    "right\u202eto left",
    "; rm -rf ~",
    "$(reboot)",
    "**bold** _it_ ~x~",
]


@pytest.fixture
def cells(store, cells_of):
    """A function that gives the rows of the table of the store."""
    return lambda: cells_of(inventory_table(read_inventory(store, DEFAULTS).batches))


@pytest.fixture
def row_of(cells):
    """A function that gives the only row."""

    def read():
        [row] = cells()
        return row

    return read


def whats(rows):
    return [row["what"] for row in rows]


# what


def test_runs_are_told_by_model_seed_recipe_length_and_precision(record, make_run, row_of):
    runs = [
        make_run(model, iterations=782, precision="bf16", seed=seed)
        for model in ("resnet20", "plain20")
        for seed in range(5)
    ]
    record(runs)
    row = row_of()
    assert row["kind"] == "runs"
    assert row["what"] == "resnet20, plain20; seeds 0-4; short, 782 iterations, bf16; with epochs"
    assert row["records"] == "10"


def test_what_models_do_not_share_is_told_of_each(record, make_run, row_of):
    record(
        [
            make_run(model, iterations=length, precision="bf16", seed=seed, experiment="quick")
            for model, length, seeds in (
                ("plain20", 782, (0, 1)),
                ("resnet20", 782, (0, 1)),
                ("resnet56", 391, (0,)),
            )
            for seed in seeds
        ]
    )
    assert row_of()["what"] == (
        "plain20, resnet20: seeds 0, 1, 782 iterations; resnet56: seed 0, 391 iterations; short, bf16; with epochs"
    )


def test_precisions_of_one_command_are_listed(record, make_run, row_of):
    record(
        [
            make_run(seed=seed, precision=its, experiment="precision")
            for seed in range(6)
            for its in ("fp32", "bf16")
        ]
    )
    assert row_of()["what"] == "resnet20; seeds 0-5; short, 1,563 iterations, bf16 and fp32; with epochs"


def test_many_models_are_counted(record, make_run, row_of):
    record([make_run(f"net{number}", "paper", experiment="paper") for number in range(7)])
    assert row_of()["what"].startswith("7 models; seed 0; paper, 64,000 iterations, fp32; ")


def test_runs_with_no_result_are_counted(record, make_run, row_of):
    statuses = ["completed", "failed", "diverged", "failed", "skipped"]
    record([make_run(seed=seed, status=status, experiment="paper") for seed, status in enumerate(statuses)])
    assert row_of()["records"] == "5, of which 1 diverged, 2 failed and 1 skipped"


def test_epochs_and_predictions_are_counted_with_their_runs(store, record, fill, make_run, row_of):
    runs = [make_run("resnet20", "paper", seed=seed, experiment="paper") for seed in range(4)]
    record(runs[:1], right=[(True, False)])
    record(runs[1:3])
    store.write_run(fill("runs", runs[3]))
    assert row_of()["what"].endswith("; with epochs of 3 and predictions of 1")
    record(runs, right=[(True,)] * 4)
    assert row_of()["what"].endswith("; with epochs and predictions")


def test_without_epochs_none_are_told(store, fill, make_run, row_of):
    store.write_run(fill("runs", make_run("resnet20", "paper")))
    assert row_of()["what"] == "resnet20; seed 0; paper, 64,000 iterations, fp32"


def test_code_images_and_recipes_of_their_own_are_told(record, make_run, cells):
    own = {"recipe_changes": {"name": "tiny"}, "data": "synthetic", "experiment": "mine"}
    record([make_run(seed=seed, commit=commit, dirty=True, **own) for seed, commit in enumerate("abbc")])
    [row] = cells()
    assert row["what"] == (
        "resnet20; seeds 0-3; tiny, 1,563 iterations, fp32; made-up images; with epochs; by a recipe or experiment that does "
        "not ship with this version; from 3 commits; from code with uncommitted changes"
    )
    assert row["command"] == (
        "harness reproduce mine.toml --models resnet20 --seeds 0-3 --precision fp32 --iterations 1563 --data synthetic"
    )


def test_other_kinds_are_told(store, fill, cells):
    for model in ("resnet20", "plain20"):
        store.write("identities", fill("identities", identity_id=model, model=model))
        store.write("audits", fill("audits", audit_id=model, model=model))
    parameters = [(1, 3), (8, 3), (128, 5)]
    cells_of_profile = [
        fill(
            "profiles",
            session_id="p",
            model="resnet20",
            mode="train",
            batch_size=size,
            precision="bf16",
            status="measured",
        )
        | {"round_seconds": [[0.1]] * rounds}
        for size, rounds in parameters
    ]
    failed = cells_of_profile[0] | {"mode": "infer", "status": "failed", "round_seconds": []}
    store.write("profiles", *cells_of_profile, failed)
    store.write("operators", fill("operators", session_id="p"))
    store.write(
        "benchmarks",
        *(fill("benchmarks", session_id="b", group=group) for group in ("one", "two, too", "one")),
    )
    knob = {"run_id": "r", "num_epochs": 1}
    store.write("verifications", fill("verifications", verification_id="v1", **knob))
    turned = {"verification_id": "v2", "knob": "threads", "knob_then": "1", "knob_now": "2"}
    store.write("verifications", fill("verifications", **turned, **knob))
    found = {row["kind"]: row for row in cells()}
    assert {kind: row["what"] for kind, row in found.items()} == {
        "identities": "cards of plain20, resnet20",
        "audits": "2 checkpoints: plain20, resnet20",
        "benchmarks": "3 benchmarks; one; two, too",
        "profiles and operators": "resnet20; mini-batches of 1, 8 and 128; bf16; 3 to 5 rounds; 1 of 4 cells failed",
        "verifications": "r: 1 epoch repeated; with threads 2",
    }
    assert {row["records"] for row in found.values()} == {"2", "1"}
    assert found["profiles and operators"]["records"] == found["benchmarks"]["records"] == "1"


# command, machine, date


def test_a_single_run_is_run_again_by_what_its_record_says(record, make_run, row_of):
    record(
        [
            make_run(
                "mynet:make", "paper", seed=3, experiment="run", iterations=10, data="synthetic", cpu_cores=4
            )
        ]
    )
    assert row_of()["command"] == (
        "harness run --model mynet:make --recipe paper --seed 3 --precision fp32 --iterations 10 --data synthetic --threads 1"
    )


def test_a_recipe_that_does_not_ship_is_a_file(record, make_run, row_of):
    record([make_run(recipe_changes={"name": "tiny"}, experiment="run")])
    assert "--recipe tiny.toml " in row_of()["command"]


def test_machine_is_the_gpu_if_that_computed(record, make_run, cells):
    cpu = {
        "cpu_name": "CPU",
        "device_name": "CPU",
        "cpu_capability": "AVX2",
        "cpu_cores": 2,
        "threads": 1,
        "torch": "2.9",
    }
    gpu = cpu | {"device": "cuda", "device_name": "GPU", "cudnn": "9"}
    record([make_run(**cpu), make_run(seed=1, **gpu)])
    assert [row["machine"] for row in cells()] == [
        "CPU, AVX2, 2 cores, 1 thread, torch 2.9",
        "GPU, torch 2.9, cuDNN 9",
    ]


def test_days_are_those_of_utc(record, make_run, row_of):
    evening = datetime(2026, 3, 1, 23, tzinfo=timezone(-timedelta(hours=2)))  # the next day in UTC
    run = make_run(started_at=evening, finished_at=evening + timedelta(hours=1))
    record([run])
    assert row_of()["date"] == "2026-03-02"
    record([run | {"finished_at": evening + timedelta(hours=23)}])
    assert row_of()["date"] == "2026-03-02 .. 2026-03-03"


# the store


def test_broken_files_and_parts_of_nothing_are_named(store, record, fill, make_run):
    record([make_run("resnet20", "paper")])
    for kind in KINDS:
        path = store.root / kind / "broken.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"PAR1 nothing")
    store.write("operators", fill("operators", session_id="lost"))
    found = read_inventory(store, DEFAULTS)
    assert [batch.names for batch in found.batches] == [["run-1"]]
    assert {file.path.parent.name for file in found.broken} == set(KINDS) - OF_OTHERS
    # what is broken belongs to what is broken here, but for what is lost
    assert found.strays == {"operators": ["lost"]}


def test_records_here_and_published_ones_are_each_counted_once(store, fill, cells):
    for home in (store, Store(store.root / "published")):
        home.write("audits", fill("audits", audit_id="both", model="resnet20"))
    Store(store.root / "published").write("audits", fill("audits", audit_id="other", model="plain20"))
    assert [row["records"] for row in cells()] == ["2"]


def test_every_published_record_is_in_one_row():
    store = Store(PUBLISHED)
    found = read_inventory(store, DEFAULTS)
    counted = {}
    for batch in found.batches:
        counted.setdefault(batch.kind, []).extend(batch.names)
        assert inventory_row(batch)["num_records"] == len(batch.names) == len(set(batch.names))
    assert set(counted) == {kind for kind in KINDS if store.names(kind)} - OF_OTHERS
    assert {kind: sorted(names) for kind, names in counted.items()} == {
        kind: sorted(store.names(kind)) for kind in counted
    }
    assert (found.broken, found.strays) == ([], {})
    parts = {}
    for batch in found.batches:
        for part, number in batch.parts.items():
            parts[part] = parts.get(part, 0) + number
    assert parts == {part: len(store.names(part)) for part in OF_OTHERS}


# forms


def test_row_for_programs_says_the_same(record, make_run, store, cells):
    runs = [make_run("resnet20", "paper", seed=seed, experiment="paper", commit="abc") for seed in range(3)]
    runs[2]["status"] = "failed"
    record(runs)
    [batch] = read_inventory(store, DEFAULTS).batches
    row = inventory_row(batch)
    [shown] = cells()
    assert (row["what"], row["command"]) == (shown["what"], shown["command"])
    assert row["kinds"] == ["runs"]
    assert (row["num_records"], row["records"]) == (3, ["run-1", "run-2", "run-3"])
    assert (row["statuses"], row["parts"]) == ({"completed": 2, "failed": 1}, {"epochs": 3, "predictions": 0})
    assert (row["commits"], row["changed"], row["exact"]) == (["abc"], False, True)
    assert row["machine"]["name"] == "text"  # of the CPU
    assert row["machine"]["torch"] == "2.9.0"
    assert (row["first"], row["last"]) == (runs[0]["started_at"], runs[2]["finished_at"])


def hostile_rows(text, fill, make_run):
    """A record of each kind with a text in every column of texts that may hold any, but for its name."""
    run = make_run() | dict.fromkeys(
        ("experiment", "model", "recipe", "precision", "data", "commit", "spec"), text
    )
    yield "runs", run | {"status": text, "run_id": "r"}
    yield "runs", run | {"run_id": "s", "status": text, "seed": 1}
    for kind in sorted(set(KINDS) - OF_OTHERS - {"runs"}):
        texts = [field.name for field in KINDS[kind] if str(field.type) == "string"]
        yield kind, fill(kind, dict.fromkeys(texts, text) | {KINDS[kind].names[0]: "name"})


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("device", ["cpu", None])
def test_no_text_of_others_breaks_the_table_or_reaches_a_terminal(store, fill, make_run, text, device):
    for kind, row in hostile_rows(text, fill, make_run):
        changes = {
            "device_name": text,
            "cpu_name": text,
            "cpu_capability": text,
            "cudnn": text,
            "torch": text,
        }
        changes["device"] = device or text
        store.write(kind, fill(kind, row | changes))
    batches = read_inventory(store, DEFAULTS).batches
    table = inventory_table(batches)
    lines = markdown_table(table)
    assert len(lines) == 2 + len(table.rows)
    assert {kind for batch in batches for kind in [batch.kind]} == set(KINDS) - OF_OTHERS
    for line in lines:
        assert line.isprintable()
        outside = unescaped(line)
        assert outside.count("|") == len(table.columns) + 1
        assert not set(outside) & set("<[*")
    for row in table.rows:
        for cell in row:
            assert (cell if isinstance(cell, str) else cell.text).isprintable()
    for batch in batches:
        row = inventory_row(batch)
        json.dumps(row, default=str)
        assert row["command"] == shlex.join(shlex.split(row["command"]))  # each text one word


def unescaped(line):
    """What is left as markup of a line in Markdown: without escaped characters, and without code in backticks."""
    left, inside, escaped = [], False, False
    for char in line:
        if escaped:
            escaped = False
        elif char == "\\" and not inside:
            escaped = True
        elif char == "`":
            inside = not inside
        elif not inside or char == "|":  # which ends a cell even in code
            left.append(char)
    assert not inside
    return "".join(left)


def test_commands_are_code(record, make_run, store):
    record([make_run("resnet20", "paper", experiment="paper")])
    lines = markdown_table(inventory_table(read_inventory(store, DEFAULTS).batches))
    assert lines[0] == "| kind | what | records | command | machine | date |"
    assert lines[1].split("|")[3] == "---:"
    assert "| `harness reproduce paper --models resnet20 --seeds 0 --threads 1` |" in lines[2]


def test_rows_without_a_commit_or_a_source_are_rows(store, fill):
    for kind in sorted(set(KINDS) - OF_OTHERS):
        row = fill(kind)
        assert None in row.values() or kind == "audits"
        store.write(kind, row)
    found = read_inventory(store, DEFAULTS).batches
    assert {batch.kind for batch in found} == set(KINDS) - OF_OTHERS
    assert all(inventory_row(batch)["commits"] == [] for batch in found)
    assert datetime(2026, 1, 2, tzinfo=UTC) in {batch.first for batch in found}
