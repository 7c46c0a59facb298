"""Texts of others are texts. Every payload is in every text column of every kind in one store, which is opened on every page."""

import html
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from harness.atomic import write_atomically
from harness.records import KINDS, Live, LiveEpoch, LiveRun, LiveSweep
from harness.records.files import encode
from harness.records.schema import conform, to_table

from .pages import (
    PAGES,
    answers,
    assert_sound,
    card,
    course,
    figures,
    filled,
    flags,
    operator,
    profiled,
    said,
    texts,
    words_of,
)

PAYLOADS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<IMG SRC=`javascript:alert(1)`>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<body onload=alert(1)>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data='data:text/html,<script>alert(1)</script>'></object>",
    "<embed src=//evil.example/x.swf>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x.css';</style>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input type=submit></form>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<a href='javascript:alert(1)'>link</a>",
    "<math><mtext></mtext><script>alert(1)</script></math>",
    "<!--><script>alert(1)</script-->",
    "</textarea></style></title><script>alert(1)</script>",
    "<br/><b>bold</b><sup>up</sup>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)} %{x} %{customdata} {0}",
    "[link](javascript:alert(1))",
    "![image](https://evil.example/x.png)",
    "[reference]: https://evil.example",
    "<https://evil.example>",
    "**bold** _it_ ~~gone~~ `code` :red[x]",
    "# heading\n\n---\n\n- item\n\n> quote",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "$\\href{javascript:alert(1)}{x}$ $$x^2$$",
    ":material/delete: :smile: :red-background[x]",
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    '=HYPERLINK("http://evil.example","x")',
    "+1+cmd|' /C calc'!A0",
    "\u202eevil\u2066\u2069\u200f",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\u200d\u2620\ufe0f e\u0301\u0327",
    "\u0000\u0007\u001b[31mred\r\n\t\ufeff",
    "../../../etc/passwd; rm -rf ~ `id` $(id)",
    "a" * 3000,
]
NAMES = [
    text
    for text in PAYLOADS
    if not {"/", "\0"} & set(text) and not text.startswith(".") and len(text.encode()) < 200
]
"""Those that can be names of files, and so of records that others made; the harness writes none of such names."""
ALL = "\n".join(PAYLOADS)
"""For what only one choice shows: all of them in one text."""

PLAIN = {
    ("text", "body"),
    ("code", "code_text"),
    ("selectbox", "options"),
    ("selectbox", "raw_value"),
    ("multiselect", "options"),
    ("multiselect", "raw_values"),
    ("plotly_chart", "alt"),
    ("plotly_chart", "spec"),  # see `figures`
    ("dataframe", "columns"),  # names by which columns are known; what is said of them is looked at
    ("dataframe", "arrow_data.styler.styles"),
}
"""What the browser shows as it is. Whatever else an element or a block says is markdown, or no business of a record."""


def test_there_are_fifty_payloads():
    assert len(set(PAYLOADS)) == 50


def assert_harmless(app, page):
    """No error; and no payload where it would be more than a text."""
    assert_sound(app, page)
    formatted = {(kind, path, text) for kind, path, text in said(app) if (kind, path) not in PLAIN} | {
        ("dataframe", "columns", text)
        for kind, path, columns in said(app)
        if (kind, path) == ("dataframe", "columns")
        for text in words_of(json.loads(columns))
    }
    assert [
        (*where, text[:200]) for *where, text in formatted if any(payload in text for payload in PAYLOADS)
    ] == []
    assert not any(value for _, value in flags(app))
    drawn = {word for figure in figures(app) for word in words_of(figure)}
    markup = [payload for payload in PAYLOADS if "<" in payload]
    assert [word[:200] for word in drawn if any(payload in word for payload in markup)] == []


def hostile(kind, row, text, *kept):
    """A row with a text in every column of texts but some."""
    return row | {name: text for name in texts(kind) if name not in kept}


@pytest.fixture
def crowd(store, make_run):
    """The store, with every payload in every column.

    Of each payload, as of all in one, there are rows of which every text is the payload, and rows of which all texts are but
    those that pages look for (which runs are completed, and of real images; which steps are of training): these pass into
    tables and charts. And there is a network of that name in one setting, so that all 50 names stand in each chart.
    """
    rows = {kind: [] for kind in KINDS}
    for number, text in enumerate([ALL, *PAYLOADS]):
        run = filled("runs", **make_run(seed=number))
        rows["runs"] += [
            hostile("runs", run, text) | {"resumed_from": [text]},
            hostile("runs", run, text, "status", "data"),
            hostile("runs", run, text, "status", "data", "model")
            | {"layer_responses": [{"layer": text, "std": 0.5}]},
        ]
        run_id = text if text in NAMES else f"named-{number}"
        named = make_run(recipe="paper", run_id=run_id, test_accuracy_best=0.95) | {"model": text}
        parts = {
            "epochs": to_table("epochs", course(run_id)),
            "predictions": conform("predictions", answers(run_id, num_wrong=1 + number % 10)),
            "runs": to_table("runs", [filled("runs", **named)]),
        }
        for kind, table in parts.items():
            write_atomically(store.root / kind / f"{run_id}.parquet", encode(kind, [table]))
        identity = card("resnet20")
        rows["identities"] += [
            hostile("identities", identity, text),
            hostile("identities", identity, text, "equivalence") | {"equivalence": "different"},
            card(text, counterpart="resnet20", equivalence="equal", identity_id=text),
        ]
        rows["audits"].append(hostile("audits", filled("audits"), text))
        for size in (1, 32, 128):
            cell = profiled("resnet20", size)
            rows["profiles"] += [
                hostile("profiles", cell, text, "mode"),
                cell | {"model": text},
                hostile("profiles", cell, text, "mode", "precision", "device_name"),
                hostile("profiles", cell, text, "mode", "session_id"),
            ]
        part = operator("resnet20", "aten::mm", 0.5)
        rows["operators"] += [
            hostile("operators", part, text, "mode", "session_id"),
            part | {"model": text, "operator": text},
        ]
        repeated = filled("verifications", identical=False)
        rows["verifications"] += [
            hostile("verifications", repeated, text),
            hostile("verifications", repeated | {"identical": True}, text, "knob"),
            hostile("verifications", repeated | {"first_iteration": 7}, text),
        ]
    for kind, its in rows.items():
        if its:
            # of a record whose name is not that of its file, nothing is shown
            name = "session" if kind in {"profiles", "operators"} else "of-a-stranger"
            named = [row | {KINDS[kind].names[0]: name} for row in its]
            store.write_table(kind, name, to_table(kind, named))
    return store


def test_texts_of_others_are_texts_on_every_page(open_page, crowd):
    apps = {page: open_page(page, crowd.root) for page in PAGES}
    for page, app in apps.items():
        assert_harmless(app, page)
    # they have arrived where people see them
    assert set(PAYLOADS) <= set(apps["verdicts"].dataframe[1].value["model"])
    assert set(NAMES) <= set(apps["runs"].dataframe[0].value["run"])
    assert set(PAYLOADS) <= set(apps["networks"].dataframe[1].value["model"])
    assert set(PAYLOADS) <= set(apps["bits"].dataframe[1].value["knob"])
    for page in ("accuracy", "cost", "mistakes"):
        drawn = {word for figure in figures(apps[page]) for word in words_of(figure)}
        assert all(any(html.escape(payload, quote=False) in word for word in drawn) for payload in PAYLOADS)


CHOICES = [
    *(("accuracy", "setting"), ("mistakes", "setting"), ("mistakes", "confused"), ("mistakes", "right")),
    *(("mistakes", "wrong"), ("cost", "cost-setting"), ("cost", "kind"), ("cost", "step")),
]


@pytest.mark.parametrize("page", ["accuracy", "mistakes", "cost"])
def test_what_a_choice_shows_is_text(open_page, crowd, page):
    for key in [key for its, key in CHOICES if its == page]:
        app = open_page(page, crowd.root)
        if key == "step":  # of the networks that are drawn
            app.multiselect(key="drawn").set_value([ALL]).run()
        option = next(option for option in app.selectbox(key=key).options if ALL in option)
        app.selectbox(key=key).set_value(option).run()
        assert_harmless(app, page)


def test_all_networks_side_by_side_are_text(open_page, crowd):
    app = open_page("networks", crowd.root)
    names = app.multiselect(key="cards").options
    assert set(PAYLOADS) <= set(names)
    app.multiselect(key="cards").set_value(names).run()
    assert_harmless(app, "networks")


def test_two_runs_of_any_name_beside_each_other_are_text(open_page, crowd):
    """And what is taken away executes nothing in a spreadsheet: the names are in the head of the table."""
    from parts.show import without_formulas

    wrong = []
    for payload in [NAMES[0], *(name for name in NAMES if name[0] in "=+-@")]:
        app = open_page("runs", crowd.root, first=payload, second="of-a-stranger")
        if messages := [error.message[:40] for error in app.exception]:
            wrong.append((payload[:40], messages))
            continue
        assert_harmless(app, "runs")
        head = list(without_formulas(app.dataframe[1].value).columns)
        assert head in (["column", payload, "of-a-stranger"], ["column", f"'{payload}", "of-a-stranger"])
        wrong += [name for name in head if name.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert wrong == []


def test_what_runs_in_progress_say_is_text(open_page, store):
    live, now = Live(store.root), datetime.now(UTC)
    errors = {"train_error": 0.5, "test_error": 0.5, "images_per_second": 1.0}
    epochs = (LiveEpoch(epoch=0, iteration=1, seconds=1.0, **errors),)
    counts = {"num_runs": 2, "num_running": 1, "num_completed": 1, "num_failed": 0, "seconds_left": 1.0}
    for number, text in enumerate(PAYLOADS):
        run = LiveRun(
            **dict.fromkeys(("run_id", "experiment", "model", "recipe", "precision", "device", "host"), text),
            seed=0,
            state="running",
            iteration=1,
            iterations=2,
            seconds_left=1.0,
            heard_at=now,
            epochs=epochs,
        )
        sweep = LiveSweep(sweep_id=text, experiment=text, host=text, started_at=now, heard_at=now, **counts)
        # a run is named after its file, and few of these can name one
        can_name = len(text) < 200 and not {"/", "\0"} & set(text)
        live.tell_run(run if can_name else replace(run, run_id=f"r{number}"))
        live.tell_sweep(sweep if can_name else replace(sweep, sweep_id=f"s{number}"))
    app = open_page("live", store.root)
    assert_harmless(app, "live")
    assert set(PAYLOADS) == set(app.dataframe[0].value["model"])
    assert all(any(payload in text.value for text in app.text) for payload in PAYLOADS)
