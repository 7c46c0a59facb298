import math
import typing

import pytest

from harness.analysis.cost import (
    Cost,
    CostPoint,
    Measured,
    cost_points,
    front_of,
    latest_cells,
    latest_operators,
    speed_of,
)
from harness.analysis.estimates import estimate
from harness.analysis.groups import group_runs
from harness.analysis.timing import summarize_timing

from .conftest import ROUNDS


@pytest.fixture
def make_point(make_seeds):
    """A function from a model, its accuracy, its costs and changed columns of its run to a point."""

    def make(model, accuracy, costs, **columns):
        [group] = group_runs(make_seeds(accuracy, model=model, **columns))
        return CostPoint(
            model=model,
            group=group,
            test_error=estimate([1 - accuracy]),
            costs={cost: Measured(value=value) for cost, value in costs.items()},
            batch_size=128,
            busy=False,
        )

    return make


def operators(profile, *names):
    """Rows of the records of kind ``operators``, of the session of a profile."""
    what = {name: profile[name] for name in ("session_id", "model", "mode", "batch_size", "precision")}
    return [{**what, "operator": name} for name in names]


def points_of(runs, profiles):
    return cost_points(group_runs(runs), profiles)


def speeds(points):
    return {point.model: point.costs["throughput"].value for point in points}


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


@pytest.mark.parametrize(
    "rounds",
    [
        [],
        [[]],
        [[0.1], []],
        *([[0.1, 0.2], [0.1, seconds]] for seconds in (math.nan, 0.0, -0.1, math.inf, -math.inf)),
        [[math.nan, 0.1], [0.1, 0.2]],
    ],
    ids=str,
)
def test_what_no_clock_gives_is_no_cell_and_hides_no_earlier_one(make_profile, rounds):
    earlier, broken = make_profile(), make_profile(round_seconds=rounds)
    assert latest_cells([broken]) == {}
    assert list(latest_cells([earlier, broken]).values()) == [earlier]


@pytest.mark.parametrize("size", [0, -128])
def test_a_mini_batch_of_no_images_is_no_cell(make_profile, size):
    assert latest_cells([make_profile(batch_size=size)]) == {}


# the latest operators


@pytest.mark.parametrize("backwards", [False, True])
def test_operators_are_those_of_the_latest_session_in_whatever_order_they_are_read(make_profile, backwards):
    earlier, later = make_profile(), make_profile()
    rows = [*operators(earlier, "a", "b"), *operators(later, "c", "d")]
    profiles = [later, earlier] if backwards else [earlier, later]
    found = latest_operators(rows[2:] + rows[:2] if backwards else rows, profiles)
    assert found == {("Some CPU", "resnet20", "train", 128, "fp32"): rows[2:]}


def test_session_without_operators_hides_no_earlier_one(make_profile):
    earlier, later = make_profile(), make_profile()
    rows = operators(earlier, "a")
    assert list(latest_operators(rows, [earlier, later]).values()) == [rows]
    # of a session that is not asked for, nobody knows the device
    assert (
        latest_operators(rows, [later]) == latest_operators([], [earlier]) == latest_operators(rows, []) == {}
    )


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
def test_operators_of_other_circumstances_stand_apart(make_profile, change):
    one = make_profile()
    # one session measures many cells, but on one device
    other = make_profile(**change, **({} if "device_name" in change else {"session_id": one["session_id"]}))
    rows = [*operators(one, "a"), *operators(other, "b", "c")]
    assert list(latest_operators(rows, [one, other]).values()) == [rows[:1], rows[1:]]


# points


def test_point_has_the_errors_of_its_runs_and_the_speed_of_its_profile(make_seeds, make_profile):
    timing = summarize_timing(ROUNDS)
    assert timing.low < timing.median < timing.high
    runs = make_seeds(0.90, 0.91, 0.95)
    [point] = points_of(runs, [make_profile(joules_per_image=0.25)])
    assert point.model == point.group.model == "resnet20"
    assert point.test_error == estimate([1 - 0.90, 1 - 0.91, 1 - 0.95])
    assert point.test_error.mean == pytest.approx(0.08)
    speed = point.costs["throughput"]
    assert speed.value == 128 / timing.median == pytest.approx(1280)
    # the longest time is the lowest speed
    assert (speed.low, speed.high) == (128 / timing.high, 128 / timing.low)
    assert speed.low < speed.value < speed.high
    assert point.costs == {
        "throughput": speed,
        "parameters": Measured(value=270_000),
        "MACs": Measured(value=41_000_000),
        "energy": Measured(value=0.25),
    }
    assert (point.batch_size, point.busy) == (128, False)
    assert all(front_of([point], cost) == [point] for cost in point.costs)


def test_few_rounds_have_no_interval(make_seeds, make_profile):
    [point] = points_of(make_seeds(0.9), [make_profile(round_seconds=ROUNDS[:4])])
    speed = point.costs["throughput"]
    assert (speed.low, speed.high) == (None, None)
    assert speed.value == pytest.approx(1280)


def test_speed_has_the_interval_of_the_times():
    # of five rounds of one call, the interval of the median reaches from the shortest to the longest
    rounds = [[0.25], [0.1], [0.2], [0.4], [0.16]]
    speed = speed_of({"batch_size": 8, "round_seconds": rounds})
    assert (speed.low, speed.value, speed.high) == pytest.approx((20, 40, 80))
    assert speed_of({"batch_size": 8, "round_seconds": rounds[:3]}) == Measured(value=8 / 0.2)


@pytest.mark.parametrize(
    ("column", "cost"), [("parameters", "parameters"), ("macs", "MACs"), ("joules_per_image", "energy")]
)
def test_cost_that_is_not_known_is_absent(make_seeds, make_profile, column, cost):
    all_known = {"parameters": 1, "macs": 2, "joules_per_image": 3.0}
    [point] = points_of(make_seeds(0.9), [make_profile(**all_known | {column: None})])
    assert set(point.costs) == {"throughput", "parameters", "MACs", "energy"} - {cost}
    [point] = points_of(make_seeds(0.9), [make_profile(**all_known | {column: 0})])
    assert point.costs[cost] == Measured(value=0)


def test_latency_is_the_time_of_inference_of_one_image(make_seeds, make_profile):
    timing = summarize_timing(ROUNDS)
    profiles = [
        make_profile(seconds=0.5),
        make_profile(mode="infer", batch_size=1, seconds=0.7),
        make_profile(mode="infer", batch_size=1, parameters=1, macs=1, busy=True),  # the latest
    ]
    [point] = points_of(make_seeds(0.9), profiles)
    assert point.costs["latency"] == Measured(value=timing.median, low=timing.low, high=timing.high)
    # all else is of training
    assert point.costs["throughput"].value == 256
    assert (point.costs["parameters"].value, point.costs["MACs"].value) == (270_000, 41_000_000)
    assert (point.batch_size, point.busy) == (128, False)


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 2},
        {"mode": "train"},
        {"device_name": "Some GPU"},
        {"precision": "bf16"},
        {"model": "plain20"},
        {"round_seconds": []},
    ],
    ids=str,
)
def test_latency_in_other_circumstances_is_none(make_seeds, make_profile, change):
    one_image = {"mode": "infer", "batch_size": 1} | change
    [point] = points_of(make_seeds(0.9), [make_profile(), make_profile(**one_image)])
    assert "latency" not in point.costs
    assert point.batch_size == 128


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
    assert points[0].costs["throughput"].value == pytest.approx(320)
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
    assert {point.model for point in points} - {point.model for point in front_of(points, "throughput")} == {
        "plain20"
    }


def test_front_is_of_one_setting(make_seeds, make_profile):
    gpu = {"device_name": "Some GPU"}
    runs = make_seeds(0.8) + make_seeds(0.9, model="resnet32", **gpu)
    profiles = [make_profile(seconds=1.0), make_profile("resnet32", seconds=0.1, **gpu)]
    points = points_of(runs, profiles)
    assert [point.model for point in front_of(points, "throughput")] == ["resnet20", "resnet32"]


@pytest.mark.parametrize("cost", typing.get_args(Cost))
def test_more_images_per_second_are_better_and_less_of_other_costs(make_point, cost):
    # how much worse than the best in the cost, accuracy
    models = {
        "resnet20": (0, 0.90),
        "plain20": (1, 0.89),  # resnet20 is better in both
        "resnet32": (2, 0.92),
        "resnet44": (3, 0.92),  # as accurate as resnet32
        "plain32": (0, 0.88),  # costs as much as resnet20
        "plain44": (4, 0.91),  # resnet32 is better in both
    }
    step = -1 if cost == "throughput" else 1
    points = [make_point(model, accuracy, {cost: 10 + step * by}) for model, (by, accuracy) in models.items()]
    assert [point.model for point in front_of(points, cost)] == [
        "resnet44",
        "resnet32",
        "resnet20",
        "plain32",
    ]


def test_front_may_differ_by_cost(make_point):
    large = make_point("resnet32", 0.9, {"throughput": 20, "parameters": 20})
    small = make_point("resnet20", 0.8, {"throughput": 10, "parameters": 10})
    assert front_of([small, large], "throughput") == [large]
    assert front_of([small, large], "parameters") == [large, small]


def test_what_has_no_such_cost_is_not_on_the_front_and_beats_none(make_point):
    known = make_point("resnet20", 0.8, {"throughput": 10, "latency": 10})
    unknown = make_point("resnet32", 0.9, {"throughput": 20})
    assert front_of([unknown, known], "latency") == [known]
    assert front_of([unknown, known], "throughput") == [unknown]
    assert front_of([unknown, known], "energy") == front_of([], "latency") == []


@pytest.mark.parametrize(
    "columns",
    [{"device_name": "Some GPU"}, {"precision": "bf16"}, {"recipe": "paper"}, {"iterations": 10}],
    ids=str,
)
@pytest.mark.parametrize("cost", typing.get_args(Cost))
def test_points_of_other_settings_do_not_beat_each_other(make_point, cost, columns):
    worse, better = (1, 2) if cost == "throughput" else (2, 1)
    one = make_point("resnet20", 0.8, {cost: worse})
    other = make_point("resnet32", 0.9, {cost: better}, **columns)
    assert front_of([other, one], cost) == [one, other]
    assert front_of([make_point("resnet32", 0.9, {cost: better}), one], cost) != [one]
