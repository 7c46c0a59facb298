from datetime import UTC, datetime, timedelta

import pytest

from harness.analysis.cost import cost_points, latest_cells
from harness.analysis.estimates import estimate
from harness.analysis.groups import group_runs
from harness.analysis.timing import summarize_timing

ROUNDS = [[0.10, 0.11], [0.09, 0.08], [0.12, 0.10], [0.10, 0.09], [0.11, 0.13]]
"""Seconds of each call; their median is 0.1."""


@pytest.fixture
def make_profile():
    """A function from changed columns to a measured cell of training; each is later than those before."""
    made = 0

    def make(model="resnet20", *, seconds=None, **columns):
        nonlocal made
        made += 1
        return {
            "model": model,
            "mode": "train",
            "batch_size": 128,
            "precision": "fp32",
            "device_name": "Some CPU",
            "status": "measured",
            "parameters": 270_000,
            "macs": 41_000_000,
            "joules_per_image": None,
            "busy": False,
            "round_seconds": ROUNDS if seconds is None else [[seconds]] * 5,
            "measured_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=made),
            **columns,
        }

    return make


def points_of(runs, profiles):
    return cost_points(group_runs(runs), profiles)


def speeds(points):
    return {point.model: point.images_per_second for point in points}


# the latest cells


@pytest.mark.parametrize("backwards", [False, True])
def test_latest_cell_counts_in_whatever_order_they_are_read(make_profile, backwards):
    rows = [make_profile(seconds=seconds) for seconds in (0.3, 0.2, 0.1)]
    cells = latest_cells(rows[::-1] if backwards else rows)
    assert cells == {("Some CPU", "resnet20", "train", 128, "fp32"): rows[-1]}


def test_cell_that_failed_is_none_and_hides_no_earlier_one(make_profile):
    earlier = make_profile()
    failed = make_profile(round_seconds=[], status="failed")
    assert list(latest_cells([earlier, failed]).values()) == [earlier]
    assert latest_cells([failed]) == latest_cells([]) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"device_name": "Some GPU"},
        {"model": "plain20"},
        {"mode": "infer"},
        {"batch_size": 32},
        {"precision": "bf16"},
    ],
)
def test_other_circumstances_are_another_cell(make_profile, change):
    rows = [make_profile(), make_profile(**change)]
    assert list(latest_cells(rows).values()) == rows


# points


def test_point_has_the_errors_of_its_runs_and_the_speed_of_its_profile(make_seeds, make_profile):
    timing = summarize_timing(ROUNDS)
    assert timing.low < timing.median < timing.high
    runs = make_seeds(0.90, 0.91, 0.95)
    [point] = points_of(runs, [make_profile(joules_per_image=0.25)])
    assert point.model == point.group.model == "resnet20"
    assert point.test_error == estimate([1 - 0.90, 1 - 0.91, 1 - 0.95])
    assert point.test_error.mean == pytest.approx(0.08)
    assert point.images_per_second == 128 / timing.median == pytest.approx(1280)
    # the longest time is the lowest speed
    assert (point.low, point.high) == (128 / timing.high, 128 / timing.low)
    assert point.low < point.images_per_second < point.high
    assert (point.batch_size, point.parameters, point.macs) == (128, 270_000, 41_000_000)
    assert (point.joules_per_image, point.busy, point.on_front) == (0.25, False, True)


def test_few_rounds_have_no_interval(make_seeds, make_profile):
    [point] = points_of(make_seeds(0.9), [make_profile(round_seconds=ROUNDS[:4])])
    assert (point.low, point.high) == (None, None)
    assert point.images_per_second == pytest.approx(1280)


@pytest.mark.parametrize(("busy", "expected"), [(True, True), (False, False), (None, False)])
def test_busy_machine_is_told(make_seeds, make_profile, busy, expected):
    [point] = points_of(make_seeds(0.9), [make_profile(busy=busy)])
    assert point.busy is expected


@pytest.mark.parametrize(
    "change",
    [{"device_name": "Some GPU"}, {"precision": "bf16"}, {"mode": "infer"}, {"model": "plain20"}],
)
def test_profile_of_other_circumstances_is_no_match(make_seeds, make_profile, change):
    runs = make_seeds(0.9)
    assert points_of(runs, [make_profile(**change)]) == []
    assert speeds(points_of(runs, [make_profile(seconds=0.5), make_profile(**change)])) == {"resnet20": 256}


def test_model_without_a_profile_is_left_out(make_seeds, make_profile):
    runs = make_seeds(0.9) + make_seeds(0.8, model="plain20")
    profiles = [make_profile("plain20")]
    assert [point.model for point in points_of(runs, profiles)] == ["plain20"]
    assert points_of(runs, []) == points_of([], profiles) == []


@pytest.mark.parametrize("columns", [{"status": "diverged"}, {"status": "failed"}])
def test_group_without_a_result_is_left_out(make_seeds, make_profile, columns):
    assert points_of(make_seeds(None, **columns), [make_profile()]) == []


def test_points_are_in_order_of_the_groups(make_seeds, make_profile):
    models = ["resnet32", "plain20", "resnet20"]
    runs = [run for model in models for run in make_seeds(0.9, model=model)]
    profiles = [make_profile(model) for model in sorted(models)]
    assert [point.model for point in points_of(runs, profiles)] == models


# sizes of mini-batches


def test_size_that_most_models_were_profiled_with_is_taken_for_all(make_seeds, make_profile):
    models = ("resnet20", "plain20", "resnet32")
    runs = [run for model in models for run in make_seeds(0.9, model=model)]
    profiles = [make_profile("resnet20"), *(make_profile(model, batch_size=32) for model in models)]
    points = points_of(runs, profiles)
    assert {point.model: point.batch_size for point in points} == dict.fromkeys(models, 32)
    assert points[0].images_per_second == pytest.approx(320)
    # what was profiled with another size only is not shown beside those
    assert [point.model for point in points_of(runs, profiles[:3])] == ["resnet20", "plain20"]


@pytest.mark.parametrize("others", [(32, 512), (512, 32)])
def test_of_sizes_with_as_many_models_that_of_the_recipe_is_taken(make_seeds, make_profile, others):
    runs = make_seeds(0.9)
    assert runs[0]["batch_size"] == 128
    profiles = [make_profile(batch_size=size) for size in (others[0], 128, others[1])]
    assert [point.batch_size for point in points_of(runs, profiles)] == [128]
    del profiles[1]
    assert [point.batch_size for point in points_of(runs, profiles)] == [512]


def test_repeated_profiles_of_a_model_count_once(make_seeds, make_profile):
    runs = make_seeds(0.9) + make_seeds(0.8, model="plain20")
    profiles = [make_profile(batch_size=32) for _ in range(5)]
    profiles += [make_profile(model, batch_size=64) for model in ("resnet20", "plain20")]
    assert {point.batch_size for point in points_of(runs, profiles)} == {64}


def test_models_of_other_settings_have_no_say_in_the_size(make_seeds, make_profile):
    gpu = {"device_name": "Some GPU"}
    runs = make_seeds(0.9) + make_seeds(0.9, **gpu)
    profiles = [
        make_profile(),
        *(make_profile(batch_size=512, **gpu) for _ in range(2)),
        *(make_profile(model, batch_size=512) for model in ("plain20", "resnet32")),
        make_profile(batch_size=512, precision="bf16"),
        make_profile(batch_size=512, mode="infer"),
    ]
    assert [point.batch_size for point in points_of(runs, profiles)] == [128, 512]


# the front


def test_front_is_of_those_that_none_beats_in_both(make_seeds, make_profile):
    # seconds, accuracy
    models = {
        "resnet20": (0.10, 0.90),
        "resnet32": (0.20, 0.92),
        "plain20": (0.15, 0.89),  # resnet20 is faster and better
        "resnet44": (0.30, 0.92),  # as good as resnet32, slower: not beaten in both
        "plain32": (0.10, 0.88),  # as fast as resnet20, worse: not beaten in both
    }
    runs = [run for model, (_, accuracy) in models.items() for run in make_seeds(accuracy, model=model)]
    profiles = [make_profile(model, seconds=seconds) for model, (seconds, _) in models.items()]
    points = points_of(runs, profiles)
    assert {point.model for point in points if not point.on_front} == {"plain20"}


def test_front_is_of_one_setting(make_seeds, make_profile):
    gpu = {"device_name": "Some GPU"}
    runs = make_seeds(0.8) + make_seeds(0.9, model="resnet32", **gpu)
    profiles = [make_profile(seconds=1.0), make_profile("resnet32", seconds=0.1, **gpu)]
    assert [point.on_front for point in points_of(runs, profiles)] == [True, True]
