import subprocess
import sys
from datetime import UTC, datetime

import pytest

from harness.analysis.groups import group_runs
from harness.analysis.protocol import Difference, Networks, differences, measured_column
from harness.claims import claims
from harness.config import load_recipe

CLAIMS = claims()
PAPERS = CLAIMS["he2015-resnet20"]
DEEP = CLAIMS["he2015-resnet110-mean"]
EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)


def sgd(**changes):
    return {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4} | changes


def steps(**changes):
    return {"kind": "steps", "milestones": [0.5, 0.75], "factor": 0.1} | changes


@pytest.fixture
def found(make_run):
    """The differences of a run of the paper's recipe, but for what is changed, as texts."""

    def find(claim=PAPERS, cards=(), **changes):
        run = make_run(**{"model": claim.model, "recipe": "paper"} | changes)
        [group] = group_runs([run])
        return [str(difference) for difference in differences(claim, group, Networks(cards))]

    return find


# protocol


def test_run_of_the_same_protocol_differs_in_nothing(found):
    assert found() == []
    assert found(precision="bf16", device_name="Some GPU", seed=7) == []


def test_name_and_texts_of_a_recipe_are_no_difference(found):
    assert found(recipe_changes={"name": "mine", "summary": "copied", "source": "the paper"}) == []


def test_length_is_compared_and_not_how_it_is_stated(found):
    assert found(recipe_changes={"iterations": None, "epochs": 163.84}) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iterations": 100}, "iterations: 100 here, 64,000 in the claim"),
        ({"iterations": 63_999}, "iterations: 63,999 here, 64,000 in the claim"),
        ({"recipe_changes": {"iterations": 96_000}}, "iterations: 96,000 here, 64,000 in the claim"),
        ({"data": "synthetic"}, "data: synthetic here, cifar10 in the claim"),
        ({"recipe_changes": {"batch_size": 64}}, "batch size: 64 here, 128 in the claim"),
        (
            {"recipe_changes": {"initialization": "implementation"}},
            "initialization: implementation here, he in the claim",
        ),
        (
            {"recipe_changes": {"normalization": {"kind": "none"}}},
            "normalization kind: none here, per-pixel-mean in the claim",
        ),
        (
            {"recipe_changes": {"augmentation": {"pad": 2, "flip": True}}},
            "augmentation pad: 2 here, 4 in the claim",
        ),
        ({"recipe_changes": {"augmentation": {"pad": 4}}}, "augmentation flip: no here, yes in the claim"),
        (
            {"recipe_changes": {"optimizer": sgd(learning_rate=0.2)}},
            "optimizer learning rate: 0.2 here, 0.1 in the claim",
        ),
        (
            {"recipe_changes": {"optimizer": sgd(momentum=0.8)}},
            "optimizer momentum: 0.8 here, 0.9 in the claim",
        ),
        (
            {"recipe_changes": {"optimizer": sgd(weight_decay=5e-4)}},
            "optimizer weight decay: 0.0005 here, 0.0001 in the claim",
        ),
        (
            {"recipe_changes": {"optimizer": sgd(nesterov=True)}},
            "optimizer nesterov: yes here, no in the claim",
        ),
        ({"recipe_changes": {"schedule": steps(factor=0.2)}}, "schedule factor: 0.2 here, 0.1 in the claim"),
        (
            {"recipe_changes": {"schedule": steps(milestones=[0.5, 0.8])}},
            "schedule milestones: [0.5, 0.8] here, [0.5, 0.75] in the claim",
        ),
    ],
)
def test_what_was_done_otherwise_is_named(found, changes, expected):
    assert found(**changes) == [expected]


def test_pass_that_ends_with_a_smaller_batch_is_named_in_words(found):
    # 'carry' is left out of the protocol where it is the default
    assert found(recipe_changes={"last_batch": "keep"}) == ["last batch: keep here, carry in the claim"]
    of_akamaster = CLAIMS["akamaster-resnet20"]
    kept = {"last_batch": "carry", "epochs": 200.192}
    assert found(of_akamaster, recipe="akamaster", recipe_changes=kept) == [
        "last batch: carry here, keep in the claim"
    ]


def test_statistics_of_channels_are_named(found):
    normalization = {"kind": "channel", "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    assert found(recipe_changes={"normalization": normalization}) == [
        "normalization kind: channel here, per-pixel-mean in the claim",
        "normalization mean: [0.5, 0.5, 0.5] here, none in the claim",
        "normalization std: [0.25, 0.25, 0.25] here, none in the claim",
    ]


def test_another_optimiser_and_schedule_are_named_with_what_only_one_has(found):
    changes = {
        "optimizer": {"kind": "adam", "learning_rate": 1e-3, "weight_decay": 1e-4},
        "schedule": {"kind": "cosine", "per": "epoch"},
    }
    texts = found(recipe_changes=changes)
    assert set(texts) == {
        "optimizer kind: adam here, sgd in the claim",
        "optimizer learning rate: 0.001 here, 0.1 in the claim",
        "optimizer momentum: none here, 0.9 in the claim",
        "optimizer nesterov: none here, no in the claim",
        "schedule kind: cosine here, steps in the claim",
        "schedule milestones: none here, [0.5, 0.75] in the claim",
        "schedule factor: none here, 0.1 in the claim",
        "schedule per: epoch here, none in the claim",
    }
    assert len(texts) == 8


def test_every_difference_is_named(found):
    changes = {"batch_size": 256, "optimizer": sgd(learning_rate=0.2)}
    assert found(iterations=100, data="synthetic", recipe_changes=changes) == [
        "data: synthetic here, cifar10 in the claim",
        "iterations: 100 here, 64,000 in the claim",
        "batch size: 256 here, 128 in the claim",
        "optimizer learning rate: 0.2 here, 0.1 in the claim",
    ]


def test_network_and_rule_of_selection_are_named_before_all_else(found):
    texts = found(
        CLAIMS["he2015-resnet110"],
        model="plain20",
        data="synthetic",
        iterations=100,
        recipe_changes={"batch_size": 256},
    )
    assert [text.split(":")[0] for text in texts] == [
        *("network", "rule of selection", "data", "iterations", "batch size"),
    ]


def test_initial_weights_are_named_after_all_else(found, make_card):
    texts = found(
        CLAIMS["akamaster-resnet20"],
        [make_card("resnet20", initialization="U(-1, 1)"), akamasters(make_card)],
        model="resnet20",
        recipe="akamaster",
        data="synthetic",
        iterations=100,
        recipe_changes={"batch_size": 256},
    )
    assert [text.split(":")[0] for text in texts] == ["data", "iterations", "batch size", "initial weights"]


def test_difference_reads_like_a_sentence():
    difference = Difference("iterations", "64,000", "100")
    assert str(difference) == "iterations: 100 here, 64,000 in the claim"
    assert (difference.what, difference.claimed, difference.measured) == (
        "iterations",
        "64,000",
        "100",
    )


def test_of_the_recipes_of_a_claim_the_nearest_is_compared(found):
    assert found(recipe="paper-two-gpus") == []
    assert found(recipe="paper-two-gpus", recipe_changes={"last_batch": "keep"}) == [
        "last batch: keep here, carry in the claim"
    ]
    assert found(recipe_changes={"ghost_batch_size": 32}) == ["ghost batch size: 32 here, none in the claim"]


def test_request_that_cannot_be_read_is_a_difference(found):
    assert found(spec='{"of": "a later version"}') == [
        "recipe: unreadable here, paper or paper-two-gpus in the claim"
    ]


# warm-up


def no_warmup(**changes):
    return {"recipe_changes": {"warmup": None}} | changes


def test_warmup_that_is_for_deeper_networks_is_none(found, make_card):
    assert found(cards=[make_card("resnet20", layers_on_main_path=20)], **no_warmup()) == []
    for_deep = {"recipe_changes": {"warmup": {"learning_rate": 0.05, "iterations": 9, "min_depth": 21}}}
    assert found(cards=[make_card("resnet20", layers_on_main_path=20)], **for_deep) == []


WITHOUT = [
    "warmup learning rate: none here, 0.01 in the claim",
    "warmup iterations: none here, 400 in the claim",
    "warmup min depth: none here, 110 in the claim",
]


def test_warmup_counts_for_deep_networks(found, make_card):
    for depth in (110, 1202):
        cards = [make_card("resnet110", layers_on_main_path=depth)]
        assert found(DEEP, cards, **no_warmup()) == WITHOUT
        assert found(DEEP, cards) == []


def test_warmup_counts_where_the_depth_is_not_known(found):
    assert found(**no_warmup()) == WITHOUT


def test_warmup_that_a_run_alone_has_is_named(found, make_card):
    warmup = {"learning_rate": 0.05, "iterations": 400, "min_depth": 20}
    cards = [make_card("resnet20", layers_on_main_path=20)]
    texts = found(cards=cards, recipe_changes={"warmup": warmup})
    assert texts == [
        "warmup learning rate: 0.05 here, none in the claim",
        "warmup iterations: 400 here, none in the claim",
        "warmup min depth: 20 here, none in the claim",
    ]


# rule of selection


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("he2015-resnet20", "test_accuracy"),
        ("he2015-resnet110-mean", "test_accuracy"),
        ("akamaster-resnet20", "test_accuracy"),
        ("chenyaofo-resnet20", "test_accuracy_best"),
        ("he2015-resnet110", None),
        ("pytorchcv-resnet20", None),
    ],
)
def test_column_is_that_of_the_rule_of_selection(key, column):
    assert measured_column(CLAIMS[key]) == column


def test_best_of_five_runs_is_no_result_of_ours(found):
    claim = CLAIMS["he2015-resnet110"]
    assert found(claim) == ["rule of selection: last here, best-of-5-runs in the claim"]


def test_result_that_was_chosen_in_an_unknown_way_is_named(found):
    assert found(CLAIMS["pytorchcv-resnet20"])[0] == ("rule of selection: last here, unknown in the claim")


@pytest.mark.parametrize("key", ["kuangliu-resnet18", "kuangliu-vgg16", "pytorchcv-resnet20"])
def test_protocol_that_nobody_documents_is_named(found, key):
    assert found(CLAIMS[key], recipe="kuangliu")[-1] == ("recipe: kuangliu here, undocumented in the claim")


def test_claim_without_a_protocol_has_no_length_to_compare_with(found):
    texts = found(CLAIMS["kuangliu-resnet18"], recipe="short", iterations=3, data="synthetic")
    assert texts == [
        "data: synthetic here, cifar10 in the claim",
        "recipe: short here, undocumented in the claim",
    ]


@pytest.mark.parametrize(
    ("claim", "recipe"), [(claim, recipe) for claim in CLAIMS.values() for recipe in claim.recipes]
)
def test_runs_made_as_the_claim_was_differ_in_nothing_but_the_rule_of_selection(found, claim, recipe):
    texts = found(claim, recipe=recipe)
    assert texts == (
        [] if measured_column(claim) else ["rule of selection: last here, best-of-5-runs in the claim"]
    )
    assert found(claim, recipe="short") != texts


# network


MINE = {"model": "mynet:make", "model_source": "mynet.py at a"}


@pytest.fixture
def my_card(make_card):
    def make(equivalence="identical", counterpart="resnet20", **columns):
        columns = {"model_source": "mynet.py at a"} | columns
        return make_card("mynet:make", counterpart=counterpart, equivalence=equivalence, **columns)

    return make


@pytest.mark.parametrize("equivalence", ["identical", "equal", "permuted"])
def test_network_that_is_the_same_by_its_card_is_no_difference(found, my_card, make_card, equivalence):
    assert found(cards=[make_card("resnet20"), my_card(equivalence)], **MINE) == []
    assert found(cards=[my_card(equivalence)], **MINE) == []  # the paper's needs none


def test_another_network_is_named_with_its_first_deviation(found, my_card):
    cards = [my_card("different", first_deviation="shortcuts of kind B")]
    assert found(cards=cards, **MINE) == [
        "network: mynet:make (shortcuts of kind B) here, resnet20 in the claim"
    ]
    assert found(cards=[my_card("different")], **MINE) == [
        "network: mynet:make (another function) here, resnet20 in the claim"
    ]


def test_network_of_another_size_is_another(found, my_card):
    texts = found(cards=[my_card(counterpart="resnet32")], **MINE)
    assert [text.split(" (")[0] for text in texts] == ["network: mynet:make"]
    assert len(found(model="resnet32")) == 1


def test_network_without_a_counterpart_is_another(found, my_card):
    assert len(found(cards=[my_card("reference", counterpart=None)], **MINE)) == 1


def test_network_without_a_card_is_not_taken_for_the_same(found):
    [text] = found(**MINE)
    assert text.startswith("network: mynet:make")


def test_card_of_other_code_says_nothing(found, my_card):
    of_other_code = my_card(model_source="mynet.py at b")
    [text] = found(cards=[of_other_code], **MINE)
    assert text.startswith("network: mynet:make")
    # neither where it is the later one
    same, other = my_card(identified_at=EARLY), my_card("different", model_source="b", identified_at=LATE)
    assert found(cards=[same, other], **MINE) == []


def test_depth_on_a_card_of_other_code_says_nothing(found, make_card):
    shallow = make_card("resnet20", model_source="other", layers_on_main_path=20)
    assert found(cards=[shallow], **no_warmup()) == WITHOUT


def test_run_that_does_not_say_where_its_code_comes_from_has_the_card_that_is_known(found, my_card):
    assert found(cards=[my_card()], **MINE | {"model_source": None}) == []


@pytest.mark.parametrize("in_order", [True, False])
def test_latest_card_counts(found, my_card, in_order):
    for early, late, num in (("identical", "different", 1), ("different", "identical", 0)):
        cards = [my_card(early, identified_at=EARLY), my_card(late, identified_at=LATE)]
        assert len(found(cards=cards if in_order else cards[::-1], **MINE)) == num


def test_claims_model_is_no_other_network_whatever_its_card_says(found, make_card):
    claim = CLAIMS["akamaster-resnet20"]
    same, other = ({"counterpart": "resnet20", "equivalence": each} for each in ("equal", "different"))
    for columns in (same, other, same | {"model_source": "repo"}):
        assert found(claim, [make_card("akamaster-resnet20", **columns)], recipe="akamaster") == []


def test_networks_are_known_by_their_cards(make_card):
    networks = Networks(
        [
            make_card("same", counterpart="resnet20", equivalence="equal"),
            make_card("other", counterpart="resnet20", equivalence="different"),
            make_card("resnet20"),
        ]
    )
    for model, network, resembles in (
        ("same", "resnet20", "resnet20"),
        ("other", "other", "resnet20"),
        ("resnet20", "resnet20", "resnet20"),
        ("unknown", "unknown", "unknown"),
    ):
        assert networks.network_of(model) == networks.network_of(model, "ours") == network
        assert networks.resembles(model, None) == networks.resembles(model, "ours") == resembles
        assert networks.network_of(model, "theirs") == networks.resembles(model, "theirs") == model
    assert networks.card("same")["counterpart"] == "resnet20"
    assert networks.card("same", "theirs") is networks.card("unknown") is None


def test_latest_card_is_found_by_model_and_by_code(make_card):
    cards = [
        make_card("m", identity_id=name, model_source=source, identified_at=moment)
        for name, source, moment in (("1", "a", LATE), ("2", "a", EARLY), ("3", "b", EARLY))
    ]
    networks = Networks(cards)
    assert [networks.card("m", source)["identity_id"] for source in (None, "a", "b")] == ["1", "1", "3"]


# initialisation


def akamasters(make_card, rule="N(0, 2 / fan-in)"):
    return make_card(
        "akamaster-resnet20",
        counterpart="resnet20",
        equivalence="equal",
        initialization=rule,
        model_source="repo",
    )


def test_another_rule_of_initialisation_is_named_where_the_recipe_leaves_it_to_the_network(found, make_card):
    claim = CLAIMS["akamaster-resnet20"]
    own = make_card("resnet20", initialization="U(-1, 1)")
    cards = [own, akamasters(make_card)]
    assert found(claim, cards, model="resnet20", recipe="akamaster") == [
        "initial weights: U(-1, 1) here, N(0, 2 / fan-in) in the claim"
    ]
    alike = [own, akamasters(make_card, "U(-1, 1)")]
    assert found(claim, alike, model="resnet20", recipe="akamaster") == []


def test_rule_of_initialisation_without_a_card_is_unknown(found, make_card):
    texts = found(CLAIMS["akamaster-resnet20"], [akamasters(make_card)], model="resnet20", recipe="akamaster")
    assert "initial weights: unknown here, N(0, 2 / fan-in) in the claim" in texts


def test_networks_own_rule_does_not_matter_where_all_weights_are_drawn_anew(found, my_card, make_card):
    assert load_recipe("paper").initialization == "he"
    cards = [make_card("resnet20", initialization="U(-1, 1)"), my_card(initialization="N(0, 1)")]
    assert found(cards=cards, **MINE) == []


def test_rule_of_the_claims_own_model_is_not_asked_for(found):
    assert found(CLAIMS["akamaster-resnet20"], recipe="akamaster") == []


def test_comparing_does_not_need_torch():
    code = "import sys, harness.analysis.protocol; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_rule_of_initialisation_is_that_of_the_nearest_recipe(found, make_card):
    cards = [make_card("resnet20", initialization="U(-1, 1)"), akamasters(make_card)]
    claim = CLAIMS["akamaster-resnet20"]
    for recipes in (("akamaster", "paper"), ("paper", "akamaster")):
        either = claim.model_copy(update={"recipes": recipes})
        # the paper's draws its weights itself, so that rules of networks do not matter
        assert found(either, cards, model="resnet20") == []
        assert found(either, cards, model="resnet20", recipe="akamaster") == [
            "initial weights: U(-1, 1) here, N(0, 2 / fan-in) in the claim"
        ]
