import signal
import subprocess
import sys

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

EXPERIMENT = """\
name = "watched"
summary = "for tests"
precision = "fp32"
shows = "runs in progress."
shows_not = "anything else."
[[groups]]
models = ["plain20"]
recipe = "{recipe}"
seeds = [0]
"""
RECIPE = """\
name = "tiny"
summary = "for tests"
source = "none"
batch_size = 32
iterations = 1000000
initialization = "he"
[optimizer]
kind = "sgd"
learning_rate = 0.01
[schedule]
kind = "steps"
milestones = [0.5]
factor = 0.1
[augmentation]
[normalization]
kind = "per-pixel-mean"
"""
MILLISECONDS_TO_BEGIN = 120_000
"""Importing torch on a busy machine."""


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "tiny.toml").write_text(RECIPE)
    path = tmp_path / "watched.toml"
    path.write_text(EXPERIMENT.format(recipe=tmp_path / "tiny.toml"))
    return path


@pytest.fixture
def reproduce(tmp_path, experiment):
    """A function from a number of iterations to the harness at work, which is stopped at the end of the test."""
    started = []

    def reproduce(iterations):
        command = [sys.executable, "-m", "harness", "reproduce", str(experiment), "--data", "synthetic"]
        command += ["--iterations", str(iterations), "--results", str(tmp_path / "results"), "--threads", "1"]
        with (tmp_path / "said").open("a") as said:
            started.append(subprocess.Popen(command, cwd=tmp_path, stdout=said, stderr=subprocess.STDOUT))
        return started[-1]

    yield reproduce
    for process in started:
        process.terminate()
        process.wait()


def table(page, number=0):
    return page.locator("[data-testid=stDataFrame]").nth(number).locator("[role=grid]")


def test_a_run_is_watched_until_it_is_recorded(
    visit, dashboard_on, reproduce, tmp_path, log, screenshots, serious
):
    page = visit(dashboard_on(tmp_path / "results").url("live"))
    expect(page.get_by_text("Nothing is in progress")).to_be_visible()
    process = reproduce(300)
    expect(page.get_by_text("Experiment watched on")).to_be_visible(timeout=MILLISECONDS_TO_BEGIN)
    expect(table(page)).to_contain_text("running")
    expect(page.get_by_test_id("stPlotlyChart")).to_be_visible(timeout=MILLISECONDS_TO_BEGIN)
    page.screenshot(path=screenshots / "live-running.png")
    assert not serious(page, exclude="[data-testid=stSidebarNavItems]")
    expect(page.get_by_text("Nothing is in progress")).to_be_visible(timeout=MILLISECONDS_TO_BEGIN)
    assert process.wait(timeout=60) == 0, (tmp_path / "said").read_text()
    expect(page.get_by_role("heading", name="Recorded last", exact=True)).to_be_visible()
    expect(table(page)).to_contain_text("completed")
    assert log.errors == log.elsewhere() == []


def test_an_interrupted_run_is_told(visit, dashboard_on, reproduce, tmp_path):
    page = visit(dashboard_on(tmp_path / "results").url("live"))
    process = reproduce(1_000_000)
    expect(page.get_by_text("Experiment watched on")).to_be_visible(timeout=MILLISECONDS_TO_BEGIN)
    expect(table(page)).to_contain_text("running", timeout=MILLISECONDS_TO_BEGIN)
    process.send_signal(signal.SIGINT)
    expect(table(page)).to_contain_text("interrupted", timeout=MILLISECONDS_TO_BEGIN)
    expect(page.get_by_text("Experiment watched on")).to_have_count(0)
    assert process.wait(timeout=60) == 130
