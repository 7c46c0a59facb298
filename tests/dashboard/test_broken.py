import io
import math
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.records import KINDS
from harness.records.schema import SCHEMA_VERSION

from .pages import PAGES, READ, answers, assert_sound, filled, furnish, profiled

PARTS = {"epochs": "accuracy", "predictions": "mistakes", "operators": "cost"}
"""Kinds that are read as they are needed, and a page that needs them."""
WHOLE = [kind for kind in READ if kind not in PARTS]


def rewritten(content, change=lambda table: table, version=b"4"):
    """A file with another table, by a version that sealed nothing."""
    table = pq.ParquetFile(io.BytesIO(content)).read()
    marks = {b"harness.kind": table.schema.metadata[b"harness.kind"], b"harness.schema_version": version}
    buffer = io.BytesIO()
    pq.write_table(change(table).replace_schema_metadata(marks), buffer)
    return buffer.getvalue()


BREAKS = {
    "truncated": lambda content, _: content[:-20],
    "empty": lambda _, __: b"",
    "text": lambda _, __: b"no parquet",
    "flipped": lambda content, _: content[:60] + bytes([content[60] ^ 1]) + content[61:],
    "another-kind": lambda _, another: another,
    "no-name": lambda content, _: rewritten(content, lambda table: table.drop_columns(table.column_names[0])),
    "other-type": lambda content, _: rewritten(
        content, lambda table: table.set_column(1, table.column_names[1], pa.nulls(len(table), pa.int64()))
    ),
    "later": lambda content, _: rewritten(content, version=str(SCHEMA_VERSION + 1).encode()),
}
"""From the bytes of a file, and of one of another kind, to bytes that are no record."""


@pytest.fixture
def broken(furnished, make_run):
    """A function from kinds to the furnished store with a file of each that is broken in each way.

    Parts belong to sound runs and sessions of the same name, so that pages want them.
    """

    def spoil(*kinds):
        sound = {kind: next(furnished.files(kind)).read_bytes() for kind in READ}
        for kind in kinds:
            for number, (way, spoilt) in enumerate(BREAKS.items()):
                path = furnished.root / kind / f"{way}.parquet"
                if kind in PARTS:
                    path = path.with_name(f"part-{path.name}")
                    run = make_run(recipe="paper", seed=9 + number, run_id=path.stem)
                    furnished.write_run(filled("runs", **run))
                    furnished.write("profiles", profiled("resnet20", 128, session_id=path.stem))
                another = sound["runs" if kind == "predictions" else "predictions"]
                path.write_bytes(spoilt(sound[kind], another))
        return furnished

    return spoil


def told(app):
    """Of every file that the sidebar names, what is wrong with it."""
    return dict(text.value.split(": ", 1) for text in app.sidebar.text)


def test_broken_files_of_every_kind_are_passed_over_on_every_page(open_page, broken):
    store = broken(*READ)
    expected = {f"{kind}/{way}.parquet" for kind in WHOLE for way in BREAKS}
    for page in PAGES:
        app = open_page(page, store.root)
        assert_sound(app, page)
        assert len(app.dataframe) > 0
        assert expected <= told(app).keys()
    for kind in WHOLE:
        assert "is damaged" in told(app)[f"{kind}/flipped.parquet"]
        assert f"is no record of kind '{kind}'" in told(app)[f"{kind}/another-kind.parquet"]
        assert f"schema version {SCHEMA_VERSION + 1}" in told(app)[f"{kind}/later.parquet"]
        assert "update the harness" in told(app)[f"{kind}/later.parquet"]


@pytest.mark.parametrize("kind", PARTS)
def test_broken_parts_are_named_on_the_page_that_needs_them(open_page, broken, kind):
    app = open_page(PARTS[kind], broken(kind).root)
    assert_sound(app, PARTS[kind])
    assert {f"{kind}/part-{way}.parquet" for way in BREAKS} <= told(app).keys()
    assert f"schema version {SCHEMA_VERSION + 1}" in told(app)[f"{kind}/part-later.parquet"]


def test_a_store_of_nothing_but_broken_files_is_empty_and_names_them(open_page, broken, store):
    broken(*WHOLE)
    for kind in READ:
        for path in list(store.files(kind)):
            if path.stem not in BREAKS:
                path.unlink()
    for page in PAGES:
        app = open_page(page, store.root)
        assert_sound(app, page)
        assert len(app.dataframe) == 0
        assert [expander.label for expander in app.sidebar.expander] == [
            f"{len(WHOLE) * len(BREAKS)} broken files were passed over"
        ]


def test_records_under_another_name_are_no_error_and_no_further_evidence(open_page, furnished):
    before = open_page("verdicts", furnished.root).dataframe[1].value["seeds"].tolist()
    for kind in READ:
        for path in list(furnished.files(kind)):
            shutil.copy(path, path.with_name(f"copy-of-{path.name}"))
    for page in PAGES:
        assert_sound(open_page(page, furnished.root), page)
    assert open_page("verdicts", furnished.root).dataframe[1].value["seeds"].tolist() == before


def nested(kind, value):
    """A value of a type, of which every number that fits is the given one."""
    if pa.types.is_list(kind):
        return [nested(kind.value_type, value)]
    if pa.types.is_struct(kind):
        return {field.name: nested(field.type, value) for field in kind}
    fits = pa.types.is_floating(kind) if isinstance(value, float) else pa.types.is_int64(kind)
    return value if fits else "x" if pa.types.is_string(kind) else 1


def has(kind, check):
    """Whether numbers of a type are in it."""
    if pa.types.is_list(kind):
        return has(kind.value_type, check)
    if pa.types.is_struct(kind):
        return any(has(field.type, check) for field in kind)
    return check(kind)


@pytest.fixture
def forging(monkeypatch):
    """A context in which records are written that the harness would refuse to write, as others can write them."""

    @contextmanager
    def forging():
        with monkeypatch.context() as patch:
            patch.setattr("harness.records.files.check_values", lambda table: None)
            yield

    return forging


def with_numbers(value):
    """A change of rows: every number of the type of the value is the value, but for what tells runs apart."""
    check = pa.types.is_floating if isinstance(value, float) else pa.types.is_int64

    def change(kind, row):
        changed = {
            field.name: nested(field.type, value)
            for field in KINDS[kind]
            if field.name not in {"seed", "epoch", "resumed_at"} and has(field.type, check)
        }
        return row | changed

    return change


NUMBERS = [math.nan, math.inf, -math.inf, 1e308, 0.0, -1, 2**63 - 1]


@pytest.mark.filterwarnings("default::RuntimeWarning")
@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_numbers_that_nobody_can_have_measured_are_no_error(open_page, store, make_run, forging, number):
    with forging():
        furnish(store, make_run, with_numbers(number))
    for page in PAGES:
        assert_sound(open_page(page, store.root), page)


@pytest.mark.parametrize(
    "columns", [{"test_accuracy": math.nan}, {"test_accuracy": 1.5}, {"seconds": -1.0}], ids=str
)
def test_one_run_with_an_impossible_number_is_named_and_leaves_the_others(
    open_page, record, store, make_run, forging, columns
):
    with forging():
        record(make_run(test_accuracy=0.9), make_run(seed=1, **columns))
    app = open_page("verdicts", store.root)
    table = app.dataframe[1].value
    assert table["test error, %"].tolist() == [10.0]
    assert table["seeds"].tolist() == [1]
    [complaint] = told(app).values()
    assert complaint.startswith(f"column {next(iter(columns))!r} holds what is ")


@pytest.mark.parametrize("year", [1, 9999])
def test_times_of_all_ages_are_no_error(open_page, store, make_run, year):
    moment = datetime(year, 6, 1, tzinfo=UTC)

    def change(kind, row):
        times = [field.name for field in KINDS[kind] if pa.types.is_timestamp(field.type)]
        return row | dict.fromkeys(times, moment)

    furnish(store, make_run, change)
    for page in PAGES:
        assert_sound(open_page(page, store.root), page)


SHOWING = {
    "runs": PAGES,
    "profiles": ["cost"],
    "identities": ["verdicts", "accuracy", "networks"],
    "verifications": ["bits"],
}
"""Pages by kind of record that they show."""
EMPTY = {
    "profiles-null-call": ("profiles", {"round_seconds": [[None]]}),
    "profiles-null-round": ("profiles", {"round_seconds": [None]}),
    "profiles-no-round": ("profiles", {"round_seconds": []}),
    "profiles-no-call": ("profiles", {"round_seconds": [[]]}),
    "profiles-no-size": ("profiles", {"batch_size": 0}),
    "profiles-other-mode": ("profiles", {"mode": "dance"}),
    "runs-null-response": ("runs", {"layer_responses": [None]}),
    "runs-null-std": ("runs", {"layer_responses": [{"layer": "conv1", "std": None}]}),
    "runs-no-response": ("runs", {"layer_responses": []}),
    "runs-null-adoption": ("runs", {"resumed_from": [None]}),
    "runs-no-text": (
        "runs",
        {"model": "", "recipe": "", "device_name": "", "precision": "", "experiment": ""},
    ),
    "runs-deep-request": ("runs", {"spec": '{"a":' * 400 + "1" + "}" * 400}),
    "runs-no-request": ("runs", {"spec": "[" * 5000, "libraries": "{}"}),
    "identities-other-relation": ("identities", {"equivalence": "cousins"}),
    "verifications-no-reason": ("verifications", {"identical": False}),
}


@pytest.mark.parametrize(("kind", "columns"), EMPTY.values(), ids=EMPTY)
def test_what_no_harness_writes_and_the_schema_lets_pass_is_no_error(
    open_page, store, make_run, forging, kind, columns
):
    with forging():
        furnish(store, make_run, lambda its, row: row | columns if its == kind else row)
    for page in SHOWING[kind]:
        assert_sound(open_page(page, store.root), page)


def replaced(table, column, values):
    number = table.column_names.index(column)
    return table.set_column(
        number, table.schema.field(column), pa.array(values, table.schema.field(column).type)
    )


ANSWERS = {
    "other test set": lambda run_id: answers(run_id, num_images=10),
    "none": lambda run_id: answers(run_id).slice(0, 0),
    "unknown class": lambda run_id: replaced(answers(run_id), "label", [200] * 20),
    "same image": lambda run_id: replaced(answers(run_id), "image", [-1] * 20),
    "nan": lambda run_id: replaced(answers(run_id), "logits", [[math.nan] * 10] * 20),
    "null": lambda run_id: replaced(answers(run_id), "logits", [[None] * 10] * 20),
    "another run": lambda _: answers("nobody"),
}


@pytest.mark.filterwarnings("default::RuntimeWarning")
@pytest.mark.parametrize("change", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("all_of_them", [False, True])
def test_answers_of_another_kind_are_no_error(open_page, furnished, forging, change, all_of_them):
    with forging():
        for path in list(furnished.files("predictions"))[: None if all_of_them else 1]:
            furnished.write_table("predictions", path.stem, change(path.stem))
    for page in ("accuracy", "mistakes"):
        assert_sound(open_page(page, furnished.root), page)


def test_courses_that_end_early_or_are_empty_are_no_error(open_page, furnished):
    for path in list(furnished.files("epochs"))[::2]:
        table = pq.read_table(io.BytesIO(path.read_bytes()))
        furnished.write_table("epochs", path.stem, table.slice(0, 0))
    for over in ("iteration", "epoch", "seconds"):
        assert_sound(open_page("accuracy", furnished.root, over=over, smoothing="20", band="sd"), "accuracy")
