import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from harness.analysis import variance
from harness.analysis.groups import group_runs
from harness.analysis.variance import SOURCES, complete_table, two_way

OTHER_RULE = {"optimizer": {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9}}


@pytest.fixture
def few_resamples(monkeypatch):
    """For tests in which the interval does not matter, or many are made."""
    monkeypatch.setattr(variance, "_RESAMPLES", 100)


def shares_of(found):
    return tuple(found.shares[source].share for source in SOURCES)


def simulated(generator, cells, sd, num_seeds):
    """Results of every cell around its mean."""
    cells = np.asarray(cells)[:, :, np.newaxis]
    return cells + generator.normal(0, sd, (*cells.shape[:2], num_seeds))


def names(prefix, count):
    return [f"{prefix}{number}" for number in range(count)]


def divided(table):
    table = np.asarray(table)
    return two_way(names("m", table.shape[0]), names("r", table.shape[1]), table.tolist())


# shares


@pytest.mark.parametrize(
    ("num_models", "num_recipes", "num_seeds"), [(2, 2, 2), (3, 2, 4), (2, 5, 3), (4, 4, 2), (3, 3, 10)]
)
def test_shares_are_those_of_statsmodels(few_resamples, num_models, num_recipes, num_seeds):
    generator = np.random.default_rng(num_models * 100 + num_seeds)
    cells = generator.normal(0.9, 0.01, (num_models, num_recipes))
    table = simulated(generator, cells, 0.008, num_seeds)
    index = pd.MultiIndex.from_product(map(range, table.shape), names=["a", "b", "seed"])
    frame = pd.Series(table.ravel(), index=index, name="y").reset_index()
    anova = anova_lm(ols("y ~ C(a)*C(b)", frame).fit())
    of_chance = anova["mean_sq"]["Residual"]
    squares, freedom = (anova.loc[["C(a)", "C(b)", "C(a):C(b)"], column] for column in ("sum_sq", "df"))
    expected = (squares - freedom * of_chance) / anova["sum_sq"].sum()
    found = shares_of(divided(table))
    assert found[:3] == pytest.approx(tuple(expected), rel=1e-6, abs=1e-9)
    assert sum(found) == pytest.approx(1, rel=1e-12)


def test_shares_by_hand(few_resamples):
    found = two_way(["a", "b"], ["x", "y"], [[[1.0, 3.0], [5.0, 7.0]], [[2.0, 4.0], [10.0, 12.0]]])
    # means of cells 2, 6, 3, 11, of models 4, 7, of recipes 2.5, 8.5, of all 5.5. Squares: models 8 * 1.5^2 = 18,
    # recipes 8 * 3^2 = 72, interaction 8 * 1^2 = 8, seeds 8 * 1 = 8, all 106; by chance 8 / 4 = 2 each
    assert shares_of(found) == pytest.approx((16 / 106, 70 / 106, 6 / 106, 14 / 106), rel=1e-12)
    assert (found.models, found.recipes, found.num_seeds) == (("a", "b"), ("x", "y"), 2)
    assert tuple(found.shares) == SOURCES == ("model", "recipe", "model x recipe", "seed")


@pytest.mark.parametrize(
    ("cells", "source"),
    [
        ([[0.875, 0.875], [0.75, 0.75]], "model"),
        ([[0.875, 0.75], [0.875, 0.75]], "recipe"),
        ([[0.875, 0.75], [0.75, 0.875]], "model x recipe"),
    ],
)
def test_spread_of_one_source_is_all_its_own(few_resamples, cells, source):
    found = divided([[[value] * 3 for value in row] for row in cells])
    for name, share in found.shares.items():
        expected = float(name == source)
        assert (share.share, share.low, share.high) == pytest.approx((expected,) * 3, abs=1e-12)


def test_spread_over_seeds_alone_leaves_nothing_to_the_others():
    # resamples of cells that are alike may have no spread at all
    found = divided([[[0.25, 0.75]] * 2] * 2)
    # squares: 8 / 16 over seeds and nothing else; by chance 1 / 8 each
    assert shares_of(found) == pytest.approx((-0.25, -0.25, -0.25, 1.75), rel=1e-12)
    for share in found.shares.values():
        assert 0 <= share.low <= share.high <= 1
    assert found.shares["seed"].high == 1


def test_noise_is_put_down_to_the_seed(few_resamples):
    generator = np.random.default_rng(1)
    found = [shares_of(divided(simulated(generator, np.full((3, 3), 0.9), 0.01, 4))) for _ in range(100)]
    # without what chance puts there, the other three are nothing on average
    assert np.mean(found, axis=0) == pytest.approx((0, 0, 0, 1), abs=0.03)


def test_names_and_order_of_rows_decide_nothing_but_what_they_are_called(few_resamples):
    table = simulated(np.random.default_rng(2), [[0.90, 0.92], [0.91, 0.95], [0.89, 0.90]], 0.005, 3)
    of_rows, of_columns = divided(table), divided(table.transpose(1, 0, 2))
    model, recipe, interaction, seed = shares_of(of_rows)
    assert shares_of(of_columns) == pytest.approx((recipe, model, interaction, seed), rel=1e-9)
    assert shares_of(divided(table[::-1])) == pytest.approx(shares_of(of_rows), rel=1e-9)
    assert shares_of(divided(table * 100 + 3)) == pytest.approx(shares_of(of_rows), rel=1e-6)


# their intervals


@pytest.mark.parametrize("sd", [0.003, 0.02])
def test_interval_covers_the_true_share_in_most_cases(monkeypatch, sd):
    monkeypatch.setattr(variance, "_RESAMPLES", 200)
    num_trials, num_seeds = 150, 5
    model, recipe = np.array([-0.01, 0.0, 0.01])[:, None], np.array([-0.015, 0.0, 0.015])[None]
    both = np.array([[0.004, -0.004, 0.0], [-0.004, 0.008, -0.004], [0.0, -0.004, 0.004]])
    squares = np.array([num_seeds * (3 * each**2).sum() for each in (model, recipe, both / np.sqrt(3))])
    of_all = squares.sum() + (9 * num_seeds - 1) * sd**2
    true = [*squares / of_all, 1 - squares.sum() / of_all]
    generator = np.random.default_rng(3)
    covered, found = [], []
    for _ in range(num_trials):
        shares = divided(simulated(generator, 0.9 + model + recipe + both, sd, num_seeds)).shares.values()
        covered.append([share.low <= truth <= share.high for share, truth in zip(shares, true, strict=True)])
        found.append([share.share for share in shares])
    assert np.mean(found, axis=0) == pytest.approx(true, abs=3 * sd)
    coverage = np.mean(covered, axis=0)
    # five seeds are few for a bootstrap, so it falls short of 95 % somewhat
    assert coverage.min() > 0.85, coverage
    assert coverage.mean() < 0.99, coverage


def test_more_seeds_make_the_intervals_narrower(few_resamples):
    cells = [[0.90, 0.91], [0.92, 0.94]]
    widths = []
    for num_seeds in (3, 30, 300):
        shares = divided(simulated(np.random.default_rng(4), cells, 0.01, num_seeds)).shares.values()
        widths.append(max(share.high - share.low for share in shares))
    assert widths[0] > 1.5 * widths[1] > 1.5 * 1.5 * widths[2]


def test_the_same_table_gives_the_same_intervals(few_resamples):
    table = simulated(np.random.default_rng(5), [[0.90, 0.91], [0.92, 0.94]], 0.01, 4)
    assert divided(table) == divided(table)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[[1.0, 2.0], [3.0, 4.0]]], "a table of 1 x 2 x 2 .* is too small; give two of each"),
        ([[[1.0, 2.0]], [[3.0, 4.0]]], "a table of 2 x 1 x 2 .* is too small; give two of each"),
        ([[[1.0], [2.0]], [[3.0], [4.0]]], "a table of 2 x 2 x 1 .* is too small; give two of each"),
        ([[[1.0, 2.0], [3.0]], [[4.0, 5.0], [6.0, 7.0]]], "as many seeds in each"),
        ([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]], "a cell for each model and recipe"),
        ([], "a cell for each model and recipe"),
        ([[[0.9] * 3] * 2] * 2, "all results are equal, so there is no spread to divide"),
    ],
)
def test_what_cannot_be_divided_is_refused(values, message):
    recipes = names("r", max((len(row) for row in values), default=0))
    with pytest.raises(ValueError, match=message):
        two_way(names("m", len(values)), recipes, values)


@pytest.mark.parametrize(("models", "recipes"), [("abc", "xy"), ("a", "xy"), ("ab", "xyz"), ("ab", "x")])
def test_table_that_does_not_fit_its_names_is_refused(models, recipes):
    with pytest.raises(ValueError, match="a cell for each model and recipe"):
        two_way(models, recipes, [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])


# the table


@pytest.fixture
def table_of(make_seeds):
    """The complete table of cells ``(model, recipe, *accuracies)``, with what is changed in all runs."""

    def make(*cells, **changes):
        return complete_table(groups_of(*cells, **changes))

    def groups_of(*cells, **changes):
        runs = [
            run
            for model, recipe, *accuracies in cells
            for run in make_seeds(*accuracies, model=model, recipe=recipe, **changes)
        ]
        return group_runs(runs)

    make.groups_of = groups_of
    return make


FOUR = (
    ("resnet20", "short", 0.1, 0.2),
    ("resnet20", "paper", 0.3, 0.4),
    ("plain20", "paper", 0.5, 0.6),
    ("plain20", "short", 0.7, 0.8),
)


def test_table_has_models_as_they_come_and_recipes_by_name(table_of):
    assert table_of(*FOUR) == (
        ("resnet20", "plain20"),
        ("paper", "short"),
        [[[0.3, 0.4], [0.1, 0.2]], [[0.5, 0.6], [0.7, 0.8]]],
    )


def test_cells_are_cut_to_as_many_seeds(table_of):
    more = FOUR[0] + (0.25, 0.26), FOUR[1] + (0.45,), FOUR[2] + (0.65, 0.66, 0.67), FOUR[3]
    assert table_of(*more) == table_of(*FOUR)
    assert table_of(*more[:3], FOUR[3] + (0.85,))[2] == [
        [[0.3, 0.4, 0.45], [0.1, 0.2, 0.25]],
        [[0.5, 0.6, 0.65], [0.7, 0.8, 0.85]],
    ]


@pytest.mark.parametrize("number", range(4))
def test_table_with_an_empty_cell_is_none(table_of, number):
    cells = list(FOUR)
    lacking = cells.pop(number)
    assert table_of(*cells) is None
    assert table_of(*cells, lacking[:3]) is None  # nor is one with a single seed


def test_without_groups_there_is_no_table():
    assert complete_table([]) is None


def test_largest_table_is_chosen(table_of):
    cells = [(model, recipe, 0.5, 0.6) for model in ("a", "b", "c", "d") for recipe in ("paper", "short")]
    cells += [("a", "kuangliu", 0.5, 0.6), ("b", "kuangliu", 0.5, 0.6), ("e", "short", 0.5, 0.6)]
    # 4 x 2 rather than 2 x 3, and 5 x 1 is none
    assert table_of(*cells)[:2] == (("a", "b", "c", "d"), ("paper", "short"))
    cells += [(model, "yunjey", 0.5, 0.6) for model in ("a", "b")]
    cells += [(model, "akamaster", 0.5, 0.6) for model in ("a", "b")]
    found = table_of(*cells)  # now 2 x 5 is larger
    assert found[:2] == (("a", "b"), ("akamaster", "kuangliu", "paper", "short", "yunjey"))


def test_table_may_be_of_recipes_that_every_model_has_among_others(table_of):
    # no model has just the two that both have
    cells = [*FOUR, ("resnet20", "kuangliu", 0.5, 0.6), ("plain20", "yunjey", 0.5, 0.6)]
    assert table_of(*cells) == table_of(*FOUR)


def test_shortened_runs_are_passed_over(table_of):
    assert table_of(*FOUR, iterations=100) is None
    groups = table_of.groups_of(*FOUR) + table_of.groups_of(
        *((*cell[:2], 0.0, 1.0) for cell in FOUR), iterations=100
    )
    assert complete_table(groups) == table_of(*FOUR)


@pytest.mark.parametrize(
    "change", [{"precision": "bf16"}, {"device_name": "Some GPU"}, {"data": "synthetic"}]
)
def test_precisions_devices_and_data_are_not_mixed(table_of, change):
    assert complete_table(table_of.groups_of(*FOUR[:2]) + table_of.groups_of(*FOUR[2:], **change)) is None
    others = [
        *((*cell[:2], 0.0, 1.0) for cell in FOUR),
        ("third", "paper", 0.0, 1.0),
        ("third", "short", 0.0, 1.0),
    ]
    groups = table_of.groups_of(*FOUR) + table_of.groups_of(*others, **change)
    models, _, values = complete_table(groups)
    assert models == ("resnet20", "plain20", "third")
    assert values == [[[0.0, 1.0]] * 2] * 3


def test_recipes_of_one_name_that_prescribe_something_else_are_not_mixed(table_of):
    other = table_of.groups_of(FOUR[3], recipe_changes=OTHER_RULE)
    assert other[0].recipe == "short"
    assert complete_table(table_of.groups_of(*FOUR[:3]) + other) is None


def test_of_two_groups_of_one_name_the_one_that_fits_is_taken(table_of):
    others = table_of.groups_of(("plain20", "short", 0.0, 1.0), recipe_changes=OTHER_RULE)
    assert complete_table(table_of.groups_of(*FOUR) + others) == table_of(*FOUR)


def test_of_tables_of_one_size_the_choice_does_not_hang_on_chance():
    code = """
from types import SimpleNamespace
from harness.analysis.variance import complete_table
common = {
    "precision": "fp32", "data": "cifar10", "device_name": "Some CPU", "shortened": False, "runs": [None] * 2,
    "model_source": "ours", "values": lambda column: [0.5] * 2,
}
cells = [(model, recipe) for model in "ab" for recipe in "xyz"] + [("c", "x"), ("c", "y")]
groups = [SimpleNamespace(model=model, recipe=recipe, protocol=recipe, **common) for model, recipe in cells]
print(complete_table(groups)[:2])
"""
    chosen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(chosen) == 1


def test_spread_of_recorded_runs_is_divided(few_resamples, table_of):
    models, recipes, values = table_of(*FOUR)
    found = two_way(models, recipes, values)
    # the models are 0.25 and 0.65 on average, recipes 0.45 both
    assert (found.models, found.recipes, found.num_seeds) == (models, recipes, 2)
    assert found.shares["model"].share > 0.7
    assert found.shares["recipe"].share < 0


def test_of_two_groups_for_one_cell_that_with_the_most_seeds_counts(make_seeds):
    runs = [
        run
        for model in ("resnet20", "plain20")
        for recipe in ("short", "paper")
        for run in make_seeds(0.90, 0.91, 0.92, model=model, recipe=recipe)
    ]
    others = make_seeds(0.1, 0.2, model_source="mine")
    for order in (runs + others, others + runs):
        _, _, values = complete_table(group_runs(order))
        assert values == [[[0.90, 0.91, 0.92]] * 2] * 2
