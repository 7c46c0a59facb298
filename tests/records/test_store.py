import hashlib
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.errors import RecordError
from harness.records import KINDS, Store
from harness.records.store import read_named


def rows_of(store, kind, run_ids=None):
    table, broken = store.read(kind, run_ids)
    assert broken == []
    assert table.schema == KINDS[kind]
    return table.to_pylist()


def test_what_is_written_is_read(store, make_run, make_epoch, make_predictions):
    run, epochs, predictions = make_run(), [make_epoch(epoch=n) for n in range(2)], make_predictions()
    store.write_run(run, epochs, predictions)
    assert rows_of(store, "runs") == [run]
    assert rows_of(store, "epochs") == epochs
    assert rows_of(store, "predictions") == predictions.to_pylist()
    assert store.local_run("run-1") == run
    assert store.check() == (3, [])


def test_run_without_epochs_and_predictions_is_one_file(store, make_run):
    run = make_run(status="failed", test_accuracy=None, resumed_at=[])
    store.write_run(run)
    assert [path.name for path in store.root.rglob("*.parquet")] == ["run-1.parquet"]
    assert rows_of(store, "runs") == [run]
    assert rows_of(store, "epochs") == []


def test_files_lie_where_the_layout_says(store, write_kind):
    write_kind()
    paths = {path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file()}
    assert paths == {f"{kind}/run-1.parquet" for kind in ("runs", "epochs", "predictions")}
    assert store.checkpoint("run-1") == store.root / "checkpoints" / "run-1.safetensors"


def test_file_says_its_kind_and_version_and_is_compressed(write_kind):
    file = pq.ParquetFile(io.BytesIO(write_kind("runs").read_bytes()))
    metadata = file.schema_arrow.metadata
    assert metadata[b"harness.kind"] == b"runs"
    assert metadata[b"harness.schema_version"] == b"6"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"


def test_run_is_written_last(store, make_run, make_epoch, make_predictions, monkeypatch):
    # a run is recorded once all of it is
    order = []
    replace = Path.replace

    def remember(source, target):
        order.append(Path(target).parent.name)
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", remember)
    store.write_run(make_run(), [make_epoch()], make_predictions())
    assert order == ["epochs", "predictions", "runs"]


def test_run_that_breaks_the_schema_leaves_nothing(store, make_run, make_epoch):
    with pytest.raises(RecordError):
        store.write_run(make_run(seed="zero"), [make_epoch()])
    assert not store.root.exists()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda table: table.drop_columns("label"), id="lacks a column"),
        pytest.param(lambda table: table.append_column("mood", [[1, 2, 3]]), id="has one too many"),
        pytest.param(lambda table: table.set_column(2, "label", [[9, 0, 300]]), id="out of range"),
        pytest.param(lambda table: table.set_column(2, "label", [["x", "y", "z"]]), id="of another type"),
        pytest.param(lambda table: table.set_column(3, "logits", [[[0.0] * 9] * 3]), id="nine logits"),
        pytest.param(
            lambda table: table.set_column(2, "label", [pa.array([9, None, 3], pa.uint8())]), id="null"
        ),
    ],
)
def test_predictions_that_break_the_schema_are_refused(store, make_run, make_predictions, change):
    with pytest.raises(RecordError):
        store.write_run(make_run(), predictions=change(make_predictions()))


def test_columns_of_predictions_may_stand_in_any_order(store, make_run, make_predictions):
    table = make_predictions()
    store.write_run(make_run(), predictions=table.select(["logits", "label", "run_id", "image"]))
    assert rows_of(store, "predictions") == table.to_pylist()


def test_several_runs_are_read_together_in_order_of_their_names(store, make_run):
    for run_id in ("b", "a", "c"):
        store.write_run(make_run(run_id=run_id))
    assert [row["run_id"] for row in rows_of(store, "runs")] == ["a", "b", "c"]


def test_only_the_runs_asked_for_are_read(store, make_run):
    for run_id in ("a", "b", "c"):
        store.write_run(make_run(run_id=run_id))
    assert [row["run_id"] for row in rows_of(store, "runs", ["c", "a", "absent"])] == ["a", "c"]
    assert rows_of(store, "runs", []) == []


def test_repeated_run_replaces_its_record(store, make_run):
    store.write_run(make_run(status="failed"))
    store.write_run(make_run(status="completed"))
    assert [row["status"] for row in rows_of(store, "runs")] == ["completed"]


def test_store_that_does_not_exist_is_empty(store):
    assert rows_of(store, "runs") == []
    assert store.local_run("run-1") is None
    assert store.published().local_run("run-1") is None
    assert store.check() == (0, [])
    assert not store.root.exists()


@pytest.fixture
def published(store):
    return Store(store.root / "published")


def test_published_runs_are_read_too(store, published, make_run, make_epoch):
    published.write_run(make_run(run_id="b"), [make_epoch(run_id="b")])
    store.write_run(make_run(run_id="c"))
    store.write_run(make_run(run_id="a"))
    assert {row["run_id"] for row in rows_of(store, "runs")} == {"a", "b", "c"}
    assert [row["run_id"] for row in rows_of(store, "epochs")] == ["b"]
    assert store.check() == (4, [])


def test_our_own_run_shadows_the_published_one(store, published, make_run):
    published.write_run(make_run(test_accuracy=0.9))
    store.write_run(make_run(test_accuracy=0.8))
    assert [row["test_accuracy"] for row in rows_of(store, "runs")] == [0.8]
    assert store.local_run("run-1")["test_accuracy"] == 0.8
    assert store.published().local_run("run-1")["test_accuracy"] == 0.9


def test_published_run_is_no_run_of_ours(store, published, make_run):
    published.write_run(make_run())
    assert store.local_run("run-1") is None
    assert store.published().local_run("run-1")["run_id"] == "run-1"


def expect_broken(store, path, reason, kind="epochs"):
    """Every way of reading names the file, and the sound ones beside it are read all the same."""
    table, broken = store.read(kind)
    assert [file.path for file in broken] == [path]
    assert reason in broken[0].reason
    assert len(broken[0].reason.splitlines()) == 1
    assert path.stem not in table.column("run_id").to_pylist()
    assert "sound" in table.column("run_id").to_pylist()
    assert path in [file.path for file in store.check()[1]]


@pytest.fixture
def sound(write_kind):
    """A run that nothing is wrong with."""
    return write_kind(run_id="sound")


def rewrite(path, change=lambda table: table, **metadata):
    """Write a record anew with another table and other marks."""
    table = pq.ParquetFile(io.BytesIO(path.read_bytes())).read()
    marks = {b"harness.kind": b"epochs", b"harness.schema_version": b"4"}
    marks |= {f"harness.{name}".encode(): value for name, value in metadata.items()}
    table = change(table).replace_schema_metadata({k: v for k, v in marks.items() if v is not None})
    pq.write_table(table, path)


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("length", "reason"),
    [(0, "cannot be read"), (4, "cannot be read"), (100, "cannot be read"), (-8, "damaged"), (-1, "damaged")],
)
def test_truncated_file_is_named_and_passed_over(store, write_kind, length, reason):
    path = write_kind()
    path.write_bytes(path.read_bytes()[:length])
    expect_broken(store, path, reason)


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize("content", [b"", b"hello", b"PAR1" + bytes(100) + b"PAR1", b"\x80\x04."])
def test_file_that_is_no_parquet_is_named_and_passed_over(store, write_kind, content):
    path = write_kind()
    path.write_bytes(content)
    expect_broken(store, path, "cannot be read")


@pytest.mark.usefixtures("sound")
def test_folder_with_the_name_of_a_record_is_named_and_passed_over(store, write_kind):
    path = write_kind()
    path.unlink()
    path.mkdir()
    expect_broken(store, path, "cannot be read")


@pytest.mark.usefixtures("sound")
def test_foreign_parquet_is_named_and_passed_over(store, write_kind):
    path = write_kind()
    pq.write_table(pa.table({"x": [1]}), path)
    expect_broken(store, path, "is no record of kind 'epochs'")


@pytest.mark.usefixtures("sound")
def test_record_of_another_kind_is_named_and_passed_over(store, write_kind):
    path = write_kind()
    path.write_bytes((store.root / "runs" / path.name).read_bytes())
    expect_broken(store, path, "is no record of kind 'epochs'")


@pytest.mark.usefixtures("sound")
def test_record_of_a_newer_version_asks_for_an_update(store, write_kind):
    path = write_kind()
    rewrite(path, schema_version=b"7")
    expect_broken(store, path, "has schema version 7, this harness reads up to 6; update the harness")


@pytest.mark.parametrize("version", [b"1", b"4"])
def test_older_record_is_read_without_a_digest(store, write_kind, version):
    path = write_kind()
    expected = rows_of(store, "epochs")
    rewrite(path, schema_version=version)
    assert b"harness.sha256" not in path.read_bytes()
    assert rows_of(store, "epochs") == expected


@pytest.mark.usefixtures("sound")
def test_record_whose_digest_was_removed_is_named_and_passed_over(store, write_kind):
    path = write_kind()
    rewrite(path, schema_version=b"5")
    expect_broken(store, path, "is damaged: it has no digest")


@pytest.mark.usefixtures("sound")
def test_record_that_was_changed_under_its_digest_is_named_and_passed_over(store, write_kind):
    path = write_kind()
    digest = pq.read_metadata(io.BytesIO(path.read_bytes())).metadata[b"harness.sha256"]
    rewrite(path, lambda table: table.set_column(1, "epoch", [[1]]), schema_version=b"5", sha256=digest)
    expect_broken(store, path, "is damaged: its digest is not that of its bytes")


def assert_holds_its_digest(content):
    # anybody can check it without the harness: zeros stand for the digest while it is made
    digest = pq.read_metadata(io.BytesIO(content)).metadata[b"harness.sha256"]
    assert content.count(digest) == 1
    assert hashlib.sha256(content.replace(digest, b"0" * 64)).hexdigest().encode() == digest


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_holds_the_digest_of_its_bytes(write_kind, kind):
    assert_holds_its_digest(write_kind(kind).read_bytes())


def test_text_that_looks_like_a_digest_is_text(store, make_row):
    text = "harness.sha256\x18@" + "a" * 64
    row = make_row("operators") | {"operator": text}
    store.write("operators", row)
    content = (store.root / "operators" / "run-1.parquet").read_bytes()
    assert text.encode() in content
    assert_holds_its_digest(content)
    assert rows_of(store, "operators") == [row]


def test_what_the_project_published_is_sound():
    num_sound, broken = Store(Path(__file__).parents[2] / "results" / "published").check()
    assert (num_sound > 100, broken) == (True, [])


def test_older_record_that_lacks_a_column_is_read_with_null(store, write_kind):
    path = write_kind()
    rewrite(path, lambda table: table.drop_columns("images_per_second"), schema_version=b"1")
    assert [row["images_per_second"] for row in rows_of(store, "epochs")] == [None]
    assert rows_of(store, "epochs")[0]["iteration"] == 391


@pytest.mark.usefixtures("sound")
def test_record_that_lacks_a_required_column_is_named_and_passed_over(store, write_kind):
    path = write_kind()
    rewrite(path, lambda table: table.drop_columns("iteration"))
    expect_broken(store, path, "'iteration'")


def test_column_that_is_not_ours_is_passed_over(store, write_kind):
    rewrite(write_kind(), lambda table: table.append_column("mood", [["good"]]))
    assert "mood" not in rows_of(store, "epochs")[0]


def test_order_of_columns_does_not_matter(store, write_kind):
    before = write_kind()
    expected = rows_of(store, "epochs")
    rewrite(before, lambda table: table.select(sorted(table.column_names)))
    assert rows_of(store, "epochs") == expected


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("change", "marks"),
    [
        pytest.param(lambda table: table.set_column(1, "epoch", [["x"]]), {}, id="text for number"),
        pytest.param(lambda table: table.set_column(1, "epoch", [[[1]]]), {}, id="list for number"),
        pytest.param(lambda table: table.append_column("epoch", [[1]]), {}, id="column twice"),
        pytest.param(lambda table: table, {"schema_version": b"x"}, id="version no number"),
    ],
)
def test_record_that_breaks_the_schema_is_named_and_passed_over(store, write_kind, change, marks):
    path = write_kind()
    rewrite(path, change, **marks)
    expect_broken(store, path, "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_that_is_damaged_is_noticed(store, write_kind, kind):
    path = write_kind(kind)
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(RecordError):
            read_named(path, kind)
    path.write_bytes(content)
    assert rows_of(store, kind)


def test_file_that_is_being_written_is_no_record(store, write_kind):
    path = write_kind()
    (path.parent / ".hidden.parquet").write_bytes(b"half")
    (path.parent / "notes.txt").write_text("mine", encoding="utf-8")
    assert len(rows_of(store, "epochs")) == 1
    assert store.check() == (3, [])


@pytest.fixture
def killed(store, write_kind):
    """A function from a run's name to what its writers left that were killed, beside its records."""

    def leave(run_id):
        records = [write_kind(kind, run_id) for kind in ("runs", "epochs", "predictions")]
        left = []
        for path in (*records, store.checkpoint(run_id)):
            path.parent.mkdir(exist_ok=True)
            left.append(path.with_name(f".{path.name}.{'f' * 16}.tmp"))
            left[-1].write_bytes(b"half")
        return left

    return leave


def test_what_killed_writers_left_is_no_record_and_is_named(store, killed):
    left = killed("run-1")
    assert len(rows_of(store, "epochs")) == 1
    assert list(store.checkpoints()) == []
    num_sound, broken = store.check()
    assert (num_sound, [file.path for file in broken]) == (3, left)
    assert {file.reason for file in broken} == {
        "was not written to the end: whoever wrote it was killed; it can be removed"
    }


def test_what_writers_of_a_run_left_is_removed_and_that_of_others_stays(store, killed):
    killed("run-1")
    others = killed("run-10")
    store.remove_leftovers("run-1")
    assert [file.path for file in store.check()[1]] == others
    assert len(rows_of(store, "runs")) == 2
    store.remove_leftovers("absent")


def test_checkpoints_are_those_of_all_runs(store):
    assert list(store.checkpoints()) == []
    paths = {store.checkpoint(run_id) for run_id in ("run-1", "run-2")}
    for path in (*paths, store.checkpoint("run-1").with_suffix(".lock"), store.checkpoint(".hidden")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert set(store.checkpoints()) == paths


@pytest.mark.parametrize("kind", ["epochs", "predictions"])
def test_check_finds_what_belongs_to_no_recorded_run(store, write_kind, kind):
    path = write_kind(kind)
    (store.root / "runs" / path.name).unlink()
    num_sound, broken = store.check()
    assert num_sound == 0
    reasons = {file.path: file.reason for file in broken}
    assert len(reasons) == 2
    assert "belongs to a run that is not recorded" in reasons[path]


def test_check_takes_an_epoch_whose_run_cannot_be_read_for_an_orphan(store, write_kind):
    path = write_kind("runs")
    path.write_bytes(b"broken")
    num_sound, broken = store.check()
    assert num_sound == 0
    assert [file.path.parent.name for file in broken] == ["runs", "epochs", "predictions"]


def test_published_epochs_need_a_published_run(store, published, make_run, make_epoch):
    store.write_run(make_run(), [make_epoch()])
    published.write_run(make_run(), [make_epoch()])
    (published.root / "runs" / "run-1.parquet").unlink()
    num_sound, broken = store.check()
    assert num_sound == 2
    assert [file.path for file in broken] == [published.root / "epochs" / "run-1.parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_check_finds_a_file_under_another_name(store, write_kind, kind):
    path = write_kind(kind)
    renamed = path.rename(path.with_name("run-2.parquet"))
    reasons = {file.path: file.reason for file in store.check()[1]}
    assert "holds another record than its name says" in reasons[renamed]


def test_check_finds_a_file_without_rows(store, write_kind):
    path = write_kind()
    rewrite(path, lambda table: table.slice(0, 0))
    assert [file.path for file in store.check()[1]] == [path]


@pytest.mark.parametrize("damage", [lambda _: b"broken", lambda content: content[:-9]])
def test_run_whose_file_is_broken_counts_as_not_recorded(store, write_kind, damage):
    path = write_kind("runs")
    path.write_bytes(damage(path.read_bytes()))
    assert store.local_run("run-1") is None


def test_run_whose_file_has_no_rows_counts_as_not_recorded(store, write_kind):
    path = write_kind("runs")
    rewrite(path, lambda table: table.slice(0, 0), kind=b"runs")
    assert store.local_run("run-1") is None


@pytest.mark.parametrize(
    "kind", ["identities", "audits", "benchmarks", "profiles", "operators", "verifications"]
)
def test_what_is_no_part_of_a_run_is_read_as_it_was_written(store, make_row, kind):
    store.write(kind, make_row(kind))
    table, broken = store.read(kind)
    assert (table.to_pylist(), broken) == ([make_row(kind)], [])
    assert store.check() == (1, [])


@pytest.mark.parametrize("kind", ["profiles", "operators"])
def test_a_session_is_one_file_of_all_its_rows(store, make_row, kind):
    rows = [make_row(kind, "session-1") | {"batch_size": size} for size in (1, 8, 128)]
    store.write(kind, *rows)
    assert [path.name for path in store.root.rglob("*.parquet")] == ["session-1.parquet"]
    assert rows_of(store, kind) == rows
    assert store.check() == (1, [])


def test_a_record_of_the_same_name_takes_the_place_of_the_earlier(store, make_row):
    store.write("audits", make_row("audits"))
    store.write("audits", make_row("audits") | {"model": "another"})
    assert [row["model"] for row in store.read("audits")[0].to_pylist()] == ["another"]


def test_a_row_that_breaks_the_schema_leaves_the_earlier_record(store, make_row):
    store.write("audits", make_row("audits"))
    with pytest.raises(RecordError, match="column 'accuracy' is double, not 'much'"):
        store.write("audits", make_row("audits") | {"accuracy": "much"})
    assert store.read("audits")[0].to_pylist() == [make_row("audits")]


@pytest.mark.parametrize(
    ("column", "values", "complaint"),
    [
        (
            "finished_at",
            pa.array([2**62]).cast(pa.timestamp("us", "UTC")),
            "a time before the year 1 or after 9999",
        ),
        ("status", pa.array([b"\xff"]).view(pa.string()), "cannot be read: "),
    ],
)
def test_a_value_that_python_cannot_hold_is_named_though_the_digest_is_right(
    store, write_kind, monkeypatch, column, values, complaint
):
    write_kind("runs")
    table, _ = store.read("runs")
    index = table.column_names.index(column)
    with monkeypatch.context() as patch:  # as others can write it
        patch.setattr("harness.records.files.check_values", lambda table: None)
        store.write_table("runs", "run-1", table.set_column(index, table.schema.field(index), values))
    table, [broken] = store.read("runs")
    assert len(table) == 0
    assert complaint in broken.reason
    assert store.local_run("run-1") is None


@pytest.mark.parametrize("version", ["9" * 5000, "\x1b[2J" * 1000])
def test_a_version_that_is_none_is_named_in_a_line(store, write_kind, version):
    path = write_kind("runs")
    table = pq.read_table(io.BytesIO(path.read_bytes()))
    marks = table.schema.metadata | {b"harness.schema_version": version.encode()}
    pq.write_table(table.replace_schema_metadata(marks), path)
    [broken] = store.read("runs")[1]
    assert "schema version" in broken.reason
    assert broken.reason.isprintable()
    assert len(broken.reason) < 300


def test_a_table_that_could_have_gaps_and_has_none_is_written(store, make_predictions):
    table = make_predictions("run-1")
    assert table.schema.field("run_id").nullable
    store.write_table("predictions", "run-1", table)
    assert store.read("predictions")[0].column("run_id").to_pylist() == ["run-1"] * 3
