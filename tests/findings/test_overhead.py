"""What a run takes beside its training: numbers worked out by hand, by numpy and by pandas."""

import json
from datetime import timedelta

import numpy as np
import pytest

from harness.findings import QUESTIONS, Finding, in_full

from .answers import ADDED, MACHINE, SHARES, START, by_contestant, check, only, texts

GIB = 2**30
READING = "reading 10,000 runs, a file each and compacted"
COMPACTING = "compacting 10,000 runs"
BEFORE, AFTER = "a file each", "compacted"
ROOM = {BEFORE: {"files": 30_000, "bytes": 123_456_789}, AFTER: {"files": 6, "bytes": 4_500_000}}


class TestMemory:
    def test_median_and_range_by_precision(self, make_seeds, record, answer):
        runs = make_seeds(0.9, 0.9, 0.9, precision="bf16", cpu_name="Some CPU", cpu_cores=2, resumed_from=[])
        for run, peak in zip(runs, (1.0, 1.25, 1.75), strict=True):
            run["peak_memory_bytes"] = round(peak * GIB)
        other = make_seeds(
            0.9,
            precision="fp32",
            peak_memory_bytes=3 * GIB,
            cpu_name="Some CPU",
            cpu_cores=2,
            resumed_from=[],
        )
        record([*runs, *other])
        found = answer("memory")
        assert "1.25 GiB (1.00 to 1.75) in bfloat16 with mini-batches of 128, 3 runs" in found.summary.text
        assert "3.00 GiB in float32 with mini-batches of 128, 1 run." in found.summary.text
        assert "Some CPU with 2 cores" in found.summary.text
        assert len(found.summary.records) == 4

    @pytest.mark.parametrize(
        "changes",
        [
            {"device": "cuda"},
            {"model": "resnet32"},
            {"model_source": "timm 1.0"},
            {"status": "diverged"},
            {"data": "synthetic"},
            {"resumed_from": None},
            {"peak_memory_bytes": None},
            {"peak_memory_bytes": 0},
        ],
        ids=str,
    )
    def test_what_says_nothing_to_it_is_left_out(self, make_run, record, answer, changes):
        columns = {"peak_memory_bytes": 2 * GIB, "resumed_from": []}
        record([make_run(**columns | changes)])
        assert answer("memory") is None
        record([make_run(seed=1, **columns)])
        assert "2.00 GiB in" in answer("memory").summary.text
        assert "1 run." in answer("memory").summary.text


class TestHarnessOverhead:
    def test_milliseconds_of_a_run(self, time_them, answer):
        added = {
            "planned, few": [0.0001, 0.0002, 0.0003],
            "planned, many": [0.0004, 0.0005, 0.0009],
            "in this process, many": [0.010, 0.012, 0.011],
            "a process each": [0.06, 0.08, 0.07],
            "something new": [1.0] * 3,
        }
        time_them({ADDED: added})
        found = answer("harness-overhead")
        assert "11 ms (10 to 12) for a run in its own process" in found.summary.text
        assert "70 ms (60 to 80) for one in a process for each run" in found.summary.text
        assert "0.5 ms (0.4 to 0.9) to plan a run" in found.summary.text
        assert "medians and ranges of 3 rounds, on Some CPU with 2 cores" in found.summary.text
        assert [row[1:] for row in found.tables[0].rows] == [
            ("100", "0.2", "0.1 to 0.3", "3"),
            ("1,000", "0.5", "0.4 to 0.9", "3"),
            ("1,000", "11", "10 to 12", "3"),
            ("", "70", "60 to 80", "3"),
        ]

    def test_how_runs_share_the_cores(self, time_them, answer):
        shares = {"a process of all cores": [6.0, 6, 6], "a process a core": [3.0, 4, 6]}
        time_them({ADDED: {"a process each": [0.1] * 3}, SHARES: shares})
        [_, text] = texts(answer("harness-overhead"))
        assert ": 1.500 (range 1.000 to 2.000, 3 rounds), too few rounds for an interval." in text

    def test_newest_session_counts(self, time_them, answer):
        time_them({ADDED: {"a process each": [0.1] * 3}}, session="old")
        time_them({ADDED: {"a process each": [0.2] * 3, "planned, many": [0.1]}}, session="new", days=1)
        found = answer("harness-overhead")
        assert [row[2:] for row in found.tables[0].rows] == [("200", "200 to 200", "3"), ("100", "", "1")]
        assert "200 ms (200 to 200)" in found.summary.text
        assert found.summary.records == ("benchmarks/new",)


@pytest.fixture
def time_reading(store, fill):
    """A function that records seconds of every reading in every state, as the benchmark of compaction leaves them."""

    def write(readings, *, compacting=None, room=ROOM, session="b1", days=0, **columns):
        given = {
            "session_id": session,
            "measured_at": START + timedelta(days=days),
            "images": None,
            **MACHINE,
        }
        rows = [
            {
                "group": READING,
                "name": f"test_reading[{reading}-{state}]",
                "parameters": json.dumps({"reading": reading, "state": state}),
                "extra": json.dumps(room.get(state, {})),
                "round_seconds": seconds,
            }
            for (reading, state), seconds in readings.items()
        ]
        if compacting is not None:
            its = {"parameters": "{}", "extra": "{}", "round_seconds": compacting}
            rows.append({"group": COMPACTING, "name": "test_compaction"} | its)
        store.write("benchmarks", *(fill("benchmarks", given | row | columns) for row in rows))

    return write


def both(before, after, reading="all runs"):
    return {(reading, BEFORE): before, (reading, AFTER): after}


class TestCompaction:
    def test_first_round_and_medians_and_ranges_of_the_others(self, time_reading, answer):
        time_reading(
            both([30.0, 10, 20, 19], [0.5, 1.5, 0.75, 1]) | both([0.02, 0.05, 0.03], [0.1, 0.3, 0.2], "few")
        )
        found = answer("compaction")
        check(found)
        assert found.summary.text == (
            "Reading 10,000 runs, a file each and compacted: all runs: 30 s, then 19 s (10 to 20) before, 0.5 s, then 1 s (0.75 to 1.5) "
            "after; few: 0.02 s, then 0.04 s (0.03 to 0.05) before, 0.1 s, then 0.25 s (0.2 to 0.3) after (the first round, then median "
            "and range of the others, of 3 rounds, on Some CPU with 2 cores)."
        )
        [table] = found.tables
        assert table.columns[1:] == (BEFORE, AFTER)
        assert table.rows == [
            ("all runs", "30 s, then 19 s (10 to 20)", "0.5 s, then 1 s (0.75 to 1.5)"),
            ("few", "0.02 s, then 0.04 s (0.03 to 0.05)", "0.1 s, then 0.25 s (0.2 to 0.3)"),
        ]
        assert found.summary.records == ("benchmarks/b1",)

    def test_order_of_the_records_does_not_matter(self, time_reading, answer):
        time_reading(dict(reversed(both([20.0], [1.0]).items())))
        found = answer("compaction")
        assert ": 20 s before, 1 s after (1 round, on " in found.summary.text
        assert "30,000 files of 123 MB before compaction, and 6 files of " in only(found, "On the disk").text

    def test_files_and_megabytes(self, time_reading, answer):
        room = {BEFORE: {"files": 1_234, "bytes": 2_345_600_000}, AFTER: {"files": 2, "bytes": 600_000}}
        time_reading(both([2.0], [1.0]), room=room)
        assert only(answer("compaction"), "On the disk").text == (
            "On the disk they are 1,234 files of 2,346 MB before compaction, and 2 files of 1 MB after it."
        )

    def test_time_of_compaction_is_that_of_the_newest(self, time_reading, answer):
        time_reading(both([2.0], [1.0]), compacting=[100.0])
        assert only(answer("compaction"), "took").text == (
            "Compacting 10,000 runs took 100 s (1 round, on Some CPU with 2 cores)."
        )
        time_reading({}, compacting=[40.0, 60.0], session="b2", days=1, cpu_name="Another")
        time_reading({}, compacting=[7.0], session="b3", days=-1)
        statement = only(answer("compaction"), "took")
        assert "took 50 s (40 to 60) (2 rounds, on Another with 2 cores)." in statement.text
        assert statement.records == ("benchmarks/b2",)
        assert answer("compaction").summary.records == ("benchmarks/b1",)

    @pytest.mark.parametrize("state", [BEFORE, AFTER, "something else"])
    def test_one_state_alone_is_no_answer(self, time_reading, answer, state):
        time_reading({("all runs", state): [2.0]}, compacting=[1.0])
        assert answer("compaction") is None

    def test_reading_of_one_state_is_left_out(self, time_reading, answer):
        time_reading(both([2.0], [1.0]) | {("few", AFTER): [3.0], ("none", BEFORE): [4.0]})
        found = answer("compaction")
        assert [row[0] for row in found.tables[0].rows] == ["all runs"]
        assert "few" not in found.summary.text
        assert "none" not in found.summary.text

    def test_newest_session_counts(self, time_reading, answer):
        time_reading(both([2.0], [1.0]), session="old")
        time_reading(both([6.0], [3.0]), session="new", days=1)
        found = answer("compaction")
        assert "6 s before, 3 s after" in found.summary.text
        assert found.summary.records == ("benchmarks/new",)

    @pytest.mark.parametrize("extra", ["no JSON", "[1]", "{}", '{"files": 3}', '{"bytes": 3}'])
    @pytest.mark.parametrize("state", [BEFORE, AFTER])
    def test_without_files_and_bytes_of_both_nothing_is_said_of_the_disk(
        self, time_reading, store, answer, extra, state
    ):
        time_reading(both([2.0], [1.0]))
        rows = store.read("benchmarks")[0].to_pylist()
        odd = [
            row | ({"extra": extra} if json.loads(row["parameters"])["state"] == state else {})
            for row in rows
        ]
        store.write("benchmarks", *odd)
        found = answer("compaction")
        assert "2 s before" in found.summary.text
        assert len(found.statements) == 1

    @pytest.mark.parametrize("odd", ["many", None, [], {}, float("nan"), float("inf")], ids=str)
    @pytest.mark.parametrize("what", ["files", "bytes"])
    def test_files_and_bytes_that_are_no_numbers_are_not_told(self, time_reading, answer, what, odd):
        time_reading(both([2.0], [1.0]), room=ROOM | {AFTER: ROOM[AFTER] | {what: odd}})
        found = answer("compaction")
        check(found)
        assert len(found.statements) == 1

    @pytest.mark.parametrize(
        "parameters", ["no JSON", "[1]", "{}", '{"reading": 7, "state": 8}', '{"reading": "x"}']
    )
    def test_parameters_that_say_nothing_are_passed_over(self, time_reading, store, answer, parameters):
        time_reading(both([2.0], [1.0]))
        rows = store.read("benchmarks")[0].to_pylist()
        store.write("benchmarks", *rows, rows[0] | {"name": "odd", "parameters": parameters})
        assert [row[0] for row in answer("compaction").tables[0].rows] == ["all runs"]

    def test_texts_of_others_are_no_markup(self, time_reading, answer):
        time_reading(both([2.0], [1.0], "<script>|`x`\n# no heading"), cpu_name="<b>\x1b[31m")
        found = answer("compaction")
        page = in_full([Finding(QUESTIONS["compaction"], found)], [], None, "harness findings")
        assert "<script>" not in page
        assert "<b>" not in page
        assert "\n# no heading" not in page
        assert "\x1b" not in found.summary.text


# what is published


def test_published_peaks_of_memory(frame_of, said):
    runs = frame_of("runs")
    runs = runs[(runs.model == "resnet20") & (runs.device == "cpu") & (runs.status == "completed")]
    runs = runs[runs.resumed_from.notna() & runs.peak_memory_bytes.notna()]
    for precision, its in runs.groupby("precision"):
        peaks = its.peak_memory_bytes / GIB
        named = {"bf16": "bfloat16", "fp32": "float32"}[precision]
        expected = f"{peaks.median():.2f} GiB ({peaks.min():.2f} to {peaks.max():.2f}) in {named} with mini-batches of 128, {len(its)} run"
        assert expected in said("memory")[0]


def test_published_overhead(timed, said):
    newest = by_contestant(timed, ADDED)[0]
    extra = {row.contestant: json.loads(row.extra) for row in timed[timed.group == ADDED].itertuples()}
    for name in ("in this process, many", "a process each", "planned, many"):
        times = 1e3 * newest[name]
        assert extra[name]["ms_per_run"] == pytest.approx(np.median(times), abs=1e-5)  # its clock ticks
        assert (
            f"{np.median(times):.3g} ms ({times.min():.3g} to {times.max():.3g})"
            in said("harness-overhead")[0]
        )
    shares = by_contestant(timed, SHARES)[0]
    ratios = shares["a process of all cores"] / shares["a process a core"]
    [row] = [row for row in timed[timed.group == SHARES].itertuples() if row.contestant == "a process a core"]
    assert json.loads(row.extra)["times_as_fast"] == pytest.approx(
        [ratios.min(), np.median(ratios), ratios.max()], abs=1e-5
    )
    expected = (
        f"{np.median(ratios):.3f} (range {ratios.min():.3f} to {ratios.max():.3f}, {len(ratios)} rounds)"
    )
    assert any(expected in text for text in said("harness-overhead"))


def test_published_compaction(published, timed):
    found = QUESTIONS["compaction"].answer(published)
    rows = timed[timed.group.str.fullmatch(r"reading [\d,]+ runs, a file each and compacted")]
    assert (found is None) == rows.empty
    newest = rows[rows.session_id == rows.session_id.iloc[0]] if len(rows) else rows
    for row in newest.itertuples():
        asked = json.loads(row.parameters)
        [cells] = [cells for cells in found.tables[0].rows if cells[0] == asked["reading"]]
        first, later = row.times[0], row.times[1:]
        told = f"{first:.3g} s, then {np.median(later):.3g} s ({later.min():.3g} to {later.max():.3g})"
        assert cells[1 + (asked["state"] == AFTER)] == told
        assert told in found.summary.text
        room = json.loads(row.extra)
        assert f"{room['files']:,} files of {room['bytes'] / 1e6:,.0f} MB" in only(found, "On the disk").text
