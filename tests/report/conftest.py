"""A small store, written as a run and other commands write theirs, and its report."""

import pytest

from harness.report import compose, gather

PLOTLY = "/* plotly */"


@pytest.fixture(autouse=True)
def light_plotly(request, monkeypatch):
    """A few bytes in place of millions, but for the test that is about them."""
    if "real_plotly" not in request.fixturenames:
        monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: PLOTLY)


@pytest.fixture
def real_plotly():
    """Asked for where the code of plotly itself is to be there."""


@pytest.fixture
def report_of(store):
    """A function that composes the report of the store."""

    def make(margin=0.005, command="harness report"):
        return compose(gather(store), margin=margin, command=command)

    return make


@pytest.fixture
def sections_of(report_of):
    """A function that composes the report of the store and gives its sections by key.

    Whatever is recorded, keys are unique, tables have rows, and rows have a cell for each column.
    """

    def make(**options):
        sections = report_of(**options).sections
        by_key = {section.key: section for section in sections}
        assert len(by_key) == len(sections)
        for table in (table for section in sections for table in section.tables):
            assert table.rows
            assert {len(row) for row in table.rows} == {len(table.columns)}
            assert table.numeric | table.wrapped <= set(table.columns)
        return by_key

    return make


@pytest.fixture
def cells_of():
    """A function from a table to its rows, by column, as texts."""

    def read(table):
        texts = ([cell if isinstance(cell, str) else cell.text for cell in row] for row in table.rows)
        return [dict(zip(table.columns, row, strict=True)) for row in texts]

    return read


@pytest.fixture
def full_store(store, record, fill, make_seeds, make_card):
    """A store in which there is something for every section."""
    images = [[True, True, False, False], [True, False, True, True], [True, True, True, True]]
    near = (0.912, 0.9125, 0.913)
    record(make_seeds(*near, recipe="paper", test_accuracy_best=0.92), right=images)
    for model in ("plain20", "resnet32", "akamaster-resnet20"):
        record(make_seeds(0.88, 0.89, 0.895, recipe="paper", model=model), right=images)
    for model in ("resnet20", "akamaster-resnet20"):
        record(make_seeds(0.80, 0.81, 0.83, model=model))
    cards = [
        make_card("resnet20"),
        make_card("akamaster-resnet20", counterpart="resnet20", equivalence="equal"),
    ]
    for card in cards:
        store.write("identities", fill("identities", card))
    for model in ("resnet20", "plain20"):
        profile = fill(
            "profiles",
            session_id=f"session-{model}",
            model=model,
            mode="train",
            batch_size=128,
            precision="fp32",
            status="measured",
            device_name="Some CPU",
            round_seconds=[[0.1]] * 5,
        )
        store.write("profiles", profile)
    store.write("verifications", fill("verifications", verification_id="v-1", run_id="run-1", identical=True))
    store.write(
        "verifications",
        fill("verifications", verification_id="v-2", run_id="run-1", knob="threads", identical=True),
    )
    store.write("audits", fill("audits", audit_id="a-1", model="akamaster-resnet20"))
    return store
