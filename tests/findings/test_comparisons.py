"""How means and differences over seeds are told: of runs made up here, by hand."""

import statistics

import pytest
from scipy import stats

from harness.analysis.estimates import estimate
from harness.analysis.groups import group_runs
from harness.analysis.paired import model_differences
from harness.findings import Statement
from harness.findings.comparisons import (
    certainty,
    gain,
    joined,
    names_of_cards,
    names_of_groups,
    paired_runs,
    question_of,
)
from harness.findings.comparisons import tested as compared
from harness.report import gather

from .answers import gain_of, names, near, paired


@pytest.fixture
def differences(make_seeds):
    """A function from accuracies by model to the differences to those of resnet20, by name of the model."""

    def compare(**accuracies):
        runs = [run for model, its in accuracies.items() for run in make_seeds(*its, model=model)]
        return {its.first.model: its for its in model_differences(group_runs(runs), "resnet20")}

    return compare


@pytest.mark.parametrize(
    ("arguments", "signed", "text"),
    [
        ((3, 0.8108, 0.8303), False, "3 seeds, 95 % interval 81.08 .. 83.03"),
        ((2, -0.01, 0.02), True, "2 seeds, 95 % interval -1.00 .. +2.00"),
        ((1, None, None), False, "1 seed, no interval"),
        ((2, 0.5, None), False, "2 seeds, no interval"),
        ((2, None, 0.5), True, "2 seeds, no interval"),
    ],
)
def test_how_certain_a_mean_is(arguments, signed, text):
    assert certainty(*arguments, signed=signed) == text


def test_gain_is_told_in_points_with_seeds_and_interval():
    first, second = (0.82, 0.84, 0.83), (0.80, 0.81, 0.82)
    found = estimate(a - b for a, b in zip(first, second, strict=True))
    assert gain_of(gain(found)) == near(*paired(first, second))
    assert gain(found).startswith("+2.00 percentage points (3 seeds, ")
    assert gain(estimate([-0.01])) == "-1.00 percentage points (1 seed, no interval)"


def test_one_comparison_is_not_adjusted(differences):
    accuracies = {"resnet20": (0.80, 0.81, 0.815), "plain20": (0.806, 0.815, 0.8215)}
    [its] = compared(list(differences(**accuracies).values()))
    p = stats.ttest_rel(accuracies["plain20"], accuracies["resnet20"]).pvalue
    assert its.p == pytest.approx(p)
    assert p < 0.05
    assert its.is_told
    assert its.told == f"significant (p {p:.3f})"
    assert its.among == 1


def test_comparisons_of_a_table_are_adjusted_by_holm(differences):
    """Of two p-values, the smaller is doubled; the single seed has none, and counts for nothing."""
    accuracies = {
        "resnet20": (0.800, 0.810, 0.815),
        "plain20": (0.806, 0.815, 0.8215),
        "resnet32": (0.790, 0.811, 0.8325),
        "resnet44": (0.9,),
    }
    found = differences(**accuracies)
    by_model = {its.paired.first.model: its for its in compared(list(found.values()))}
    raw = {
        model: stats.ttest_rel(accuracies[model], accuracies["resnet20"]).pvalue
        for model in ("plain20", "resnet32")
    }
    assert 2 * raw["plain20"] < raw["resnet32"]
    assert by_model["plain20"].p == pytest.approx(2 * raw["plain20"])
    assert by_model["resnet32"].p == pytest.approx(raw["resnet32"])
    assert not by_model["resnet32"].is_told
    assert by_model["resnet32"].told == (
        f"not significant (p {raw['resnet32']:.3f}, adjusted by Holm for 2 comparisons)"
    )
    alone = by_model["resnet44"]
    assert (alone.p, alone.is_told, alone.told) == (None, False, "one seed cannot tell it from noise")


def test_runs_of_a_comparison_are_of_the_seeds_that_both_have(differences):
    found = differences(resnet20=(0.8, 0.81, 0.82), plain20=(0.7, 0.71))["plain20"]
    runs = paired_runs(found)
    assert [(run["model"], run["seed"]) for run in runs] == [
        *(("plain20", seed) for seed in (0, 1)),
        *(("resnet20", seed) for seed in (0, 1)),
    ]
    assert found.difference.mean == pytest.approx(statistics.fmean((-0.1, -0.1)))


def test_groups_are_named_with_what_is_left_out_of_them(store, record, make_seeds, make_run):
    kept = record(make_seeds(0.8, 0.81))
    lost = record(
        [
            make_run(seed=2, status="diverged", test_accuracy=None),
            make_run(seed=3, status="failed", test_accuracy=None),
            make_run(seed=4, resumed_from=["{}"]),
        ]
    )
    record([make_run(seed=0, status="failed", test_accuracy=None)])  # that seed has a result
    record([make_run(seed=5, status="failed", test_accuracy=None, device_name="Another")])
    record([make_run(seed=5, model="plain20", status="failed", test_accuracy=None)])
    record([make_run(seed=5, precision="bf16", status="failed", test_accuracy=None)])
    evidence = gather(store)
    [group] = [its for its in evidence.groups if its.model == "resnet20" and its.values("test_accuracy")]
    found = names_of_groups([group], evidence)
    assert set(found) == names([*kept, *lost])
    assert list(found) == sorted(found)


def test_whole_groups_name_their_runs_alone(store, record, make_seeds):
    runs = record(make_seeds(0.8, 0.81))
    others = record(make_seeds(0.7, model="plain20"))
    evidence = gather(store)
    assert set(names_of_groups(evidence.groups, evidence)) == names([*runs, *others])
    assert names_of_groups([], evidence) == ()


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"seed": 7}, True),
        ({"status": "diverged"}, True),
        ({"model": "plain20"}, False),
        ({"model_source": "timm 1.0"}, False),
        ({"iterations": 10}, False),
        ({"precision": "bf16"}, False),
        ({"device_name": "Another"}, False),
    ],
    ids=str,
)
def test_groups_of_the_same_question(make_run, changes, same):
    one, other = (question_of(group_runs([make_run(**its)])[0]) for its in ({}, changes))
    assert (one == other) is same


def test_cards_are_named_where_there_are_any(make_card):
    cards = [make_card("b"), None, make_card("a"), make_card("b")]
    assert names_of_cards(cards) == ("identities/a-card", "identities/b-card")
    assert names_of_cards([None]) == ()


def test_statements_are_joined_with_each_record_once():
    parts = [Statement("One.", ("runs/b", "runs/a")), Statement("Two.", ("runs/c", "runs/b"))]
    assert joined(parts) == Statement("One. Two.", ("runs/b", "runs/a", "runs/c"))
