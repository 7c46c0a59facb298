"""What is shown: the store, and filters that stay in the address, so that a link shows what its sender sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from harness.analysis.groups import RunGroup
from parts.stores import Shelf, open_shelf, stores_given

__all__ = ["choose_setting", "choose_store", "chosen_groups", "chosen_root", "chosen_shelf"]

_FILTERS: dict[str, Callable[[RunGroup], str]] = {
    "model": lambda group: group.model,
    "recipe": lambda group: group.recipe,
    "precision": lambda group: group.precision,
    "device": lambda group: group.device_name,
    "experiment": lambda group: str(group.runs[0]["experiment"]),
}


def choose_store() -> None:
    """Let people choose among the stores that were given at start, if there are several."""
    names = [str(store) for store in stores_given()]
    if len(names) > 1:
        st.sidebar.selectbox("Results", names, key="store", bind="query-params")


def chosen_root() -> Path:
    """The folder of the store that is shown."""
    stores = stores_given()
    name = st.session_state.get("store")
    return next((store for store in stores if str(store) == name), stores[0])


def chosen_shelf() -> Shelf:
    """What the store holds that is shown; says on the page what in it is broken, and what to run if it is empty."""
    root = chosen_root()
    shelf = open_shelf(root)
    if shelf.broken:
        with st.sidebar.expander(f"{len(shelf.broken)} broken files were passed over"):
            for file in shelf.broken[:50]:
                st.text(f"{file.path.parent.name}/{file.path.name}: {file.reason}")
    if not shelf.runs:
        st.info("No runs are recorded here yet. This records some:")
        st.code("nox -s reproduce -- smoke", language="shell")
        st.stop()
    return shelf


def chosen_groups(shelf: Shelf) -> list[RunGroup]:
    """The groups that pass the filters of the sidebar."""
    groups = list(shelf.groups)
    for name, value in _FILTERS.items():
        options = sorted({value(group) for group in shelf.groups})
        if len(options) < 2:
            continue
        wanted = st.sidebar.multiselect(
            name.capitalize(), options, key=name, bind="query-params", placeholder="all"
        )
        if wanted:
            groups = [group for group in groups if value(group) in wanted]
    if not groups:
        st.info("No completed run of real images passes these filters; remove one.")
        st.stop()
    return groups


def choose_setting(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """Let people choose among the settings of the groups, the paper's and the longest first; the groups that are in it."""
    settings: dict[str, list[RunGroup]] = {}
    for group in sorted(groups, key=lambda group: (group.recipe != "paper", -group.iterations)):
        settings.setdefault(group.setting_name, []).append(group)
    return settings[st.selectbox("Setting", list(settings), key="setting", bind="query-params")]
