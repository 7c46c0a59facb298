"""verdicts, compare and report: what they print and write, and how they exit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.analysis.noise import detectable_difference
from harness.claims import claims
from harness.records import KINDS, Store

Harness = Callable[..., tuple[int, str, str]]
Row = dict[str, Any]
Record = Callable[..., None]

NEAR = (0.912, 0.9125, 0.913)
"""Accuracies at the 8.75 % of ResNet-20."""
BELOW = (0.890, 0.891, 0.892)
"""Well below the 9.68 % of error of the plain network of 20 layers."""

_PLACEHOLDERS = {
    pa.string(): "unknown",
    pa.int64(): 1,
    pa.bool_(): False,
    pa.float64(): 0.5,
    pa.timestamp("us", tz="UTC"): datetime(2026, 1, 1, tzinfo=UTC),
}
IMAGES = range(8)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def record(results: Path) -> Record:
    """A function that records runs, each with an epoch; and with predictions where answers of runs are given."""

    def write(runs: Sequence[Row], answers: Sequence[Sequence[int]] = ()) -> None:
        for number, run in enumerate(runs):
            predictions = predicted(run["run_id"], answers[number]) if answers else None
            Store(results).write_run(complete("runs", run), [an_epoch(run)], predictions)

    return write


def complete(kind: str, row: Row) -> Row:
    """The same with something in every column that must not be null."""
    missing = {field.name: field.type for field in KINDS[kind] if not field.nullable}
    return {
        name: _PLACEHOLDERS.get(missing[name], []) if value is None and name in missing else value
        for name, value in row.items()
    }


def an_epoch(run: Row) -> Row:
    row = dict.fromkeys(KINDS["epochs"].names)
    return complete("epochs", row | {"run_id": run["run_id"], "iteration": run["iterations"]})


def predicted(run_id: str, classes: Sequence[int]) -> pa.Table:
    """Answers to images whose labels are 0, 1, 2, ..."""
    logits = [[float(number == answer) for number in range(10)] for answer in classes]
    return pa.table(
        {
            "run_id": [run_id] * len(classes),
            "image": pa.array(range(len(classes)), pa.int32()),
            "label": pa.array(range(len(classes)), pa.uint8()),
            "logits": pa.array(logits, pa.list_(pa.float32(), 10)),
        }
    )


@pytest.fixture
def of_paper(make_seeds: Callable[..., list[Row]]) -> Callable[..., list[Row]]:
    """Completed runs by the paper's recipe, of ResNet-20 unless told."""

    def make(*accuracies: float | None, **changes: Any) -> list[Row]:
        return make_seeds(*accuracies, **{"recipe": "paper"} | changes)

    return make


@pytest.fixture
def compared(make_seeds: Callable[..., list[Row]], record: Record) -> dict[str, list[Row]]:
    """ResNet-20 and its plain counterpart, two seeds of each, on eight images."""
    runs = {
        "resnet20": make_seeds(0.875, 0.75, images_per_second=1500.0),
        "plain20": make_seeds(0.25, 0.75, model="plain20"),
    }
    record(runs["resnet20"], [[0, 1, 2, 3, 4, 5, 6, 9], [0, 1, 2, 3, 4, 5, 9, 9]])
    record(runs["plain20"], [[0, 1, 9, 9, 9, 9, 9, 9], [0, 1, 2, 3, 4, 9, 6, 8]])
    return runs


def words(text: str) -> list[str]:
    """Its lines without what only aligns them."""
    return [" ".join(line.split()) for line in text.splitlines()]


def content_of(text: str) -> Row:
    """One JSON object without numbers that JSON lacks."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content: Row = json.loads(text, parse_constant=refuse)
    assert content.pop("version") == 1
    return content


def damage(results: Path, kind: str, name: str) -> Path:
    path = results / kind / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"PAR1 nothing")
    return path


# verdicts


def test_verdicts_are_a_line_for_each_claim_that_was_measured(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record([*of_paper(*NEAR), *of_paper(0.9032, model="plain20")])
    code, out, err = harness("verdicts", "--results", results)
    assert (code, err) == (0, "")
    # mean 91.25, and 4.303 * 0.05 / sqrt(3) = 0.12 to either side
    others = [key for key in claims() if key not in {"he2015-resnet20", "he2015-plain20"}]
    assert words(out) == [
        "Test error, per cent; reproduced: shown to be within 0.5 points of the claim",
        "claim claimed measured 95 % interval n verdict model recipe iterations precision",
        "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 reproduced resnet20 paper 64,000 fp32",
        "he2015-plain20 9.68 9.68 - 1 inconclusive plain20 paper 64,000 fp32",
        "he2015-plain20: inconclusive: a single seed has no spread; run at least two more",
        f"Not measured: {', '.join(others)}",
    ]


def test_verdicts_as_json_are_one_versioned_object_with_every_field(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    runs = of_paper(*NEAR, images_per_second=math.nan)
    record([*runs, *of_paper(0.93, model="plain20", iterations=3)])
    code, out, err = harness("verdicts", "--results", results, "--json")
    assert (code, err) == (0, "")
    content = content_of(out)
    assert set(content) == {"margin", "verdicts"}
    assert content["margin"] == 0.5
    rows = {row["claim"]: row for row in content["verdicts"]}
    assert list(rows) == list(claims())
    row = rows["he2015-resnet20"]
    half_width = 4.302653 * 0.0005 / math.sqrt(3)
    assert row.pop("measured_accuracy") == {
        "n": 3,
        "mean": pytest.approx(0.9125),
        "sd": pytest.approx(0.0005),
        "low": pytest.approx(0.9125 - half_width, abs=1e-9),
        "high": pytest.approx(0.9125 + half_width, abs=1e-9),
        "minimum": 0.912,
        "maximum": 0.913,
        "method": "t",
    }
    # Student's distribution of two degrees of freedom, of t = 0.005 * sqrt(3) / 0.0005, so t * t = 300
    beyond = (1 - math.sqrt(300 / 302)) / 2
    assert row.pop("judgement") == {
        "outcome": "reproduced",
        "difference": pytest.approx(0, abs=1e-12),
        "low": pytest.approx(-half_width, abs=1e-9),
        "high": pytest.approx(half_width, abs=1e-9),
        "p_equivalent": pytest.approx(beyond),
        "p_below": pytest.approx(1 - beyond),
        "p_above": pytest.approx(1 - beyond),
        "further_seeds": 0,
    }
    assert row == {
        "claim": "he2015-resnet20",
        "claimant": "He et al. (2015)",
        "stated_in": "arXiv:1512.03385, Table 6",
        "selection": "last",
        "claimed_accuracy": 0.9125,
        "verdict": "reproduced",
        "model": "resnet20",
        "model_source": "ours",
        "recipe": "paper",
        "iterations": 64_000,
        "precision": "fp32",
        "device_name": "Some CPU",
        "seeds": [0, 1, 2],
        "run_ids": [run["run_id"] for run in runs],
        "differences": [],
        "notes": [],
    }
    short = rows["he2015-plain20"]
    assert short["differences"] == [{"what": "iterations", "claimed": "64,000", "measured": "3"}]
    assert short["notes"] == ["not comparable: iterations: 3 here, 64,000 in the claim"]
    assert (short["verdict"], short["judgement"]) == ("not comparable", None)
    assert short["measured_accuracy"] == {
        "n": 1, "mean": 0.93, "sd": None, "low": None, "high": None, "minimum": 0.93, "maximum": 0.93, "method": "none",
    }  # fmt: skip
    unmeasured = rows["he2015-resnet32"]
    assert set(unmeasured) == {*row, "measured_accuracy", "judgement"}
    known = (
        "claim",
        "claimant",
        "stated_in",
        "selection",
        "claimed_accuracy",
        "verdict",
        "differences",
        "notes",
    )
    assert all(unmeasured[name] is None for name in unmeasured if name not in known)
    assert unmeasured["verdict"] == "not measured"
    assert (unmeasured["differences"], unmeasured["notes"]) == ([], [])


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize(
    ("accuracies", "changes", "verdict", "code"),
    [
        (NEAR, {}, "reproduced", 0),
        ((0.923, 0.924, 0.925), {}, "better", 0),
        ((0.90, 0.92), {}, "inconclusive", 0),
        ((0.5,), {}, "inconclusive", 0),
        ((0.5, 0.51, 0.52), {"iterations": 100}, "not comparable", 0),
        ((0.900, 0.901, 0.902), {}, "worse", 3),
    ],
)
def test_exit_code_is_3_exactly_where_a_claim_is_shown_to_be_worse(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    as_json: tuple[str, ...],
    accuracies: tuple[float, ...],
    changes: Row,
    verdict: str,
    code: int,
) -> None:
    record(of_paper(*accuracies, **changes))
    left, out, _ = harness("verdicts", "--results", results, *as_json)
    assert left == code
    if as_json:
        [row] = [row for row in content_of(out)["verdicts"] if row["claim"] == "he2015-resnet20"]
        assert row["verdict"] == verdict
    else:
        [line] = [line for line in words(out) if line.startswith("he2015-resnet20 ")]
        length = f"{changes.get('iterations', 64_000):,}"
        assert line.endswith(f" {len(accuracies)} {verdict} resnet20 paper {length} fp32")


def test_a_single_worse_claim_among_others_is_enough_for_exit_code_3(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record([*of_paper(*NEAR), *of_paper(*BELOW, model="plain20")])
    code, out, _ = harness("verdicts", "--results", results)
    assert code == 3
    # 4.303 * 0.1 / sqrt(3) = 0.25
    assert "he2015-plain20 9.68 10.90 10.65 .. 11.15 3 worse plain20 paper 64,000 fp32" in words(out)
    assert "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 reproduced resnet20 paper 64,000 fp32" in words(out)


@pytest.mark.parametrize(
    ("margin", "verdict", "code"), [(0.1, "worse", 3), (0.55, "inconclusive", 0), (1, "reproduced", 0)]
)
def test_margin_decides_what_is_near(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    margin: float,
    verdict: str,
    code: int,
) -> None:
    record(of_paper(0.9065, 0.9070, 0.9075))  # 0.55 points below, give or take 0.03
    left, out, _ = harness("verdicts", "--results", results, "--margin", margin)
    title, _, line, *_ = words(out)
    assert left == code
    assert title.endswith(f"shown to be within {margin} points of the claim")
    assert line.endswith(f" 3 {verdict} resnet20 paper 64,000 fp32")
    left, out, _ = harness("verdicts", "--results", results, "--margin", margin, "--json")
    assert (left, content_of(out)["margin"]) == (code, margin)


@pytest.mark.parametrize("margin", ["0", "-0.5", "100", "1e9", "nan", "inf", "1e-323"])
@pytest.mark.parametrize("command", ["verdicts", "report"])
def test_margin_that_makes_no_sense_is_refused(
    harness: Harness, results: Path, command: str, margin: str
) -> None:
    code, out, err = harness(command, "--results", results, "--margin", margin)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith(f"harness: --margin {float(margin)}: ")
    assert "above 0 and below 100, e.g. 0.5" in line
    assert not results.exists()


def test_margin_that_is_no_number_is_exit_code_2(harness: Harness, results: Path) -> None:
    assert harness("verdicts", "--results", results, "--margin", "half")[0] == 2


def test_verdicts_are_of_the_results_beside_unless_told(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(of_paper(*BELOW))
    monkeypatch.chdir(results.parent)
    assert harness("verdicts")[0] == 3
    assert harness("verdicts", "--results", "elsewhere")[0] == 0


def test_a_store_without_runs_says_what_to_run(harness: Harness, results: Path) -> None:
    code, out, err = harness("verdicts", "--results", results)
    assert code == 0
    assert words(out) == [f"Not measured: {', '.join(claims())}"]
    assert words(err) == [f"No runs are recorded in {results}/; record some with: harness reproduce"]
    code, out, err = harness("verdicts", "--results", results, "--json")
    assert (code, err) == (0, "")
    assert {row["verdict"] for row in content_of(out)["verdicts"]} == {"not measured"}
    assert not results.exists()


@pytest.mark.parametrize("kind", ["runs", "identities"])
@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_verdicts_name_a_broken_file_and_pass_it_over(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    kind: str,
    as_json: tuple[str, ...],
) -> None:
    record(of_paper(*NEAR))
    sound = harness("verdicts", "--results", results, *as_json)
    broken = damage(results, kind, "x")
    code, out, err = harness("verdicts", "--results", results, *as_json)
    assert (code, out) == sound[:2]
    [line] = err.splitlines()
    assert line.startswith(f"passed over {broken}: cannot be read: ")


def test_a_short_run_says_why_it_is_not_comparable(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record(of_paper(*NEAR, iterations=2000))
    _, out, _ = harness("verdicts", "--results", results)
    lines = words(out)
    assert "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 not comparable resnet20 paper 2,000 fp32" in lines
    assert "he2015-resnet20: not comparable: iterations: 2,000 here, 64,000 in the claim" in lines


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"status": "diverged"}, "1 more seed diverged, and is left out"),
        ({"status": "failed"}, "1 more seed failed or had no network, and is left out"),
        ({"resumed_from": ['{"run": "x"}']}, "1 more seed went on after a change, and is left out"),
    ],
)
def test_seeds_that_are_left_out_are_mentioned(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    changes: Row,
    note: str,
) -> None:
    [left_out] = of_paper(0.5, **changes)
    record([*of_paper(*NEAR), left_out | {"seed": 3}])
    code, out, _ = harness("verdicts", "--results", results)
    assert code == 0
    assert words(out)[2].endswith(" 3 reproduced resnet20 paper 64,000 fp32")
    assert words(out)[3] == f"he2015-resnet20: {note}"
    _, out, _ = harness("verdicts", "--results", results, "--json")
    [row] = [row for row in content_of(out)["verdicts"] if row["claim"] == "he2015-resnet20"]
    assert row["notes"] == [note]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"status": "diverged"}, "diverged"),
        ({"status": "failed"}, "failed or had no network"),
        ({"status": "skipped"}, "failed or had no network"),
    ],
)
def test_a_claim_that_was_tried_without_any_result_has_a_line_that_says_so(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    changes: Row,
    what: str,
) -> None:
    record(of_paper(None, None, **changes))
    code, out, err = harness("verdicts", "--results", results)
    assert (code, err) == (0, "")
    others = [key for key in claims() if key != "he2015-resnet20"]
    note = f"2 seeds {what}, and are left out"
    assert words(out)[1:] == [
        "claim claimed measured 95 % interval n verdict model recipe iterations precision",
        "he2015-resnet20 8.75 - - 0 not measured resnet20 paper 64,000 fp32",
        f"he2015-resnet20: {note}",
        f"Not measured: {', '.join(others)}",
    ]
    code, out, err = harness("verdicts", "--results", results, "--json")
    assert (code, err) == (0, "")
    [row] = [row for row in content_of(out)["verdicts"] if row["claim"] == "he2015-resnet20"]
    assert (row["verdict"], row["measured_accuracy"], row["judgement"]) == ("not measured", None, None)
    assert (row["model"], row["recipe"], row["iterations"]) == ("resnet20", "paper", 64_000)
    assert (row["seeds"], row["run_ids"], row["differences"], row["notes"]) == ([], [], [], [note])


def test_verdicts_of_several_devices_can_be_told_apart(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record([*of_paper(*NEAR), *of_paper(*BELOW, device_name="Some GPU")])
    code, out, _ = harness("verdicts", "--results", results)
    assert code == 3
    assert words(out)[1].endswith(" n verdict model recipe iterations precision device")
    rows = [line for line in words(out) if line.startswith("he2015-resnet20 ")]
    setting = "resnet20 paper 64,000 fp32"
    assert [line.partition(" 3 ")[2] for line in rows] == [
        f"reproduced {setting} Some CPU",
        f"worse {setting} Some GPU",
    ]


def test_a_model_of_ones_own_stands_beside_the_claim_that_its_card_names(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    make_card: Callable[..., Row],
) -> None:
    mine = {"model": "mynet:make", "model_source": "mynet.py at a"}
    record(of_paper(*NEAR, **mine))
    card = make_card(**mine, counterpart="resnet20", equivalence="equal")
    Store(results).write("identities", complete("identities", card))
    _, out, _ = harness("verdicts", "--results", results)
    assert "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 reproduced mynet:make paper 64,000 fp32" in words(out)


def test_a_note_on_a_model_of_ones_own_names_it_beside_the_claim(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    make_card: Callable[..., Row],
) -> None:
    mine = {"model": "mynet:make", "model_source": "mynet.py at a"}
    record([*of_paper(0.9125, **mine), *of_paper(*NEAR)])
    card = make_card(**mine, counterpart="resnet20", equivalence="equal")
    Store(results).write("identities", complete("identities", card))
    _, out, _ = harness("verdicts", "--results", results)
    note = "inconclusive: a single seed has no spread; run at least two more"
    assert f"he2015-resnet20 by mynet:make: {note}" in words(out)


# compare

LEGEND = (
    "On other images: 95 % interval had the test set been another, seeds as they are. Detectable: the smallest "
    "difference that so many seeds of each would show with 80 % power. Answered differently: share of images, between "
    "the two, and by two seeds of one alone."
)

SETTING = "short 1,563 fp32"
"""Of the runs of `compared`."""
BY_IMAGE_CHURN = ["50.0", "%", "12.5", "%", "62.5", "%"]
"""Between the two 5 and 3 of 8 images; between seeds of the first 1, of the second 5."""


@pytest.mark.usefixtures("compared")
def test_two_models_are_compared_by_seed_and_by_image(harness: Harness, results: Path) -> None:
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, err) == (0, "")
    title, columns, row, legend, *by_seed = words(out)
    assert title == "resnet20 minus plain20: test accuracy in percentage points, paired by seed"
    assert columns == (
        "n difference 95 % interval p (Holm) on other images detectable answered differently "
        "by seeds of resnet20 by seeds of plain20 recipe iterations precision"
    )
    # differences 62.5 and 0; 12.706 * 31.25 = 397.07
    start = "2 +31.25 -365.82 .. +428.32 0.500 "
    assert row.startswith(start)
    assert row.endswith(f" {SETTING}")
    low, dots, high, detectable, *shares = row.removeprefix(start).removesuffix(SETTING).split()
    assert dots == ".."
    assert 0 <= float(low) < 31.25 < float(high) <= 100
    assert float(detectable) > 31.25
    assert shares == BY_IMAGE_CHURN
    assert legend == LEGEND
    # two-sided 2 / 2**5 of five to nothing, twice that by Holm
    assert by_seed == [
        "",
        "Image by image",
        "seed only resnet20 right only plain20 right p (McNemar) p (Holm) recipe iterations precision",
        f"0 5 0 0.062 0.125 {SETTING}",
        f"1 1 1 1.000 1.000 {SETTING}",
    ]


def test_a_comparison_as_json_is_one_versioned_object_with_every_field(
    harness: Harness, results: Path, compared: dict[str, list[Row]]
) -> None:
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results, "--json")
    assert (code, err) == (0, "")
    content = content_of(out)
    assert set(content) == {"comparisons"}
    [row] = content["comparisons"]
    setting = {"recipe": "short", "iterations": 1563, "precision": "fp32", "device_name": "Some CPU"}
    for side, model in (("first", "resnet20"), ("second", "plain20")):
        assert row.pop(side) == {
            **setting,
            "model": model,
            "model_source": "ours",
            "seeds": [0, 1],
            "run_ids": [run["run_id"] for run in compared[model]],
        }
    assert row.pop("difference_of_accuracy") == {
        "n": 2,
        "mean": 0.3125,
        "sd": pytest.approx(0.625 / math.sqrt(2)),
        "low": pytest.approx(0.3125 - 12.706205 * 0.3125),
        "high": pytest.approx(0.3125 + 12.706205 * 0.3125),
        "minimum": 0.0,
        "maximum": 0.625,
        "method": "t",
    }
    by_image = row.pop("by_image")
    assert 0 <= by_image.pop("low") < 0.3125 < by_image.pop("high") <= 1
    assert by_image == {
        "num_images": len(IMAGES),
        "churn": 0.5,
        "churn_of_first": 0.125,
        "churn_of_second": 0.625,
        "seeds": [
            {
                "seed": 0,
                "test": {"only_first": 5, "only_second": 0, "p": pytest.approx(0.0625)},
                "p_adjusted": pytest.approx(0.125),
                "churn": 0.625,
            },
            {
                "seed": 1,
                "test": {"only_first": 1, "only_second": 1, "p": 1.0},
                "p_adjusted": 1.0,
                "churn": 0.375,
            },
        ],
    }
    # variances of accuracies: 0.125**2 / 2 and 0.5**2 / 2
    spread = math.sqrt((0.125**2 / 2 + 0.5**2 / 2) / 2)
    assert row == {
        "seeds": [0, 1],
        "p": pytest.approx(0.5),
        "p_adjusted": pytest.approx(0.5),
        "speed_ratio": 1.5,
        "detectable_difference": pytest.approx(detectable_difference(spread, 2)),
    }


@pytest.mark.usefixtures("compared")
def test_the_other_way_round_a_comparison_changes_sign(harness: Harness, results: Path) -> None:
    _, out, _ = harness("compare", "plain20", "resnet20", "--results", results)
    lines = words(out)
    assert lines[0].startswith("plain20 minus resnet20: ")
    assert lines[2].startswith("2 -31.25 -428.32 .. +365.82 0.500 ")
    assert lines[2].endswith(f" 50.0 % 62.5 % 12.5 % {SETTING}")
    assert lines[-2] == f"0 0 5 0.062 0.125 {SETTING}"


def test_every_setting_that_both_models_have_is_a_line(
    harness: Harness,
    results: Path,
    record: Record,
    compared: dict[str, list[Row]],
    make_seeds: Callable[..., list[Row]],
) -> None:
    record(make_seeds(0.5, iterations=100), [[0, 1, 2, 3, 9, 9, 9, 9]])
    record(make_seeds(0.25, iterations=100, model="plain20"), [[0, 1, 9, 9, 9, 9, 9, 9]])
    record(make_seeds(0.5, precision="bf16"))  # of only one of them
    _, out, _ = harness("compare", "resnet20", "plain20", "--results", results)
    lines = words(out)
    assert [[line.split()[0], *line.split()[-3:]] for line in lines[2:4]] == [
        ["2", "short", "1,563", "fp32"],
        ["1", "short", "100", "fp32"],
    ]
    # of one seed there is no spread, and no p to adjust with; what is by image is there
    assert lines[3].startswith("1 +25.00 - - ")
    assert lines[3].endswith(" - 25.0 % - - short 100 fp32")
    assert " 0.500 " in lines[2]
    assert lines[-3:] == [
        f"0 5 0 0.062 0.125 {SETTING}",
        f"1 1 1 1.000 1.000 {SETTING}",
        "0 2 0 0.500 0.500 short 100 fp32",
    ]
    _, out, _ = harness("compare", "resnet20", "plain20", "--results", results, "--json")
    listed = content_of(out)["comparisons"]
    assert [row["first"]["iterations"] for row in listed] == [1563, 100]
    assert [row["p_adjusted"] for row in listed] == [pytest.approx(0.5), None]
    assert (listed[1]["p"], listed[1]["detectable_difference"]) == (None, None)


def test_p_of_several_settings_is_adjusted_in_the_table_and_in_json(
    harness: Harness, results: Path, record: Record, make_seeds: Callable[..., list[Row]]
) -> None:
    for precision in ("fp32", "bf16"):
        record(make_seeds(0.81, 0.83, 0.85, precision=precision))
        record(make_seeds(0.80, 0.80, 0.80, model="plain20", precision=precision))
    _, out, _ = harness("compare", "resnet20", "plain20", "--results", results)
    # t = 3 / (2 / sqrt(3)) of two degrees of freedom: p = 0.1217, twice that by Holm
    p = 1 - math.sqrt(6.75 / 8.75)
    for line, precision in zip(words(out)[2:4], ("fp32", "bf16"), strict=True):
        assert line.startswith(f"3 +3.00 -1.97 .. +7.97 {2 * p:.3f} ")
        assert line.endswith(f" {precision}")
    _, out, _ = harness("compare", "resnet20", "plain20", "--results", results, "--json")
    listed = content_of(out)["comparisons"]
    assert [row["p"] for row in listed] == pytest.approx([p, p])
    assert [row["p_adjusted"] for row in listed] == pytest.approx([2 * p, 2 * p])


@pytest.mark.usefixtures("compared")
def test_settings_on_several_devices_can_be_told_apart(
    harness: Harness, results: Path, record: Record, make_seeds: Callable[..., list[Row]]
) -> None:
    there = {"device_name": "Some GPU"}
    record([*make_seeds(0.5, **there), *make_seeds(0.25, model="plain20", **there)])
    code, out, _ = harness("compare", "resnet20", "plain20", "--results", results)
    assert code == 0
    lines = words(out)
    by_image = lines.index("Image by image") + 1
    assert lines[1].endswith(" recipe iterations precision device")
    assert lines[by_image].endswith(" recipe iterations precision device")
    assert lines[2].endswith(f" {SETTING} Some CPU")
    assert lines[3].endswith(f" {SETTING} Some GPU")
    assert all(line.endswith(f" {SETTING} Some CPU") for line in lines[by_image + 1 :])


def test_where_predictions_are_missing_a_dash_stands(
    harness: Harness, results: Path, record: Record, make_seeds: Callable[..., list[Row]]
) -> None:
    record([*make_seeds(0.5, 0.5), *make_seeds(0.25, 0.25, model="plain20")])
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, err) == (0, "")
    lines = words(out)
    # no spread at all: the interval is a point, and every difference is shown
    assert lines[2] == f"2 +25.00 +25.00 .. +25.00 < 0.001 - 0.00 - - - {SETTING}"
    assert len(lines) == 4
    assert "Image by image" not in out
    _, out, _ = harness("compare", "resnet20", "plain20", "--results", results, "--json")
    [row] = content_of(out)["comparisons"]
    assert row["by_image"] is None


def test_a_broken_file_of_predictions_is_named(
    harness: Harness, results: Path, compared: dict[str, list[Row]]
) -> None:
    broken = damage(results, "predictions", compared["plain20"][0]["run_id"])
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert code == 0
    assert words(out)[-1] == f"1 1 1 1.000 1.000 {SETTING}"
    [line] = err.splitlines()
    assert line.startswith(f"passed over {broken}: cannot be read: ")


@pytest.mark.usefixtures("compared")
def test_a_broken_run_is_named_by_a_comparison_and_passed_over(harness: Harness, results: Path) -> None:
    broken = damage(results, "runs", "x")
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert code == 0
    assert " +31.25 " in words(out)[2]
    [line] = err.splitlines()
    assert line.startswith(f"passed over {broken}: cannot be read: ")


@pytest.mark.usefixtures("compared")
@pytest.mark.parametrize(
    ("models", "complaint"),
    [
        (("resnet21", "plain20"), "no model with completed runs named 'resnet21'; did you mean resnet20"),
        (("resnet20", "plian20"), "no model with completed runs named 'plian20'; did you mean plain20"),
        (("x", "plain20"), "no model with completed runs named 'x'; known: resnet20, plain20"),
        (("resnet20", "resnet20"), "'resnet20' is compared with itself; name two models"),
    ],
)
def test_what_makes_no_comparison_is_exit_code_2(
    harness: Harness, results: Path, models: tuple[str, str], complaint: str
) -> None:
    code, out, err = harness("compare", *models, "--results", results)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith(f"harness: {complaint}")


def test_a_comparison_needs_two_models(harness: Harness, results: Path) -> None:
    assert harness("compare", "resnet20", "--results", results)[0] == 2


def test_a_model_whose_runs_all_diverged_has_no_accuracy_to_compare(
    harness: Harness, results: Path, record: Record, make_seeds: Callable[..., list[Row]]
) -> None:
    record([*make_seeds(0.9), *make_seeds(None, model="plain20", status="diverged")])
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, out) == (2, "")
    assert "no model with completed runs named 'plain20'; known: resnet20" in err


def test_a_comparison_in_an_empty_store_says_what_to_run(harness: Harness, results: Path) -> None:
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, out) == (1, "")
    assert err == (
        f"harness: no completed runs of real images are recorded in {results}/; record some with: harness reproduce\n"
    )


def test_runs_of_synthetic_images_are_not_compared(
    harness: Harness, results: Path, record: Record, make_seeds: Callable[..., list[Row]]
) -> None:
    made_up = {"data": "synthetic"}
    record([*make_seeds(0.9, 0.8, **made_up), *make_seeds(0.5, 0.6, model="plain20", **made_up)])
    for as_json in ((), ("--json",)):
        code, out, err = harness("compare", "resnet20", "plain20", "--results", results, *as_json)
        assert (code, out) == (1, "")
        assert err == (
            f"harness: no completed runs of real images are recorded in {results}/; record some with: harness reproduce\n"
        )
    # beside others they are left out, even where both models have them
    record([*make_seeds(0.75), *make_seeds(0.5, model="plain20")])
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results, "--json")
    assert (code, err) == (0, "")
    [row] = content_of(out)["comparisons"]
    assert (row["seeds"], row["difference_of_accuracy"]["mean"]) == ([0], 0.25)
    record(make_seeds(0.9, model="resnet32", **made_up))
    code, out, err = harness("compare", "resnet20", "resnet32", "--results", results)
    assert (code, out) == (2, "")
    assert "no model with completed runs named 'resnet32'" in err


@pytest.mark.parametrize(
    "changes", [{"seed": 5}, {"precision": "bf16"}, {"iterations": 7}, {"device_name": "Some GPU"}]
)
def test_models_without_a_common_seed_are_told_how_to_get_one(
    harness: Harness, results: Path, record: Record, make_run: Callable[..., Row], changes: Row
) -> None:
    record([make_run(), make_run(model="plain20", **changes)])
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, out) == (1, "")
    [line] = err.splitlines()
    assert line.startswith(
        "harness: resnet20 and plain20 have no seed of the same recipe, length, precision and"
    )
    assert line.endswith("e.g. harness reproduce compare --models resnet20,plain20")


# report

NO_RUNS = "No runs are recorded in {}/; record some with: harness reproduce\n"
"""On stderr."""


def test_a_report_is_written_beside_the_records_and_says_where(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record(of_paper(*NEAR))
    code, out, err = harness("report", "--results", results)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"Report: {results / name}" for name in ("report.html", "report.md")]
    html, markdown = ((results / name).read_text("utf-8") for name in ("report.html", "report.md"))
    assert html.lstrip().lower().startswith("<!doctype html")
    assert "he2015-resnet20" in html
    assert "| he2015-resnet20 | **reproduced** | 8.75 | 8.75 | 8.63 .. 8.87 | 3 |" in markdown
    assert f"`harness report --results {results}`" in markdown
    # the records stay records
    assert Store(results).check() == (6, [])


def test_a_report_is_of_the_results_beside_unless_told(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = harness("report")
    assert code == 0
    assert words(out) == [f"Report: {Path('results', name)}" for name in ("report.html", "report.md")]
    assert (tmp_path / "results" / "report.html").is_file()


def test_a_report_is_written_where_told_and_nowhere_else(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]], tmp_path: Path
) -> None:
    record(of_paper(*NEAR))
    files = [tmp_path / "new folder" / "a.md", tmp_path / "b.html"]
    code, out, _ = harness("report", "--results", results, "-o", files[0], "--output", files[1])
    assert code == 0
    assert out.splitlines() == [f"Report: {file}" for file in files]
    assert files[0].read_text("utf-8").startswith("# ")
    assert files[1].read_text("utf-8").lstrip().startswith("<")
    assert not list(results.glob("report.*"))
    _, out, _ = harness("report", "--results", results, "-o", tmp_path / "only.md")
    assert out.splitlines() == [f"Report: {tmp_path / 'only.md'}"]


@pytest.mark.parametrize("name", ["report.txt", "report", "report.md.gz", ".md"])
def test_a_report_of_another_kind_is_refused_before_anything_is_written(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    tmp_path: Path,
    name: str,
) -> None:
    record(of_paper(*NEAR))
    before = sorted(tmp_path.rglob("*"))
    code, out, err = harness("report", "--results", results, "-o", tmp_path / "a.html", "-o", tmp_path / name)
    assert (code, out) == (2, "")
    assert err == f"harness: {tmp_path / name}: end it in .html or .md, which say what to write\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_report_that_cannot_be_written_is_exit_code_1_and_one_line(
    harness: Harness, results: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    wanted = tmp_path / "file" / "report.html"
    code, out, err = harness("report", "--results", results, "-o", wanted)
    assert (code, out) == (1, "")
    said, line = err.splitlines(keepends=True)
    assert said == NO_RUNS.format(results)
    assert line.startswith(f"harness: cannot write {wanted}: ")
    folder = tmp_path / "folder.md"
    folder.mkdir()
    code, out, err = harness("report", "--results", results, "-o", folder)
    assert (code, out) == (1, "")
    assert err.startswith(f"{NO_RUNS.format(results)}harness: cannot write {folder}: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.md"]


def test_an_old_report_is_replaced_and_nothing_is_left(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record(of_paper(*NEAR))
    files = [results / "report.html", results / "report.md"]
    old = "old " * 200_000
    for file in files:
        file.write_text(old)
    # who reads the old one meanwhile has it to its end
    with files[0].open() as reader:
        assert harness("report", "--results", results)[0] == 0
        assert reader.read() == old
    assert all("old old" not in file.read_text("utf-8") for file in files)
    assert sorted(path.name for path in results.iterdir()) == ["epochs", "report.html", "report.md", "runs"]
    assert not [path for path in results.rglob("*") if path.name.endswith(".tmp")]


def test_a_report_of_an_empty_store_says_that_nothing_was_measured(harness: Harness, results: Path) -> None:
    code, out, err = harness("report", "--results", results)
    assert (code, err) == (0, NO_RUNS.format(results))
    assert out.count("Report: ") == 2
    assert sorted(path.name for path in results.iterdir()) == ["report.html", "report.md"]
    assert "Not measured: he2015-resnet20, " in (results / "report.md").read_text("utf-8")


@pytest.mark.parametrize("kind", ["runs", "epochs", "predictions", "identities", "profiles"])
def test_a_report_names_a_broken_file_and_passes_it_over(
    harness: Harness, results: Path, record: Record, make_run: Callable[..., Row], kind: str
) -> None:
    run = make_run()
    record([run], [IMAGES])
    broken = damage(results, kind, run["run_id"])
    code, out, err = harness("report", "--results", results)
    assert code == 0
    assert out.count("Report: ") == 2
    *said, line = err.splitlines(keepends=True)
    # the only run is the broken one, or is there
    assert said == ([NO_RUNS.format(results)] if kind == "runs" else [])
    assert line.startswith(f"passed over {broken}: cannot be read: ")
    assert f"Passed over {kind}/{broken.name}: cannot be read: " in (results / "report.md").read_text("utf-8")


def test_a_report_has_its_margin_and_says_how_it_is_made_again(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record(of_paper(0.9065, 0.9070, 0.9075))
    texts = []
    for margin in ((), ("--margin", 0.5), ("--margin", 0.1)):
        # worse is a finding of the report, and no failure to write it
        assert harness("report", "--results", results, *margin)[0] == 0
        texts.append((results / "report.md").read_text("utf-8"))
    assert ["| he2015-resnet20 | **inconclusive** |" in text for text in texts] == [True, True, False]
    assert "| he2015-resnet20 | **worse** |" in texts[2]
    assert f"`harness report --results {results}`" in texts[0]
    assert f"`harness report --results {results}`" in texts[1]
    assert f"`harness report --results {results} --margin 0.1`" in texts[2]


@pytest.mark.parametrize(("name", "start"), [("report.HTML", "<!doctype html"), ("Report.Md", "# ")])
def test_a_suffix_of_a_report_may_be_in_capitals(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    tmp_path: Path,
    name: str,
    start: str,
) -> None:
    record(of_paper(*NEAR))
    code, out, err = harness("report", "--results", results, "-o", tmp_path / name)
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"Report: {tmp_path / name}"]
    text = (tmp_path / name).read_text("utf-8")
    assert text.lstrip().lower().startswith(start)
    assert "he2015-resnet20" in text


# reproduce --report

REPORTS = ("report.html", "report.md")


def reports(results: Path) -> list[str]:
    return sorted(path.name for path in results.glob("*report*"))


def test_reproduce_writes_the_report_when_told_whether_or_not_there_was_anything_to_do(
    harness: Harness, write_module: Callable[..., Path], tiny_experiment: Path, results: Path
) -> None:
    write_module()
    options = (tiny_experiment, "--models", "mynet:net", "--data", "synthetic", "--results", results)
    code, out, err = harness("reproduce", *options)
    assert code == 0, err
    assert reports(results) == []
    assert "Report: " not in out

    code, out, err = harness("reproduce", *options, "--report")
    assert code == 0, err
    assert err.count("skipped") == 1
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
    assert reports(results) == list(REPORTS)

    for name in REPORTS:
        (results / name).unlink()
    code, out, err = harness("reproduce", *options, "--seeds", "1", "--report")
    assert code == 0, err
    assert "skipped" not in err
    assert reports(results) == list(REPORTS)
    assert f"`harness report --results {results}`" in (results / "report.md").read_text("utf-8")


def test_reproduce_with_a_report_has_one_json_object_on_stdout(
    harness: Harness, write_module: Callable[..., Path], tiny_experiment: Path, results: Path
) -> None:
    write_module()
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "mynet:net", "--data", "synthetic"),
        *("--results", results, "--report", "--json"),
    )
    assert code == 0, err
    assert reports(results) == list(REPORTS)
    assert [run["status"] for run in content_of(out)["runs"]] == ["completed"]
    assert err.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]


def test_reproduce_writes_the_report_of_runs_that_diverged(
    harness: Harness,
    write_module: Callable[..., Path],
    tiny_experiment: Path,
    tiny_recipe: Path,
    results: Path,
) -> None:
    write_module()
    tiny_recipe.write_text(tiny_recipe.read_text().replace("learning_rate = 0.1", "learning_rate = 1e30"))
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "mynet:net", "--iterations", 6, "--data", "synthetic"),
        *("--results", results, "--report"),
    )
    assert code == 4, err
    assert [run["status"] for run in Store(results).read("runs")[0].to_pylist()] == ["diverged"]
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
    assert reports(results) == list(REPORTS)


FAILS = """\
from torch import nn

class Fails(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3072, 10)

    def forward(self, images):
        if self.training and len(images) > 2:
            raise ArithmeticError("not today")
        return self.linear(images.flatten(1))

def net():
    return Fails()
"""


def test_reproduce_writes_the_report_of_runs_that_failed(
    harness: Harness, write_module: Callable[..., Path], tiny_experiment: Path, results: Path
) -> None:
    write_module(FAILS)
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "mynet:net", "--data", "synthetic"),
        *("--results", results, "--report"),
    )
    assert code == 4, err
    assert "not today" in err
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
    assert reports(results) == list(REPORTS)


@pytest.mark.usefixtures("nowhere")
def test_reproduce_writes_the_report_of_runs_that_were_skipped_for_want_of_a_network(
    harness: Harness, tiny_experiment: Path, results: Path
) -> None:
    code, out, err = harness(
        *("reproduce", tiny_experiment, "--models", "akamaster-resnet20", "--data", "synthetic"),
        *("--results", results, "--report"),
    )
    assert code == 4, err
    assert "akamaster-resnet20: skipped: " in err
    assert out.splitlines()[-2:] == [f"Report: {results / name}" for name in REPORTS]
