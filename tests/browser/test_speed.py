"""How long the dashboard takes with ten thousand runs: pytest tests/browser --browser -k speed.

Times end when all of a page is drawn, as in the other tests. They are shown, never asserted: machines differ.
"""

import itertools
import json
import subprocess

import pytest
from playwright.sync_api import expect
from websockets.sync.client import connect

from harness.records import Store

from ..thousands import PUBLISHED, write_thousands
from .conftest import FLAGS, SECONDS_TO_SHOW, running_dashboard
from .test_dashboard import SETTLED, TITLES

pytestmark = pytest.mark.browser

UNTIL_DRAWN = f"""title => new Promise(resolve => {{
    const settled = {SETTLED};
    const look = () => document.querySelector('h1')?.textContent.trim() === title && settled()
        ? resolve() : requestAnimationFrame(look);
    look();
}})"""
FOLLOW = """title => [...document.querySelectorAll('[data-testid=stSidebarNavLink]')]
    .find(link => link.textContent.includes(title)).click()"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Ten thousand runs, and the other records that the project ships."""
    store = Store(tmp_path_factory.mktemp("many") / "results")
    store.root.mkdir()
    for kind in ("identities", "audits", "profiles", "operators", "verifications"):
        (store.root / kind).symlink_to(PUBLISHED.root / kind)
    write_thousands(store)
    assert len(store.read("runs")[0]) == 10_000  # and leaves an index, as whoever looks at so many first
    return store.root


@pytest.fixture(scope="module")
def dashboard(many, tmp_path_factory):
    with running_dashboard(tmp_path_factory.mktemp("fast"), many) as dashboard:
        yield dashboard


class Tab:
    """A tab of a browser that nobody debugs, as people have it, asked for no more than to run functions.

    What Playwright switches on to hear of errors makes the scripts of plotly take half a second longer to load.
    """

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count()
        self._session = None
        self._context = self._call("Target.createBrowserContext")["browserContextId"]
        tab = self._call(
            "Target.createTarget", url="about:blank", browserContextId=self._context, width=1280, height=900
        )
        self._session = self._call("Target.attachToTarget", targetId=tab["targetId"], flatten=True)[
            "sessionId"
        ]

    def open(self, url):
        self._call("Page.navigate", url=url)

    def run(self, function, *arguments):
        """Returns when the promise of the function is kept."""
        given = ", ".join(map(json.dumps, arguments))
        answer = self._call("Runtime.evaluate", expression=f"({function})({given})", awaitPromise=True)
        assert "exceptionDetails" not in answer, answer

    def close(self):
        self._session = None
        self._call("Target.disposeBrowserContext", browserContextId=self._context)

    def _call(self, method, **params):
        message = {"id": next(self._numbers), "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while (answer := json.loads(self._socket.recv(SECONDS_TO_SHOW))).get("id") != message["id"]:
            pass  # of other things
        assert "error" not in answer, answer
        return answer["result"]


@pytest.fixture(scope="module")
def devtools(chromium, tmp_path_factory):
    """The door of a fresh Chromium."""
    command = [chromium, "--headless", *FLAGS, "--remote-debugging-port=0", "about:blank"]
    command += [f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        told = (line for line in process.stderr if "DevTools listening on" in line)
        with connect(next(told).split()[-1], max_size=None) as socket:
            yield socket
        process.terminate()


@pytest.fixture
def open_tab(devtools):
    tabs = []

    def open_tab():
        tabs.append(Tab(devtools))
        return tabs[-1]

    yield open_tab
    for tab in tabs:
        tab.close()


@pytest.mark.benchmark(group="dashboard of 10,000 runs", warmup=False)
def test_speed_of_the_first_view(benchmark, open_tab, many, tmp_path_factory):
    """From the moment the server answers."""
    servers = []

    def start():
        servers.append(running_dashboard(tmp_path_factory.mktemp("first"), many))
        return (open_tab(), servers[-1].__enter__()), {}

    def view(tab, dashboard):
        tab.open(dashboard.url())
        tab.run(UNTIL_DRAWN, TITLES[""])

    def stop(*_):
        servers[-1].__exit__(None, None, None)

    benchmark.pedantic(view, setup=start, teardown=stop, rounds=5)


@pytest.mark.benchmark(group="dashboard of 10,000 runs", warmup=False)
@pytest.mark.parametrize("path", [path for path in TITLES if path])
def test_speed_of_a_page_change(benchmark, visit, dashboard, open_tab, path):
    def open_first():
        tab = open_tab()
        tab.open(dashboard.url())
        tab.run(UNTIL_DRAWN, TITLES[""])
        return (tab,), {}

    def change(tab):
        tab.run(FOLLOW, TITLES[path])
        tab.run(UNTIL_DRAWN, TITLES[path])

    benchmark.pedantic(change, setup=open_first, rounds=5)
    expect(visit(dashboard.url(path)).get_by_test_id("stException")).to_have_count(0)
