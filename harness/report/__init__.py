"""The report: everything that the records say, on one page. No torch."""

from harness.report.document import Report
from harness.report.evidence import Evidence, gather
from harness.report.rendering import to_html, to_markdown
from harness.report.sections import compose

__all__ = ["Evidence", "Report", "compose", "gather", "to_html", "to_markdown"]
