"""Many cells measured in turn: what becomes of each, and what is kept when things go wrong."""

import statistics
import sys
from types import SimpleNamespace

import pytest
import torch

from harness import environment
from harness.config import Precision
from harness.data import synthetic
from harness.errors import HarnessError, UsageError
from harness.models import find
from harness.profiling import profile as module
from harness.profiling.ceilings import Ceilings
from harness.profiling.memory import PeakMemory
from harness.profiling.profile import MIN_ROUNDS, Plan, plan_cells, profile
from harness.records.schema import to_table

FP32, BF16 = Precision.FP32, Precision.BF16
NUM_TEST = 40

# `plain` has 4 * 3 * 9 + 4 + 2 * 4 parameters before its 256 * 10 + 10, and 8 x 8 positions of 4 * 27 products
NETWORKS = """\
from torch import nn

broken = None
"Mode in which `breaks` breaks: it is set from outside."

def plain():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(256, 10))

def normalized():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))

class breaks(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3072, 10)

    def forward(self, x):
        if broken == self.training:
            raise ValueError("it broke\\nin two")
        return self.fc(x.flatten(1))

def nothing():
    raise OSError("no weights")
"""


@pytest.fixture(autouse=True)
def _settings(torch_settings, monkeypatch):
    """Times are real; what takes long is made up: ceilings, and the process that measures memory."""
    monkeypatch.setattr(module, "measure_ceilings", lambda device, precision: Ceilings(1e12, 1e10))
    monkeypatch.setattr(module, "resident_peaks", lambda cells, num_threads: map(peak_of, cells))


def peak_of(cell):
    """Made up; of one cell it is not known."""
    return None if (cell.mode, cell.batch_size) == ("infer", 4) else PeakMemory(1000 + cell.batch_size, 900)


@pytest.fixture
def course():
    """What was told."""
    return []


@pytest.fixture
def measure(write_module, course):
    """A function from factories and what to measure of them to a profile; ``on_tell`` is called with what is told."""
    write_module(NETWORKS)
    here = environment.capture(torch.device("cpu"), num_threads=1, allocator="default")
    images = synthetic(60, NUM_TEST)

    def call(
        *factories,
        modes=("train", "infer"),
        sizes=(2, 4),
        precisions=(FP32,),
        rounds=MIN_ROUNDS,
        max_seconds=0.0,
        seconds_per_visit=1e-9,
        on_tell=lambda what, number, total: None,
        **changes,
    ):
        keys = [f"mynet:{factory}" for factory in factories]

        def tell(what, number, total):
            course.append((what, number, total))
            on_tell(what, number, total)

        plan = Plan(
            cells=plan_cells(keys, modes=modes, batch_sizes=sizes, precisions=precisions),
            max_rounds=rounds,
            max_seconds=max_seconds,
            seconds_per_visit=seconds_per_visit,
            **changes,
        )
        entries = {key: find(key) for key in keys}
        found = profile(plan, entries, images, device=torch.device("cpu"), here=here, tell=tell)
        for kind in ("profiles", "operators"):
            assert to_table(kind, getattr(found, kind)).num_rows == len(getattr(found, kind))
        return found

    return call


@pytest.fixture
def break_in():
    """A function from what is told, and a mode, to a ``tell`` that breaks `breaks` in that mode then."""

    def at(phase, *, training, since=0):
        def tell(what, number, total):
            if what == phase and number >= since:
                sys.modules["mynet"].broken = training

        return tell

    return at


def by_cell(rows):
    return {(row["model"].removeprefix("mynet:"), row["mode"], row["batch_size"]): row for row in rows}


def num_rounds(rows):
    return {cell: len(row["round_seconds"]) for cell, row in by_cell(rows).items()}


def test_cells_are_all_models_in_every_mode_size_and_precision():
    cells = plan_cells(["a", "b"], modes=["train", "infer"], batch_sizes=[1, 8], precisions=[FP32, BF16])
    assert [str(cell) for cell in cells] == [
        f"{model} {mode} {size} {precision}"
        for model in "ab"
        for mode in ("train", "infer")
        for size in (1, 8)
        for precision in ("fp32", "bf16")
    ]


def test_every_cell_is_measured_in_every_round(measure, course):
    found = measure("plain", "normalized", rounds=7, max_seconds=1e9)
    assert not found.interrupted
    assert num_rounds(found.profiles) == {
        (model, mode, size): 7
        for model in ("plain", "normalized")
        for mode in ("train", "infer")
        for size in (2, 4)
    }
    for row in found.profiles:
        assert (row["status"], row["reason"], row["engine"]) == ("measured", None, "eager")
        assert len(row["warmup_seconds"]) >= 2
        assert all(len(calls) == 1 and calls[0] > 0 for calls in row["round_seconds"])
    assert len({row["session_id"] for row in (*found.profiles, *found.operators)}) == 1
    [reference] = {tuple(row["reference_seconds"]) for row in found.profiles}
    assert len(reference) == 7
    assert all(seconds > 0 for seconds in reference)
    # in turn: a round goes once through all cells
    rounds = [each for each in course if each[0] == "timing in turn"]
    assert rounds == [("timing in turn", number, 7 * 8) for number in range(7 * 8)]
    phases = list(dict.fromkeys(what for what, _, _ in course))
    assert phases == ["warming up", "measuring memory", "profiling operators", "timing in turn"]


def test_a_row_says_what_its_cell_costs(measure):
    found = measure("plain", sizes=(2, 4), precisions=(FP32, BF16))
    assert len(found.profiles) == 8
    for row in found.profiles:
        stages = {stage["stage"]: stage["parameters"] for stage in row["parameters_by_stage"]}
        assert stages == {"8x8": 108 + 4 + 8, "classifier": 2570}
        assert row["parameters"] == row["parameters_total"] == 2690
        assert (row["macs"], row["weighted_layers"]) == (108 * 64 + 2560, 2)
        # images, what is normalised, and what enters the linear layer
        assert row["activation_bytes_per_image"] == 4 * (3072 + 256 + 256)
        assert row["model_source"].startswith("own code ")
        assert (row["ceiling_flops"], row["ceiling_copy_bytes"]) == (1e12, 1e10)
        passes = {"train": 3, "infer": 1}[row["mode"]]
        seconds = statistics.median(seconds for [seconds] in row["round_seconds"])
        flops = 2 * passes * (108 * 64 + 2560) * row["batch_size"]
        assert row["flops_share"] == pytest.approx(flops / seconds / 1e12)
        known = (row["mode"], row["batch_size"]) != ("infer", 4)
        assert row["peak_memory_bytes"] == (1000 + row["batch_size"] if known else None)
        assert row["base_memory_bytes"] == (900 if known else None)
        assert (row["device"], row["threads"]) == ("cpu", 1)


def test_short_calls_are_made_often_in_a_visit(measure):
    [row] = measure("plain", modes=("infer",), sizes=(2,), seconds_per_visit=1e9).profiles
    assert [len(calls) for calls in row["round_seconds"]] == [100] * MIN_ROUNDS


def test_energy_is_that_of_the_rounds_by_image(measure, monkeypatch):
    class Meter:
        """Counts 12 joules between each two readings."""

        source, joules = "rapl", 0.0

        def read(self):
            self.joules += 12.0
            return self.joules

    monkeypatch.setattr(module, "open_meter", lambda device: Meter())
    rows = by_cell(measure("plain", modes=("infer",), sizes=(2, 4)).profiles)
    # one call of so many images in each visit
    assert {size: row["joules_per_image"] for (_, _, size), row in rows.items()} == {2: 6.0, 4: 3.0}
    assert {row["energy_source"] for row in rows.values()} == {"rapl"}


@pytest.mark.parametrize(("share", "busy"), [(0.3, True), (0.01, False), (None, None)])
def test_what_others_did_in_the_meantime_is_in_every_row(measure, monkeypatch, share, busy):
    monkeypatch.setattr(module, "LoadWatch", lambda: SimpleNamespace(share_of_others=lambda: share))
    for row in measure("plain", sizes=(2,)).profiles:
        assert (row["others_share"], row["busy"]) == (share, busy)


def test_operators_are_those_of_one_cell_of_each_model_and_mode(measure):
    found = measure("plain", "normalized", sizes=(2, 4))
    cells = {(row["model"], row["mode"], row["batch_size"]) for row in found.operators}
    assert cells == {
        (f"mynet:{name}", mode, 2) for name in ("plain", "normalized") for mode in ("train", "infer")
    }
    for cell in cells:
        rows = [row for row in found.operators if (row["model"], row["mode"], row["batch_size"]) == cell]
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        convolutions = any("conv" in row["operator"] for row in rows)
        assert convolutions == (cell[0] == "mynet:plain")


def test_operators_are_those_of_the_usual_size_where_there_is_one(measure, monkeypatch):
    monkeypatch.setattr(module, "OPERATORS_BATCH_SIZE", 4)
    assert {row["batch_size"] for row in measure("plain", sizes=(2, 4)).operators} == {4}


def test_courses_of_steps_are_written_where_they_are_wanted(measure, tmp_path):
    measure("plain", sizes=(2,), trace_folder=tmp_path / "traces")
    names = {path.name for path in (tmp_path / "traces").iterdir()}
    assert names == {f"mynet-plain-{mode}-2-fp32.json" for mode in ("train", "infer")}


def test_a_cell_that_fails_is_recorded_with_the_reason_and_all_others_are_measured(measure):
    found = measure("normalized", "plain", sizes=(1, 2))
    rows = by_cell(found.profiles)
    failed = rows.pop(("normalized", "train", 1))
    assert (failed["status"], failed["round_seconds"], failed["warmup_seconds"]) == ("failed", [], [])
    assert failed["reason"].startswith("ValueError: Expected more than 1 value per channel when training")
    assert failed["flops_share"] is failed["engine"] is failed["peak_memory_bytes"] is None
    assert failed["parameters"] == 3072 * 8 + 8 + 16 + 90  # counted all the same
    assert len(rows) == 7
    assert {len(row["round_seconds"]) for row in rows.values()} == {MIN_ROUNDS}
    assert {row["status"] for row in rows.values()} == {"measured"}


def test_a_network_that_cannot_be_built_fails_in_all_its_cells_and_the_others_are_measured(measure):
    rows = by_cell(measure("nothing", "plain", sizes=(2,)).profiles)
    for mode in ("train", "infer"):
        assert rows["nothing", mode, 2]["status"] == "failed"
        assert "OSError" in rows["nothing", mode, 2]["reason"]
        assert rows["nothing", mode, 2]["parameters"] is None
        assert len(rows["plain", mode, 2]["round_seconds"]) == MIN_ROUNDS


@pytest.mark.parametrize(("precision", "most"), [(FP32, 2), (BF16, 4)])
def test_what_would_not_fit_into_memory_is_not_tried(measure, monkeypatch, precision, most):
    # of each image `plain` keeps 4 * 3584 bytes, in bfloat16 about half
    free = SimpleNamespace(available=2 * 4 * 3584 + 100)
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: free)
    rows = by_cell(measure("plain", sizes=(2, 4, 5), precisions=(precision,)).profiles)
    fits = {cell for cell, row in rows.items() if row["status"] == "measured"}
    assert fits == {("plain", "infer", size) for size in (2, 4, 5)} | {
        ("plain", "train", size) for size in (2, 4, 5) if size <= most
    }
    assert rows["plain", "train", 5]["reason"] == "HarnessError: needs 0.0 GiB of memory; 0.0 are free"


def test_a_cell_that_kills_the_process_that_measures_memory_fails_and_the_others_go_on(measure, monkeypatch):
    def deadly(cells, num_threads):
        for cell in cells:
            if cell.mode == "train" and cell.batch_size == 4:
                raise HarnessError("it died\nof that")
            yield peak_of(cell)

    monkeypatch.setattr(module, "resident_peaks", deadly)
    rows = by_cell(measure("plain", sizes=(2, 4)).profiles)
    dead = rows.pop(("plain", "train", 4))
    assert (dead["status"], dead["reason"], dead["round_seconds"]) == ("failed", "HarnessError: it died", [])
    assert {cell: row["peak_memory_bytes"] for cell, row in rows.items()} == {
        ("plain", "train", 2): 1002,
        ("plain", "infer", 2): 1002,
        ("plain", "infer", 4): None,
    }
    assert {len(row["round_seconds"]) for row in rows.values()} == {MIN_ROUNDS}


def test_where_all_fail_that_is_what_is_recorded(measure):
    found = measure("nothing", modes=("train",))
    assert [row["status"] for row in found.profiles] == ["failed", "failed"]
    assert (found.operators, found.interrupted) == ([], False)


def test_a_network_that_breaks_in_a_round_fails_from_then_on(measure, break_in):
    found = measure("breaks", "plain", sizes=(2,), on_tell=break_in("timing in turn", since=8, training=True))
    rows = by_cell(found.profiles)
    broken = rows.pop(("breaks", "train", 2))
    assert (broken["status"], broken["reason"]) == ("failed", "ValueError: it broke")
    assert len(broken["round_seconds"]) == 2
    assert {cell: len(row["round_seconds"]) for cell, row in rows.items()} == {
        ("breaks", "infer", 2): MIN_ROUNDS,
        ("plain", "train", 2): MIN_ROUNDS,
        ("plain", "infer", 2): MIN_ROUNDS,
    }
    assert {row["status"] for row in rows.values()} == {"measured"}


def test_a_network_that_breaks_when_its_operators_are_looked_at_fails_and_the_others_are_measured(
    measure, break_in
):
    found = measure("breaks", "plain", sizes=(2,), on_tell=break_in("profiling operators", training=True))
    rows = by_cell(found.profiles)
    broken = rows.pop(("breaks", "train", 2))
    assert (broken["status"], broken["reason"], broken["round_seconds"]) == (
        "failed",
        "ValueError: it broke",
        [],
    )
    assert {len(row["round_seconds"]) for row in rows.values()} == {MIN_ROUNDS}
    looked_at = {(row["model"], row["mode"]) for row in found.operators}
    assert looked_at == {("mynet:breaks", "infer"), ("mynet:plain", "train"), ("mynet:plain", "infer")}


def interrupt_at(phase, position=0):
    def tell(what, number, total):
        if (what, number) == (phase, position):
            raise KeyboardInterrupt

    return tell


def test_an_interrupt_keeps_what_was_measured(measure):
    found = measure("plain", on_tell=interrupt_at("timing in turn", 7))
    assert found.interrupted
    assert list(num_rounds(found.profiles).values()) == [2, 2, 2, 1]
    assert {row["status"] for row in found.profiles} == {"measured"}
    assert {row["mode"] for row in found.operators} == {"train", "infer"}


@pytest.mark.parametrize("phase", ["warming up", "measuring memory", "profiling operators", "timing in turn"])
def test_an_interrupt_before_anything_was_timed_leaves_only_what_failed(measure, phase):
    found = measure("nothing", "plain", modes=("train",), sizes=(2,), on_tell=interrupt_at(phase))
    assert found.interrupted
    failed = [] if phase == "warming up" else [("nothing", "train", 2)]
    assert list(by_cell(found.profiles)) == failed


@pytest.mark.parametrize(("at_most", "made"), [(1, 1), (4, 4), (5, 5), (20, MIN_ROUNDS)])
def test_without_time_as_many_rounds_are_made_as_an_interval_needs(measure, at_most, made):
    found = measure("plain", modes=("infer",), sizes=(2,), rounds=at_most, max_seconds=0.0)
    assert list(num_rounds(found.profiles).values()) == [made]


@pytest.mark.parametrize(("max_seconds", "made"), [(30.0, 10), (31.9, 10), (32.0, 11), (10.0, 5), (1e9, 15)])
def test_no_round_is_begun_that_would_end_too_late(measure, monkeypatch, max_seconds, made):
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def tell(what, number, total):
        # two cells: 10 seconds before the rounds, 2 in each
        now[0] += {"warming up": 5.0, "timing in turn": 1.0}.get(what, 0.0)

    found = measure("plain", modes=("infer",), sizes=(2, 4), rounds=15, max_seconds=max_seconds, on_tell=tell)
    assert list(num_rounds(found.profiles).values()) == [made, made]


def test_a_mini_batch_of_more_images_than_there_are_is_refused(measure):
    assert measure("plain", modes=("infer",), sizes=(NUM_TEST,)).profiles
    with pytest.raises(UsageError, match=f"{NUM_TEST + 1} images: synthetic has {NUM_TEST} test images"):
        measure("plain", modes=("infer",), sizes=(2, NUM_TEST + 1))
