"""Findings on initial weights: of small stores by hand, of the published one by pandas."""

from harness.analysis.equivalence import SAME_FUNCTION

from .answers import check, only

FAN_IN, FAN_OUT, DEFAULT = "He (fan-in)", "He (fan-out)", "PyTorch's default"


# --- small stores


def test_one_implementation_is_not_told(answer, add_card):
    add_card("resnet20", "reference", model_source="ours", counterpart=None)
    assert answer("initial-weights") is None


def test_rules_are_counted_over_implementations_and_for_one_function(answer, add_card):
    add_card("resnet20", "reference", model_source="ours", counterpart=None, initialization=FAN_IN)
    add_card("a", model_source="owner/a@0123456789", initialization=FAN_OUT)
    add_card("b", model_source="b 2.0", initialization=f"{FAN_OUT}, linear: {DEFAULT}")
    add_card("c", counterpart="resnet20-b", model_source="c 1", initialization=FAN_IN)
    add_card("d", "different", model_source="d 1", initialization=f"{DEFAULT}, 8 of 20 scales zero")
    found = answer("initial-weights")
    check(found)
    text = found.summary.text
    assert "4 implementations of the paper's networks, ours among them," in text
    assert "by 3 rules: He et al. by fan-in (c and ours); He et al. by fan-out (owner/a); " in text
    assert "He et al. by fan-out, the linear layer by PyTorch's default (b)." in text
    assert "resnet20, one function in 3 implementations, is initialised by 3 rules." in text
    assert len(found.summary.records) == 4
    other = only(found, "another function")
    assert "PyTorch's default, 8 of 20 scales of batch normalisation zero in d." in other.text
    assert other.records == ("identities/d-card",)


def test_equal_beginnings_are_one_rule(answer, add_card):
    add_card("a", model_source="a 1", initialization="otherwise")
    add_card("b", model_source="b 1", initialization="otherwise")
    text = answer("initial-weights").summary.text
    assert "2 implementations of the paper's networks draw" in text
    assert "by 1 rule: none of the known rules (a and b)." in text


def test_the_spread_of_initial_weights_is_relative_to_he(answer, add_card):
    layers = [
        {"layer": "x", "num_weights": 9, "std": std, "he_std": he_std}
        for std, he_std in ((0.1, 0.2), (0.3, 0.2), (0.3, 0.0))
    ]
    add_card("a", model_source="a 1", initial_weights=layers)
    add_card("b", model_source="b 1", initialization="x")
    cells = [row[-1] for row in answer("initial-weights").tables[0].rows]
    assert cells == ["0.50 to 1.50", "-"]


# --- what is published, recomputed


def test_published_rules_are_those_of_the_cards(published_answer, cards, source):
    same = cards[cards.equivalence.isin([*SAME_FUNCTION, "reference"])]
    same = same.assign(source=source(same.model_source), function=same.counterpart.fillna(same.model))
    text = published_answer("initial-weights").summary.text
    assert f"{same.source.nunique()} implementations" in text
    assert f"by {same.initialization.nunique()} rules" in text
    rules = same.groupby("function").initialization.nunique()
    assert f"is initialised by {rules.max()} rules." in text
    details = published_answer("initial-weights").details
    for function, its in same[same.layers_on_main_path == 20].groupby("function"):
        start = f"{function}, one function in {its.source.nunique()} implementations,"
        [told] = [detail for detail in details if detail.text.startswith(start)]
        assert f"is initialised by {its.initialization.nunique()} rules:" in told.text
        assert told.records == tuple(sorted(f"identities/{name}" for name in its.identity_id))
