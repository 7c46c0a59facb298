"""The dashboard on stores of all kinds, without a browser."""

import os
import sys
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from harness.records import Store

from .pages import filled, furnish

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "dashboard"
TIMEOUT = 120
"""Seconds, for a busy machine; the default of three is for an idle one."""


@pytest.fixture(autouse=True)
def main_module(monkeypatch):
    """What processes made later import as theirs; a page that runs takes its place, and stays in it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def published():
    """What the project ships."""
    return ROOT / "results"


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty one, which waits for no disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    return Store(tmp_path / "results")


@pytest.fixture
def open_page(monkeypatch):
    """A function from a page, stores, and parameters of the address, to the page as it is after it was opened by that address."""
    monkeypatch.syspath_prepend(DASHBOARD)
    st.cache_resource.clear()
    st.cache_data.clear()

    def open_page(page, /, *stores, **query):
        given = [word for store in stores for word in ("--results", str(store))]
        monkeypatch.setattr(sys, "argv", ["app.py", *given])
        app = AppTest.from_file(str(DASHBOARD / "main.py"), default_timeout=TIMEOUT)
        for name, value in query.items():
            app.query_params[name] = value
        if page != "verdicts":
            app.switch_page(f"views/{page}.py")
        return app.run()

    return open_page


@pytest.fixture
def record(store):
    """A function that writes runs to the store; what they lack is filled."""

    def record(*rows):
        for row in rows:
            store.write_run(filled("runs", **row))

    return record


@pytest.fixture
def furnished(store, make_run):
    """The store, with some of every kind of record in it."""
    furnish(store, make_run)
    return store
