"""verdicts: what it prints, and how it exits; what its margin may be, report's too."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.claims import claims
from harness.records import Store

from .printed import content_of, words
from .recorded import NEAR, Record, Row, complete, damage

Harness = Callable[..., tuple[int, str, str]]

BELOW = (0.890, 0.891, 0.892)
"""Well below the 9.68 % of error of the plain network of 20 layers."""


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
        "claim claimed measured 95 % interval n verdict model recipe iterations precision device",
        "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 reproduced resnet20 paper 64,000 fp32 Some CPU",
        "he2015-plain20 9.68 9.68 - 1 inconclusive plain20 paper 64,000 fp32 Some CPU",
        "he2015-plain20: inconclusive: a single seed has no spread; run at least two more",
        f"Not measured: {', '.join(others)}",
    ]


def test_verdicts_as_json_are_one_versioned_object_with_every_field(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    runs = of_paper(*NEAR, images_per_second=None)
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
        assert line.endswith(f" {len(accuracies)} {verdict} resnet20 paper {length} fp32 Some CPU")


def test_a_single_worse_claim_among_others_is_enough_for_exit_code_3(
    harness: Harness, results: Path, record: Record, of_paper: Callable[..., list[Row]]
) -> None:
    record([*of_paper(*NEAR), *of_paper(*BELOW, model="plain20")])
    code, out, _ = harness("verdicts", "--results", results)
    assert code == 3
    # 4.303 * 0.1 / sqrt(3) = 0.25
    assert "he2015-plain20 9.68 10.90 10.65 .. 11.15 3 worse plain20 paper 64,000 fp32 Some CPU" in words(out)
    assert "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 reproduced resnet20 paper 64,000 fp32 Some CPU" in words(
        out
    )


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
    assert line.endswith(f" 3 {verdict} resnet20 paper 64,000 fp32 Some CPU")
    left, out, _ = harness("verdicts", "--results", results, "--margin", margin, "--json")
    assert (left, content_of(out)["margin"]) == (code, margin)


@pytest.mark.parametrize("margin", ["0", "-0.5", "100", "1e9", "nan", "inf", "1e-323"])
@pytest.mark.parametrize("command", ["verdicts", "report"])
def test_margin_that_makes_no_sense_is_refused(
    harness: Harness, results: Path, command: str, margin: str
) -> None:
    results.mkdir()
    code, out, err = harness(command, "--results", results, "--margin", margin)
    assert (code, out) == (2, "")
    [line] = err.splitlines()
    assert line.startswith(f"harness: --margin {float(margin)}: ")
    assert "above 0 and below 100, e.g. 0.5" in line
    assert not list(results.iterdir())


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
    Path("elsewhere").mkdir()
    assert harness("verdicts", "--results", "elsewhere")[0] == 0


def test_a_store_without_runs_says_what_to_run_and_lists_no_claims(harness: Harness, results: Path) -> None:
    results.mkdir()
    said = f"no runs in {results}; make some with: harness reproduce quick --results {results}\n"
    assert harness("verdicts", "--results", results) == (0, "", said)
    code, out, err = harness("verdicts", "--results", results, "--json")
    assert (code, err) == (0, "")
    assert {row["verdict"] for row in content_of(out)["verdicts"]} == {"not measured"}
    assert not list(results.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        ("verdicts",),
        ("verdicts", "--json"),
        ("compare", "resnet20", "plain20"),
        ("report",),
        ("findings",),
        ("verify", "resnet20"),
        ("results", "list"),
        ("results", "summary"),
        ("results", "check"),
        ("results", "compact"),
    ],
    ids=" ".join,
)
def test_a_folder_that_is_not_there_is_wrong_usage_and_is_not_made(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "no such"
    said = "harness: no such folder: {0}; make some with: harness reproduce quick --results {1}\n"
    assert harness(*command, "--results", folder) == (2, "", said.format(folder, f"'{folder}'"))
    monkeypatch.chdir(tmp_path)
    assert harness(*command) == (2, "", said.format("results", "results"))
    assert not list(tmp_path.iterdir())


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
    assert (
        "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 not comparable resnet20 paper 2,000 fp32 Some CPU" in lines
    )
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
    assert words(out)[2].endswith(" 3 reproduced resnet20 paper 64,000 fp32 Some CPU")
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
        "claim claimed measured 95 % interval n verdict model recipe iterations precision device",
        "he2015-resnet20 8.75 - - 0 not measured resnet20 paper 64,000 fp32 Some CPU",
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
    rows = [line for line in words(out) if line.startswith("he2015-resnet20 ")]
    setting = "resnet20 paper 64,000 fp32"
    assert [line.partition(" 3 ")[2] for line in rows] == [
        f"reproduced {setting} Some CPU",
        f"worse {setting} Some GPU",
    ]


@pytest.mark.parametrize(
    ("mine", "others", "line"),
    [
        (
            NEAR,
            (),
            "he2015-resnet20 8.75 8.75 8.63 .. 8.87 3 reproduced mynet:make paper 64,000 fp32 Some CPU",
        ),
        (
            (0.9125,),
            NEAR,
            "he2015-resnet20 by mynet:make: inconclusive: a single seed has no spread; run at least two more",
        ),
    ],
    ids=["in the table", "in a note"],
)
def test_a_model_of_ones_own_is_named_beside_the_claim_that_its_card_names(
    harness: Harness,
    results: Path,
    record: Record,
    of_paper: Callable[..., list[Row]],
    make_card: Callable[..., Row],
    mine: tuple[float, ...],
    others: tuple[float, ...],
    line: str,
) -> None:
    network = {"model": "mynet:make", "model_source": "mynet.py at a"}
    record([*of_paper(*mine, **network), *of_paper(*others)])
    card = make_card(**network, identity_id="mynet-card", counterpart="resnet20", equivalence="equal")
    Store(results).write("identities", complete("identities", card))
    _, out, _ = harness("verdicts", "--results", results)
    assert line in words(out)
