"""What is published, as the harness reads it and as anybody can, and answers of small stores."""

import functools
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from harness.findings import QUESTIONS
from harness.records import Store
from harness.report import gather

from .answers import MACHINE, SETTING, START, check, texts

PUBLISHED = Path(__file__).parents[2] / "results" / "published"


def pytest_collection_modifyitems(config, items):
    """Without --browser nobody wants to read of a Chromium that is not there."""
    if not config.getoption("--browser"):
        unwanted = [item for item in items if item.get_closest_marker("browser")]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


@pytest.fixture(scope="session")
def published():
    """The evidence that the project ships."""
    return gather(Store(PUBLISHED))


@pytest.fixture(scope="session")
def frame_of():
    """A function from a kind to all published records of it, read without the harness."""

    def read(kind):
        return pd.concat([pd.read_parquet(path) for path in sorted((PUBLISHED / kind).glob("*.parquet"))])

    return read


@pytest.fixture(scope="session")
def names_of_published():
    """``kind/name`` of every published record, as its file has it."""
    return {f"{path.parent.name}/{path.stem}" for path in PUBLISHED.glob("*/*.parquet")}


@pytest.fixture
def answer(store):
    """A function from the key of a question to the answer that the store gives."""

    def ask(key):
        return QUESTIONS[key].answer(gather(store))

    return ask


@pytest.fixture(scope="session")
def published_answer(published):
    """A function from the key of a question to the answer of what is published."""

    @functools.cache
    def ask(key):
        found = QUESTIONS[key].answer(published)
        assert found is not None
        check(found)
        return found

    return ask


@pytest.fixture(scope="session")
def said(published_answer):
    """A function from the key of a question to the texts of the answer of what is published."""
    return lambda key: texts(published_answer(key))


@pytest.fixture(scope="session")
def seeds_of_published(frame_of):
    """Published runs that count: of each seed of a model and setting, the latest."""
    runs = frame_of("runs")
    runs = runs[(runs.status == "completed") & (runs.data == "cifar10")].sort_values("finished_at")
    return runs.drop_duplicates(["model", *SETTING, "seed"], keep="last")


@pytest.fixture(scope="session")
def timed(frame_of):
    """Times by session, group and contestant, newest session first."""
    frame = frame_of("benchmarks")
    frame["contestant"] = [json.loads(text).get("name") for text in frame.parameters]
    frame["times"] = [np.array(times) for times in frame.round_seconds]
    return frame.sort_values("measured_at", ascending=False, kind="stable")


@pytest.fixture
def identify(store, fill, make_card):
    """A function that records a network of others as one of ours."""

    def write(model, equivalence="identical", counterpart="resnet20"):
        card = make_card(model, counterpart=counterpart, equivalence=equivalence, model_source="ours")
        store.write("identities", fill("identities", card))

    return write


@pytest.fixture
def time_them(store, fill):
    """A function that records a session of benchmarks: seconds of each round by group and contestant."""

    def write(groups, *, session="b1", days=0, images=2048, **columns):
        rows = [
            fill(
                "benchmarks",
                {
                    "session_id": session,
                    "group": group,
                    "name": f"test[{name}]",
                    "parameters": json.dumps({"name": name}),
                    "round_seconds": seconds,
                    "images": images,
                    "measured_at": START + timedelta(days=days),
                    **MACHINE,
                    **columns,
                },
            )
            for group, contestants in groups.items()
            for name, seconds in contestants.items()
        ]
        store.write("benchmarks", *rows)

    return write


@pytest.fixture
def add_card(store, fill, make_card):
    """A function that records a card; its network is of timm, as it is, compared with resnet20, unless told."""

    def add(model, equivalence="identical", **columns):
        given = {
            "model_source": "timm 1.0",
            "counterpart": "resnet20",
            "adapted": "",
            "parameters": 100,
        } | columns
        card = make_card(model, equivalence=equivalence, **given)
        store.write("identities", fill("identities", card))

    return add


@pytest.fixture(scope="module")
def cards(frame_of):
    return frame_of("identities").sort_values("identified_at").drop_duplicates("model", keep="last")


@pytest.fixture(scope="module")
def source():
    """A function from a column of sources to implementations: names without versions."""
    return lambda column: column.str.split(r"[ @]", regex=True).str[0]
