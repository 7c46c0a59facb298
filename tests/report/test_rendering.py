import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from harness.charts.style import Chart, new_figure
from harness.records import KINDS
from harness.report import Report, to_html, to_markdown
from harness.report.document import Badge, Code, Section, Table

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</script><b>bold",
    "</style></title><b>",
    "<!-- never closed",
    "{{7*7}}",
    "{% for x in y %}",
    "javascript:alert(1)",
    "a|b|c",
    "back\\slash\\|pipe\\",
    "`code`",
    "``|``",
    "[link](https://example.org)",
    "![image](https://example.org/x.png)",
    "new\nline\r\n| and | row |\n# title",
    "u2028\u2028u2029\u2029vt\x0bff\x0cnel\x85",
    "right\u202eto left\u202c",
    "&lt;b&gt; &amp;",
    "**bold** _it_",
    "very long " * 500,
    "x" * 20_000,
]
VOID = {"meta", "br", "img", "input", "link", "hr"}
EXPECTED_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "nav", "section", "script"),
    *("h1", "h2", "p", "code", "ul", "li", "a", "figure", "figcaption", "div", "span"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}
EXPECTED_ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "name",
        "content",
        "http-equiv",
        "class",
        "id",
        "href",
        "style",
        "scope",
        "tabindex",
    ),
    *("role", "aria-label", "aria-labelledby", "type"),
}


class Page(HTMLParser):
    """What a browser would see: elements in order, and texts by element."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.texts = []
        self.comments = []
        self.open = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append([tag, ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.texts:
            self.texts[-1][1] += data

    def handle_comment(self, data):
        self.comments.append(data)

    def tags(self):
        return [tag for tag, _ in self.elements]

    def of(self, tag):
        return [attributes for its, attributes in self.elements if its == tag]

    def text(self):
        """Of all but styles and scripts, for people."""
        return "".join(text for tag, text in self.texts if tag not in {"style", "script"})

    def scripts(self):
        return [text for tag, text in self.texts if tag == "script"]


def figure(name="x", values=(1.0, 2.5)):
    made = new_figure(x="time, s", y="error, per cent")
    made.add_scatter(x=[1, 2], y=list(values), name=name)
    return made


def report(*sections, **changes):
    fields = {
        "title": "Title",
        "made_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "command": "harness report",
        "headlines": ["First.", "Second."],
        "sections": sections,
    }
    return Report(**(fields | changes))


def everywhere(text):
    """A report with a text wherever a text may be."""
    table = Table(
        columns=("a", "b", "c", "d"),
        rows=[(text, Badge(text), Code(text), "last"), ("x", Badge("worse"), Code("y"), "z")],
        title=text,
        numeric=frozenset({"a"}),
        wrapped=frozenset({"b"}),
    )
    section = Section(
        key="one",
        title=text,
        paragraphs=[text],
        charts=[Chart(figure(text), text), Chart(figure(), "alt", text)],
        tables=[table],
        notes=[text],
    )
    return report(section, command=text, headlines=[text])


def unescaped(line):
    """A line of Markdown without what is escaped, and without the insides of code."""
    return re.sub(r"\\[!-/:-@\[-`{-~]|`[^`]*`", "", line)


def assert_no_request(page):
    for tag, attributes in page.elements:
        assert tag in EXPECTED_TAGS
        assert set(attributes) <= EXPECTED_ATTRIBUTES
        assert "src" not in attributes
        assert attributes.get("href", "#").startswith("#")
    for tag, text in page.texts:
        if tag == "style":
            assert not re.search(r"https?:|//|url\(|@import|</", text)
    assert page.comments == []


# HTML


def test_page_of_a_whole_store_is_sound(full_store, report_of):
    composed = report_of()
    page = Page(to_html(composed))
    assert_no_request(page)
    assert page.tags().count("h1") == page.tags().count("title") == 1
    assert page.of("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert (
        {attributes["href"][1:] for attributes in page.of("a")}
        == {section.key for section in composed.sections}
        <= set(ids)
    )
    labels = {attributes["aria-labelledby"] for attributes in page.of("section")}
    assert labels <= set(ids)
    for section in composed.sections:
        assert section.title in page.text()
        assert all(text in page.text() for text in (*section.paragraphs, *section.notes))


def test_every_chart_is_told_to_those_who_do_not_see_it(full_store, report_of):
    composed = report_of()
    charts = [chart for section in composed.sections for chart in section.charts]
    drawn = [attributes for attributes in Page(to_html(composed)).of("div") if attributes["class"] == "chart"]
    assert len(drawn) == len(charts) > 5
    for attributes, chart in zip(drawn, charts, strict=True):
        assert attributes["role"] == "figure"
        assert chart.alt in attributes["aria-label"]
        assert chart.caption in attributes["aria-label"]
        assert attributes["style"] == f"height: {chart.figure.layout.height}px"


def test_policy_forbids_every_request():
    [policy] = [
        attributes["content"]
        for attributes in Page(to_html(report())).of("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(maxsplit=1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert not re.search(r"https?:|\*|'self'|unsafe-eval", policy)
    assert set(rules) <= {"default-src", "script-src", "style-src", "img-src"}
    assert set(rules["img-src"].split()) <= {"data:", "blob:"}


def test_plotly_is_there_only_if_there_is_a_chart():
    without = report(Section(key="one", title="One", paragraphs=["text"]))
    with_one = report(Section(key="one", title="One", charts=[Chart(figure(), "alt")]))
    assert "/* plotly */" not in to_html(without)
    assert to_html(with_one).count("/* plotly */") == 1


def test_plotly_itself_lies_within_its_script(real_plotly):
    page = Page(to_html(report(Section(key="one", title="One", charts=[Chart(figure(), "alt")]))))
    assert page.tags().count("script") == 3
    assert len(page.scripts()[0]) > 1_000_000
    assert page.text().count("alt") == 1
    assert_no_request(page)


@pytest.mark.parametrize("text", ["x", "</script><b>", "<!--<script>", "\u2028 \u2029 é \U0001f600"])
def test_figures_parse_back_equal(text):
    charts = [Chart(figure(text), "alt"), Chart(figure(values=(float("nan"), 2.0)), "alt")]
    page = Page(to_html(report(Section(key="one", title="One", charts=charts))))
    figures = json.loads(page.scripts()[1])
    assert figures == {
        f"one-{number}": json.loads(chart.figure.to_json()) for number, chart in enumerate(charts)
    }
    assert figures["one-0"]["data"][0]["name"] == text
    assert figures["one-1"]["data"][0]["y"] == [None, 2.0]


def test_figures_of_a_whole_store_parse_back_equal(full_store, report_of):
    composed = report_of()
    charts = {
        f"{section.key}-{number}": json.loads(chart.figure.to_json())
        for section in composed.sections
        for number, chart in enumerate(section.charts)
    }
    assert json.loads(Page(to_html(composed)).scripts()[1]) == charts


def test_cells_are_marked_by_what_they_are():
    page = Page(to_html(everywhere("text")))
    assert [attributes.get("class") for attributes in page.of("td")[:4]] == ["number", "wrapped", None, None]
    assert [attributes.get("class") for attributes in page.of("th")] == ["number", None, None, None]
    unknown, worse = (attributes for attributes in page.of("span") if attributes["class"] == "badge")
    assert (unknown["style"], worse["style"]) == ("--mark: #8a8f98", "--mark: #c0392b")


def test_day_and_minute_and_command_are_stated():
    made = report(command="harness report --results 'a b'")
    assert "2026-01-02 03:04 UTC, by harness report --results 'a b'" in Page(to_html(made)).text()
    assert "2026-01-02 03:04 UTC, by `harness report --results 'a b'`" in to_markdown(made)


# Markdown


def test_markdown_by_hand():
    table = Table(
        columns=("name", "n"),
        rows=[("a*b", "1"), (Badge("worse"), Code("x y"))],
        title="T",
        numeric=frozenset({"n"}),
    )
    section = Section(key="s", title="S", paragraphs=["P"], tables=[table], notes=["N"])
    assert to_markdown(report(section)) == (
        "# Title\n\n2026-01-02 03:04 UTC, by `harness report`\n\n- First.\n- Second.\n"
        "\n## S\n\nP\n\n**T**\n\n| name | n |\n|---|---:|\n| a\\*b | 1 |\n| **worse** | `x y` |\n\n- N\n"
    )


# texts of others


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_text_of_others_is_text_wherever_it_stands(text):
    page, plain = Page(to_html(everywhere(text))), Page(to_html(everywhere("plain")))
    assert page.tags() == plain.tags()
    assert [set(attributes) for _, attributes in page.elements] == [
        set(attributes) for _, attributes in plain.elements
    ]
    assert_no_request(page)
    shown = [
        shown for tag, shown in page.texts if tag in {"h2", "p", "td", "span", "code", "li", "figcaption"}
    ]
    assert sum(text.strip() == each.strip() for each in shown) >= 7


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_text_of_others_stays_in_its_cell_of_markdown(text):
    lines = to_markdown(everywhere(text)).splitlines()
    assert len(lines) == len(to_markdown(everywhere("plain")).splitlines())
    for line in lines:
        assert not set("<[") & set(unescaped(line))
        if line.startswith("|"):
            # pipes end cells even within code
            assert re.sub(r"\\[\\|]", "", line).count("|") == 5
            assert unescaped(line).count("|") == 5


@pytest.mark.parametrize("text", ["_it_", "__init__", "~~gone~~", "&lt;b&gt;", "&amp;"])
def test_text_of_others_is_no_markup_of_markdown(text):
    section = Section(key="s", title="S", tables=[Table(columns=("a",), rows=[(text,)])])
    shown = to_markdown(report(section)).splitlines()[-1]
    assert not re.search(r"[_~]|&\w+;", unescaped(shown))


@pytest.fixture
def store_of(store, record, fill, make_seeds, make_card):
    """A function that writes a store in which a text stands in every column that is free text."""

    def columns(kind, text, *but):
        row = fill(kind)
        strings = [
            field.name for field in KINDS[kind] if str(field.type) == "string" and field.name not in but
        ]
        assert row.keys() >= set(strings)
        return dict.fromkeys(strings, text)

    def write(text):
        # what decides where a run belongs must be as it is, so that the run is shown everywhere
        kept = ("run_id", "spec", "status", "data", "device_name", "precision")
        texts = columns("runs", text, *kept)
        for recipe in ("paper", "short"):
            record(
                [run | texts for run in make_seeds(0.90, 0.91, recipe=recipe)],
                right=[[True, False], [True] * 2],
            )
            record(make_seeds(0.91, 0.912, recipe=recipe, test_accuracy_best=0.95))
        # what cannot be read as a request, in a place of its own
        record([run | columns("runs", text, "run_id", "status", "data") for run in make_seeds(0.9, 0.91)])
        cards = columns("identities", text, "identity_id", "counterpart", "equivalence")
        store.write("identities", fill("identities", make_card("resnet20")))
        for equivalence in ("equal", "different"):
            card = make_card(text, counterpart="resnet20", equivalence=equivalence) | cards
            # of other code, so that the first decides
            card |= {"identity_id": equivalence, "model_source": text + equivalence[5:]}
            store.write("identities", fill("identities", card))
        texts = columns("profiles", text, "session_id", "mode", "precision", "device_name")
        profile = fill("profiles", session_id="s", mode="train", precision="fp32", device_name="Some CPU")
        store.write("profiles", profile | texts | {"round_seconds": [[0.1]] * 5, "busy": True})
        for number, knob in enumerate((None, text)):
            row = columns("verifications", text, "verification_id", "knob") | {"knob": knob}
            store.write("verifications", fill("verifications", verification_id=str(number)) | row)
        audit = fill("audits", audit_id="a") | columns("audits", text, "audit_id")
        store.write("audits", audit)

    return write


@pytest.mark.parametrize("text", HOSTILE[::3], ids=lambda text: ascii(text)[:30])
def test_records_of_others_are_text_in_the_report(store_of, report_of, text):
    store_of(text)
    composed = report_of()
    assert {"verdicts", "curves", "implementations", "cost", "identity", "optimism", "spread", "bits"} <= {
        section.key for section in composed.sections
    }
    page = Page(to_html(composed))
    assert_no_request(page)
    assert page.tags().count("script") == 3
    assert page.tags().count("tr") == sum(
        len(table.rows) + 1 for section in composed.sections for table in section.tables
    )
    cells = [shown for tag, shown in page.texts if tag == "td"]
    assert cells.count(text) >= 20
    lines = to_markdown(composed).splitlines()
    widths = [
        len(table.columns)
        for section in composed.sections
        for table in section.tables
        for _ in range(len(table.rows) + 2)
    ]
    rows = [line for line in lines if line.startswith("|")]
    assert [re.sub(r"\\[\\|]", "", row).count("|") - 1 for row in rows] == widths
    assert all("<" not in unescaped(line) for line in lines)


# the same again


def test_report_is_rendered_the_same_twice(full_store, report_of):
    composed = report_of()
    again = replace(report_of(), made_at=composed.made_at)
    assert to_html(composed) == to_html(composed) == to_html(again)
    assert to_markdown(composed) == to_markdown(again)
