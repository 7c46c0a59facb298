"""Findings as Markdown, read by a parser of others: what is hostile is shown as it is, and is no markup."""

import itertools
import re
from html.parser import HTMLParser

import plotly.graph_objects as go
import pytest
from markdown_it import MarkdownIt

from harness.charts import Chart
from harness.findings import QUESTIONS, Answer, Finding, Question, Statement, in_brief, in_full
from harness.report.document import Badge, Code, Table

COMMAND = "harness findings"
HOSTILE = [
    "<script>alert(1)</script>",
    "<!-- no comment -->",
    "[a](https://b.example) ![c](d) [e][f] <https://g.example>",
    "`code` ``more`` ~~gone~~ **bold** _slanted_ *too*",
    "a | b \\| c \\\\",
    "&lt;b&gt; &amp; &#60;",
    "first\n\nsecond\n# third\n- fourth",
]


class Page(HTMLParser):
    """What a browser makes of a page: its elements with their texts, and all of its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.comments = [], [], "", []
        self.texts = {}
        self._open = []
        self.feed(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in {"img", "source", "hr", "br"}:
            self._open.append((tag, len(self.text)))

    def handle_endtag(self, tag):
        opened, start = self._open.pop()
        assert opened == tag
        self.texts.setdefault(tag, []).append(self.text[start:])

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.comments.append(data)

    def of(self, tag):
        return self.texts.get(tag, [])


def question(text="Is it so?", key="so", commands=("harness run", "harness verify RUN")):
    return Question(key=key, text=text, commands=commands, answer=lambda _: None)


def finding(summary="It is.", records=("runs/a",), **answer):
    return Finding(question(), Answer(summary=Statement(summary, records), **answer))


def a_chart(alt="A bar."):
    return Chart(go.Figure(), alt)


def full(*findings, unanswered=(), pictures=None):
    return in_full(findings, unanswered, pictures, COMMAND)


def on_one_line(text):
    return " ".join(text.split())


# -- what stands where ---------------------------------------------------------------------------------------


def test_page_is_written_in_order():
    its = finding(
        details=[Statement("First.", ("runs/b",)), Statement("Second.", ())],
        caveat="Not that.",
        records=("runs/a",),
    )
    assert full(its, unanswered=[question("And that?", commands=["harness audit"])]) == (
        "# Findings\n"
        "\n"
        "Written by `harness findings`: every number on this page follows from the records named below it, and changes with them.\n"
        "\n"
        "- [Is it so?](#is-it-so)\n"
        "\n"
        "## Is it so?\n"
        "\n"
        "**It is.**\n"
        "\n"
        "- First.\n"
        "  <sub><code>runs/b</code></sub>\n"
        "- Second.\n"
        "\n"
        "Not that.\n"
        "\n"
        "By `harness run`, `harness verify RUN`.\n"
        "\n"
        "<sub><code>runs/a</code></sub>\n"
        "\n"
        "## Not answered yet\n"
        "\n"
        "- And that? By `harness audit`.\n"
    )


def test_summary_is_written_with_its_commands():
    text = in_brief([finding(details=[Statement("Not this.", ())], caveat="Nor that.")], None)
    assert text == (
        "**Is it so?** It is.\n\nNor that.\n\nBy `harness run`, `harness verify RUN`. Worked out by `harness findings so`.\n"
    )


def test_without_what_is_not_answered_there_is_no_word_of_it():
    assert "Not answered" not in full(finding())
    page = full(unanswered=[question("This?"), question("That?")])
    assert re.findall(r"^## (.*)$", page, re.MULTILINE) == ["Not answered yet"]
    assert re.findall(r"^- (\w+\?)", page, re.MULTILINE) == ["This?", "That?"]


def test_findings_keep_their_order():
    its = [Finding(question(f"{word}?", word), Answer(summary=Statement(f"{word}.", ()))) for word in "bca"]
    page = full(*its)
    assert re.findall(r"^## (.)\?$", page, re.MULTILINE) == list("bca")
    assert re.findall(r"^- \[(.)\?\]", page, re.MULTILINE) == list("bca")
    assert re.findall(r"^\*\*(.)\?\*\* ", in_brief(its, None), re.MULTILINE) == list("bca")


@pytest.mark.parametrize("text", ["bare", "brief"])
@pytest.mark.parametrize("parts", list(itertools.product([False, True], repeat=4)), ids=str)
def test_never_two_empty_lines_and_none_at_the_ends(text, parts):
    chart, details, caveat, pictures = parts
    its = finding(
        chart=a_chart() if chart else None,
        details=[Statement("Detail.", ())] if details else (),
        tables=[Table(columns=("a",), rows=[("b",)])] * (1 + details),
        caveat="But." if caveat else "",
        records=(),
    )
    folder = "pictures" if pictures else None
    page = full(its, its, pictures=folder) if text == "bare" else in_brief([its, its], folder)
    assert "\n\n\n" not in page
    assert page == page.strip() + "\n"


# -- records -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 3])
def test_few_records_are_named_in_small(number):
    names = [f"runs/r{at}" for at in range(number)]
    page = Page(full(finding(records=tuple(names), details=[Statement("Too.", tuple(names))])))
    assert page.of("sub") == [", ".join(names)] * 2
    assert page.of("code")[-number:] == names
    assert "details" not in page.tags


@pytest.mark.parametrize("number", [4, 40])
def test_many_records_are_folded_away(number):
    names = [f"runs/r{at}" for at in range(number)]
    page = Page(full(finding(records=tuple(names), details=[Statement("Too.", tuple(names))])))
    assert page.of("details") == [f"{number} records{', '.join(names)}"] * 2
    assert page.of("summary") == [f"{number} records"] * 2
    assert "sub" not in page.tags


def test_without_records_there_is_no_word_of_them():
    page = full(finding(records=(), details=[Statement("Detail.", ())]))
    assert "<" not in page


def test_records_are_not_named_in_brief():
    assert "runs/a" not in in_brief([finding()], None)


# -- pictures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write", [full, lambda its, pictures: in_brief([its], pictures)], ids=["full", "brief"]
)
def test_pictures_are_shown_where_asked_for(write):
    its = finding(chart=a_chart("Speeds: ours 2."))
    page = Page(write(its, pictures="../docs/pictures"))
    assert [its for its in page.attributes if its[0] in {"img", "source"}] == [
        ("source", "media", "(prefers-color-scheme: dark)"),
        ("source", "srcset", "../docs/pictures/so-dark.svg"),
        ("img", "alt", "Speeds: ours 2."),
        ("img", "src", "../docs/pictures/so.svg"),
    ]
    assert page.tags.count("picture") == 1
    assert "<picture>" not in write(its, pictures=None)
    assert "<picture>" not in write(finding(), pictures="../docs/pictures")


def test_pictures_beside_the_page():
    assert 'src="so.svg"' in full(finding(chart=a_chart()), pictures=".")


ALT = ['"quoted" & <b>', "'", "two\nlines"]


@pytest.mark.parametrize("alt", ALT)
def test_alternative_text_stays_within_its_picture(alt):
    page = Page(full(finding(chart=a_chart(alt)), pictures="p"))
    [told] = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert on_one_line(told) == on_one_line(alt)
    assert page.tags.count("img") == 1
    assert "b" not in page.tags


@pytest.mark.parametrize(
    "alt",
    [
        "x\n\n# y\n\n[a](b)",
        "&quot;&lt;",
    ],
    ids=["lines", "entities"],
)
def test_alternative_text_is_no_markup(alt):
    page = Page(full(finding(chart=a_chart(alt)), pictures="p"))
    [told] = [value for tag, name, value in page.attributes if (tag, name) == ("img", "alt")]
    assert on_one_line(told) == on_one_line(alt)
    assert len(page.of("h1")) == 1


# -- anchors -------------------------------------------------------------------------------------------------


def anchor_of(title):
    """As code hosts make it: letters, digits, underscores, hyphens and blanks are kept, and blanks become hyphens."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


TITLES = ["What's new?", "Über a_b: 95 % + or x-y?", "(A) ÷ B, C/D?"]


@pytest.mark.parametrize("text", [*TITLES, *(its.text for its in QUESTIONS.values())])
def test_links_lead_to_headings(text):
    its = Finding(question(text), Answer(summary=Statement("Yes.", ())))
    page = full(its)
    [link] = re.findall(r"^- \[.*\]\(#(.*)\)$", page, re.MULTILINE)
    [_, heading] = Page(page).of("h1") + Page(page).of("h2")
    assert heading == text
    assert link == anchor_of(heading)


def test_no_two_questions_have_the_same_anchor():
    anchors = [anchor_of(its.text) for its in QUESTIONS.values()]
    assert len(set(anchors)) == len(anchors) > 10


# -- tables --------------------------------------------------------------------------------------------------


def test_table_stands_below_with_title_and_flushed_numbers():
    table = Table(
        columns=("name", "number"),
        rows=[("a", "1"), (Badge("better"), Code("x y"))],
        title="What was measured",
        numeric=frozenset({"number"}),
    )
    page = Page(full(finding(tables=[table, Table(columns=("other",), rows=[("cell",)])])))
    assert page.of("th") == ["name", "number", "other"]
    assert page.of("td") == ["a", "1", "better", "x y", "cell"]
    flushed = [tag for tag, name, value in page.attributes if (name, value) == ("style", "text-align:right")]
    assert flushed == ["th", "td", "td"]
    assert page.of("strong") == ["It is.", "What was measured", "better"]
    assert "x y" in page.of("code")
    assert "table" not in Page(in_brief([finding(tables=[table])], None)).tags


@pytest.mark.parametrize("hostile", HOSTILE)
def test_cells_of_others_are_no_markup(hostile):
    table = Table(
        columns=("name", hostile), rows=[("a", hostile), (Badge(hostile), Code(hostile))], title=hostile
    )
    page = Page(full(finding(tables=[table])))
    shown = on_one_line(hostile)
    assert page.of("th") == ["name", shown]
    assert page.of("td") == ["a", shown, shown, shown]
    assert page.of("strong")[1:] == [shown, shown]
    assert not set(page.tags) & {"script", "b", "em", "del", "s", "img", "h3"}


# -- hostile -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hostile", HOSTILE)
def test_sentences_of_others_are_no_markup(hostile):
    its = finding(hostile, details=[Statement(f"x {hostile}", ())], caveat=f"x {hostile}")
    page, plain = (
        Page(full(one, unanswered=[question("x")]))
        for one in (its, finding(details=[Statement("x", ())], caveat="x"))
    )
    assert page.tags == plain.tags
    assert page.attributes == plain.attributes
    assert not page.comments
    shown = on_one_line(hostile)
    assert page.of("strong") == [shown]
    assert page.of("li")[1].split("\n")[0] == f"x {shown}"
    assert page.text.count(shown) == 3
    brief = Page(in_brief([its], None))
    assert brief.tags == Page(in_brief([finding(caveat="x")], None)).tags
    assert f"Is it so? {shown}\n" in brief.text
    assert f"x {shown}\n" in brief.text


@pytest.mark.parametrize("hostile", ["# a", "- a", "+ a", "1. a", "2) a"])
def test_what_begins_a_line_is_no_markup(hostile):
    page = Page(full(finding(details=[Statement(f"{hostile} is told.", ())])))
    assert page.of("li")[1] == f"{hostile} is told."


@pytest.mark.parametrize("number", [1, 9])
def test_records_of_others_are_no_markup(number):
    names = tuple(f"runs/{at}<script>*a*&lt;" for at in range(number))
    page = Page(full(finding(records=names)))
    assert "script" not in page.tags
    assert page.of("code")[-number:] == list(names)
