"""compare: what it prints, and how it exits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.analysis.noise import detectable_paired

from .printed import content_of, words
from .recorded import IMAGES, Record, Row, damage

Harness = Callable[..., tuple[int, str, str]]

LEGEND = (
    "On other images: 95 % interval had the test set been another, seeds as they are. Detectable: the smallest "
    "difference that as many seeds, paired, would show with 80 % power at the 5 % level. Answered differently: share of "
    "images, between the two, and by two seeds of one alone."
)

SETTING = "short 1,563 fp32 Some CPU"
"""Of the runs of `compared`."""
BY_IMAGE_CHURN = ["50.0", "%", "12.5", "%", "62.5", "%"]
"""Between the two 5 and 3 of 8 images; between seeds of the first 1, of the second 5."""


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


@pytest.mark.usefixtures("compared")
def test_two_models_are_compared_by_seed_and_by_image(harness: Harness, results: Path) -> None:
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, err) == (0, "")
    title, columns, row, legend, *by_seed = words(out)
    assert title == "resnet20 minus plain20: test accuracy in percentage points, paired by seed"
    assert columns == (
        "n difference 95 % interval p (Holm) on other images detectable answered differently "
        "by seeds of resnet20 by seeds of plain20 recipe iterations precision device"
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
        "seed only resnet20 right only plain20 right p (McNemar) p (Holm) recipe iterations precision device",
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
    assert row == {
        "seeds": [0, 1],
        "p": pytest.approx(0.5),
        "p_adjusted": pytest.approx(0.5),
        "same_bits": False,
        "speed_ratio": 1.5,
        "detectable_difference": pytest.approx(detectable_paired(0.625 / math.sqrt(2), 2)),
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
    short = SETTING.replace("1,563", "100")
    assert [line.split()[0] for line in lines[2:4]] == ["2", "1"]
    assert lines[2].endswith(f" {SETTING}")
    # of one seed there is no spread, and no p to adjust with; what is by image is there
    assert lines[3].startswith("1 +25.00 - - ")
    assert lines[3].endswith(f" - 25.0 % - - {short}")
    assert " 0.500 " in lines[2]
    assert lines[-3:] == [
        f"0 5 0 0.062 0.125 {SETTING}",
        f"1 1 1 1.000 1.000 {SETTING}",
        f"0 2 0 0.500 0.500 {short}",
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
        assert line.endswith(f" {precision} Some CPU")
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
    assert lines[2].endswith(f" {SETTING}")
    assert lines[3].endswith(f" {SETTING.replace('CPU', 'GPU')}")
    assert all(line.endswith(f" {SETTING}") for line in lines[by_image + 1 :])


def test_where_predictions_are_missing_a_dash_stands(
    harness: Harness, results: Path, record: Record, make_seeds: Callable[..., list[Row]]
) -> None:
    record([*make_seeds(0.5, 0.5), *make_seeds(0.25, 0.25, model="plain20")])
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, err) == (0, "")
    lines = words(out)
    # two differences without any spread have none to be tested against
    assert lines[2] == f"2 +25.00 +25.00 .. +25.00 - - - - - - {SETTING}"
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
    results.mkdir()
    code, out, err = harness("compare", "resnet20", "plain20", "--results", results)
    assert (code, out) == (1, "")
    assert err == (
        f"harness: no completed runs of real images in {results}; make some with: harness reproduce quick --results {results}\n"
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
            f"harness: no completed runs of real images in {results}; make some with: harness reproduce quick --results {results}\n"
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
