"""The dashboard and the report as people meet them, in Chromium: pytest tests/browser --browser."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
SECONDS_TO_START = 120
SECONDS_TO_SHOW = 20
"""For a busy machine."""


def pytest_collection_modifyitems(config, items):
    """Without --browser they are not even skipped: where there is no Chromium, nobody wants to read of them."""
    if config.getoption("--browser"):
        return
    unwanted = [item for item in items if item.get_closest_marker("browser")]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


@dataclass
class Log:
    """What the pages of a test asked for, and what went wrong in them."""

    requests: list = field(default_factory=list)
    errors: list = field(default_factory=list)

    def elsewhere(self):
        """Requests that left this machine."""
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in {"data", "blob", "file"} and urlsplit(url).hostname != "127.0.0.1"
        ]


@dataclass(frozen=True)
class Dashboard:
    port: int

    def url(self, path=""):
        return f"http://127.0.0.1:{self.port}/{path}"

    def health(self):
        with urllib.request.urlopen(self.url("_stcore/health"), timeout=10) as response:
            return response.status, response.read()


@pytest.fixture(scope="session")
def chromium():
    """The path of this machine's Chromium, so that nothing is fetched to run the tests."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.exit("Chromium is not installed; on Debian: apt-get install chromium", returncode=1)
    return path


@pytest.fixture(scope="session")
def browser(chromium):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(request, tmp_path_factory):
    """The folder where screenshots are kept."""
    given = request.config.getoption("--screenshots")
    folder = Path(given) if given else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def running_dashboard(folder, results):
    """The dashboard on a store, started from another folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "dashboard" / "app.py")]
    command += ["--server.port", str(port), "--", "--results", str(results)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    dashboard = Dashboard(port)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while True:
            with contextlib.suppress(OSError):
                dashboard.health()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the dashboard did not start:\n{(folder / 'log').read_text()}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.2)  # until the next try, or until it dies
        yield dashboard
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory):
    """The dashboard on the records that the project ships."""
    with running_dashboard(tmp_path_factory.mktemp("elsewhere"), ROOT / "results") as dashboard:
        yield dashboard


@pytest.fixture
def dashboard_on(tmp_path):
    """A function from a store to the dashboard on it."""
    with contextlib.ExitStack() as stack:
        yield lambda results: stack.enter_context(running_dashboard(tmp_path, results))


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def visit(browser, log):
    """A function from an address to a page of a fresh context that has loaded it; ``log`` hears of all of them."""
    contexts = []

    def visit(url, *, scheme="light", width=1280):
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        contexts.append(context)
        context.set_default_timeout(1000 * SECONDS_TO_SHOW)
        context.on("request", lambda request: log.requests.append(request.url))
        context.on("weberror", lambda error: log.errors.append(error.error.message))
        page = context.new_page()
        page.on("websocket", lambda websocket: log.requests.append(websocket.url))
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture
def serious():
    """A function from a page to what axe holds to be serious or critical in it; ``include`` and ``exclude`` are CSS."""

    def serious(page, **context):
        context = {name: [[selector]] for name, selector in context.items()}
        return [
            f"{found['id']}: {node['target'][0]} {node['html'][:200]}\n{node['failureSummary']}"
            for found in Axe().run(page, context=context or None).response["violations"]
            if found["impact"] in {"serious", "critical"}
            for node in found["nodes"]
        ]

    return serious
