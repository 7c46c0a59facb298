"""The dashboard on results in an object store."""

import sys
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from harness.execution import in_process
from harness.records import Store

DASHBOARD = Path(__file__).parents[2] / "dashboard"
PAGES = ("verdicts", "accuracy", "cost", "mistakes", "networks", "bits", "runs", "live")


@pytest.fixture
def open_page(results, monkeypatch):
    """A function from a page to the page of that store."""
    monkeypatch.syspath_prepend(DASHBOARD)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.setattr(sys, "argv", ["app.py", "--results", str(results)])
    st.cache_resource.clear()
    st.cache_data.clear()

    def open_page(page):
        app = AppTest.from_file(str(DASHBOARD / "main.py"), default_timeout=120)
        if page != "verdicts":
            app.switch_page(f"views/{page}.py")
        app.run()
        assert [error.message for error in app.exception] == []
        return app

    return open_page


def test_pages_show_what_was_recorded_there(
    open_page, make_remote_job, make_environment, results, torch_settings
):
    jobs = [make_remote_job(seed=seed) for seed in (0, 1)]
    in_process.execute(jobs, make_environment(), observer=lambda job, event: None)
    shown = {page: open_page(page) for page in PAGES}
    runs = shown["runs"].dataframe[0].value
    assert sorted(runs["run"]) == sorted(job.run_id for job in jobs) == sorted(Store(results).names("runs"))


def test_an_empty_store_says_what_to_run(open_page):
    [command] = open_page("runs").code
    assert command.value.endswith("/results")
    assert "smoke --results s3://" in command.value


def test_a_store_out_of_reach_is_said_on_the_page(open_page, results, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    results.fs.clear_instance_cache()
    for page in ("verdicts", "live"):
        [error] = open_page(page).error
        assert error.value.startswith("cannot reach s3://")
    results.fs.clear_instance_cache()
