import statistics
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from harness.analysis.by_image import McNemar, Predicted, churn, image_interval, mcnemar
from harness.analysis.comparison import comparable_groups, compare_groups, detectable
from harness.analysis.groups import group_runs
from harness.analysis.noise import detectable_paired

LABELS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


def answered(*classes):
    return Predicted(labels=np.array(LABELS, dtype=np.uint8), classes=np.array(classes, dtype=np.uint8))


def wrong_at(*images, by=1):
    """What a run answers that is wrong at these of ten images."""
    return answered(*((label + by * (image in images)) % 10 for image, label in enumerate(LABELS)))


@pytest.fixture
def group_of(make_seeds):
    """The one group of runs of seeds 0, 1, ... with these accuracies."""

    def make(*accuracies, **changes):
        [group] = group_runs(make_seeds(*accuracies, **changes))
        return group

    return make


@pytest.fixture
def group_of_seeds(make_run):
    """The one group of runs with accuracies by seed."""

    def make(accuracies, **changes):
        runs = [
            make_run(seed=seed, test_accuracy=accuracy, **changes) for seed, accuracy in accuracies.items()
        ]
        [group] = group_runs(runs)
        return group

    return make


def stored(group, *predictions):
    return {run["run_id"]: its for run, its in zip(group.runs, predictions, strict=True) if its is not None}


# which groups can be compared


def test_groups_in_the_same_setting_are_paired(make_run):
    settings = [{"recipe": "short"}, {"recipe": "paper"}, {"precision": "bf16"}, {"device_name": "Some GPU"}]
    runs = [make_run(model=model, **setting) for model in ("plain20", "resnet20") for setting in settings]
    runs += [make_run(model="resnet32"), make_run(model="resnet20", iterations=10)]
    pairs = comparable_groups(group_runs(runs), "resnet20", "plain20")
    assert [(first.model, second.model) for first, second in pairs] == [("resnet20", "plain20")] * 4
    assert [(first.recipe, first.precision, first.device_name) for first, _ in pairs] == [
        ("short", "fp32", "Some CPU"),
        ("paper", "fp32", "Some CPU"),
        ("short", "bf16", "Some CPU"),
        ("short", "fp32", "Some GPU"),
    ]
    assert all(first.setting == second.setting for first, second in pairs)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": "short-own-init"},
        {"precision": "tf32"},
        {"device_name": "Some GPU"},
        {"iterations": 10},
        {"data": "synthetic"},
        {"recipe_changes": {"batch_size": 64}},
    ],
)
def test_groups_in_another_setting_are_not_paired(make_run, change):
    groups = group_runs([make_run(model="resnet20"), make_run(model="plain20", **change)])
    assert comparable_groups(groups, "resnet20", "plain20") == []


def test_protocols_are_compared_and_not_their_names(make_run):
    mine = {"name": "mine", "summary": "my own", "source": "copied"}
    groups = group_runs([make_run(model="resnet20"), make_run(model="plain20", recipe_changes=mine)])
    assert len(comparable_groups(groups, "resnet20", "plain20")) == 1


@pytest.mark.parametrize(("first", "second"), [("resnet20", "vgg16"), ("vgg16", "resnet20")])
def test_model_without_runs_has_no_pairs(make_run, first, second):
    assert comparable_groups(group_runs([make_run(model="resnet20")]), first, second) == []


# seed by seed


def test_groups_are_compared_seed_by_seed(group_of):
    of_first, of_second = (0.92, 0.91, 0.93), (0.90, 0.905, 0.91)
    first, second = group_of(*of_first), group_of(*of_second, model="plain20")
    comparison = compare_groups(first, second, {})
    assert (comparison.paired.first, comparison.paired.second) == (first, second)
    assert comparison.paired.seeds == (0, 1, 2)
    assert comparison.paired.difference.mean == pytest.approx(0.015, rel=1e-9)
    assert comparison.paired.p == pytest.approx(stats.ttest_rel(of_first, of_second).pvalue, rel=1e-9)
    spread = statistics.stdev(a - b for a, b in zip(of_first, of_second, strict=True))
    assert comparison.detectable == pytest.approx(detectable_paired(spread, 3), rel=1e-9)
    assert detectable(comparison.paired, 4) == pytest.approx(detectable_paired(spread, 3, 4), rel=1e-9)


def test_detectable_difference_is_that_of_the_seeds_that_both_have(group_of_seeds):
    first = group_of_seeds({seed: 0.90 + 0.01 * seed for seed in range(5)})
    second = group_of_seeds({3: 0.80, 4: 0.83, 9: 0.85}, model="plain20")
    comparison = compare_groups(first, second, {})
    assert comparison.paired.seeds == (3, 4)
    # of the differences, 0.13 and 0.11
    assert comparison.detectable == pytest.approx(detectable_paired(0.02 / 2**0.5, 2), rel=1e-9)


def test_pairs_without_a_test_show_no_difference(group_of_seeds):
    first, second = group_of_seeds({0: 0.90, 1: 0.92}), group_of_seeds({1: 0.91}, model="plain20")
    for one, other in ((first, second), (second, first)):
        comparison = compare_groups(one, other, {})
        assert comparison.paired.seeds == (1,)
        assert comparison.detectable is None  # a single seed shows nothing
    same = group_of_seeds({0: 0.90, 1: 0.92}, model="plain20")
    equal = group_of_seeds({0: 0.91, 1: 0.93}, model="plain20")
    assert [compare_groups(first, other, {}).detectable for other in (same, equal)] == [None, None]


def test_single_seeds_have_no_spread(group_of):
    comparison = compare_groups(group_of(0.9), group_of(0.8, model="plain20"), {})
    assert (comparison.detectable, comparison.paired.p) == (None, None)
    assert comparison.paired.difference.mean == 0.1


def test_without_a_common_seed_there_is_no_comparison(group_of_seeds):
    first, second = group_of_seeds({0: 0.9, 1: 0.9}), group_of_seeds({2: 0.8, 3: 0.8}, model="plain20")
    everything = stored(first, wrong_at(), wrong_at()) | stored(second, wrong_at(1), wrong_at(1))
    assert compare_groups(first, second, everything) is None


# image by image


def test_stored_predictions_are_compared_by_hand(group_of):
    first, second = group_of(0.9, 0.8), group_of(0.7, 0.7, model="plain20")
    predictions = stored(first, wrong_at(9), wrong_at(8, 9)) | stored(
        second, wrong_at(7, 8, 9, by=2), wrong_at(0, 1, 9)
    )
    found = compare_groups(first, second, predictions).by_image
    assert found.num_images == 10
    assert [its.seed for its in found.seeds] == [0, 1]
    assert [its.test for its in found.seeds] == [McNemar(2, 0, 0.5), McNemar(2, 1, 1.0)]
    assert [its.p_adjusted for its in found.seeds] == [1.0, 1.0]
    # at image 9 of seed 0 both are wrong, and answer differently; at that of seed 1 they answer alike
    assert [its.churn for its in found.seeds] == [0.3, 0.3]
    assert found.churn == pytest.approx(0.3, rel=1e-12)
    assert found.churn_of_first == 0.1
    # the second model's seeds part at images 0, 1, 7, 8 and, with two wrong answers, at 9
    assert found.churn_of_second == 0.5
    correct = [[predictions[run["run_id"]].correct for run in group.runs] for group in (first, second)]
    assert (found.low, found.high) == image_interval(*correct)
    assert found.low < 0.15 < found.high


def test_exchanged_models_have_the_opposite_interval(group_of):
    first, second = group_of(0.9), group_of(0.5, model="plain20")
    predictions = stored(first, wrong_at(9)) | stored(second, wrong_at(1, 2, 3, 4, 5))
    found = compare_groups(first, second, predictions).by_image
    exchanged = compare_groups(second, first, predictions).by_image
    assert exchanged.low < -0.4 < exchanged.high < found.high
    assert found.low < 0.4 < found.high
    assert exchanged.seeds[0].test == McNemar(1, 5, found.seeds[0].test.p)


def test_p_values_are_adjusted_over_the_seeds(group_of):
    first, second = group_of(1.0, 1.0, 1.0), group_of(0.4, 0.0, 0.9, model="plain20")
    predictions = stored(first, *[wrong_at()] * 3) | stored(
        second, wrong_at(0, 1, 2, 3, 4, 5), wrong_at(*range(10)), wrong_at(5)
    )
    found = compare_groups(first, second, predictions).by_image
    assert [its.test.p for its in found.seeds] == pytest.approx([2 / 64, 2 / 1024, 1.0], rel=1e-12)
    # Holm: the smallest three times, the next twice
    assert [its.p_adjusted for its in found.seeds] == pytest.approx([4 / 64, 6 / 1024, 1.0], rel=1e-12)


@pytest.mark.parametrize("given", ["neither", "first", "second", "other seeds", "other runs"])
def test_without_predictions_of_both_the_seeds_are_compared_alone(group_of, given):
    first, second = group_of(0.9, 0.8), group_of(0.7, 0.7, model="plain20")
    predictions = {
        "neither": {},
        "first": stored(first, wrong_at(9), wrong_at(9)),
        "second": stored(second, wrong_at(9), wrong_at(9)),
        "other seeds": stored(first, wrong_at(9), None) | stored(second, None, wrong_at(9)),
        "other runs": {"another": wrong_at(9)},
    }[given]
    comparison = compare_groups(first, second, predictions)
    assert comparison.by_image is None
    assert comparison.paired.seeds == (0, 1)
    assert comparison.detectable is not None


def test_seeds_that_only_one_side_has_are_left_out(group_of_seeds):
    first = group_of_seeds({0: 0.9, 1: 0.8, 2: 0.7})
    second = group_of_seeds({1: 0.7, 2: 0.6, 5: 0.5}, model="plain20")
    of_first = [wrong_at(9), wrong_at(8, 9), wrong_at(7, 8, 9)]
    of_second = [wrong_at(0, 1, 2), wrong_at(0, 1, 2, 3), wrong_at(0, 1, 2, 3, 4)]
    comparison = compare_groups(first, second, stored(first, *of_first) | stored(second, *of_second))
    found = comparison.by_image
    assert comparison.paired.seeds == tuple(its.seed for its in found.seeds) == (1, 2)
    expected = [
        mcnemar(of_first[1].correct, of_second[0].correct),
        mcnemar(of_first[2].correct, of_second[1].correct),
    ]
    assert [its.test for its in found.seeds] == expected
    assert [its.churn for its in found.seeds] == [0.5, 0.7]
    assert found.churn == pytest.approx(0.6, rel=1e-12)
    kept = [[its.correct for its in of_first[1:]], [its.correct for its in of_second[:2]]]
    assert (found.low, found.high) == image_interval(*kept)


def test_churn_between_seeds_is_the_mean_over_all_pairs(group_of_seeds):
    first = group_of_seeds({0: 0.9, 1: 0.8, 2: 0.7, 3: 0.7})
    second = group_of_seeds({0: 0.9}, model="plain20")
    of_first = [wrong_at(9), wrong_at(8, 9), wrong_at(0, 1, 2), None]
    found = compare_groups(first, second, stored(first, *of_first) | stored(second, wrong_at())).by_image
    # one, four and five images
    assert found.churn_of_first == pytest.approx((0.1 + 0.4 + 0.5) / 3, rel=1e-12)
    assert found.churn_of_first == pytest.approx(
        statistics.fmean(churn(of_first[a].classes, of_first[b].classes) for a, b in ((0, 1), (0, 2), (1, 2)))
    )
    assert found.churn_of_second is None  # of one seed
    assert [its.seed for its in found.seeds] == [0]


def test_comparing_does_not_need_torch():
    code = "import sys, harness.analysis.comparison; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
