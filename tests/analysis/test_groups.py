"""Which runs are put together, and which of several runs of a seed counts."""

import itertools
import json

import pytest

from harness.analysis.groups import bits_of, distinct, group_runs, requested
from harness.config import RunSpec

RUNS_OF_A_SEED = {
    "failed": {"status": "failed", "test_accuracy": None},
    "skipped": {"status": "skipped", "test_accuracy": None},
    "diverged": {"status": "diverged", "test_accuracy": None},
    "adopted": {"resumed_from": ['{"run": "another"}']},
    "completed": {},
}


def counts(group):
    return len(group.runs), group.num_adopted, group.num_diverged, group.num_failed


# what keeps runs apart


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "plain20"},
        {"model_source": "timm 1.0.20"},
        {"recipe": "paper"},
        {"iterations": 100},
        {"precision": "bf16"},
        {"data": "synthetic"},
        {"device_name": "Some GPU"},
        {"recipe_changes": {"batch_size": 64}, "iterations": 1563},
        {"recipe_changes": {"epochs": 8.0}, "iterations": 1563},  # the same length, but shortened to it
        {"recipe_changes": {"last_batch": "keep"}, "iterations": 1563},
        {"recipe_changes": {"initialization": "implementation"}},
        {"recipe_changes": {"augmentation": {"pad": 4, "flip": False}}},
        {"recipe_changes": {"optimizer": {"kind": "sgd", "learning_rate": 0.2}}},
        {"recipe_changes": {"schedule": {"kind": "linear", "warmup": 0.25}}},
        {"recipe_changes": {"normalization": {"kind": "none"}}},
    ],
    ids=str,
)
def test_runs_that_were_not_asked_the_same_in_the_same_place_are_apart(make_run, changes):
    runs = [make_run(), make_run(seed=1, **changes)]
    assert [group.seeds for group in group_runs(runs)] == [(0,), (1,)]


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe_changes": {"name": "another"}},
        {"recipe_changes": {"summary": "In other words."}},
        {"recipe_changes": {"source": "Elsewhere."}},
        {"recipe_changes": {"epochs": None, "iterations": 1563}},  # four epochs in other words
        {"recipe_changes": {"last_batch": "carry"}},
        {"torch": "2.10.0"},
        {"threads": 8},
        {"commit": "another"},
        {"code_sha256": "another"},
        {"environment_sha256": "another"},
        {"experiment": "another"},
        {"engine": "cuda graph"},
    ],
    ids=str,
)
def test_what_does_not_change_the_question_keeps_nothing_apart(make_run, changes):
    [group] = group_runs([make_run(), make_run(seed=1, **changes)])
    assert group.seeds == (0, 1)


def test_group_says_what_its_runs_have_in_common(make_run):
    [group] = group_runs([make_run("plain20", "paper", iterations=100, seed=3, precision="bf16")])
    assert (group.model, group.model_source, group.recipe) == ("plain20", "ours", "paper")
    assert (group.iterations, group.batch_size, group.shortened) == (100, 128, True)
    assert (group.precision, group.data, group.device_name) == ("bf16", "cifar10", "Some CPU")
    assert group_runs([make_run()])[0].shortened is False


def test_name_of_the_recipe_is_that_of_the_first_seed(make_run):
    other_name = {"name": "another"}
    [group] = group_runs([make_run(seed=1), make_run(seed=0, recipe_changes=other_name)])
    assert group.recipe == "another"


def test_protocol_is_what_the_recipe_prescribes_without_its_texts(make_run):
    [group] = group_runs([make_run()])
    protocol, full_length = json.loads(group.protocol)
    assert protocol["batch_size"] == 128
    assert not {"name", "summary", "source"} & set(protocol)
    assert full_length == 1563


def test_setting_is_all_but_the_model(make_run):
    first, second = group_runs([make_run(), make_run("plain20", model_source="timm 1.0.20")])
    assert first.setting == second.setting


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": "paper"},
        {"iterations": 100},
        {"precision": "bf16"},
        {"data": "synthetic"},
        {"device_name": "Some GPU"},
        {"recipe_changes": {"batch_size": 64}, "iterations": 1563},
    ],
    ids=str,
)
def test_groups_that_differ_in_more_have_another_setting(make_run, changes):
    first, second = group_runs([make_run(), make_run(**changes)])
    assert first.setting != second.setting


# order


def test_groups_stand_in_order_of_first_appearance(make_run):
    models = ["plain56", "resnet20", "plain56", "plain20", "resnet20"]
    groups = group_runs([make_run(model, seed=seed) for seed, model in enumerate(models)])
    assert [(group.model, group.seeds) for group in groups] == [
        ("plain56", (0, 2)),
        ("resnet20", (1, 4)),
        ("plain20", (3,)),
    ]


def test_a_failure_is_an_appearance(make_run):
    runs = [make_run("plain56", status="failed"), make_run(), make_run("plain56", seed=1)]
    assert [group.model for group in group_runs(runs)] == ["plain56", "resnet20"]


def test_runs_stand_by_seed(make_run):
    seeds = [10, 2, 33, 0, 2**62, 1]
    [group] = group_runs([make_run(seed=seed, test_accuracy=seed / 2**63) for seed in seeds])
    assert group.seeds == (0, 1, 2, 10, 33, 2**62)
    assert [run["seed"] for run in group.runs] == sorted(seeds)
    assert group.values("test_accuracy") == [seed / 2**63 for seed in sorted(seeds)]


def test_a_thousand_seeds_are_one_group(make_run):
    template = make_run()
    [group] = group_runs([template | {"seed": seed} for seed in reversed(range(1000))])
    assert group.seeds == tuple(range(1000))


def test_no_runs_make_no_groups():
    assert group_runs([]) == []
    assert group_runs(iter([])) == []


# which of several runs of a seed counts


def test_a_seed_that_was_run_several_times_counts_once_and_the_latest(make_run):
    runs = [make_run(test_accuracy=accuracy) for accuracy in (0.7, 0.8, 0.9)]
    for order in itertools.permutations(runs):
        [group] = group_runs(order)
        assert group.values("test_accuracy") == [0.9]
        assert counts(group) == (1, 0, 0, 0)


def test_the_latest_is_the_one_that_finished_last(make_run):
    started_first, started_last = make_run(test_accuracy=0.7), make_run(test_accuracy=0.8)
    ended_last = started_first | {"finished_at": started_last["finished_at"].replace(year=2027)}
    [group] = group_runs([ended_last, started_last])
    assert group.values("test_accuracy") == [0.7]


@pytest.mark.parametrize(
    ("lesser", "greater", "expected"),
    [
        ("failed", "diverged", (0, 0, 1, 0)),
        ("skipped", "diverged", (0, 0, 1, 0)),
        ("failed", "completed", (1, 0, 0, 0)),
        ("skipped", "completed", (1, 0, 0, 0)),
        ("diverged", "completed", (1, 0, 1, 0)),
        ("adopted", "completed", (1, 0, 0, 0)),
        ("failed", "adopted", (0, 1, 0, 0)),
        ("diverged", "adopted", (0, 1, 1, 0)),
    ],
)
@pytest.mark.parametrize("latest", ["lesser", "greater"])
def test_what_ended_counts_before_what_failed_and_evidence_before_what_was_adopted(
    make_run, lesser, greater, expected, latest
):
    names = (greater, lesser) if latest == "lesser" else (lesser, greater)
    runs = [make_run(**RUNS_OF_A_SEED[name]) for name in names]
    for order in (runs, runs[::-1]):
        [group] = group_runs(order)
        assert counts(group) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [("completed", (1, 0, 0, 0)), ("diverged", (0, 0, 1, 0)), ("failed", (0, 0, 0, 1))],
)
def test_adopted_run_that_ended_no_better_is_not_counted_besides(make_run, status, expected):
    adopted = RUNS_OF_A_SEED["adopted"]
    [group] = group_runs([make_run(status=status), make_run(status=status, **adopted)])
    assert counts(group) == expected


@pytest.mark.parametrize("resumed_from", [None, [], ()])
def test_a_run_that_went_on_from_no_other_circumstances_is_evidence(make_run, resumed_from):
    [group] = group_runs([make_run(resumed_from=resumed_from, resumed_at=[100])])
    assert counts(group) == (1, 0, 0, 0)


def test_seeds_without_a_result_are_counted_by_reason(make_run):
    kinds = ["failed", "skipped", "diverged", "diverged", "adopted", "adopted", "adopted", *["completed"] * 4]
    [group] = group_runs([make_run(seed=seed, **RUNS_OF_A_SEED[kind]) for seed, kind in enumerate(kinds)])
    assert counts(group) == (4, 3, 2, 2)
    assert group.seeds == (7, 8, 9, 10)


def test_a_seed_that_diverged_is_not_forgotten_where_another_run_of_it_counts(make_run):
    kinds = [(0, "diverged"), (0, "completed"), (1, "completed"), (1, "diverged"), (1, "diverged")]
    kinds += [
        (2, "diverged"),
        (3, "completed"),
        (4, "diverged"),
        (4, "adopted"),
        (5, "failed"),
        (5, "completed"),
    ]
    runs = [make_run(seed=seed, **RUNS_OF_A_SEED[kind]) for seed, kind in kinds]
    for order in (runs, runs[::-1]):
        [group] = group_runs(order)
        assert group.seeds == (0, 1, 3, 5)
        assert (group.num_diverged, group.num_diverged_once) == (4, 2)
        assert (group.num_failed, group.num_adopted) == (0, 1)


def test_early_records_of_ours_are_with_later_ones(make_run):
    runs = [make_run(seed=0, model_source=None), make_run(seed=1)]
    for order in (runs, runs[::-1]):
        [group] = group_runs(order)
        assert (group.seeds, group.model_source, group.source) == ((0, 1), "ours", "ours")
    [early] = group_runs(runs[:1])
    assert (early.model_source, early.source) == (None, "ours")
    theirs = group_runs([make_run(model_source=None), make_run(seed=1, model_source="timm 1.0.20")])
    assert [group.source for group in theirs] == ["ours", "timm 1.0.20"]


# one measurement


def ending(make_run, *digests, **columns):
    [group] = group_runs(
        [make_run(seed=seed, weights_sha256=digest, **columns) for seed, digest in enumerate(digests)]
    )
    return group


def test_groups_with_the_same_weights_seed_by_seed_are_one(make_run):
    groups = [
        ending(make_run, "a", "b"),
        ending(make_run, "b", "a", model="plain20"),
        ending(make_run, "a", "b", model="plain56"),
        ending(make_run, "a", model="resnet56"),
        ending(make_run, "a", "b", model="resnet32", test_accuracy=0.8),  # of another test set, say
        ending(make_run, "a", None, model="plain32"),
        ending(make_run, "a", None, model="plain44"),
    ]
    found = [[group.model for group in its] for its in distinct(groups, bits_of)]
    assert found == [
        ["resnet20", "plain56"],
        ["plain20"],
        ["resnet56"],
        ["resnet32"],
        ["plain32"],
        ["plain44"],
    ]
    assert bits_of(groups[0], [0]) == bits_of(groups[3]) == bits_of(groups[5], {0})


def test_a_seed_that_failed_twice_is_one_failure(make_run):
    [group] = group_runs([make_run(status="failed"), make_run(status="failed"), make_run(seed=1)])
    assert counts(group) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("failed", (0, 0, 0, 1)),
        ("skipped", (0, 0, 0, 1)),
        ("diverged", (0, 0, 1, 0)),
        ("adopted", (0, 1, 0, 0)),
    ],
)
def test_group_without_a_result_exists_and_is_empty(make_run, kind, expected):
    [group] = group_runs([make_run(**RUNS_OF_A_SEED[kind])])
    assert counts(group) == expected
    assert (group.model, group.runs, group.seeds, group.values("test_accuracy")) == ("resnet20", (), (), [])


def test_values_are_those_that_are_known(make_run):
    rates = [1000.0, None, 0.0, None]
    [group] = group_runs([make_run(seed=seed, images_per_second=rate) for seed, rate in enumerate(rates)])
    assert group.values("images_per_second") == [1000.0, 0.0]
    assert group.values("test_accuracy") == [0.9] * 4


# what was asked


def test_request_of_a_run_is_read_back(make_run):
    run = make_run("plain20", "paper", seed=5, precision="bf16")
    spec = requested(run)
    assert isinstance(spec, RunSpec)
    assert (spec.model, spec.recipe.name, spec.seed) == ("plain20", "paper", 5)
    assert spec.sha256 == run["spec_sha256"]


UNREADABLE = pytest.mark.parametrize("spec", ["", "not JSON", "{", "{}", "[]", "null", '{"model": 1}'])


@UNREADABLE
def test_request_that_cannot_be_read_is_none_and_keeps_its_run_apart(make_run, spec):
    unreadable = make_run(seed=1, spec=spec)
    assert requested(unreadable) is None
    groups = group_runs([make_run(), unreadable, make_run(seed=2)])
    assert [group.seeds for group in groups] == [(0, 2), (1,)]


@UNREADABLE
def test_runs_of_the_same_unreadable_request_are_together(make_run, spec):
    [group] = group_runs([make_run(spec=spec), make_run(seed=1, spec=spec)])
    assert group.seeds == (0, 1)
    assert group.protocol == spec


def test_request_of_a_later_version_is_not_taken_for_one_of_ours(make_run):
    run = make_run()
    later = make_run(seed=1, spec=json.dumps(json.loads(run["spec"]) | {"something_new": True}))
    assert requested(later) is None
    assert [group.seeds for group in group_runs([run, later])] == [(0,), (1,)]
