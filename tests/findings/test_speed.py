"""How fast the harness is: numbers worked out by hand and by numpy, never by the harness."""

import re

import numpy as np
import pytest

from harness.findings import QUESTIONS

from .answers import DATA_PATH, EVALUATION, ON_CPU, ON_GPU, TODAY, UPDATES, by_contestant, row_of, texts

NO_LOADERS = "baseline, no loaders"


class TestSpeed:
    def test_ratio_is_that_of_rounds_not_of_medians(self, time_them, answer):
        """Medians are 6 and 2; of the ratios of rounds, 2, 1, 3, 2 and 5, it is 2."""
        time_them({ON_CPU: {TODAY: [2.0, 4, 6, 8, 10], "ours, bf16, 2 runs": [1.0, 4, 2, 4, 2]}})
        text = answer("speed").summary.text
        assert text.startswith(
            "Beside a standard PyTorch loop (4 DataLoader workers), the harness trains ResNet-20 at 2.00 times its images/s in bfloat16 "
            "with two runs side by side (range 1.00 to 5.00, 5 rounds; not significant). "
        )
        assert "float32" not in text  # was not timed
        assert text.endswith("Measured on Some CPU with 2 cores.")

    @pytest.mark.parametrize(
        ("number", "kind"), [(5, "range"), (7, "range"), (8, "95 % interval"), (15, "95 % interval")]
    )
    @pytest.mark.parametrize(("base", "ratio"), [(4.0, "2.00"), (6.0, "3.00")])
    def test_alike_rounds_have_an_interval_of_no_width(self, time_them, answer, base, ratio, number, kind):
        ours = {"ours, bf16, 2 runs": [2.0] * number, "ours, fp32": [base] * number}
        time_them({ON_CPU: {TODAY: [base] * number, **ours}})
        found = answer("speed")
        assert (
            f"at 1.00 times its images/s in float32 with one run ({kind} 1.00 to 1.00, {number} rounds; not significant) and "
            f"{ratio} in bfloat16 with two runs side by side ({kind} {ratio} to {ratio}, {number} rounds). "
            in found.summary.text
        )
        [table] = found.tables
        kind = f"range of {number} rounds" if number < 8 else "95 % interval"
        assert table.columns == (
            "contestant",
            f"images/s ({kind})",
            f"times as many as baseline, 4 loaders ({kind})",
        )
        assert row_of(table, "ours, bf16, 2 runs")[1:] == (
            "1,024 (1,024 to 1,024)",
            f"{ratio} ({ratio} to {ratio})",
        )
        assert row_of(table, TODAY)[2] == ""

    @pytest.mark.parametrize(("loaders", "fastest"), [(9.0, NO_LOADERS), (6.0, TODAY)])
    def test_fastest_standard_loop_counts(self, time_them, answer, loaders, fastest):
        """The others take 8, and with another allocator than PyTorch's, 3."""
        race = {
            TODAY: [loaders] * 5,
            NO_LOADERS: [8.0] * 5,
            "baseline, 4 loaders, allocator tuned": [3.0] * 5,
            "ours, fp32": [4.0] * 5,
            "ours, bf16": [2.0] * 5,
            "ours, bf16, 2 runs": [1.0] * 5,
            "ours, fp32, 2 runs": [0.5] * 5,
        }
        time_them({ON_CPU: race})
        found = answer("speed")
        base = min(loaders, 8.0)
        said = [
            f"{base / 4:.2f} times its images/s in float32 with one run (",
            f", {base / 2:.2f} in bfloat16 with one run (",
            f" and {base:.2f} in bfloat16 with two runs side by side (",
        ]
        assert re.search(
            r"\([^()]*\)".join(re.escape(text.removesuffix("(")) for text in said), found.summary.text
        )
        assert found.summary.text.startswith(
            "Beside a standard PyTorch loop (the faster of 0 and 4 DataLoader workers), the harness trains "
        )
        [table] = found.tables
        assert table.columns[2] == f"times as many as {fastest} (range of 5 rounds)"
        assert row_of(table, fastest)[2] == ""
        other = TODAY if fastest == NO_LOADERS else NO_LOADERS
        assert row_of(table, other)[2].startswith(f"{base / max(loaders, 8.0):.2f} (")
        assert f" 2,048 ({base:.2f}x)" in [
            trace.text[0] for trace in found.chart.figure.data if trace.type == "scatter"
        ]

    def test_fastest_of_each_session_counts(self, time_them, answer):
        ours = {"ours, bf16": [1.0] * 5}
        time_them({ON_CPU: {TODAY: [4.0] * 5, NO_LOADERS: [3.0] * 5, **ours}}, days=1)
        time_them({ON_CPU: {TODAY: [5.0] * 5, NO_LOADERS: [6.0] * 5, **ours}}, session="b2")
        found = answer("speed")
        assert "3.00 times its images/s in bfloat16" in found.summary.text
        assert "in 1 other session 5.00)" in found.summary.text

    def test_sessions_of_other_standard_loops_are_told_apart(self, time_them, answer):
        ours = {"ours, bf16": [1.0] * 5}
        time_them({ON_CPU: {TODAY: [4.0] * 5, NO_LOADERS: [3.0] * 5, **ours}}, days=1)
        time_them({ON_CPU: {NO_LOADERS: [5.0] * 5, **ours}}, session="b2")
        said = [text for text in texts(answer("speed")) if text.startswith("Beside a standard")]
        assert ["(the faster of 0 and 4 DataLoader" in said[0], "(0 DataLoader" in said[1]] == [True, True]
        assert "other session" not in " ".join(said)

    def test_medians_of_several_sessions_stand_beside_the_newest(self, time_them, answer):
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16": [2.0] * 5, "ours, fp32": [3.0] * 5}}, days=1)
        assert len(answer("speed").tables[0].columns) == 3
        time_them({ON_CPU: {TODAY: [8.0] * 5, "ours, bf16": [1.0] * 5}}, session="b2")
        [table] = answer("speed").tables
        assert table.columns[3] == "images/s, medians of 2 sessions"
        assert table.columns[3] in table.numeric
        assert [row[3] for row in table.rows] == ["256 to 512", "1,024 to 2,048", ""]
        time_them({ON_CPU: {TODAY: [2.0] * 5, "ours, fp32": [1.0] * 5}}, session="b3", days=-1)
        assert [row[3] for row in answer("speed").tables[0].rows] == [
            "256 to 1,024",
            "1,024 to 2,048 (2 sessions)",
            "683 to 2,048 (2 sessions)",
        ]

    def test_too_few_rounds_have_a_range(self, time_them, answer):
        time_them({ON_CPU: {TODAY: [2.0, 2, 6], "ours, bf16, 2 runs": [1.0, 2, 2]}})
        found = answer("speed")
        assert (
            "2.00 times its images/s in bfloat16 with two runs side by side (range 1.00 to 3.00, 3 rounds; too few rounds for an interval)"
            in found.summary.text
        )
        assert "interval 1" not in found.summary.text
        assert all("95 %" not in column for column in found.tables[0].columns)
        assert row_of(found.tables[0], "ours, bf16, 2 runs")[1] == "1,024 (1,024 to 2,048)"

    def test_other_numbers_of_images_are_reckoned_with(self, time_them, store, fill, answer):
        """Twice the images in the same time is twice the speed."""
        time_them({ON_CPU: {TODAY: [2.0] * 5}})
        rows = store.read("benchmarks")[0].to_pylist()
        ours = {"name": "x", "parameters": '{"name": "ours, bf16, 2 runs"}', "images": 4096}
        store.write("benchmarks", *rows, {**rows[0], **ours})
        assert (
            "2.00 times its images/s in bfloat16 with two runs side by side (range 2.00 to 2.00, 5 rounds)"
            in answer("speed").summary.text
        )

    def test_newest_session_is_told_in_full_and_others_beside_it(self, time_them, answer):
        for number, ours in enumerate([1.0, 2.0, 4.0]):
            time_them(
                {ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [ours] * 5}},
                session=f"b{number}",
                days=-number,
            )
        found = answer("speed")
        assert (
            "4.00 times its images/s in bfloat16 with two runs side by side (range 4.00 to 4.00, 5 rounds; in 2 other sessions 2.00 and 1.00)"
            in found.summary.text
        )
        assert found.summary.records == ("benchmarks/b0", "benchmarks/b1", "benchmarks/b2")
        assert "2026-05-01" in found.tables[0].title

    def test_session_of_fewer_rounds_says_so(self, time_them, answer):
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}}, days=1)
        time_them({ON_CPU: {TODAY: [4.0] * 2, "ours, bf16, 2 runs": [2.0, 1]}}, session="b2")
        assert "5 rounds; in 1 other session 3.00)" in answer("speed").summary.text

    def test_other_machine_is_told_apart(self, time_them, answer):
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}}, days=1)
        time_them(
            {ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [1.0] * 5}}, session="b2", cpu_name="Another"
        )
        found = answer("speed")
        assert "other session" not in found.summary.text
        assert found.summary.records == ("benchmarks/b1",)
        [text] = [text for text in texts(found)[1:] if "4.00 times its images/s in bf" in text]
        assert "Another with 2 cores" in text
        assert len(found.tables) == 2

    def test_machine_of_the_newest_session_comes_first(self, time_them, answer):
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}})
        gpu = {ON_GPU: {TODAY: [4.0] * 5, "ours, bf16, 10 at once": [1.0] * 5}}
        time_them(gpu, session="b2", days=1, device_name="Some GPU")
        assert answer("speed").summary.text.endswith("Measured on Some GPU.")
        time_them(gpu, session="b2", days=-1, device_name="Some GPU")
        assert answer("speed").summary.text.endswith("Measured on Some CPU with 2 cores.")

    def test_evaluation_on_another_machine_is_left_out(self, time_them, answer):
        evaluation = {TODAY: [6.0] * 5, "ours, bf16": [2.0] * 5}
        race = {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}
        time_them({ON_CPU: race, EVALUATION: evaluation}, days=1)
        time_them({EVALUATION: evaluation}, session="b2", cpu_name="Another")
        [text] = [text for text in texts(answer("speed")) if "evaluation" in text]
        assert "other session" not in text
        time_them({EVALUATION: evaluation}, session="b2")
        [text] = [text for text in texts(answer("speed")) if "evaluation" in text]
        assert "in 1 other session of as many rounds 3.00 (3.00 to 3.00)" in text

    def test_gpu_is_told_by_its_own_name_and_contestants(self, time_them, answer):
        gpu = {"device": "cuda", "device_name": "Some GPU"}
        time_them(
            {
                ON_GPU: {
                    TODAY: [12.0] * 5,
                    "ours, bf16": [6.0] * 5,
                    "ours, bf16, no graph": [9.0] * 5,
                    "ours, bf16, not deterministic": [4.0] * 5,
                    "ours, bf16, 10 at once": [3.0] * 5,
                    "ours, fp32, 10 at once": [4.0] * 5,
                },
                ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5},
            },
            **gpu,
        )
        cpu, on_gpu = self.on_both(answer("speed"))
        assert re.search(
            r" at 2\.00 times its images/s in bfloat16 with one run \([^()]*\) and 4\.00 in bfloat16 with ten runs at once \([^()]*\)\. ",
            on_gpu,
        )
        assert on_gpu.endswith("Measured on Some GPU.")
        assert cpu.endswith("Measured on Some CPU with 2 cores.")
        said = texts(answer("speed"))
        assert any("with a CUDA graph over that without (ours, bf16): 0.667 (" in text for text in said)
        assert any(
            "with deterministic algorithms over that without (ours, bf16): 1.500 (" in text for text in said
        )

    def on_both(self, found):
        both = [text for text in texts(found) if text.startswith("Beside a standard PyTorch loop")]
        on_gpu = [text for text in both if "GPU" in text]
        cpu = [text for text in both if "CPU" in text]
        assert (len(cpu), len(on_gpu)) == (1, 1)
        return cpu[0], on_gpu[0]

    def test_price_of_determinism(self, time_them, answer):
        contestants = {
            TODAY: [4.0] * 5,
            "ours, bf16, 2 runs": [2.2] * 5,
            "ours, bf16, 2 runs, not deterministic": [2.0] * 5,
        }
        time_them({ON_CPU: contestants})
        [text] = [text for text in texts(answer("speed")) if "deterministic" in text]
        assert "over that without (ours, bf16, 2 runs): 1.100 (range 1.100 to 1.100, 5 rounds)." in text

    def test_evaluation_and_trainer(self, time_them, answer):
        race = {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}
        evaluation = {TODAY: [6.0] * 5, "ours, fp32": [4.0] * 5, "ours, bf16": [2.0] * 5}
        updates = {"bare loop": [2.0] * 15, "trainer": [2.1] * 15}
        time_them({ON_CPU: race, EVALUATION: evaluation, UPDATES: updates})
        said = texts(answer("speed"))
        [text] = [text for text in said if "evaluation" in text]
        assert "over those of a standard loop with 4 DataLoader workers: in float32 1.50 (" in text
        assert "in bfloat16 3.00 (range 3.00 to 3.00, 5 rounds)" in text
        [text] = [text for text in said if "bare loop" in text]
        assert "Time of 20 updates of ResNet-20 by the trainer" in text
        assert ": 1.050 (95 % interval 1.050 to 1.050, 15 rounds). " in text

    def test_data_path_is_told_by_medians_and_ranges(self, time_them, store, fill, answer):
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}})
        rows = store.read("benchmarks")[0].to_pylist()
        ours = {
            "group": DATA_PATH,
            "name": "test_ours",
            "parameters": "{}",
            "round_seconds": [0.03, 0.05, 0.04],
        }
        loader = {
            "group": DATA_PATH,
            "name": "test_data_loader[4]",
            "parameters": '{"num_loaders": 4}',
            "round_seconds": [0.9, 1.5],
        }
        another = {"group": DATA_PATH, "name": "test_else", "parameters": "{}"}
        store.write("benchmarks", *rows, *({**rows[0], **its} for its in (ours, loader, another)))
        [text] = [text for text in texts(answer("speed")) if "Data path" in text]
        assert "by the harness 40.0 ms (30.0 to 50.0), 3 rounds" in text
        assert "by a DataLoader with 4 loaders 1,200.0 ms (900.0 to 1,500.0), 2 rounds" in text
        assert "not in turn" in text
        assert text.count("DataLoader") == 1

    @pytest.mark.parametrize("lacking", [TODAY, "ours, bf16, 2 runs"])
    def test_contestant_that_is_missing(self, time_them, answer, lacking):
        time_them({ON_CPU: {name: [2.0] * 5 for name in (TODAY, "ours, bf16, 2 runs") if name != lacking}})
        assert answer("speed") is None

    def test_chart_shows_the_contestants_of_the_newest_session(self, time_them, answer):
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}}, days=1)
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [1.0] * 5}}, session="b2")
        chart = answer("speed").chart
        assert chart.alt.endswith("baseline, 4 loaders: 512; ours, bf16, 2 runs: 1,024.")
        assert [trace.text[0] for trace in chart.figure.data if trace.type == "scatter"] == [
            " 512",
            " 1,024 (2.00x)",
        ]

    def test_without_images_there_is_no_speed_but_a_ratio(self, time_them, answer):
        time_them({ON_CPU: {TODAY: [4.0] * 5, "ours, bf16, 2 runs": [2.0] * 5}}, images=None)
        found = answer("speed")
        assert "2.00 times its images/s in bfloat16" in found.summary.text
        assert found.chart is None
        assert row_of(found.tables[0], "ours, bf16, 2 runs")[1:] == ("", "2.00 (2.00 to 2.00)")


# what is published


HEADLINES = {
    "ours, fp32": "in float32 with one run",
    "ours, bf16": "in bfloat16 with one run",
    "ours, bf16, 2 runs": "in bfloat16 with two runs side by side",
}


@pytest.mark.parametrize(("name", "how"), HEADLINES.items())
def test_published_speeds(timed, said, name, how):
    newest, *others = [
        min((its[base] for base in (TODAY, NO_LOADERS)), key=np.median) / its[name]
        for its in by_contestant(timed, ON_CPU)
    ]
    machine = "{cpu_name} with {cpu_cores} cores.".format(**timed[timed.group == ON_CPU].iloc[0])
    [text] = [text for text in said("speed") if "side by side" in text and text.endswith(machine)]
    found = re.search(
        rf"([\d.]+)(?: times its images/s)? {how} \((range|95 % interval) ([\d.]+) to ([\d.]+), (\d+) rounds"
        rf"; in {len(others)} other sessions? ([^()]*)\)",
        text,
    )
    assert found[1] == f"{np.median(newest):.2f}"
    assert int(found[5]) == len(newest)
    assert (found[2] == "range") is (len(newest) < 8)
    if len(newest) < 8:
        assert [found[3], found[4]] == [f"{newest.min():.2f}", f"{newest.max():.2f}"]
    else:
        assert newest.min() <= float(found[3]) <= float(found[1]) <= float(found[4]) <= newest.max()
    assert re.findall(r"[\d.]+", found[6]) == [f"{np.median(ratios):.2f}" for ratios in others]


def test_published_times_of_twins_trainer_and_evaluation(timed, said):
    twins = [its for its in by_contestant(timed, ON_CPU) if "ours, bf16, 2 runs, not deterministic" in its]
    ratio = np.median(twins[0]["ours, bf16, 2 runs"] / twins[0]["ours, bf16, 2 runs, not deterministic"])
    told = said("speed")
    assert any(f"without (ours, bf16, 2 runs): {ratio:.3f} (" in text for text in told)
    evaluation = by_contestant(timed, EVALUATION)[0]
    for precision, name in (("bfloat16", "ours, bf16"), ("float32", "ours, fp32")):
        ratio = np.median(evaluation[TODAY] / evaluation[name])
        assert any("evaluation" in text and f"in {precision} {ratio:.2f} (" in text for text in told)
    updates = by_contestant(timed, UPDATES)[0]
    ratio = np.median(updates["trainer"] / updates["bare loop"])
    assert any("bare loop" in text and f": {ratio:.3f} (95 % interval" in text for text in told)


def test_published_data_path(timed, said):
    [newest, *_] = [its for _, its in timed[timed.group == DATA_PATH].groupby("session_id", sort=False)]
    [text] = [text for text in said("speed") if "Data path" in text]
    for times in newest.times:
        assert (
            f"{1e3 * np.median(times):,.1f} ms ({1e3 * times.min():,.1f} to {1e3 * times.max():,.1f}), {len(times)}"
            in text
        )


def test_published_contestants(published, timed):
    newest = by_contestant(timed, ON_CPU)[0]
    tables = QUESTIONS["speed"].answer(published).tables
    [table] = [table for table in tables if [row[0] for row in table.rows] == list(newest)]
    medians = [
        {name: 16 * 128 / np.median(times) for name, times in its.items()}
        for its in by_contestant(timed, ON_CPU)
    ]
    for name, speed, _, of_all in table.rows:
        speeds = [its[name] for its in medians if name in its]
        assert speed.startswith(f"{speeds[0]:,.0f} (")
        assert of_all.startswith(f"{min(speeds):,.0f} to {max(speeds):,.0f}")
