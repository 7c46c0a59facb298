import json
import math

import pytest

from harness.analysis.summary import Spread, count_repeated, spread, summarize


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([2.0, 4.0, 9.0], Spread(n=3, mean=5.0, sd=math.sqrt((9 + 1 + 16) / 2))),
        ([1.0, 1.0], Spread(n=2, mean=1.0, sd=0.0)),
        ([0.9], Spread(n=1, mean=0.9, sd=None)),
        ([None, 2.0, math.nan, 4.0], Spread(n=2, mean=3.0, sd=math.sqrt(2))),
        ([None, 7.0], Spread(n=1, mean=7.0, sd=None)),
        ([0.0, 0.0], Spread(n=2, mean=0.0, sd=0.0)),
    ],
)
def test_spread_is_count_mean_and_sample_deviation(values, expected):
    assert spread(values) == expected


@pytest.mark.parametrize("values", [[], [None], [math.nan, None]])
def test_no_values_have_no_spread(values):
    assert spread(values) is None


def test_spread_of_large_values_keeps_their_differences():
    assert spread([1e12 + 1, 1e12 + 2, 1e12 + 3]) == Spread(n=3, mean=1e12 + 2, sd=1.0)


def run(**changes):
    row = {
        "model": "resnet20",
        "recipe": "short",
        "iterations": 1563,
        "batch_size": 128,
        "shortened": False,
        "precision": "fp32",
        "data": "cifar10",
        "device": "cpu",
        "device_name": "Some CPU",
        "threads": 1,
        "torch": "2.9.0",
        "seed": 0,
        "status": "completed",
        "test_accuracy": 0.9,
        "images_per_second": 1000.0,
        "seconds": 60.0,
        "environment_sha256": "e",
        "weights_sha256": "w",
    } | changes
    asked = ("model", "recipe", "iterations", "batch_size", "precision", "data", "seed")
    return {"spec": json.dumps({name: row[name] for name in asked}), "spec_sha256": str(row["seed"])} | row


def test_runs_are_summed_up_over_seeds():
    [group] = summarize(
        [
            run(seed=0, test_accuracy=0.90, images_per_second=1000.0, seconds=60.0),
            run(seed=1, test_accuracy=0.92, images_per_second=None, seconds=70.0),
            run(seed=2, test_accuracy=0.94, images_per_second=1200.0, seconds=80.0),
        ]
    )
    assert (group.model, group.recipe, group.iterations) == ("resnet20", "short", 1563)
    assert (group.batch_size, group.shortened, group.precision) == (128, False, "fp32")
    assert group.device_name == "Some CPU"
    assert group.num_failed == 0
    assert group.test_accuracy.n == 3
    assert group.test_accuracy.mean == pytest.approx(0.92)
    assert group.test_accuracy.sd == pytest.approx(0.02)
    assert group.images_per_second == Spread(n=2, mean=1100.0, sd=math.sqrt(20_000))
    assert group.seconds == Spread(n=3, mean=70.0, sd=10.0)


def test_single_seed_has_no_deviation():
    [group] = summarize([run()])
    assert group.test_accuracy == Spread(n=1, mean=0.9, sd=None)


def test_runs_that_failed_or_diverged_are_counted_and_not_averaged():
    nothing = {"test_accuracy": None, "images_per_second": None, "seconds": None}
    [group] = summarize(
        [run(), run(seed=1, status="failed", **nothing), run(seed=2, status="diverged", **nothing)]
    )
    assert group.num_failed == 2
    assert group.test_accuracy == Spread(n=1, mean=0.9, sd=None)
    assert group.seconds.n == 1


def test_times_of_a_diverged_run_are_not_averaged():
    [group] = summarize(
        [run(), run(seed=1, status="diverged", test_accuracy=None, seconds=1.0, images_per_second=9.0)]
    )
    assert group.seconds == Spread(n=1, mean=60.0, sd=None)
    assert group.images_per_second == Spread(n=1, mean=1000.0, sd=None)


def test_group_of_failures_has_no_accuracy():
    [group] = summarize([run(status="failed", test_accuracy=None, images_per_second=None, seconds=None)])
    assert (group.num_failed, group.test_accuracy, group.seconds) == (1, None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "plain20"),
        ("recipe", "paper"),
        ("iterations", 100),
        ("batch_size", 256),
        ("precision", "bf16"),
        ("environment_sha256", "another torch, code or number of threads"),
        ("spec", '{"recipe": {"name": "short", "batch_size": 64}, "seed": 0}'),
        ("data", "synthetic"),
    ],
)
def test_runs_that_differ_in_more_than_their_seed_are_apart(field, value):
    groups = summarize([run(), run(**{field: value})])
    assert [group.test_accuracy.n for group in groups] == [1, 1]


def test_groups_stand_in_order_of_appearance():
    models = ["plain56", "resnet20", "plain56", "plain20"]
    groups = summarize([run(model=model) for model in models])
    assert [group.model for group in groups] == ["plain56", "resnet20", "plain20"]


def test_no_runs_make_no_groups():
    assert summarize([]) == []


def test_repeated_runs_are_those_of_the_same_question_on_the_same_device_model():
    earlier = [run(seed=0, weights_sha256="a"), run(seed=1, weights_sha256="b")]
    later = [
        run(seed=0, weights_sha256="a", environment_sha256="other code"),
        run(seed=1, weights_sha256="c"),
        run(seed=2, weights_sha256="a"),
        run(seed=0, weights_sha256="a", threads=2),
        run(seed=0, weights_sha256="a", device_name="Some GPU"),
    ]
    assert count_repeated(later, earlier) == (2, 1)
    assert count_repeated(later, []) == (0, 0)
