"""The published numbers, against the paper's own table and figure."""

import pytest

from harness.claims import claims
from harness.config import load_recipe, recipe_names
from harness.paper import FIGURE6_FINAL_TEST_ERROR_PERCENT, TABLE6_TEST_ERROR_PERCENT

CLAIMS = claims()


@pytest.mark.parametrize(("depth", "error"), TABLE6_TEST_ERROR_PERCENT.items())
def test_residual_networks_of_the_paper_are_those_of_table_6(depth, error):
    claim = CLAIMS[f"he2015-resnet{depth}"]
    assert (claim.model, claim.test_error_percent) == (f"resnet{depth}", error)
    assert claim.recipes == ("paper", "paper-two-gpus")
    assert not claim.read_from_figure


@pytest.mark.parametrize(("depth", "error"), FIGURE6_FINAL_TEST_ERROR_PERCENT.items())
def test_plain_networks_of_the_paper_are_marked_as_read_from_the_figure(depth, error):
    claim = CLAIMS[f"he2015-plain{depth}"]
    assert (claim.model, claim.test_error_percent, claim.selection) == (f"plain{depth}", error, "last")
    assert claim.read_from_figure


@pytest.mark.parametrize(
    ("key", "accuracy", "selection"),
    [
        ("akamaster-resnet20", 91.73, "last"),
        ("akamaster-resnet32", 92.63, "last"),
        ("akamaster-resnet44", 93.10, "last"),
        ("akamaster-resnet56", 93.39, "last"),
        ("akamaster-resnet110", 93.68, "last"),
        ("kuangliu-resnet18", 93.02, "best-on-test"),
        ("kuangliu-vgg16", 92.64, "best-on-test"),
        ("chenyaofo-resnet20", 92.60, "best-on-test"),
        ("torchdistill-resnet20", 91.92, "best-on-test"),
        ("pytorchcv-resnet20", 94.03, "unknown"),
    ],
)
def test_references_are_quoted_as_they_state(key, accuracy, selection):
    assert 100 - CLAIMS[key].test_error_percent == pytest.approx(accuracy)
    assert CLAIMS[key].selection == selection


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_every_claim_names_recipes_that_exist_or_none_and_where_it_is_stated(claim):
    assert set(claim.recipes) <= set(recipe_names())
    assert len({load_recipe(name).initialization for name in claim.recipes}) <= 1
    assert claim.stated_in
