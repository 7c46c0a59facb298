"""A report as one HTML page that asks nobody for anything, and as Markdown."""

from __future__ import annotations

import json
import re

import jinja2

from harness.charts import DARK, LIGHT
from harness.charts.verdicts import VERDICT_COLORS
from harness.errors import printable
from harness.report.document import Badge, Cell, Code, Report, Table

__all__ = ["markdown_cell", "markdown_table", "to_html", "to_markdown"]

_LONGEST = 100_000
_SPECIAL = re.compile(r"([\\`*_~&<>|\[\]])")


def to_html(report: Report) -> str:
    """One page with everything in it: style, charts and the code that draws them. It makes no request."""
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = {
        f"{section.key}-{number}": chart
        for section in report.sections
        for number, chart in enumerate(section.charts)
    }
    figures = {key: json.loads(chart.figure.to_json()) for key, chart in charts.items()}
    return environment.get_template("page.html.j2").render(
        report=report,
        plotly=get_plotlyjs() if charts else "",
        # within a script nothing may look like the end of it
        figures=json.dumps(figures).replace("<", "\\u003c"),
        themes=json.dumps({"light": vars(LIGHT), "dark": vars(DARK)}),
        kind=lambda cell: type(cell).__name__,
        text=_text,
        badge_colors=VERDICT_COLORS,
    )


def to_markdown(report: Report) -> str:
    """The same without charts."""
    lines = [
        f"# {report.title}",
        "",
        f"{report.made_at:%Y-%m-%d %H:%M} UTC, by {markdown_cell(Code(report.command))}",
        "",
    ]
    lines += [f"- {markdown_cell(text)}" for text in report.headlines]
    for section in report.sections:
        lines += ["", f"## {markdown_cell(section.title)}"]
        for text in section.paragraphs:
            lines += ["", markdown_cell(text)]
        for table in section.tables:
            lines += ["", *markdown_table(table)]
        if section.notes:
            lines += ["", *(f"- {markdown_cell(note)}" for note in section.notes)]
    return "\n".join(lines) + "\n"


def markdown_table(table: Table) -> list[str]:
    """Lines of a table."""
    lines = [f"**{markdown_cell(table.title)}**", ""] if table.title else []
    lines.append(_row_of_markdown(table.columns))
    lines.append("|" + "|".join("---:" if name in table.numeric else "---" for name in table.columns) + "|")
    return lines + [_row_of_markdown(row) for row in table.rows]


def _row_of_markdown(cells: object) -> str:
    assert isinstance(cells, list | tuple)
    return f"| {' | '.join(map(markdown_cell, cells))} |"


def markdown_cell(cell: Cell) -> str:
    """A cell, or a sentence, on one line in which no text of others is markup, or does anything to a terminal."""
    text = printable(" ".join(_text(cell).split()), _LONGEST)
    if isinstance(cell, Code) and not set(text) & set("`|"):
        return f"`{text}`"
    escaped = _SPECIAL.sub(r"\\\1", text)
    return f"**{escaped}**" if isinstance(cell, Badge) else escaped


def _text(cell: Cell) -> str:
    return cell if isinstance(cell, str) else cell.text
