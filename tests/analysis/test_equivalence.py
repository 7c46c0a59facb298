import pytest

from harness.analysis.equivalence import implementations, relation


def card(model, equivalence="reference", counterpart=None):
    return {"model": model, "equivalence": equivalence, "counterpart": counterpart}


OURS = card("resnet20")
IDENTICAL = card("timm-resnet20", "identical", "resnet20")
EQUAL = card("akamaster-resnet20", "equal", "resnet20")
PERMUTED = card("mine", "permuted", "resnet20")
DIFFERENT = card("kuangliu-resnet18", "different", "resnet20-b")
OTHER_DIFFERENT = card("timm-resnet18", "different", "resnet20-b")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (OURS, OURS, "identical"),
        (OURS, IDENTICAL, "identical"),
        (OURS, EQUAL, "equal"),
        (IDENTICAL, EQUAL, "equal"),  # the weaker of two links
        (EQUAL, PERMUTED, "permuted"),
        (OURS, card("resnet32"), "different"),
        (EQUAL, card("x-resnet32", "equal", "resnet32"), "different"),
        (OURS, DIFFERENT, "different"),
        (
            DIFFERENT,
            OTHER_DIFFERENT,
            "not compared",
        ),  # neither is the paper's; nobody has set them beside each other
        (DIFFERENT, DIFFERENT, "identical"),
        (OURS, card("odd", "cousins", "resnet20"), "not compared"),
    ],
)
def test_relation_follows_from_what_each_is_to_the_papers(one, other, expected):
    assert relation(one, other) == relation(other, one) == expected


def test_implementations_are_told_by_network_of_the_paper():
    odd = card("odd-resnet20", "cousins", "resnet20")
    assert implementations([OURS, IDENTICAL, EQUAL, PERMUTED, DIFFERENT, odd]) == {
        ("ours", "resnet20"): "identical",
        ("timm", "resnet20"): "identical",
        ("akamaster", "resnet20"): "equal",
        ("mine", "resnet20"): "permuted",
        ("kuangliu-resnet18", "resnet20-b"): "different",
    }


def test_option_b_is_part_of_the_network():
    cards = [card("timm-resnet20-b", "identical", "resnet20-b"), card("timm-plain56", "identical", "plain56")]
    assert list(implementations(cards)) == [("timm", "resnet20-b"), ("timm", "plain56")]
