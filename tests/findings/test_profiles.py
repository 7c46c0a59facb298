"""Findings from profiles: numbers worked out by hand, by numpy, pandas and scipy, never by the harness."""

import itertools
import re
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.findings import QUESTIONS

from .answers import MACHINE, START, texts


@pytest.fixture
def profile(store, fill):
    """A function that records a session of profiles: seconds of the calls of each round by model, mode and size."""

    def write(cells, *, session="p1", minutes=0, reference=None, **columns):
        rows = [
            fill(
                "profiles",
                {
                    "session_id": session,
                    "model": model,
                    "mode": mode,
                    "batch_size": size,
                    "precision": "fp32",
                    "round_seconds": rounds,
                    "reference_seconds": reference,
                    "measured_at": START + timedelta(minutes=minutes),
                    "parameters": 100,
                    "macs": 2_000,
                    "threads": 2,
                    **MACHINE,
                    **columns,
                },
            )
            for (model, mode, size), rounds in cells.items()
        ]
        store.write("profiles", *rows)

    return write


class TestShortcuts:
    def cells(self, plain, residual, mode="train", size=1):
        return {("plain20", mode, size): plain, ("resnet20", mode, size): residual}

    def test_share_is_one_minus_the_ratio(self, profile, answer):
        profile(
            {
                **self.cells([[0.9]] * 8, [[1.0]] * 8),
                **self.cells([[0.8]] * 8, [[1.0]] * 8, size=8),
                **self.cells([[1.5]] * 8, [[2.0]] * 8, mode="infer"),
            }
        )
        found = answer("shortcuts-cost")
        assert (
            "10.0 to 20.0 % of the time of a training step (95 % intervals within 10.0 to 20.0 %; 2 cells)"
            in found.summary.text
        )
        assert (
            "25.0 % of the time of inference (95 % intervals within 25.0 to 25.0 %; 1 cell)"
            in found.summary.text
        )
        assert found.tables[0].columns[3] == "plain-20 over ResNet-20 (95 % interval)"
        assert "8 rounds in turn, on Some CPU with 2 cores" in found.summary.text
        assert [row[3] for row in found.tables[0].rows] == [
            "0.900 (0.900 to 0.900)",
            "0.800 (0.800 to 0.800)",
            "0.750 (0.750 to 0.750)",
        ]

    def test_median_call_of_each_round_counts(self, profile, answer):
        """Medians of rounds are 1, 2 and 3 over 2: of 0.5, 1 and 1.5 the median is 1, and none was too slow."""
        profile(self.cells([[1.0, 1, 9], [2.0], [3.0, 3, 3]], [[2.0]] * 3))
        [row] = answer("shortcuts-cost").tables[0].rows
        assert row[3:] == ("1.000 (0.500 to 1.500)", "too few rounds for an interval")
        assert (
            "rounds within -50.0 to 50.0 %; 1 cell, too few rounds for an interval"
            in answer("shortcuts-cost").summary.text
        )

    def test_what_may_be_nothing_is_named(self, profile, answer):
        sure = self.cells([[0.9]] * 6, [[1.0]] * 6)
        unsure = self.cells([[0.9], [1.1], [1.0], [0.8], [1.2], [1.0]], [[1.0]] * 6, size=8)
        profile({**sure, **unsure})
        found = answer("shortcuts-cost")
        assert "1 of 2 cells not significant" in found.summary.text
        assert "Not told from no difference: a training step of 8 images in fp32." in texts(found)

    def test_few_rounds_have_a_range(self, profile, answer):
        profile(self.cells([[0.9], [0.8], [0.9], [0.9], [0.95]], [[1.0]] * 5))
        found = answer("shortcuts-cost")
        assert (
            "10.0 % of the time of a training step (rounds within 5.0 to 20.0 %; 1 cell)"
            in found.summary.text
        )
        assert found.tables[0].columns[3] == "plain-20 over ResNet-20 (range of 5 rounds)"
        assert found.tables[0].rows[0][3:] == ("0.900 (0.800 to 0.950)", "")

    @pytest.mark.parametrize(("highest", "shown", "unsure"), [(0.9994, "0.999", 0), (0.9996, "1.000", 1)])
    def test_interval_that_reaches_1_as_it_is_printed_may_be_nothing(
        self, profile, answer, highest, shown, unsure
    ):
        profile(self.cells([[0.9]] * 4 + [[highest]] * 2, [[1.0]] * 6))
        found = answer("shortcuts-cost")
        [row] = found.tables[0].rows
        assert row[3:] == (f"0.900 (0.900 to {shown})", "not significant" * unsure)
        assert ("1 of 1 cell not significant" in found.summary.text) is bool(unsure)

    def test_session_with_most_rounds_counts(self, profile, answer):
        profile(self.cells([[0.9]] * 9, [[1.0]] * 9), session="long")
        profile(self.cells([[0.5]] * 8, [[1.0]] * 8), session="short", minutes=5)
        profile(
            {("plain20", "train", 1): [[0.5]] * 99, ("resnet20", "train", 8): [[1.0]] * 99}, session="unlike"
        )
        found = answer("shortcuts-cost")
        assert "10.0 %" in found.summary.text
        assert found.summary.records == ("profiles/long",)

    def test_counts_are_told_where_they_agree_and_where_not(self, profile, store, answer):
        profile(self.cells([[0.9]] * 6, [[1.0]] * 6))
        assert "Both networks have 100 parameters and 2,000 multiply-accumulates." in texts(
            answer("shortcuts-cost")
        )
        rows = store.read("profiles")[0].to_pylist()
        store.write("profiles", rows[0] | {"macs": 1_999}, rows[1])
        said = texts(answer("shortcuts-cost"))
        assert "Both networks have 100 parameters." in said
        assert "They differ in multiply-accumulates: 1,999 of plain-20, 2,000 of ResNet-20." in said

    def test_busy_machine_is_told(self, profile, answer):
        profile(self.cells([[0.9]] * 6, [[1.0]] * 6), busy=True)
        assert any("not to be trusted" in text for text in texts(answer("shortcuts-cost")))

    @pytest.mark.parametrize("model", ["plain20", "resnet20"])
    def test_one_network_alone_is_no_answer(self, profile, answer, model):
        profile({(model, "train", 1): [[1.0]] * 9})
        assert answer("shortcuts-cost") is None


class TestProfilesRepeat:
    def test_cells_agree_or_not(self, profile, answer):
        profile({("m", "train", 1): [[1.0], [1.1]] * 5, ("m", "infer", 1): [[1.0]] * 10}, session="p1")
        profile(
            {("m", "train", 1): [[1.0], [1.1]] * 5, ("m", "infer", 1): [[1.0]] * 10}, session="p2", minutes=3
        )
        profile(
            {("m", "train", 1): [[2.0], [2.2]] * 5, ("m", "infer", 1): [[1.0]] * 10}, session="p3", minutes=7
        )
        found = answer("profiles-repeat")
        assert found.summary.text.startswith(
            "In 2 repetitions of a profile on the same model of machine, not told apart: 2 of 2 cells (±"
        )
        assert re.search(
            r"2 of 2 cells \(±0\.\d\d\) from those 3\.0 minutes before and 1 of 2 cells \(±0\.\d\d\) from those 4\.0 minutes before\.",
            found.summary.text,
        )
        same, other = texts(found)[1:3]
        assert same.startswith("p2 beside p1 (m, 10 rounds beside 10 rounds, ended 3.0 minutes later")
        assert same.endswith(") not told apart.")
        assert ") not told apart, 1 not told from the machine (time now over then 2.00 to 2.00" in other
        assert found.details[1].records == ("profiles/p2", "profiles/p3")

    def test_half_width_of_the_ratio_stands_beside_the_count(self, profile, answer):
        """Ratios are within 0.8 to 1.4, 1 to 1, and 0.9 to 1.1: half-widths 0.3, 0 and 0.1."""
        cells = [("m", "train", size) for size in (1, 8, 32)]
        now = [[0.8, 1.0, 1.0, 1.0, 1.4], [1.0] * 5, [0.9, 1.0, 1.0, 1.0, 1.1]]
        profile(dict.fromkeys(cells, [[1.0]] * 5), session="p1")
        profile(
            {cell: [[seconds] for seconds in its] for cell, its in zip(cells, now, strict=True)},
            session="p2",
            minutes=1,
        )
        summary, detail = texts(answer("profiles-repeat"))
        assert "not told apart: 3 of 3 cells (±0.10) from those 1.0 minutes before." in summary
        assert detail.endswith(": 3 of 3 cells (±0.10) not told apart.")

    @pytest.mark.parametrize(
        ("seconds", "verdict"),
        [(3.0, "slower"), (1.5, "not told from the machine"), (0.5, "faster")],
    )
    def test_machine_that_changed_is_told(self, profile, answer, seconds, verdict):
        cell = ("m", "train", 1)
        profile({cell: [[1.0]] * 10}, session="p1", reference=[1.0] * 10)
        profile({cell: [[seconds]] * 10}, session="p2", minutes=3, reference=[2.0] * 10)
        [text] = texts(answer("profiles-repeat"))[1:]
        assert f"0 of 1 cell (±0.00) not told apart, 1 {verdict} (time now over then {seconds:.2f}" in text
        assert "takes 2.00 of its time then (95 % interval 2.00 to 2.00)" in text

    @pytest.mark.parametrize(
        "changes",
        [{"device_name": "Another"}, {"threads": 1}, {"precision": "bf16"}],
        ids=lambda its: next(iter(its)),
    )
    def test_unlike_sessions_are_not_compared(self, profile, answer, changes):
        profile({("m", "train", 1): [[1.0]] * 10}, session="p1")
        profile({("m", "train", 1): [[1.0]] * 10}, session="p2", **changes)
        assert answer("profiles-repeat") is None
        profile({("m", "train", 1): [[1.0]] * 10}, session="p3")
        assert answer("profiles-repeat") is not None

    def test_too_few_rounds_say_nothing(self, profile, answer):
        for session in ("p1", "p2"):
            profile({("m", "train", 1): [[1.0]] * 4}, session=session)
        assert answer("profiles-repeat") is None

    def test_long_session_is_described(self, profile, answer):
        random = np.random.default_rng(3)
        seconds = np.exp(np.cumsum(random.normal(0, 0.1, 40)) + random.normal(0, 0.05, (3, 40)))
        reference = list(random.uniform(1, 2, 40))
        cells = dict(zip([("m", "train", 1), ("m", "train", 128), ("m", "infer", 1)], seconds, strict=True))
        for session in ("p1", "p2"):
            rounds = {cell: [[value] for value in values] for cell, values in cells.items()}
            profile(rounds, session=session, reference=reference, others_share=0.0123)
        logs = pd.DataFrame(np.log(seconds).T)
        logs -= logs.median()
        common = logs.median(axis=1)
        single = np.mean([logs[cell].autocorr(1) for cell in logs])
        [course, spread] = texts(answer("profiles-repeat"))[2:]
        assert f"a standard deviation of {100 * common.std():.0f} %" in course
        assert (
            f"by {common.autocorr(1):.2f} with the round before and by {common.autocorr(5):.2f} with the fifth"
            in course
        )
        assert f"A single cell correlates by {single:.2f}" in course
        assert "40 rounds of 3 cells" in course
        assert "Others took 1.2 % of the cores" in course
        low, high = pd.Series(1e3 * seconds[1]).quantile([0.05, 0.95])
        together = stats.pearsonr(np.log(seconds[1]), np.log(reference))[0]
        assert (
            f"m, 128 images in fp32: {low:.0f} to {high:.0f} ms (correlation of logarithms with the reference {together:.2f})"
            in spread
        )
        assert "infer" not in spread

    def test_rounds_that_are_all_alike_have_no_correlation(self, profile, answer):
        for session in ("p1", "p2"):
            profile({("m", "infer", 1): [[1.0]] * 30}, session=session)
        assert len(texts(answer("profiles-repeat"))) == 2

    @pytest.mark.parametrize("reference", [[0.0] * 30, [float("nan")] * 30, [1.0], []])
    def test_odd_references_do_not_raise(self, profile, answer, reference):
        for session in ("p1", "p2"):
            profile({("m", "train", 1): [[1.0], [1.1]] * 15}, session=session, reference=reference)
        assert "correlation of logarithms" not in " ".join(texts(answer("profiles-repeat")))

    @pytest.mark.parametrize("rounds", [[], [[]], [[0.0]] * 9, [[float("nan")]] * 9])
    def test_cells_without_times_are_passed_over(self, profile, answer, rounds):
        for session in ("p1", "p2"):
            profile({("plain20", "train", 1): rounds, ("resnet20", "train", 1): [[1.0]] * 9}, session=session)
        assert "1 of 1 cell (" in answer("profiles-repeat").summary.text
        assert answer("shortcuts-cost") is None


# what is published


@pytest.fixture(scope="session")
def profiles(frame_of):
    frame = frame_of("profiles")
    frame["num_rounds"] = frame.round_seconds.map(len)
    return frame


def medians(row):
    return np.array([np.median(calls) for calls in row.round_seconds])


def test_published_price_of_shortcuts(published, profiles, said):
    both = profiles[profiles.model.isin(["plain20", "resnet20"]) & (profiles.num_rounds > 0)]
    longest = both.groupby("session_id").filter(lambda its: its.model.nunique() == 2)
    longest = longest[longest.num_rounds == longest.num_rounds.max()]
    cells = longest.set_index(["mode", "batch_size", "model"]).sort_index()
    shares = {}
    for mode, size in {cell[:2] for cell in cells.index}:
        ratio = np.median(
            medians(cells.loc[mode, size, "plain20"]) / medians(cells.loc[mode, size, "resnet20"])
        )
        shares.setdefault(mode, []).append(100 * (1 - ratio))
        rows = QUESTIONS["shortcuts-cost"].answer(published).tables[0].rows
        [row] = [row for row in rows if row[:2] == (mode, f"{size:,}")]
        assert row[3].startswith(f"{ratio:.3f} (")
    summary, *details = said("shortcuts-cost")
    assert (
        f"{min(shares['train']):.1f} to {max(shares['train']):.1f} % of the time of a training step"
        in summary
    )
    assert f"{min(shares['infer']):.1f} to {max(shares['infer']):.1f} % of the time of inference" in summary
    [parameters], [macs], [stored] = (
        longest[column].unique() for column in ("parameters", "macs", "activation_bytes_per_image")
    )
    assert any(
        f"{parameters:,} parameters, {macs:,} mult" in text and f"{stored:,} bytes" in text
        for text in details
    )


def test_published_long_session(profiles, said):
    measured = profiles[profiles.num_rounds > 0]
    longest = measured[measured.num_rounds == measured.num_rounds.max()]
    logs = pd.DataFrame({number: np.log(medians(row)) for number, row in enumerate(longest.itertuples())})
    logs -= logs.median()
    common = logs.median(axis=1)
    single = np.mean([logs[cell].autocorr(1) for cell in logs])
    [text] = [text for text in said("profiles-repeat") if "longest session" in text]
    assert f"{longest.num_rounds.max()} rounds of {len(longest)} cells" in text
    assert f"deviation of {100 * common.std():.0f} %" in text
    assert f"by {common.autocorr(1):.2f} with the round before and by {common.autocorr(5):.2f} with" in text
    assert f"A single cell correlates by {single:.2f}" in text
    assert f"Others took {100 * longest.others_share.max():.1f} %" in text
    [text] = [text for text in said("profiles-repeat") if "quantile" in text]
    steps = longest[(longest["mode"] == "train") & longest.batch_size.isin([1, 128])]
    for row in steps.itertuples():
        low, high = 1e3 * np.quantile(np.concatenate(row.round_seconds), [0.05, 0.95])
        together = np.corrcoef(np.log(medians(row)), np.log(row.reference_seconds))[0, 1]
        images = f"{row.batch_size} image{'s' * (row.batch_size > 1)} in {row.precision}"
        assert (
            f"{images}: {low:.0f} to {high:.0f} ms (correlation of logarithms with the reference {together:.2f})"
            in text
        )


def test_published_repetitions_are_those_of_the_same_cells_in_order(profiles, said):
    measured = profiles[profiles.num_rounds > 0]
    sessions = {
        name: (frozenset(zip(its.model, its["mode"], its.batch_size, its.precision, strict=True)), its)
        for name, its in measured.groupby("session_id")
    }
    found = [text.split(" (")[0] for text in said("profiles-repeat") if " beside " in text]
    expected = []
    for cells in dict.fromkeys(cells for cells, _ in sessions.values()):
        alike = [name for name, (its, _) in sessions.items() if its == cells]
        expected += [f"{now} beside {then}" for then, now in itertools.pairwise(alike)]
    assert found == expected
    for text in said("profiles-repeat"):
        if found := re.match(
            r"(\S+) beside (\S+) .*?ended ([\d.]+) minutes later.*?: (\d+) of (\d+) cells \(±([\d.]+)\) not told apart",
            text,
        ):
            ends = [sessions[name][1].measured_at.iloc[0] for name in (found[1], found[2])]
            assert found[3] == f"{(ends[0] - ends[1]).total_seconds() / 60:.1f}"
            assert int(found[5]) == len(sessions[found[1]][1])
            assert (
                f"{found[4]} of {found[5]} cells (±{found[6]}) from those {found[3]} minutes before"
                in said("profiles-repeat")[0]
            )


def test_published_repetitions_tell_nothing_from_the_machine(profiles, said):
    """Nothing in the code has changed between them: whatever the times are, none is slower or faster."""
    repetitions = [text for text in said("profiles-repeat") if " beside " in text]
    assert any("not told from the machine" in text for text in repetitions)
    assert not any(word in text for text in repetitions for word in ("slower", "faster"))
