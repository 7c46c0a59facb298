import io
import socket
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import psutil
import pytest
from playwright.sync_api import expect

from harness.records import Store

from .conftest import ROOT

pytestmark = pytest.mark.browser

TITLES = {
    "": "Did it reproduce?",
    "accuracy": "Accuracy",
    "cost": "Cost",
    "mistakes": "Mistakes",
    "networks": "Same network?",
    "bits": "Same bits?",
    "runs": "Runs",
    "live": "Live",
}
WITH_CHARTS = ["accuracy", "cost", "mistakes"]
NAVIGATION = "[data-testid=stSidebarNavItems]"
SETTLED = """() => {
    const app = document.querySelector('[data-testid=stApp]');
    const drawn = (holder, content) =>
        [...document.querySelectorAll(holder)].every(element => element.querySelector(content));
    return app?.dataset.testScriptState === 'notRunning'
        && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')
        && drawn('[data-testid=stDataFrame]', '[role=grid]')
        && drawn('[data-testid=stPlotlyChart]', 'svg.main-svg');
}"""


def settle(page, title):
    expect(page.get_by_role("heading", name=title, exact=True, level=1)).to_be_visible(timeout=20_000)
    page.wait_for_function(SETTLED)


@pytest.fixture
def open_page(visit, dashboard):
    """A function from a page, and filters, to the page when all of it is shown."""

    def open_page(path="", query="", **options):
        page = visit(dashboard.url(path) + query, **options)
        settle(page, TITLES[path])
        return page

    return open_page


def taken_away(page, key, kind="csv"):
    """What the button under a table downloads, read."""
    with page.expect_download() as download:
        page.locator(f".st-key-{key}-{kind}").get_by_role("button").click()
    assert download.value.suggested_filename == f"{key}.{kind}"
    content = io.BytesIO(download.value.path().read_bytes())
    return pd.read_csv(content) if kind == "csv" else pd.read_parquet(content)


def extent(page, number):
    """Rows and columns of a table; it is painted on a canvas, and told to screen readers."""
    # not by its role: the grid lies within the canvas, which Playwright does not take to be visible
    grid = page.locator("[data-testid=stDataFrame]").nth(number).locator("[role=grid]")
    return int(grid.get_attribute("aria-rowcount")) - 1, int(grid.get_attribute("aria-colcount"))


def text(page, number):
    return page.locator("[data-testid=stDataFrame]").nth(number).locator("[role=grid]").text_content()


def settle_changed(page, number, before):
    """Wait until a table is another: the address changes before the page does."""
    page.wait_for_function(
        """([number, before]) => document.querySelectorAll('[data-testid=stDataFrame]')[number]
            ?.querySelector('[role=grid]')?.textContent !== before""",
        arg=[number, before],
    )
    page.wait_for_function(SETTLED)


def choose(page, label, option):
    box = page.get_by_role("combobox", name=label, exact=True)
    box.click()
    box.press_sequentially(option)  # of many, the list shows but some
    page.get_by_role("option", name=option, exact=True).click()


def variants(function):
    function = pytest.mark.parametrize("width", [1280, 390])(function)
    function = pytest.mark.parametrize("scheme", ["light", "dark"])(function)
    return pytest.mark.parametrize("path", TITLES, ids=lambda path: path or "verdicts")(function)


@variants
def test_pages_open_whole_and_ask_no_other_host(open_page, log, screenshots, path, scheme, width):
    page = open_page(path, scheme=scheme, width=width)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.screenshot(path=screenshots / f"{path or 'verdicts'}-{scheme}-{width}.png")
    assert log.requests
    assert log.elsewhere() == []
    assert log.errors == []
    main = page.get_by_test_id("stMain")
    assert main.evaluate("element => element.scrollWidth - element.clientWidth") <= 0
    # the page scrolls within itself, so that its whole length is seen only in a window of that length
    height = main.evaluate("element => element.scrollHeight")
    page.set_viewport_size({"width": width, "height": min(height + 50, 6000)})
    page.wait_for_function(SETTLED)
    page.screenshot(path=screenshots / f"{path or 'verdicts'}-{scheme}-{width}-whole.png")


@variants
def test_axe_finds_nothing_serious(open_page, serious, path, scheme, width):
    page = open_page(path, scheme=scheme, width=width)
    # the navigation is the same on all pages, and has a test of its own
    found = serious(page, exclude=NAVIGATION)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_the_navigation(open_page, serious, scheme):
    found = serious(open_page(scheme=scheme), include=NAVIGATION)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "number", "key"), [("", 1, "leaderboard"), ("accuracy", 0, "noise"), ("runs", 0, "runs")]
)
def test_an_address_shows_what_its_sender_sees(open_page, path, number, key):
    page = open_page(path)
    everything, before = extent(page, number)[0], text(page, number)
    choose(page, "Model", "resnet20")
    # of a filter several can be chosen: its list stays open, and hides the rest from roles
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_have_count(0)
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("model") == ["resnet20"])
    settle_changed(page, number, before)
    sent = taken_away(page, key)
    assert 0 < len(sent) < everything
    assert set(sent["model"]) == {"resnet20"}
    received = open_page(path, "?" + urlsplit(page.url).query)
    sidebar = received.locator("[data-testid=stSidebar] .st-key-model")
    expect(sidebar.get_by_text("resnet20", exact=True)).to_be_visible()
    pd.testing.assert_frame_equal(taken_away(received, key), sent)
    assert extent(received, number)[0] == len(sent)


def test_a_setting_set_by_hand_is_in_the_address(open_page):
    page = open_page("accuracy")
    before, told = taken_away(page, "noise"), text(page, 0)
    box = page.get_by_role("combobox", name="Setting", exact=True)
    box.scroll_into_view_if_needed()  # whose list closes when the page scrolls
    box.click()
    expect(page.get_by_role("option").first).to_be_visible()
    first, other = page.get_by_role("option").all_inner_texts()[:2]
    assert first == box.input_value()
    page.get_by_role("option", name=other, exact=True).click()
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("setting") == [other])
    settle_changed(page, 0, told)
    sent = taken_away(page, "noise")
    assert not sent.equals(before)
    received = open_page("accuracy", "?" + urlsplit(page.url).query)
    expect(received.get_by_role("combobox", name="Setting", exact=True)).to_have_value(other)
    pd.testing.assert_frame_equal(taken_away(received, "noise"), sent)


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("", ["claims", "leaderboard"]),
        ("accuracy", ["noise"]),
        ("cost", ["cost", "steps"]),
        ("mistakes", ["churn"]),
        ("bits", ["verifications"]),
        ("runs", ["runs", "difference"]),
    ],
    ids=["verdicts", "accuracy", "cost", "mistakes", "bits", "runs"],
)
def test_downloads_hold_what_is_shown(open_page, path, keys):
    page = open_page(path)
    for number, key in enumerate(keys):
        csv, parquet = taken_away(page, key), taken_away(page, key, "parquet")
        assert csv.shape == parquet.shape == extent(page, number)
        # pandas calls a column without a name so when it reads CSV
        assert [name.replace("Unnamed: 0", "") for name in csv] == list(parquet)
        told = (
            page.locator("[data-testid=stDataFrame]")
            .nth(number)
            .get_by_role("columnheader", include_hidden=True)
        )
        names = [name.strip() for name in told.all_inner_texts()]
        assert names == [name.strip() for name in parquet][: len(names)]


def test_two_runs_are_compared_by_what_differs(open_page):
    page = open_page("runs")
    runs = taken_away(page, "runs")["run"].tolist()
    before = text(page, 1)
    choose(page, "First", runs[2])
    settle_changed(page, 1, before)
    before = text(page, 1)
    choose(page, "Second", runs[3])
    settle_changed(page, 1, before)
    page.wait_for_url(lambda url: f"first={runs[2]}" in url and f"second={runs[3]}" in url)
    short = taken_away(page, "difference").astype(str)
    assert [name.strip() for name in short][1:] == runs[2:4]
    assert not (short.iloc[:, 1] == short.iloc[:, 2]).any()
    before = text(page, 1)
    toggle = page.get_by_role("switch", name="Only what differs", exact=True)
    expect(toggle).to_be_checked()
    page.get_by_text("Only what differs", exact=True).click()
    expect(toggle).not_to_be_checked()
    page.wait_for_url(lambda url: "differing=" in url)
    settle_changed(page, 1, before)
    assert len(taken_away(page, "difference")) > len(short) > 0
    expect(page.get_by_text(f"harness verify {runs[2]}", exact=True)).to_be_visible()


@pytest.mark.parametrize("path", WITH_CHARTS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_charts_are_described_and_saved_here(open_page, log, path, scheme):
    page = open_page(path, scheme=scheme)
    charts = page.get_by_test_id("stPlotlyChart").all()
    assert charts
    for chart in charts:
        expect(chart).to_have_role("figure")
        assert len(chart.get_attribute("aria-label")) > len("Error over iterations of")
        buttons = chart.locator(".modebar-btn")
        titles = buttons.evaluate_all(
            "them => them.map(it => it.dataset.title ?? it.getAttribute('data-attr'))"
        )
        assert "Download plot as a PNG" in titles
        assert not [title for title in titles if any(word in title for word in ("Cloud", "Studio", "Share"))]
    charts[0].hover()
    with page.expect_download() as download:
        charts[0].locator(".modebar-btn[data-title='Download plot as a PNG']").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")
    assert log.elsewhere() == []


SCRIPTS = [
    "<img src=x onerror=window.hit=1>",
    "<script>window.hit=1</script>",
    "<svg onload=window.hit=1>",
    "[x](javascript:window.hit=1)",
    "</title><style onload=window.hit=1>",
]


def test_no_script_in_a_record_is_executed(visit, dashboard_on, log, tmp_path):
    store = Store(tmp_path / "results")
    published = Store(ROOT / "results")
    [run, *_] = published.read("runs")[0].to_pylist()
    [card, *_] = published.read("identities")[0].to_pylist()
    kept = {"run_id", "status", "data", "spec"}
    for number, script in enumerate(SCRIPTS):
        of_run = {name: script for name, value in run.items() if isinstance(value, str) and name not in kept}
        of_card = {name: script for name, value in card.items() if isinstance(value, str)}
        store.write("runs", run | of_run | {"run_id": f"run-{number}"})
        store.write("identities", card | of_card | {"identity_id": f"card-{number}"})
    dashboard = dashboard_on(store.root)
    for path, title in TITLES.items():
        page = visit(dashboard.url(path))
        page.on("dialog", lambda dialog: log.errors.append(dialog.message))
        settle(page, title)
        assert page.evaluate("window.hit") is None
    assert log.errors == log.elsewhere() == []


def test_the_browser_is_told_to_run_nothing_of_others(dashboard, visit):
    page = visit(dashboard.url())
    settle(page, TITLES[""])
    policy = page.request.get(dashboard.url()).headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    told = []
    page.on("console", lambda message: told.append(message.text))
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))"
    )
    assert page.evaluate("window.hit") is None
    assert any("Content Security Policy" in text for text in told)


def test_health_is_answered(dashboard):
    assert dashboard.health() == (200, b"ok")


def test_no_other_machine_can_connect(dashboard):
    others = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]
    if not others:
        pytest.skip("this machine has no other address")
    for address in others:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, dashboard.port), timeout=10).close()
