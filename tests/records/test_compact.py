"""Small files brought together: what is read stays the same, whatever happens on the way."""

import pyarrow as pa
import pytest

from harness.errors import RecordError, StorageError
from harness.records import PACKED, Store
from harness.records import compact as module
from harness.records.compact import compact
from harness.records.files import encode
from harness.records.merge import merge
from harness.records.schema import to_table

RUNS = [f"run-{number}" for number in range(5)]


@pytest.fixture
def write(store, make_run, make_epoch, make_predictions):
    """A function that records runs with all that belongs to them."""

    def write(*run_ids, **columns):
        for run_id in run_ids:
            epochs = [make_epoch(run_id=run_id, epoch=number) for number in range(3)]
            store.write_run(make_run(run_id=run_id, **columns), epochs, make_predictions(run_id))

    return write


def everything(store):
    return {kind: store.read(kind)[0].sort_by([("run_id", "ascending")]).to_pylist() for kind in PACKED}


def singles(store, kind="runs"):
    return sorted(path.stem for path in (store.root / kind).glob("*.parquet"))


def test_all_is_read_as_before(store, write):
    write(*RUNS)
    before = everything(store)
    compaction = compact(store)
    assert (compaction.num_files, len(compaction.packs), compaction.num_kept) == (15, 3, 0)
    assert [singles(store, kind) for kind in PACKED] == [[], [], []]
    assert everything(store) == before
    assert store.check() == (3, [])
    for run_id in RUNS:
        assert store.ended_run(run_id) == store.local_run(run_id) == before["runs"][RUNS.index(run_id)]
        assert len(store.find("predictions", run_id)) == 3
    assert store.find("runs", "run-9") is store.local_run("run-9") is None
    some = store.read("epochs", ["run-3", "run-1", "run-9"])[0]
    assert sorted(set(some.column("run_id").to_pylist())) == ["run-1", "run-3"]
    assert len(some) == 6
    assert store.names("runs") == set(RUNS)


def test_what_is_compacted_again_stays(store, write):
    write(*RUNS[:3])
    compact(store)
    assert compact(store).packs == []
    write(*RUNS[3:])
    assert len(compact(store).packs) == 3
    assert store.check() == (6, [])
    assert [row["run_id"] for row in everything(store)["runs"]] == RUNS


def test_runs_that_may_be_done_again_stay_as_they_are(store, write):
    write("run-0")
    write("run-1", status="failed", reason="a crash")
    assert compact(store).num_kept == 3
    assert singles(store) == ["run-1"]
    assert store.ended_run("run-1") is None
    assert {row["run_id"] for row in everything(store)["runs"]} == {"run-0", "run-1"}


NO_NUMBER = float("nan")
DIVERGED = {"status": "diverged", "train_loss": NO_NUMBER, "test_loss": NO_NUMBER}


@pytest.fixture
def write_diverged(store, make_run, make_epoch, make_predictions):
    """A function that records a run whose numbers are none, wherever they can be; the first column says how it went."""

    def write(run_id, test_loss=NO_NUMBER):
        run = make_run(run_id=run_id, **DIVERGED | {"test_loss": test_loss})
        epoch = make_epoch(run_id=run_id, train_loss=NO_NUMBER, losses=[2.5, NO_NUMBER])
        table = make_predictions(run_id)
        logits = [[NO_NUMBER] * 10] * len(table)
        at = table.schema.get_field_index("logits")
        table = table.set_column(at, "logits", pa.array(logits, table.schema.field(at).type))
        store.write_run(run, [epoch], table)

    return write


def test_a_run_that_diverged_to_what_is_no_number_is_compacted(store, write, write_diverged):
    write("run-0")
    write_diverged("run-1")
    before = repr(everything(store))
    assert before.count("nan") == 2 + 2 + 3 * 10
    compaction = compact(store)
    assert (compaction.num_files, len(compaction.packs), compaction.num_kept) == (6, 3, 0)
    assert repr(everything(store)) == before
    write_diverged("run-1")  # as an interrupted compaction leaves it
    again = compact(store)
    assert (again.num_files, again.packs, again.num_kept) == (3, [], 0)
    write_diverged("run-1", test_loss=2.5)
    assert compact(store).num_kept == 1
    assert singles(store) == ["run-1"]


def test_what_is_there_twice_is_listed_once_however_much_it_is(store, write, monkeypatch):
    listing, listed = module.storage.listing, []
    monkeypatch.setattr(
        module.storage, "listing", lambda folder, suffix: listed.append(folder) or listing(folder, suffix)
    )
    numbers = []
    for runs in (RUNS[:1], RUNS):
        write(*runs)
        compact(store)
        write(*runs)
        listed.clear()
        assert compact(store).num_files == 3 * len(runs)
        numbers.append(len(listed))
    assert singles(store) == []
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", ["a b", "a_b", "**a**", "\u202ea"])
def test_a_name_that_no_pack_may_hold_comes_into_none(store, write, make_run, name):
    write("run-0")
    path = store.root / "runs" / f"{name}.parquet"
    path.write_bytes(encode("runs", [to_table("runs", [make_run(run_id=name)])]))
    compaction = compact(store)
    assert [file.path for file in compaction.broken] == [path]
    assert singles(store) == [name]
    assert {row["run_id"] for row in everything(store)["runs"]} == {"run-0", name}


def test_files_are_parted_by_number_and_size(store, write, monkeypatch):
    monkeypatch.setattr(module, "MAX_RECORDS", 2)
    write(*RUNS)
    before = everything(store)
    assert len(compact(store).packs) == 9
    assert everything(store) == before
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    write("run-7", "run-8")
    assert len(compact(store).packs) == 6


def test_a_run_that_was_repeated_shadows_the_compacted_one(store, write):
    write("run-0")
    compact(store)
    write("run-0", test_accuracy=0.25)
    assert store.local_run("run-0")["test_accuracy"] == 0.25
    assert [row["test_accuracy"] for row in store.read("runs")[0].to_pylist()] == [0.25]
    assert compact(store).num_kept == 1
    assert singles(store) == ["run-0"]
    assert singles(store, "epochs") == []  # they were the same


def test_what_is_ours_and_compacted_shadows_the_published(store, write, make_run):
    write("run-0")
    compact(store)
    store.published().write_run(make_run(run_id="run-0", test_accuracy=0.5))
    assert len(store.read("runs")[0]) == 1
    assert store.find("runs", "run-0").to_pylist() == [store.local_run("run-0")]


def test_an_interrupted_compaction_loses_nothing_and_goes_on(store, write, monkeypatch):
    write(*RUNS)
    before = everything(store)
    removed = []

    def remove(path):
        if len(removed) == 7:
            raise KeyboardInterrupt
        removed.append(path)
        path.unlink()

    with monkeypatch.context() as patch:
        patch.setattr(module.storage, "remove", remove)
        with pytest.raises(KeyboardInterrupt):
            compact(store)
    assert everything(store) == before
    compact(store)
    assert everything(store) == before
    assert [singles(store, kind) for kind in PACKED] == [[], [], []]
    assert store.check()[1] == []


def test_nothing_is_removed_unless_it_was_read_back(store, write, monkeypatch):
    write(*RUNS)
    write_atomically = module.write_atomically
    monkeypatch.setattr(
        module, "write_atomically", lambda path, content: write_atomically(path, content[:-9])
    )
    with pytest.raises((RecordError, StorageError)):
        compact(store)
    assert singles(store) == singles(store, "epochs") == singles(store, "predictions") == RUNS


def test_a_file_that_was_written_anew_meanwhile_stays(store, write, monkeypatch):
    write("run-0")
    write_pack = module._write_pack

    def write_meanwhile(store, kind, of_part):
        path = write_pack(store, kind, of_part)
        write("run-0", test_accuracy=0.25)
        return path

    monkeypatch.setattr(module, "_write_pack", write_meanwhile)
    compact(store)
    assert singles(store) == ["run-0"]
    assert store.local_run("run-0")["test_accuracy"] == 0.25


def test_broken_files_are_named_and_stay(store, write):
    write("run-0", "run-1")
    path = store.root / "epochs" / "run-1.parquet"
    path.write_bytes(b"torn")
    [broken] = compact(store).broken
    assert broken.path == path
    assert singles(store, "epochs") == ["run-1"]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("damage", [b"torn", None])
def test_a_broken_pack_is_named_wherever_it_is_read(store, write, tmp_path, kind, damage):
    write(*RUNS)
    compact(store)
    [pack] = (store.root / "compacted" / kind).glob("*.parquet")
    content = bytearray(pack.read_bytes())
    content[len(content) // 3] ^= 1
    pack.unlink()
    pack.write_bytes(damage or content)
    assert pack in {file.path for file in store.check()[1]}
    for wanted in (None, RUNS[:2]):
        found, broken = store.read(kind, wanted)
        assert [file.path for file in broken] == [pack]
        assert len(found) == 0
    merger = merge(Store(tmp_path / "other"), store)
    assert merger.broken


def test_compacted_records_are_merged(store, write, tmp_path):
    write(*RUNS)
    before = everything(store)
    compact(store)
    other = Store(tmp_path / "other")
    assert len(merge(other, store).taken) == 5
    assert everything(other) == before
    again = merge(store, other)
    assert (again.taken, again.num_here, again.conflicts) == ([], 5, [])


def test_the_index_is_of_single_files(store, write, monkeypatch):
    from harness.records import store as records

    monkeypatch.setattr(records, "_WORTH_AN_INDEX", 1)
    write(*RUNS[:2])
    compact(store)
    write(*RUNS[2:])
    first = store.read("runs")[0]
    assert store.read("runs")[0].equals(first)
    (store.root / "runs" / "run-2.parquet").unlink()
    assert set(store.read("runs")[0].column("run_id").to_pylist()) == {*RUNS} - {"run-2"}


def test_other_kinds_stay(store, make_row):
    store.write("audits", make_row("audits", "audit"))
    assert compact(store).num_files == 0
    assert [path.name for path in store.root.iterdir()] == ["audits"]
    assert isinstance(store.read("audits")[0], pa.Table)
