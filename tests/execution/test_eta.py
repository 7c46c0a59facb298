import heapq
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.execution.eta import Eta
from harness.execution.forecast import hand_out
from harness.execution.job import Advanced, Ended, EpochEnded, Noted, Requeued, Started
from harness.execution.plan import makespan

ACCURATE = 1.2
"""High over low where nothing but the machine is unsure: 1.1 * 1.1."""
COMPLETED = Ended("completed", test_accuracy=0.5)


def width(left):
    return left.high / left.low


def test_time_left_of_runs_side_by_side_is_that_of_the_longest(clock, make_planned):
    runs = [make_planned(seed, 100.0) for seed in (0, 1)]
    eta = Eta([run for run, _ in runs], 2)
    before = eta.left_in_all()
    assert before.seconds == pytest.approx(100, rel=0.2)
    assert before.low < 100 / 1.5 < 100 * 1.5 < before.high  # a plan that is a guess
    for _, job in runs:
        eta.hear(job, Started(0, 10))
    clock(10.0)
    eta.hear(runs[0][1], Advanced(5))
    eta.hear(runs[1][1], Advanced(2))
    assert eta.left("r0") == pytest.approx(10)
    assert eta.left_in_all().seconds == pytest.approx(40)
    assert width(eta.left_in_all()) < 1.3


def test_a_resumed_run_is_judged_by_what_it_did_since(clock, make_planned):
    run, job = make_planned(0, 50.0)
    eta = Eta([run], 1)
    eta.hear(job, Started(5, 10))
    clock(6.0)
    eta.hear(job, Advanced(7))
    assert eta.left_in_all().seconds == pytest.approx(9)


def test_a_run_that_was_interrupted_was_planned_from_where_it_stopped(clock, make_planned):
    # 5 iterations in 50 s, as planned: the other takes the 100 s that it was planned to
    (run, job), (waiting, _) = make_planned(0, 50.0, "interrupted"), make_planned(1, 100.0)
    eta = Eta([run, waiting], 1)
    eta.hear(job, Started(5, 10))
    clock(50.0)
    eta.hear(job, COMPLETED)
    assert eta.left_in_all().seconds == pytest.approx(100, rel=0.05)


def test_a_run_whose_process_was_lost_goes_on_at_its_own_speed(clock, make_planned):
    (run, job), (waiting, _) = make_planned(0, 100.0), make_planned(1, 100.0)
    eta = Eta([run, waiting], 1)
    eta.hear(job, Started(0, 10))
    clock(80.0)
    eta.hear(job, Advanced(8))
    eta.hear(job, Noted("lost"))
    clock(1000.0)
    eta.hear(job, Started(6, 10))  # from its checkpoint
    clock(1020.0)
    eta.hear(job, Advanced(8))
    assert eta.num_running == 1
    assert eta.left("r0") == pytest.approx(20)
    assert eta.left_in_all().seconds == pytest.approx(120, rel=0.05)


def test_runs_that_have_ended_or_are_recorded_take_no_time(clock, make_planned):
    (run, job), (recorded, _) = make_planned(0, 50.0), make_planned(1, 70.0, "completed")
    eta = Eta([run, recorded], 1)
    assert eta.num_runs == 1
    assert eta.left_in_all().seconds == pytest.approx(50)
    eta.hear(job, Started(0, 10))
    eta.hear(job, COMPLETED)
    left = eta.left_in_all()
    assert (eta.num_ended, left.seconds, left.low, left.high) == (1, 0, 0, 0)


def test_nothing_to_do_takes_no_time(clock, make_planned):
    left = Eta([make_planned(0, 1.0, "completed")[0]], 2).left_in_all()
    assert (left.low, left.seconds, left.high) == (0, 0, 0)


def test_runs_that_have_not_begun_are_as_much_slower_as_those_that_have(clock, make_planned):
    runs = [make_planned(seed, 10.0) for seed in range(20)]
    eta = Eta([run for run, _ in runs], 1)
    widths = [width(eta.left_in_all())]
    for number, (_, job) in enumerate(runs[:10]):
        eta.hear(job, Started(0, 10))
        clock(30.0 * (number + 1))
        eta.hear(job, COMPLETED)
        widths.append(width(eta.left_in_all()))
    assert eta.left_in_all().seconds == pytest.approx(10 * 30, rel=0.05)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] > 3
    assert ACCURATE < widths[-1] < 1.4


def test_runs_that_fail_at_once_are_not_taken_for_fast(clock, make_planned):
    runs = [make_planned(seed, 100.0) for seed in range(4)]
    eta = Eta([run for run, _ in runs], 1)
    before = eta.left_in_all().seconds
    for _, job in runs[:3]:
        eta.hear(job, Started(0, 10))
        eta.hear(job, Ended("failed", "KeyError"))
    assert eta.left_in_all().seconds == pytest.approx(before / 4, rel=0.1)
    assert (eta.num_failed, eta.num_completed, eta.runs_per_hour) == (3, 0, None)


def test_what_a_run_did_before_it_failed_counts(clock, make_planned):
    (run, job), (waiting, _) = make_planned(0, 100.0), make_planned(1, 100.0)
    eta = Eta([run, waiting], 1)
    eta.hear(job, Started(0, 10))
    clock(160.0)
    eta.hear(job, Advanced(8))  # at half the speed
    eta.hear(job, Ended("diverged", "a loss was not finite"))
    assert 150 < eta.left_in_all().seconds < 200


def test_pauses_between_runs_go_on(clock, make_planned):
    runs = [make_planned(seed, 10.0) for seed in range(20)]
    eta = Eta([run for run, _ in runs], 1)
    for number, (_, job) in enumerate(runs[:10]):
        clock(15.0 * number + 5.0)
        eta.hear(job, Started(0, 10))
        clock(15.0 * number + 15.0)
        eta.hear(job, COMPLETED)
    assert eta.left_in_all().seconds == pytest.approx(10 * 15, rel=0.02)


@pytest.mark.parametrize(("believed", "lanes"), [(2, 1), (1, 2)])
def test_lanes_are_as_many_as_there_were(clock, make_planned, believed, lanes):
    runs = [make_planned(seed, 10.0) for seed in range(12)]
    eta = Eta([run for run, _ in runs], believed)
    for first in range(0, 4, lanes):
        for _, job in runs[first : first + lanes]:
            eta.hear(job, Started(0, 10))
        clock(10.0 * (first // lanes + 1))
        for _, job in runs[first : first + lanes]:
            eta.hear(job, COMPLETED)
    assert eta.left_in_all().seconds == pytest.approx(8 * 10 / lanes, rel=0.1)


def test_a_network_that_was_not_seen_yet_is_less_sure(clock, make_planned, make_spec):
    runs = [make_planned(seed, 10.0) for seed in range(12)]
    seen = [run for run, _ in runs]
    others = [
        replace(run, spec=run.spec.model_copy(update={"model": "plain20"})) if number >= 10 else run
        for number, run in enumerate(seen)
    ]
    forecasts = []
    for planned in (seen, others):
        clock(0.0)
        eta = Eta(planned, 1)
        for number, (_, job) in enumerate(runs[:10]):
            eta.hear(job, Started(0, 10))
            clock(10.0 * (number + 1))
            eta.hear(job, COMPLETED)
        forecasts.append(width(eta.left_in_all()))
    assert forecasts[0] < forecasts[1] < 3


def test_time_goes_on_between_two_iterations_but_not_in_silence(clock, make_planned):
    run, job = make_planned(0, 100.0)
    eta = Eta([run], 1)
    eta.hear(job, Started(0, 10))
    clock(10.0)
    eta.hear(job, Advanced(1))
    for now, left in ((10.0, 90), (16.0, 84), (20.0, 80), (500.0, 80)):
        clock(now)
        assert eta.left_in_all().seconds == pytest.approx(left)
    assert eta.left("r0") == 90


@pytest.mark.parametrize("suspended_at", [3, 5, 10])
def test_a_run_that_was_suspended_is_no_slower_for_it(clock, make_planned, suspended_at):
    (run, job), (waiting, _) = make_planned(0, 100.0), make_planned(1, 100.0)
    eta = Eta([run, waiting], 1)
    eta.hear(job, Started(0, 10))
    now = 0.0
    for iteration in range(1, 11):
        now += 10.0 if iteration != suspended_at else 3600.0
        clock(now)
        eta.hear(job, Advanced(iteration) if iteration < 10 else COMPLETED)
        assert eta.left("r0") == pytest.approx(10 * (10 - iteration))
    assert eta.left_in_all().seconds == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize(("usual", "silence"), [(10.0, 900.0), (0.2, 59.0)])
def test_what_merely_takes_long_is_no_suspension(clock, make_planned, usual, silence):
    run, job = make_planned(0, 100.0)
    eta = Eta([run], 1)
    eta.hear(job, Started(0, 10))
    for now, iteration in ((usual, 1), (2 * usual, 2), (2 * usual + silence, 3)):
        clock(now)
        eta.hear(job, Advanced(iteration))
    assert eta.left("r0") == pytest.approx((2 * usual + silence) / 3 * 7)


def test_throughput_is_that_of_runs_completed_here(clock, make_planned):
    runs = [make_planned(seed, 10.0) for seed in range(4)]
    eta = Eta([run for run, _ in runs], 2)
    assert (eta.runs_per_hour, eta.images_per_second) == (None, None)
    eta.hear(runs[3][1], COMPLETED)  # which another process has recorded
    for number, rate in enumerate((100.0, 200.0, None)):
        eta.hear(runs[number][1], Started(0, 10))
        eta.hear(runs[number][1], EpochEnded({"iteration": 5, "images_per_second": rate}))
    assert eta.images_per_second == 300
    clock(1800.0)
    eta.hear(runs[0][1], COMPLETED)
    assert (eta.num_ended, eta.num_completed, eta.num_running) == (2, 2, 2)
    assert (eta.runs_per_hour, eta.images_per_second) == (2, 200)


def play(clock, planned, num_lanes, seconds):
    """The course of runs that take so long, with a forecast of every tenth of it and the truth."""
    events, lanes = [], [0.0] * num_lanes
    for (_, job), length in zip(planned, seconds, strict=True):
        start = lanes[0]
        heapq.heapreplace(lanes, start + length)
        events.append((start, 0, job, Started(0, 10)))
        events += [(start + length * done / 10, 1, job, Advanced(done)) for done in range(1, 11)]
        events.append((start + length, 1, job, COMPLETED))
    events.sort(key=lambda event: event[:2])
    end = max(lanes)
    clock(0.0)
    eta = Eta([run for run, _ in planned], num_lanes)
    looks = [end * tenth / 10 for tenth in range(10)]
    for time, _, job, event in events:
        while looks and looks[0] < time:
            clock(looks[0])
            yield eta.left_in_all(), end - looks.pop(0)
        clock(time)
        eta.hear(job, event)


@pytest.mark.parametrize(
    ("num_runs", "num_lanes", "spread", "common"),
    [(6, 2, 0.1, 0.0), (6, 2, 0.3, 0.3), (30, 4, 0.2, 0.3), (12, 12, 0.1, 0.3), (90, 3, 0.3, 0.0)],
)
def test_four_of_five_ends_lie_within_the_range(clock, make_planned, num_runs, num_lanes, spread, common):
    rng = random.Random(0)
    planned = [make_planned(seed, rng.uniform(50, 150)) for seed in range(num_runs)]
    within = []
    for _ in range(40):
        factor = rng.gauss(0, common)
        seconds = [run.estimated_seconds * math.exp(factor + rng.gauss(0, spread)) for run, _ in planned]
        within += [left.low <= truth <= left.high for left, truth in play(clock, planned, num_lanes, seconds)]
    assert sum(within) / len(within) >= 0.8


@st.composite
def courses(draw):
    """Steps of seconds, a run, and what is heard of it."""
    events = st.one_of(
        st.builds(Started, st.integers(0, 10), st.just(10)),
        st.builds(Advanced, st.integers(0, 10)),
        st.builds(Ended, st.sampled_from(["completed", "failed", "diverged", "interrupted", "busy"])),
        st.just(Requeued("alone")),
    )
    steps = st.tuples(st.floats(0, 1e5), st.integers(0, 4), events)
    return draw(st.lists(steps, max_size=30))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    estimates=st.lists(st.floats(0, 1e6), min_size=5, max_size=5),
    num_lanes=st.integers(1, 6),
    course=courses(),
)
@example(
    estimates=[1.0, 0.0, 7e-104, 0.0, 0.0],
    num_lanes=1,
    course=[(0, 0, Started(0, 10)), (0, 2, Started(0, 10)), (1, 0, Advanced(1)), (0, 2, Ended("completed"))],
)
@example(
    estimates=[0.0, 0.0, 0.0, 48577.0, 999999.1],
    num_lanes=1,
    course=[(0.0, number, Ended("completed")) for number in range(5)],
)
@example(estimates=[0, 2e-311, 0, 0, 0], num_lanes=1, course=[(0, 1, Started(0, 10)), (1, 1, Advanced(1))])
def test_the_range_holds_the_forecast_whatever_is_heard(clock, make_planned, estimates, num_lanes, course):
    planned = [make_planned(seed, seconds) for seed, seconds in enumerate(estimates)]
    now, ended = 0.0, set()
    clock(now)
    eta = Eta([run for run, _ in planned], num_lanes)
    for seconds, number, event in course:
        now += seconds
        clock(now)
        if number in ended:
            continue
        if isinstance(event, Ended):
            ended.add(number)
        eta.hear(planned[number][1], event)
        left = eta.left_in_all()
        assert 0 <= left.low <= left.seconds <= left.high < math.inf
    if len(ended) == 5:
        assert eta.left_in_all().high == 0


@given(
    running=st.lists(st.floats(0, 100), max_size=4),
    waiting=st.lists(st.floats(0, 100), max_size=10),
    spare=st.integers(0, 3),
)
def test_work_is_handed_out_in_order(running, waiting, spare):
    num_lanes = max(1, len(running) + spare)
    ends = hand_out(np.array([running]), np.zeros(1), np.array([waiting]), num_lanes)
    assert ends[0] == pytest.approx(makespan([*running, *waiting], num_lanes))


def test_work_that_can_be_divided_fills_the_lanes_that_are_free_first():
    # 6 s in lanes that are free after 1, 2 and 9 s: two of them are filled up to 4.5 s
    assert hand_out(np.array([[1.0, 9.0, 2.0]]), np.array([6.0]), np.zeros((1, 0)), 3) == [9]
    assert hand_out(np.array([[1.0, 9.0, 2.0]]), np.array([6.0]), np.array([[5.0]]), 3) == [9.5]
