"""AppTest binds the parameters of an address to the widgets as the server does; that the browser keeps them there is of tests/browser."""

import random

import pytest

from .pages import PAGES, assert_sound, said

NUM_A_PAGE = 25
"""200 on 8 pages."""
KNOWN = (
    *("store", "model", "recipe", "precision", "device", "experiment", "status", "margin", "setting"),
    *("over", "band", "smoothing", "training", "paper", "cost-setting", "against", "kind", "step", "drawn"),
    *("confused", "right", "wrong", "cards", "differing", "first", "second"),
)
UNKNOWN = ("page", "embed", "__proto__", "model[]", "", "\u202e", "<b>", "results", "stepping")
SOUND = (
    *("resnet20", "plain20", "paper", "short", "fp32", "bf16", "Some CPU", "A GPU", "completed", "failed"),
    *("iteration", "epoch", "seconds", "range", "interval", "sd", "true", "false", "1", "20", "0.05", "10"),
    *("throughput", "latency", "parameters", "MACs", "energy", "timm-resnet20", "run-1", "run-13"),
    *("paper, 64,000 iterations, fp32, on Some CPU", "infer, fp32, Some CPU"),
    "train, mini-batch 128, fp32, Some CPU",
)
STRANGE = (
    *(
        "",
        " ",
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "1e999",
        "9" * 400,
        "0x10",
        "1_0",
        "None",
        "null",
        "[]",
        "{}",
    ),
    *(
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\con",
        "file:///etc/passwd",
        "a" * 5000,
        "\u202e\u2066",
        "\u0000",
    ),
    *(
        "\ud7ff\uffff",
        "e\u0301",
        "\U0001f600",
        "<script>alert(1)</script>",
        "';--",
        "=1+1",
        "%",
        "%00",
        "&a=b#c",
        "+",
    ),
)


def fuzzed(chance):
    """Parameters of an address: some known, some not, their values sound, strange, or several."""
    query = {}
    for name in chance.sample(KNOWN + UNKNOWN, chance.randint(1, 8)):
        values = [chance.choice(chance.choice([SOUND, STRANGE])) for _ in range(chance.choice([1, 1, 2, 5]))]
        query[name] = values[0] if len(values) == 1 else values
    return query


@pytest.mark.parametrize("page", PAGES)
def test_no_address_is_an_error(open_page, furnished, tmp_path, page):
    chance = random.Random(page)
    for query in [fuzzed(chance) for _ in range(NUM_A_PAGE)]:
        app = open_page(page, furnished.root, tmp_path, **query)
        assert_sound(app, page)
        assert app.selectbox(key="store").value in {str(furnished.root), str(tmp_path)}


def test_the_names_that_are_tried_are_those_of_the_pages(open_page, furnished, tmp_path):
    found = set()
    for page in PAGES:
        app = open_page(page, furnished.root, tmp_path)
        found |= {text for _, path, text in said(app) if path.endswith("query_param_key")}
    assert found == set(KNOWN)


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("verdicts", {"margin": "0.75", "model": ["plain20"], "recipe": ["short", "paper"]}),
        ("accuracy", {"over": "epoch", "band": "sd", "smoothing": "7", "training": "true", "paper": "false"}),
        ("accuracy", {"setting": "paper, 64,000 iterations, bf16, on Some CPU"}),
        ("cost", {"against": "energy", "kind": "infer, fp32, Some CPU", "drawn": ["plain20"]}),
        ("mistakes", {"confused": "plain20", "right": "plain20", "wrong": "resnet20"}),
        ("networks", {"cards": ["timm-resnet20", "plain20"], "differing": "true"}),
        ("bits", {"device": ["Some CPU"]}),
        ("runs", {"first": "run-2", "second": "run-1", "differing": "false", "experiment": ["paper"]}),
    ],
)
def test_an_address_shows_what_its_sender_saw(open_page, furnished, page, query):
    app = open_page(page, furnished.root, **query)
    assert_sound(app, page)
    for name, value in query.items():
        shown = app.session_state[name]
        assert (shown if isinstance(shown, list) else str(shown).lower()) in (value, str(value).lower())
        assert app.query_params[name] in (value, value[0])
