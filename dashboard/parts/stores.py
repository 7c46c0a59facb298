"""The stores that were given at start, and what is in them. Nothing else on this machine can be asked for."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from harness.analysis.by_image import Predicted, predicted
from harness.analysis.groups import RunGroup, group_runs
from harness.analysis.protocol import Networks
from harness.analysis.summary import Summary, summarize_group
from harness.records import KINDS, PACKED, BrokenFile, Store
from harness.storage import is_remote, listing, open_folder

__all__ = [
    "Shelf",
    "epochs_of",
    "open_shelf",
    "operators_of",
    "predictions_of",
    "run_of",
    "stores_given",
    "tell_broken",
]

_BESIDE = Path(__file__).parents[2] / "results"
_COLUMNS = [
    *("run_id", "experiment", "model", "model_source", "recipe", "seed", "precision", "data", "iterations"),
    *("batch_size", "shortened", "spec", "status", "reason", "finished_at", "resumed_from", "test_accuracy"),
    *(
        "test_accuracy_best",
        "seconds",
        "images_per_second",
        "layer_responses",
        "device_name",
        "weights_sha256",
    ),
]
"""Of the records of kind ``runs`` that pages read of all of them; of thousands, each column takes time."""
_SECONDS_BETWEEN_LISTINGS = 15
"""Of an object store, which takes time, and may cost money."""
_UNREAD = frozenset({"epochs", "predictions", "operators", "benchmarks"})
"""Kinds that are large, or that no page shows as a whole."""
_FILTERED = {
    "model": ("model", ("runs", "profiles", "identities", "audits", "verifications")),
    "recipe": ("recipe", ("runs", "verifications")),
    "precision": ("precision", ("runs", "profiles", "verifications")),
    "device": ("device_name", ("runs", "profiles", "verifications")),
    "experiment": ("experiment", ("runs",)),
    "status": ("status", ("runs",)),
}
"""Filter -> the column that it is about, and the kinds that have it."""


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """What a store holds, but for what is read of single runs."""

    runs: Sequence[Mapping[str, Any]]
    """By some of their columns; see `run_of` for all."""
    groups: Sequence[RunGroup]
    """Of real images, with completed runs."""
    summaries: Sequence[Summary]
    """Of the groups, in their order."""
    cards: Sequence[Mapping[str, Any]]
    """Oldest first."""
    networks: Networks
    audits: Sequence[Mapping[str, Any]]
    profiles: Sequence[Mapping[str, Any]]
    verifications: Sequence[Mapping[str, Any]]
    choices: Mapping[str, Sequence[str]]
    """What can be chosen in each filter."""
    broken: Sequence[BrokenFile]


def stores_given() -> list[Path]:
    """Folders named at start by ``-- --results DIR``; without any, ``results`` here, or else beside the dashboard."""
    parser = argparse.ArgumentParser(prog="streamlit run dashboard/app.py --")
    parser.add_argument(
        "--results",
        type=open_folder,
        action="append",
        metavar="DIR",
        help="a folder of records, or the URL of one",
    )
    given = parser.parse_known_args(sys.argv[1:])[0].results
    here = Path("results")
    return given or [here if here.is_dir() else _BESIDE]


def open_shelf(root: Path) -> Shelf:
    """What a store holds now; read anew only after something in it has changed."""
    return _shelf(str(root), _stamp(root))


def summaries_of(shelf: Shelf, groups: Sequence[RunGroup]) -> list[Summary]:
    """Those of some of the groups of a shelf."""
    wanted = set(map(id, groups))
    return [summary for summary in shelf.summaries if id(summary.group) in wanted]


def run_of(root: Path, run_id: str) -> dict[str, Any]:
    """All columns of a run; none if its record has gone meanwhile."""
    found = Store(root).find("runs", run_id)
    row: dict[str, Any] = found.to_pylist()[0] if found is not None and len(found) else {}
    return row


def epochs_of(root: Path, run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the records of kind ``epochs``, by run, in order; says on the page what is broken."""
    courses, broken = _epochs(str(root), tuple(run_ids), _stamp(root))
    tell_broken(broken)
    return courses


def predictions_of(root: Path, run_ids: Sequence[str]) -> Mapping[str, Predicted]:
    """Predictions by run, to the same images; says on the page what is broken."""
    answers, broken = _predictions(str(root), tuple(run_ids), _stamp(root))
    tell_broken(broken)
    return answers


def operators_of(root: Path, session_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of the records of kind ``operators`` of some sessions of profiling; says on the page what is broken."""
    rows, broken = _operators(str(root), tuple(session_ids), _stamp(root))
    tell_broken(broken)
    return rows


def tell_broken(broken: Sequence[BrokenFile]) -> None:
    """Name in the sidebar what could not be read."""
    if broken:
        with st.sidebar.expander(f"{len(broken)} broken files were passed over"):
            for file in broken[:50]:
                st.text(f"{file.path.parent.name}/{file.path.name}: {file.reason}")


def _stamp(root: Path) -> tuple[int, ...]:
    """Changes when a record appears, goes or is replaced: each is a new name in its folder."""
    folders = [
        home / folder
        for home in (root, root / "published")
        for folder in (*KINDS, *(f"compacted/{kind}" for kind in PACKED))
    ]
    if is_remote(root):
        return _stamp_of_objects(list(map(str, folders)))
    return tuple(folder.stat().st_mtime_ns if folder.is_dir() else 0 for folder in folders)


@st.cache_data(ttl=_SECONDS_BETWEEN_LISTINGS, show_spinner=False)
def _stamp_of_objects(names: Sequence[str]) -> tuple[int, ...]:
    """The same of an object store, whose folders have no time of change."""
    listings = [listing(open_folder(name), ".parquet") for name in names]
    return tuple(hash(tuple((file.path.name, file.stamp) for file in its)) for its in listings)


@st.cache_resource(max_entries=4, show_spinner="Reading records")
def _shelf(name: str, stamp: tuple[int, ...]) -> Shelf:  # noqa: ARG001 - part of the key
    return _read(Store(open_folder(name)))


@st.cache_data(max_entries=8, show_spinner="Reading curves")
def _epochs(
    name: str,
    run_ids: tuple[str, ...],
    stamp: tuple[int, ...],  # noqa: ARG001 - part of the key
) -> tuple[dict[str, list[dict[str, Any]]], list[BrokenFile]]:
    columns = ["run_id", "epoch", "iteration", "seconds", "train_error", "test_error"]
    table, broken = Store(open_folder(name)).read("epochs", run_ids)
    courses: dict[str, list[dict[str, Any]]] = {}
    for row in table.select(columns).to_pylist():
        courses.setdefault(row["run_id"], []).append(row)
    ordered = {run_id: sorted(course, key=lambda row: row["epoch"]) for run_id, course in courses.items()}
    return ordered, broken


@st.cache_data(max_entries=8, show_spinner="Reading operators")
def _operators(
    name: str,
    session_ids: tuple[str, ...],
    stamp: tuple[int, ...],  # noqa: ARG001 - part of the key
) -> tuple[list[dict[str, Any]], list[BrokenFile]]:
    table, broken = Store(open_folder(name)).read("operators", session_ids)
    return table.to_pylist(), broken


@st.cache_resource(max_entries=8, show_spinner="Reading predictions")
def _predictions(
    name: str,
    run_ids: tuple[str, ...],
    stamp: tuple[int, ...],  # noqa: ARG001 - part of the key
) -> tuple[Mapping[str, Predicted], list[BrokenFile]]:
    table, broken = Store(open_folder(name)).read("predictions", run_ids)
    answers = predicted(table)
    # answers to other images cannot be set beside them
    test_sets = Counter(its.labels.tobytes() for its in answers.values())
    usual = max(test_sets, key=test_sets.__getitem__, default=b"")
    return {run_id: its for run_id, its in answers.items() if its.labels.tobytes() == usual}, broken


def _read(store: Store) -> Shelf:
    broken: list[BrokenFile] = []
    tables = {}
    for kind in KINDS.keys() - _UNREAD:
        tables[kind], unread = store.read(kind)
        broken += unread
    rows = {
        kind: (table.select(_COLUMNS) if kind == "runs" else table).to_pylist()
        for kind, table in tables.items()
    }
    runs = rows["runs"]
    cards = sorted(rows["identities"], key=lambda card: card["identified_at"])
    groups = [group for group in group_runs(runs) if group.runs and group.data == "cifar10"]
    return Shelf(
        runs=runs,
        groups=groups,
        summaries=[summarize_group(group) for group in groups],
        cards=cards,
        networks=Networks(cards),
        audits=rows["audits"],
        profiles=rows["profiles"],
        verifications=rows["verifications"],
        choices={
            name: sorted({row[column] for kind in kinds for row in rows[kind]})
            for name, (column, kinds) in _FILTERED.items()
        },
        broken=broken,
    )
