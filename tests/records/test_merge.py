"""Two stores brought together: what is taken, what is left, and what is named."""

import errno
import math
import os
from pathlib import Path

import pytest

from harness.errors import RecordError, StorageError
from harness.records import KINDS, PACKED, Store
from harness.records.files import encode
from harness.records.merge import merge
from harness.records.schema import conform, to_table


@pytest.fixture
def here(tmp_path):
    return Store(tmp_path / "here")


@pytest.fixture
def there(tmp_path):
    return Store(tmp_path / "there")


def names(merger):
    return [f"{path.parent.name}/{path.stem}" for path in merger.taken]


def ids(store, kind="runs"):
    return sorted({row["run_id"] for row in store.read(kind)[0].to_pylist()})


def test_all_of_a_run_is_taken(here, there, make_run, make_epoch, make_predictions):
    run, epochs, predictions = make_run(), [make_epoch()], make_predictions()
    there.write_run(run, epochs, predictions)
    merger = merge(here, there)
    assert (names(merger), merger.num_here, merger.conflicts, merger.broken) == (["runs/run-1"], 0, [], [])
    assert here.read("runs")[0].to_pylist() == [run]
    assert here.read("epochs")[0].to_pylist() == epochs
    assert here.read("predictions")[0].equals(there.read("predictions")[0])
    assert here.check() == there.check() == (3, [])
    again = merge(here, there)
    assert (again.taken, again.num_here) == ([], 1)


def test_what_the_other_store_has_as_published_is_taken_as_ours(here, there, make_run, make_epoch):
    there.published().write_run(make_run(), [make_epoch()])
    assert names(merge(here, there)) == ["runs/run-1"]
    assert (here.root / "runs" / "run-1.parquet").exists()
    assert here.check() == (2, [])


def test_what_is_published_here_is_here(here, there, make_run):
    here.published().write_run(make_run())
    there.write_run(make_run(seconds=1e6))
    merger = merge(here, there)
    assert (merger.taken, merger.num_here) == ([], 1)
    assert not (here.root / "runs").exists()


def test_a_run_repeated_with_the_same_result_stays_as_it_is(here, there, make_run):
    ours = make_run(seconds=10.0, images_per_second=900.0)
    here.write_run(ours)
    there.write_run(make_run(seconds=20.0, images_per_second=450.0, cpu_name="another"))
    merger = merge(here, there)
    assert (merger.taken, merger.num_here, merger.conflicts) == ([], 1, [])
    assert here.read("runs")[0].to_pylist() == [ours]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("weights_sha256", "f" * 64, f"its weights_sha256 is {'{}'} here and {'f' * 64} there"),
        ("test_accuracy", 0.125, "its test_accuracy is {} here and 0.125 there"),
        ("status", "diverged", "its status is {} here and diverged there"),
    ],
)
def test_a_run_with_another_result_is_named_and_both_stay(here, there, make_run, column, value, reason):
    ours, theirs = make_run(), make_run(**{column: value})
    here.write_run(ours)
    there.write_run(theirs)
    there.write_run(make_run(run_id="run-2"))
    merger = merge(here, there)
    [conflict] = merger.conflicts
    assert conflict.path == there.root / "runs" / "run-1.parquet"
    assert conflict.reason == reason.format(ours[column])
    assert names(merger) == ["runs/run-2"]
    assert here.read("runs", ["run-1"])[0].to_pylist() == [ours]
    assert there.read("runs", ["run-1"])[0].to_pylist() == [theirs]


FAILED = {"status": "failed", "reason": "it broke", "test_accuracy": None, "weights_sha256": None}


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_result_is_better_than_none_wherever_it_is(here, there, make_run, make_epoch, status):
    nothing, something = make_run(**FAILED | {"status": status}), make_run()
    here.write_run(nothing)
    there.write_run(something, [make_epoch()])
    assert names(merge(here, there)) == ["runs/run-1"]
    assert here.read("runs")[0].to_pylist() == [something]
    assert len(here.read("epochs")[0]) == 1
    there.write_run(nothing)
    merger = merge(here, there)
    assert (merger.taken, merger.num_here, merger.conflicts) == ([], 1, [])
    assert here.read("runs")[0].to_pylist() == [something]


def test_what_is_broken_there_is_named_and_the_rest_is_taken(here, there, make_run, make_epoch):
    for name in ("run-1", "run-2", "run-3"):
        there.write_run(make_run(run_id=name), [make_epoch(run_id=name)])
    runs, epochs = there.root / "runs", there.root / "epochs"
    (runs / "run-1.parquet").write_bytes((runs / "run-1.parquet").read_bytes()[:-100])
    (epochs / "run-2.parquet").write_bytes(b"")
    (runs / "run-4.parquet").write_bytes((runs / "run-3.parquet").read_bytes())
    merger = merge(here, there)
    assert names(merger) == ["runs/run-3"]
    assert [file.path.name for file in merger.broken] == ["run-1.parquet", "run-2.parquet", "run-4.parquet"]
    assert merger.broken[2].reason == "holds another record than its name says"
    assert here.check() == (2, [])


def test_what_is_broken_here_is_mended(here, there, make_run):
    for store in (here, there):
        store.write_run(make_run())
    (here.root / "runs" / "run-1.parquet").write_bytes(b"PAR1")
    assert names(merge(here, there)) == ["runs/run-1"]
    assert here.check() == (1, [])


def test_parts_of_a_run_that_is_not_recorded_are_left(here, there, make_run, make_epoch):
    there.write_run(make_run(), [make_epoch()])
    (there.root / "runs" / "run-1.parquet").unlink()
    assert merge(here, there).taken == []
    assert not here.root.exists()


@pytest.mark.parametrize(
    "kind", ["identities", "audits", "benchmarks", "profiles", "operators", "verifications"]
)
def test_records_that_are_no_runs_are_taken_once(here, there, make_row, kind):
    row = make_row(kind)
    there.write(kind, row)
    assert len(merge(here, there).taken) == 1
    assert here.read(kind)[0].to_pylist() == [row]
    elsewhere = [name for name in row if name in ("cpu_name", "operating_system")]
    there.write(kind, row | dict.fromkeys(elsewhere, "another"))
    assert merge(here, there).num_here == 1
    there.write(kind, row, row)
    [conflict] = merge(here, there).conflicts
    assert conflict.reason == "it has 1 rows here and 2 there"
    text = next(name for name in list(row)[1:] if isinstance(row[name], str))
    there.write(kind, row | {text: "something else"})
    [conflict] = merge(here, there).conflicts
    assert conflict.reason == f"its {text} is {row[text]} here and something else there"


def test_what_is_no_number_is_like_itself(here, there, make_row):
    card = make_row("identities")
    column = next(name for name in card if isinstance(card[name], float))
    for store in (here, there):
        store.write("identities", card | {column: math.nan})
    merger = merge(here, there)
    assert (merger.num_here, merger.conflicts) == (1, [])


def test_a_merge_that_was_interrupted_can_be_done_again(here, there, make_run, make_epoch, monkeypatch):
    there.write_run(make_run(), [make_epoch()])
    with monkeypatch.context() as patch:

        def full(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"cannot write .*epochs.run-1\.parquet: No space left"):
            merge(here, there)
    assert ids(here) == []
    assert names(merge(here, there)) == ["runs/run-1"]
    assert here.check() == (2, [])


NO_NAMES = [
    "../../escaped",
    "..",
    ".hidden",
    "a/b",
    "a\\b",
    "",
    "a b",
    "run_1",
    "nul\0",
    "run-1\n",
    "ä",
    "a" * 226,
]


@pytest.fixture
def pack(there, make_run, make_epoch, make_predictions):
    """A function that puts a file of many records, with one of a name, where it is merged from."""

    def pack(kind, name):
        rows = {"runs": make_run(run_id=name), "epochs": make_epoch(run_id=name)}
        if kind == "predictions":
            table = conform(kind, make_predictions(name))
        else:
            table = to_table(kind, [rows[kind]])
        path = there.root / "compacted" / kind / f"{'0' * 16}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(kind, [table]))
        return path

    return pack


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_would_be_written_elsewhere_is_not_taken(here, there, make_run, pack, name, tmp_path):
    precious = tmp_path / "escaped.parquet"
    precious.write_bytes(b"precious")
    there.write_run(make_run())
    path = pack("runs", name)
    merger = merge(here, there)
    assert names(merger) == ["runs/run-1"]
    [broken] = merger.broken
    assert broken.path == path
    assert "is no name of a record" in broken.reason
    assert precious.read_bytes() == b"precious"
    assert [file.relative_to(here.root).as_posix() for file in here.root.rglob("*") if file.is_file()] == [
        "runs/run-1.parquet"
    ]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("name", ["../../escaped", "a b"])
def test_a_pack_with_such_a_name_is_broken_wherever_it_is_read(there, pack, kind, name):
    path = pack(kind, name)
    for wanted in (None, [name]):
        found, broken = there.read(kind, wanted)
        assert ([file.path for file in broken], len(found)) == ([path], 0)
    assert [file.path for file in there.check()[1]] == [path]
    assert there.find(kind, name) is None


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_nobody_writes_a_record_of_such_a_name(
    here, kind, name, make_run, make_epoch, make_predictions, make_row, tmp_path
):
    of_run = make_run(run_id=name), [make_epoch(run_id=name)], make_predictions(name)
    write, record = (here.write_run, of_run) if kind in PACKED else (here.write, (kind, make_row(kind, name)))
    with pytest.raises(RecordError, match="is no name of a record"):
        write(*record)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_all_names_that_the_harness_gave_can_be_written(kind):
    from harness.records.values import check_name

    published = Store(Path(__file__).parents[2] / "results").names(kind)
    assert published
    for name in published:
        check_name(name)


def test_a_name_may_be_as_long_as_that_of_a_file(here, make_run):
    here.write_run(make_run(run_id="a" * 225))
    assert ids(here) == ["a" * 225]
