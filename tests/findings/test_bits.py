"""Whether the same seed gives the same bits: counts worked out by hand, and by pandas over what is published."""

import itertools
from datetime import timedelta

import numpy as np
import pytest

from harness.findings import QUESTIONS, Finding, in_full

from .answers import START, texts


@pytest.fixture
def verify(store, fill):
    """A function that records a verification with these columns, each a minute after the one before."""
    made = itertools.count()

    def write(**columns):
        number = next(made)
        row = fill(
            "verifications",
            {
                "verification_id": f"v{number}",
                "run_id": "r",
                "model": "resnet20",
                "precision": "fp32",
                "num_epochs": 2,
                "num_iterations": 100,
                "device_name": "Some CPU",
                "verified_at": START + timedelta(minutes=number),
                **columns,
            },
        )
        store.write("verifications", row)

    return write


@pytest.fixture
def turn(verify):
    """A function that records a knob that was turned."""

    def write(knob, then, now, /, *, identical=False, ratio=(None, None, None), **columns):
        names = ("time_ratio", "time_ratio_low", "time_ratio_high")
        where = {} if identical else {"first_iteration": 1, "first_tensor": "bn1.running_mean"}
        times = dict(zip(names, ratio, strict=True))
        verify(
            **{
                "knob": knob,
                "knob_then": then,
                "knob_now": now,
                "identical": identical,
                **where,
                **times,
                **columns,
            }
        )

    return write


class TestSameBits:
    def test_repetitions_are_counted(self, verify, answer):
        verify(identical=True, num_iterations=1000, num_epochs=3, complete=True)
        verify(identical=False, first_epoch=1)
        verify(identical=True)
        found = answer("same-bits")
        assert found.summary.text == (
            "2 of 3 repetitions of a recorded run in a fresh process are bit-identical, of 1,200 iterations in 7 epochs."
        )
        assert found.summary.records == ("verifications/v0", "verifications/v1", "verifications/v2")
        assert [row[3:5] for row in found.tables[0].rows] == [
            ("yes", "bit-identical"),
            ("no", "differs from epoch 1 on"),
            ("no", "bit-identical"),
        ]

    def test_turned_knobs_are_no_repetitions(self, turn, answer):
        turn("threads", "1", "2", identical=True)
        assert answer("same-bits") is None

    def test_repetitions_beyond_the_first_run_of_a_request_are_counted(self, make_run, record, answer):
        """Of three runs of seed 0, one differs from the first; of two of seed 1, none."""
        runs = [
            make_run(code_sha256="a"),
            make_run(code_sha256="b"),
            make_run(code_sha256="c", weights_sha256="other"),
            make_run(seed=1, code_sha256="a"),
            make_run(seed=1, code_sha256="a", started_at=START),
            make_run(seed=2),
        ]
        record(runs)
        found = answer("same-bits")
        hours = (START - runs[3]["started_at"]).total_seconds() / 3600
        assert found.summary.text == (
            f"2 requests, each run 2 to 3 times on the same model of device (Some CPU), up to {hours:,.1f} hours apart, by 3 versions of "
            "the code: 2 of 3 repetitions ended with the weights of the first."
        )
        assert f"runs/{runs[5]['run_id']}" not in found.summary.records
        assert len(found.summary.records) == 5
        assert "different models" not in found.summary.text

    def test_repetitions_that_are_all_the_same_are_said_to_be(self, make_run, record, answer):
        record([make_run(seed=seed) for seed in (0, 0, 0, 1, 1, 1)])
        text = answer("same-bits").summary.text
        assert text.startswith("2 requests, each run 3 times on the same model of device")
        assert text.endswith(": all the same weights.")

    @pytest.mark.parametrize(
        ("weights", "ends"),
        [("w", "all the same weights"), ("x", "0 of 1 repetition ended with the weights of the first")],
    )
    def test_other_devices_are_told_apart(self, make_run, record, answer, weights, ends):
        record([make_run(), make_run(device_name="Another CPU", weights_sha256=weights)])
        text = answer("same-bits").summary.text
        assert (
            text
            == f"1 request, run 2 times on different models of device (Another CPU and Some CPU): {ends}."
        )

    def test_repetitions_on_a_device_count_once_beside_other_devices(self, make_run, record, answer):
        record([make_run(), make_run(), *(make_run(device_name="Another") for _ in range(3))])
        here, there = answer("same-bits").summary.text.split("1 request, ")[1:]
        assert here.startswith("run 2 to 3 times on the same model of device (Another and Some CPU)")
        assert there.startswith("run 2 times on different models of device")

    @pytest.mark.parametrize(
        "changes",
        [
            {"threads": 2},
            {"seed": 1},
            {"precision": "bf16"},
            {"status": "diverged"},
            {"weights_sha256": None},
            {"resumed_from": ["{}"]},
        ],
        ids=str,
    )
    def test_what_is_no_pair(self, make_run, record, answer, changes):
        run = make_run()
        record([run, make_run(**changes)])
        assert answer("same-bits") is None

    def test_accuracy_and_predictions_are_told_where_bits_differ(self, make_run, record, answer):
        """Of three pairs across devices, the first two have other bits; of these, one answers all images alike."""
        accuracies = [(0.9, 0.9), (0.9, 0.75), (0.5, 0.1 + 0.4)]
        runs, right = [], []
        for seed, (first, second) in enumerate(accuracies):
            here = make_run(seed=seed, test_accuracy=first)
            there = make_run(
                seed=seed, test_accuracy=second, device_name="Another", weights_sha256=f"{seed // 2 or 'x'}"
            )
            runs += [here, there]
            right += [[True, True], [True, seed != 1]]
        record(runs, right=right)
        found = answer("same-bits")
        [text] = texts(found)[1:]
        assert "on different models of device, 2 of 3 have the same test accuracy as the first" in text
        assert "the largest difference is 15.00 percentage points" in text
        assert "Of 3 with predictions at hand, 2 give every image the same class as the first." in text
        assert f"predictions/{runs[0]['run_id']}" in found.details[0].records

    def test_accuracies_that_are_unknown_are_left_out(self, make_run, record, answer):
        record([make_run(test_accuracy=None), make_run()])
        assert len(texts(answer("same-bits"))) == 1


class TestWhatDecidesBits:
    def test_knobs_are_told_by_what_they_do(self, turn, answer):
        turn("threads", "1", "2", ratio=(0.5, 0.4, 0.6), num_iterations=1)
        turn("deterministic", "on", "off", identical=True, ratio=(0.9, 0.8, 0.95))
        turn("precision", "fp32", "bf16", num_iterations=1)
        found = answer("what-decides-bits")
        assert found.summary.text == (
            "Turning deterministic algorithms (on to off) changed no bit in 100 iterations. Turning the number of threads (1 to "
            "2) and the precision (fp32 to bf16) changed bits from iteration 1 on. With deterministic algorithms off, an update "
            "takes 0.900 (95 % interval 0.800 to 0.950) of the time with them on, on Some CPU."
        )
        threads, deterministic, precision = texts(found)[1:]
        assert "first in bn1.running_mean" in threads
        assert "takes 0.500 (95 % interval 0.400 to 0.600) of the time as recorded" in threads
        assert "bit-identical (100 iterations" in deterministic
        assert "takes" not in precision
        assert [row[4] for row in found.tables[0].rows] == [
            "0.500 (0.400 to 0.600)",
            "0.900 (0.800 to 0.950)",
            "",
        ]

    def test_price_that_may_be_none_is_said_to_be_so(self, turn, answer):
        turn("deterministic", "on", "off", identical=True, ratio=(1.01, 0.9, 1.1))
        assert (
            "1.010 (95 % interval 0.900 to 1.100, not significant)"
            in answer("what-decides-bits").summary.text
        )

    def test_ratio_of_too_few_rounds(self, turn, answer):
        turn("deterministic", "on", "off", identical=True, ratio=(1.01, None, None))
        found = answer("what-decides-bits")
        assert "1.010 (too few rounds for an interval)" in found.summary.text
        assert found.tables[0].rows[0][4] == "1.010"

    def test_without_times_no_price_is_told(self, turn, answer):
        turn("deterministic", "on", "off")
        assert answer("what-decides-bits").summary.text == (
            "Turning deterministic algorithms (on to off) changed bits from iteration 1 on."
        )

    def test_last_of_each_turn_counts(self, turn, answer):
        turn("threads", "1", "2", identical=True)
        turn("threads", "1", "2")
        found = answer("what-decides-bits")
        assert "changed no bit" not in found.summary.text
        assert found.summary.records == ("verifications/v1",)
        turn("threads", "1", "2", identical=True, device_name="Another")
        assert "changed no bit" in answer("what-decides-bits").summary.text

    def test_first_iterations_that_differ_are_not_told_as_one(self, turn, answer):
        turn("threads", "1", "2")
        turn("precision", "fp32", "bf16", first_iteration=7)
        assert "changed bits." in answer("what-decides-bits").summary.text

    def test_different_lengths_are_told_as_a_range(self, turn, answer):
        turn("threads", "1", "2", identical=True)
        turn("deterministic", "on", "off", identical=True, num_iterations=3000)
        assert "changed no bit in 100 to 3,000 iterations." in answer("what-decides-bits").summary.text

    def test_repetitions_are_no_knobs(self, verify, answer):
        verify(identical=True)
        assert answer("what-decides-bits") is None

    @pytest.mark.parametrize(
        "columns",
        [
            {"knob": "<script>|`x`\x1b[31m\n", "knob_then": None, "knob_now": None},
            {"device_name": "<script>alert()</script>"},
            {"first_iteration": None, "first_tensor": None},
            {"time_ratio": 0.0, "time_ratio_low": 0.0},
        ],
        ids=lambda columns: next(iter(columns)),
    )
    def test_odd_records_do_not_raise(self, turn, verify, answer, columns):
        turn("deterministic", "on", "off", **columns)
        found = answer("what-decides-bits")
        page = in_full([Finding(QUESTIONS["what-decides-bits"], found)], [], None, "harness findings")
        assert "<script>" not in page
        assert "\x1b" not in found.summary.text


# what is published


def test_published_repetitions(frame_of, said):
    rows = frame_of("verifications")
    rows = rows[rows.knob.isna()]
    assert (
        f"{rows.identical.sum()} of {len(rows)} repetitions of a recorded run in a fresh process are bit-identical, of "
        f"{rows.num_iterations.sum():,} iterations in {rows.num_epochs.sum()} epochs."
    ) in said("same-bits")[0]


def test_published_pairs(frame_of, said):
    runs = frame_of("runs")
    runs = runs[(runs.status == "completed") & runs.weights_sha256.notna()]
    runs = runs[runs.resumed_from.map(np.size).eq(0) | runs.resumed_from.isna()]
    request = ["spec_sha256", "threads"]
    firsts = runs.sort_values(["started_at", "run_id"]).drop_duplicates([*request, "device_name"])
    for where, alike, which in (
        ("on the same model of device", [*request, "device_name"], runs),
        ("on different models of device", request, firsts),
    ):
        several = which[which.duplicated(alike, keep=False)]
        counts = several.groupby(alike).size()
        distinct = several.groupby(alike).weights_sha256.nunique()
        often = " to ".join(dict.fromkeys([str(counts.min()), str(counts.max())]))
        text = said("same-bits")[0]
        number = len(several.drop_duplicates(request))
        assert f"{number} requests, each run {often} times {where}" in text
        assert (text.split(where)[1].split(": ")[1].startswith("all the same weights")) == (
            distinct == 1
        ).all()
        first = several.sort_values(["started_at", "run_id"]).groupby(alike).test_accuracy.transform("first")
        equal = np.isclose(
            first, several.sort_values(["started_at", "run_id"]).test_accuracy, rtol=0, atol=1e-9
        )
        [detail] = [its for its in said("same-bits")[1:] if where in its]
        number = len(several) - len(counts)
        assert f"{equal.sum() - len(counts)} of {number} have the same test accuracy as the first" in detail


def test_published_knobs(frame_of, said):
    rows = frame_of("verifications")
    rows = rows[rows.knob.notna()]
    summary, *details = said("what-decides-bits")
    sentences = summary.split(". ")
    names = {
        "threads": "threads",
        "precision": "precision",
        "channels_last": "layout",
        "deterministic": "algorithms",
        "compilation": "compilation",
    }
    for row in rows.itertuples():
        turned = f"{names[row.knob]} ({row.knob_then} to {row.knob_now})"
        [sentence] = [its for its in sentences if turned in its]
        assert ("no bit" in sentence) == row.identical
        ends = f"{row.time_ratio:.3f} (95 % interval {row.time_ratio_low:.3f} to {row.time_ratio_high:.3f}"
        [detail] = [its for its in details if f"{row.knob_then} to {row.knob_now}:" in its and ends in its]
        assert row.identical or row.first_tensor in detail
        assert row.knob != "deterministic" or ends in summary
