"""What is shown: the store, and filters that stay in the address, so that a link shows what its sender sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import streamlit as st

from harness.analysis.groups import RunGroup, follows_paper
from harness.storage import is_remote
from parts.stores import Shelf, open_shelf, stores_given, tell_broken

__all__ = [
    "OF_GROUPS",
    "Chosen",
    "choose",
    "choose_setting",
    "choose_store",
    "chosen_groups",
    "chosen_root",
    "chosen_shelf",
    "groups_among",
]

OF_GROUPS = ("model", "recipe", "precision", "device", "experiment")
"""Filters of groups of runs."""

_T = TypeVar("_T")


class Chosen:
    """What the filters of a page let pass.

    Args:
        values: those that are wanted, by filter; an empty list lets all pass.
    """

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def among(self, things: Sequence[_T], **read: Callable[[_T], str | None]) -> list[_T]:
        """Those of the things that pass.

        Args:
            things: of one kind.
            read: a function by filter, from a thing to what the filter is about.
        """
        active = {name: set(self._values.get(name, ())) for name in read}
        return [
            thing
            for thing in things
            if all(not active[name] or value(thing) in active[name] for name, value in read.items())
        ]


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
    tell_broken(shelf.broken)
    if not shelf.runs:
        st.info("No runs are recorded here yet. This records some:")
        there = f" --results {root}" if is_remote(root) else ""
        st.code(f"nox -s reproduce -- smoke{there}", language=None)
        st.stop()
    return shelf


def choose(shelf: Shelf, *names: str) -> Chosen:
    """Filters in the sidebar; the same on all pages, so that what is chosen on one holds on the next.

    Args:
        shelf: for what can be chosen.
        names: of the filters.
    """
    return Chosen(
        {
            name: st.sidebar.multiselect(
                name.capitalize(), shelf.choices[name], key=name, bind="query-params", placeholder="all"
            )
            for name in names
            if len(shelf.choices[name]) > 1
        }
    )


def chosen_groups(shelf: Shelf) -> list[RunGroup]:
    """The groups that pass filters in the sidebar; without any, says so, and that is all of the page."""
    groups = groups_among(shelf, choose(shelf, *OF_GROUPS))
    if not groups:
        st.info("No completed run of real images passes these filters; remove one.")
        st.stop()
    return groups


def groups_among(shelf: Shelf, chosen: Chosen) -> list[RunGroup]:
    """The groups that pass filters."""
    return chosen.among(
        shelf.groups,
        model=lambda group: group.model,
        recipe=lambda group: group.recipe,
        precision=lambda group: group.precision,
        device=lambda group: group.device_name,
        experiment=lambda group: str(group.runs[0]["experiment"]),
    )


def choose_setting(groups: Sequence[RunGroup]) -> list[RunGroup]:
    """Let people choose among the settings of the groups, the paper's and the longest first; the groups that are in it."""
    settings: dict[str, list[RunGroup]] = {}
    for group in sorted(groups, key=lambda group: (not follows_paper(group), -group.iterations)):
        settings.setdefault(group.setting_name, []).append(group)
    return settings[st.selectbox("Setting", list(settings), key="setting", bind="query-params")]
