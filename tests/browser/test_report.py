import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

RESULTS = Path(__file__).parents[2] / "results"
DRAWN = """() => document.querySelectorAll('.chart').length > 0
    && [...document.querySelectorAll('.chart')].every(chart => chart.querySelector('svg.main-svg'))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    command = [sys.executable, "-m", "harness", "report", "--results", str(RESULTS), "-o", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file


@pytest.fixture
def open_report(visit, report):
    """A function to the report, opened from its file, when its charts are drawn."""

    def open_report(**options):
        page = visit(report.as_uri(), **options)
        page.wait_for_function(DRAWN)
        return page

    return open_report


def variants(function):
    function = pytest.mark.parametrize("width", [1280, 390])(function)
    return pytest.mark.parametrize("scheme", ["light", "dark"])(function)


@variants
def test_report_is_whole_without_any_request(open_report, report, log, screenshots, scheme, width):
    page = open_report(scheme=scheme, width=width)
    page.screenshot(path=screenshots / f"report-{scheme}-{width}-whole.png", full_page=True)
    # only the file itself, and what is within it
    assert [url for url in log.requests if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    assert log.errors == []
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@variants
def test_axe_finds_nothing_serious_in_the_report(open_report, serious, scheme, width):
    found = serious(open_report(scheme=scheme, width=width))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_is_printed(open_report, log, screenshots, scheme):
    file = screenshots / f"report-{scheme}.pdf"
    open_report(scheme=scheme).pdf(path=file, prefer_css_page_size=True)
    assert len(re.findall(rb"/Type /Page\b", file.read_bytes())) > 1
    assert log.errors == []
