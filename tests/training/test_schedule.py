import math
from itertools import pairwise

import pytest

from harness.config import CosineSchedule, LinearSchedule, Sgd, StepSchedule, Warmup, load_recipe
from harness.training.schedule import learning_rate

PAPER = load_recipe("paper")
SHORT = load_recipe("short")


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (0, 0.1),
        (399, 0.1),
        (31_999, 0.1),
        (32_000, 0.01),
        (47_999, 0.01),
        (48_000, 0.001),
        (63_999, 0.001),
    ],
)
@pytest.mark.parametrize("depth", [20, 56])
def test_papers_rate_is_divided_by_10_at_32k_and_48k(iteration, expected, depth):
    assert learning_rate(PAPER, iteration, 64_000, depth) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("iteration", "expected"), [(0, 0.01), (399, 0.01), (400, 0.1), (31_999, 0.1), (32_000, 0.01)]
)
@pytest.mark.parametrize("depth", [110, 1202])
def test_deep_networks_start_with_400_iterations_at_a_tenth(iteration, expected, depth):
    assert learning_rate(PAPER, iteration, 64_000, depth) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("iteration", "expected"), [(499, 0.1), (500, 0.01), (749, 0.01), (750, 0.001), (999, 0.001)]
)
def test_milestones_scale_with_the_length_of_the_run(iteration, expected):
    assert learning_rate(PAPER, iteration, 1000, 20) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("iteration", "expected"), [(0, 0.01), (39, 0.01), (40, 0.1)])
def test_warmup_scales_with_the_length_of_the_run(iteration, expected):
    # 400 of 64,000 are 40 of 6,400
    assert learning_rate(PAPER, iteration, 6400, 110) == pytest.approx(expected, rel=1e-12)


def test_factor_applies_once_for_each_milestone(make_recipe):
    recipe = make_recipe(
        optimizer=Sgd(learning_rate=8.0),
        schedule=StepSchedule(kind="steps", milestones=(0.2, 0.4, 0.8), factor=0.5),
    )
    rates = [learning_rate(recipe, iteration, 10, 20) for iteration in range(10)]
    assert rates == [8, 8, 4, 4, 2, 2, 2, 2, 1, 1]


def test_warmup_is_for_networks_of_at_least_its_depth(make_recipe):
    recipe = make_recipe(warmup=Warmup(learning_rate=0.007, iterations=1, min_depth=32))
    assert learning_rate(recipe, 0, 10, 32) == 0.007
    assert learning_rate(recipe, 0, 10, 31) == 0.05


def test_a_network_of_unknown_depth_has_no_warmup_of_deep_ones(make_recipe):
    recipe = make_recipe(warmup=Warmup(learning_rate=0.007, iterations=1, min_depth=1))
    assert learning_rate(recipe, 0, 10, 1) == 0.007
    assert learning_rate(recipe, 0, 10, None) == 0.05
    assert [learning_rate(PAPER, iteration, 64_000, None) for iteration in (0, 399, 400)] == [0.1] * 3


@pytest.fixture
def linear(make_recipe):
    """A function from the share of warm-up to a recipe with peak 1."""

    def make(warmup):
        return make_recipe(
            optimizer=Sgd(learning_rate=1.0), schedule=LinearSchedule(kind="linear", warmup=warmup)
        )

    return make


def test_linear_schedule_rises_to_the_peak_and_falls(linear):
    rates = [learning_rate(linear(0.2), iteration, 10, 20) for iteration in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


def test_linear_schedule_without_warmup_falls_from_the_peak(linear):
    rates = [learning_rate(linear(0.0), iteration, 4, 20) for iteration in range(4)]
    assert rates == [1, 0.75, 0.5, 0.25]


@pytest.mark.parametrize("num_iterations", [1500, 5000])
def test_linear_schedule_is_monotone_on_either_side_of_its_peak(num_iterations):
    rates = [learning_rate(SHORT, iteration, num_iterations, 20) for iteration in range(num_iterations)]
    peak = num_iterations // 5 - 1
    assert rates[peak] == max(rates) == 0.2
    assert all(0 < a < b for a, b in pairwise(rates[: peak + 1]))
    assert all(a > b > 0 for a, b in pairwise(rates[peak + 1 :]))
    assert rates[0] == pytest.approx(0.2 / (num_iterations / 5))
    assert rates[-1] == pytest.approx(0.2 / (num_iterations * 4 / 5))


@pytest.mark.parametrize("num_iterations", [1, 2, 3, 9, 98, 1563])
def test_linear_schedule_never_exceeds_its_peak(num_iterations):
    rates = [learning_rate(SHORT, iteration, num_iterations, 20) for iteration in range(num_iterations)]
    assert max(rates) <= 0.2


def test_cosine_schedule_falls_from_the_peak_to_nothing(make_recipe):
    recipe = make_recipe(schedule=CosineSchedule(kind="cosine", per="iteration"))
    rates = [learning_rate(recipe, iteration, 4, 20) for iteration in range(4)]
    root = math.sqrt(0.5)
    assert rates == pytest.approx([0.05, 0.05 * (1 + root) / 2, 0.025, 0.05 * (1 - root) / 2])


def test_cosine_schedule_per_epoch_stands_still_within_one(make_recipe):
    recipe = make_recipe(schedule=CosineSchedule(kind="cosine", per="epoch"))
    rates = [learning_rate(recipe, iteration, 8, 20, epoch_start=4) for iteration in (4, 5, 6, 7)]
    assert rates == pytest.approx([0.025] * 4)


@pytest.mark.parametrize(
    ("name", "epochs_and_rates", "per_epoch"),
    [
        ("akamaster", {0: 0.1, 99: 0.1, 100: 0.01, 149: 0.01, 150: 0.001, 199: 0.001}, 391),
        ("alvarobartt", {81: 0.1, 82: 0.01, 122: 0.01, 123: 0.001, 163: 0.001}, 391),
        ("torchdistill", {90: 0.1, 91: 0.01, 135: 0.01, 136: 0.001, 181: 0.001}, 391),
        ("yunjey", {19: 1e-3, 20: 1e-3 / 3, 40: 1e-3 / 9, 60: 1e-3 / 27, 79: 1e-3 / 27}, 500),
        ("kuangliu", {0: 0.1, 100: 0.05, 199: 0.05 * (1 + math.cos(math.pi * 199 / 200))}, 391),
        ("chenyaofo", {0: 0.1, 1: 0.099994, 2: 0.099975, 100: 0.05}, 196),
    ],
)
def test_recipes_of_others_change_at_the_epochs_they_state(name, epochs_and_rates, per_epoch):
    recipe = load_recipe(name)
    assert recipe.epochs is not None
    total = recipe.num_iterations()
    assert total == per_epoch * round(recipe.epochs)
    for epoch, rate in epochs_and_rates.items():
        for iteration in (epoch * per_epoch, (epoch + 1) * per_epoch - 1):
            found = learning_rate(recipe, iteration, total, 20, epoch_start=epoch * per_epoch)
            assert found == pytest.approx(rate, rel=1e-5)


def test_akamaster_spends_the_first_epoch_of_deep_networks_at_a_tenth():
    recipe = load_recipe("akamaster")
    assert [learning_rate(recipe, iteration, 78_200, 110) for iteration in (0, 390, 391)] == [0.01, 0.01, 0.1]
