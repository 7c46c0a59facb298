"""Findings on networks: of small stores by hand, of the published one by pandas."""

from datetime import UTC, datetime

import pytest

from harness.findings import QUESTIONS, Finding, in_full

from .answers import check, only

SAME = ["identical", "equal", "permuted"]


# --- small stores


def test_our_own_networks_are_not_compared_with_themselves(answer, add_card):
    add_card("resnet20", "reference", model_source="ours", counterpart=None)
    assert answer("same-network") is None


def test_networks_are_counted_by_kind_and_source(answer, add_card):
    add_card("resnet20", "reference", model_source="ours", counterpart=None, parameters=270)
    add_card("a-resnet20", model_source="owner/a@0123456789")
    add_card("a-resnet32", model_source="owner/a@0123456789", counterpart="resnet32", layers_on_main_path=32)
    add_card("t-resnet20-b", "equal", counterpart="resnet20-b")
    add_card("t-plain20", "permuted", counterpart="plain20", adapted="changed")
    add_card("t-resnet56", "different", counterpart="resnet56", layers_on_main_path=56)
    add_card("t-resnet18", "different", layers_on_main_path=18, shortcut="B", parameters=11_000)
    add_card("a-vgg", "different", layers_on_main_path=14, shortcut="none", model_source="owner/a@0123456789")
    found = answer("same-network")
    check(found)
    text = found.summary.text
    assert "4 of 7 networks from 2 other implementations" in text
    assert "2 its ResNet with shortcuts without weights (option A), 1 its ResNet with projection" in text
    assert (
        "and 1 its plain network. 3 of them are as the authors ship them; 1 was composed here of classes of timm."
        in text
    )
    assert "t-resnet56 has the depth of one and computes another function." in text
    assert "2 networks have a depth that the paper's do not have: 14 and 18 layers." in text
    assert (
        "ResNet-18 of timm is another network than ResNet-20: it has 11,000 parameters, ResNet-20 has 270."
        in text
    )
    assert len(found.summary.records) == 8  # with ours, whose parameters are told
    assert only(found, "owner/a (2)").records == ("identities/a-resnet20-card", "identities/a-resnet32-card")
    assert only(found, "not distributed").text.startswith("1 of the 4")
    assert only(found, "not distributed").records == ("identities/t-plain20-card",)
    assert [row[0] for row in found.tables[0].rows] == [
        *("a-resnet20", "a-vgg", "t-plain20", "t-resnet18", "t-resnet20-b", "t-resnet56")
    ]


def test_without_our_card_or_another_resnet18_neither_is_told(answer, add_card):
    add_card("t-resnet18", "different", layers_on_main_path=18, shortcut="B", parameters=11_000)
    found = answer("same-network")
    assert "ResNet-20" not in found.summary.text
    assert "0 of 1 network from 1 other implementation" in found.summary.text
    assert found.chart is None
    add_card("resnet20", "reference", model_source="ours", counterpart=None, parameters=270)
    add_card("t-vgg", "different", layers_on_main_path=18, shortcut="none", parameters=99_000)
    assert "it has 11,000 parameters, ResNet-20 has 270." in answer("same-network").summary.text


def test_how_the_functions_were_compared(answer, add_card):
    add_card("a", num_images=32)
    add_card("b", "equal", num_images=32, difference_of_logits_fp64=1e-15, difference_of_gradients_fp64=3e-14)
    add_card("c", "equal", num_images=16)
    text = only(answer("same-network"), "random weights").text
    assert "on 16 to 32 images" in text
    assert "Of the 3, 1 agree bit for bit; 2 differ by the order of summation, by at most 3.0e-14" in text


def test_the_latest_card_of_a_model_counts(answer, add_card):
    add_card("a", "different", identity_id="old", identified_at=datetime(2025, 1, 1, tzinfo=UTC))
    add_card("a", "identical", identity_id="new", identified_at=datetime(2026, 1, 1, tzinfo=UTC))
    found = answer("same-network")
    assert "1 of 1 network" in found.summary.text
    assert found.summary.records == ("identities/new",)


@pytest.mark.parametrize("name", ["<b>|", "x" * 500, "réseau\n# no heading", "a`b"])
def test_what_is_odd_is_told_and_is_no_error(answer, add_card, name):
    add_card(name, "different", identity_id="odd", layers_on_main_path=20)
    add_card("unheard", "something else")
    add_card("far", "equal", counterpart="no such network")
    found = answer("same-network")
    check(found)
    assert "1 of 3 networks" in found.summary.text
    assert "unheard" in only(found, "neither that it is the same").text
    assert "not recorded where" in only(found, "first deviates").text
    page = in_full([Finding(QUESTIONS["same-network"], found)], [], None, "harness findings")
    assert "<b>" not in page
    assert "\n# no heading" not in page


def test_only_so_many_rows_are_drawn_and_those_that_differ_first(answer, add_card):
    for number in range(30):
        add_card(f"a{number:02}")
    for number in range(3):
        add_card(f"other{number}", "different")
    chart = answer("same-network").chart
    drawn = [name for trace in chart.figure.data for name in trace.y]
    assert len(drawn) == 19
    assert {"other0", "other1", "other2"} < set(drawn)
    assert chart.alt.endswith("14 more are not drawn.")
    assert chart.figure.layout.height <= 420


# --- what is published, recomputed


def test_published_networks_are_those_of_the_cards(published_answer, cards, source):
    others = cards[cards.counterpart.notna()]
    same = others[others.equivalence.isin(SAME)]
    plain, option_b = same.counterpart.str.startswith("plain"), same.counterpart.str.endswith("-b")
    found = published_answer("same-network")
    text = found.summary.text
    assert f"{len(same)} of {len(others)} networks from {source(others.model_source).nunique()} other" in text
    assert f"{(~plain & ~option_b).sum()} its ResNet with shortcuts without" in text
    assert f"{option_b.sum()} its ResNet with projection" in text
    assert f"{plain.sum()} its plain" in text
    resnet18 = others[(others.layers_on_main_path == 18) & (others.equivalence == "different")]
    of_paper = cards.set_index("model").parameters["resnet20"]
    assert f"{resnet18.parameters.min():,} to {resnet18.parameters.max():,} parameters" in text
    assert f"ResNet-20 has {of_paper:,}." in text
    assert set(found.summary.records) == {
        f"identities/{name}" for name in [*others.identity_id, *cards[cards.model == "resnet20"].identity_id]
    }


def test_published_details_are_those_of_the_cards(published_answer, cards):
    others = cards[cards.counterpart.notna()]
    same = others[others.equivalence.isin(SAME)]
    found = published_answer("same-network")
    adapted = (same.adapted != "").sum()
    assert (
        f"{len(same) - adapted} of them are as the authors ship them; {adapted} were composed here"
        in found.summary.text
    )
    counts = same.equivalence.value_counts()
    compared = only(found, "random weights").text
    assert f"{counts['identical']} agree bit for bit; {counts['equal']} differ by the order" in compared
    largest = same[same.equivalence == "equal"].filter(regex="fp64").max().max()
    assert f"by at most {largest:.1e}" in compared
    assert (
        f"{(same.adapted != '').sum()} of the {len(same)} are not distributed"
        in only(found, "not distributed").text
    )
    different = others[others.equivalence == "different"]
    for card in different.itertuples():
        statement = only(found, f"{card.model} ({card.model_source})")
        assert card.first_deviation in statement.text
        assert statement.records == (f"identities/{card.identity_id}",)
    shown = others[(others.layers_on_main_path == 20) | (others.equivalence == "different")]
    rows = {row[0]: row for row in found.tables[0].rows}
    assert set(rows) == set(shown.model)
    assert all(rows[card.model][5] == f"{card.parameters:,}" for card in shown.itertuples())


def test_published_networks_are_drawn_where_they_belong(published_answer, cards):
    figure = published_answer("same-network").chart.figure
    assert figure.layout.height <= 420
    drawn = {
        name: round(1e6 * x)
        for trace in figure.data
        if trace.meta != "paper"
        for name, x in zip(trace.y, trace.x, strict=True)
    }
    parameters = cards.set_index("model").parameters
    assert len(drawn) > 10
    assert drawn == {name: parameters[name] for name in drawn}
