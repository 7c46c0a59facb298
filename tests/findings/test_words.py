import pytest

from harness.findings.words import counted, families, family, one_or_several, small


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 runs"), (1, "1 run"), (2, "2 runs"), (1_234_567, "1,234,567 runs")]
)
def test_things_are_counted(number, text):
    assert counted(number, "run") == text


@pytest.mark.parametrize(("things", "word"), [([], "have"), ([0], "has"), ("ab", "have")])
def test_a_word_goes_with_how_many_there_are(things, word):
    assert one_or_several(things, "has", "have") == word


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0"), (2e-7, "2.0e-07"), (0.123, "1.2e-01"), (-3e-5, "-3.0e-05")]
)
def test_small_differences_have_an_exponent(value, text):
    assert small(value) == text


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("ours", "ours"),
        ("timm 1.0.19", "timm"),
        ("torchvision 0.24.0+cpu", "torchvision"),
        (f"owner/name@{'0a' * 20}", "owner/name"),
        ("owner/name@0123456", "owner/name"),
        ("owner/name@012345", "owner/name@012345"),  # too short for a commit
        ("mynet code 0123456789ab", "mynet"),
        ("a name of 3 words", "a name of 3 words"),
        ("", ""),
    ],
)
def test_code_is_named_without_its_version(source, name):
    assert family({"model_source": source}) == name


def test_code_is_named_once_and_in_order():
    sources = ["timm 1.0", "a/b@0123456789", "timm 2.0", "ours"]
    assert families({"model_source": source} for source in sources) == "a/b, ours and timm"
    assert families([{"model_source": "timm 1.0"}]) == "timm"
