import json

import pandas as pd
import pytest

PAGES = ["verdicts", "accuracy", "cost", "mistakes", "networks", "bits", "runs", "live"]
TITLES = {
    "verdicts": "Did it reproduce?",
    "accuracy": "Accuracy",
    "cost": "Cost",
    "mistakes": "Mistakes",
    "networks": "Same network?",
    "bits": "Same bits?",
    "runs": "Runs",
    "live": "Live",
}
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[link](javascript:alert(1))",
    "**bold** :red[x] $x$",
    "=cmd|' /C calc'!A0",
    "\u202e\u2066",
    "a" * 3000,
]


def titles(app):
    return [title.value for title in app.title]


def assert_sound(app, page):
    assert [error.message for error in app.exception] == []
    assert titles(app) == [TITLES[page]]


@pytest.fixture
def record(store, make_run):
    """A function that writes completed runs to the store."""

    def record(*rows):
        for row in rows:
            filled = {
                name: "x" if value is None and name in REQUIRED else value for name, value in row.items()
            }
            store.write_run(filled | {name: 1 for name in NUMBERS if filled[name] is None} | FLAGS)

    return record


REQUIRED = {
    "cpu_name",
    "cpu_capability",
    "operating_system",
    "python",
    "libraries",
    "code_sha256",
    "allocator",
}
NUMBERS = ("device_memory_bytes", "cpu_cores", "memory_bytes")
FLAGS = {"deterministic": True}


@pytest.mark.parametrize("page", PAGES)
def test_published_records_are_shown(open_page, published, page):
    app = open_page(page, published)
    assert_sound(app, page)
    assert len(app.dataframe) > 0


@pytest.mark.parametrize("page", PAGES)
def test_an_empty_store_says_what_to_run(open_page, store, page):
    app = open_page(page, store.root)
    assert_sound(app, page)
    assert any("reproduce" in code.value for code in app.code)
    assert len(app.dataframe) == 0


@pytest.mark.parametrize("page", PAGES)
def test_one_run_is_enough(open_page, store, record, make_run, page):
    record(make_run())
    assert_sound(open_page(page, store.root), page)


@pytest.mark.parametrize("page", PAGES)
def test_broken_files_are_passed_over_and_named(open_page, store, record, make_run, page):
    record(make_run(), make_run(seed=1))
    whole = (store.root / "runs" / "run-1.parquet").read_bytes()
    (store.root / "runs" / "torn.parquet").write_bytes(whole[:-20])
    (store.root / "runs" / "nothing.parquet").write_bytes(b"")
    app = open_page(page, store.root)
    assert_sound(app, page)
    assert [expander.label for expander in app.sidebar.expander] == ["2 broken files were passed over"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_are_texts(open_page, store, record, make_run, page, text):
    record(
        make_run(text, seed=0, experiment=text, device_name=text, model_source=text),
        make_run(seed=1, status="failed", reason=text, test_accuracy=None),
    )
    app = open_page(page, store.root)
    assert_sound(app, page)
    assert all(text not in element.value for element in (*app.markdown, *app.caption))


@pytest.mark.parametrize("page", PAGES)
def test_numbers_that_are_none_are_no_error(open_page, store, record, make_run, page):
    nothing = {"images_per_second": float("nan"), "seconds": None, "test_accuracy_best": None}
    record(make_run(**nothing), make_run(seed=1, test_accuracy=float("nan"), **nothing))
    assert_sound(open_page(page, store.root), page)


def test_verdicts_are_those_of_the_analysis(open_page, store, record, make_seeds):
    record(*make_seeds(0.9120, 0.9130, 0.9125, recipe="paper"))
    app = open_page("verdicts", store.root)
    assert {metric.label: metric.value for metric in app.metric} == {
        "reproduced": "1",
        "better": "0",
        "worse": "0",
        "inconclusive": "0",
        "not comparable": "0",
    }
    table = app.dataframe[0].value
    [row] = table[table["claim"] == "he2015-resnet20"].to_dict("records")
    assert (row["verdict"], row["claimed error, %"], row["measured error, %"]) == ("reproduced", 8.75, 8.75)
    # 0.0005 * 4.3027 / sqrt(3) = 0.001242
    assert (row["from"], row["to"]) == (8.63, 8.87)
    assert (row["seeds"], row["model"], row["iterations"]) == (3, "resnet20", 64_000)


def test_margin_decides(open_page, store, record, make_seeds):
    record(*make_seeds(0.9120, 0.9130, 0.9125, recipe="paper"))
    app = open_page("verdicts", store.root)
    app.number_input(key="margin").set_value(0.05).run()
    assert {metric.label: metric.value for metric in app.metric}["inconclusive"] == "1"


def test_filters_leave_what_they_say(open_page, store, record, make_seeds):
    record(*make_seeds(0.9, 0.91), *make_seeds(0.8, 0.81, model="plain20"))
    app = open_page("verdicts", store.root)
    assert set(app.dataframe[1].value["model"]) == {"resnet20", "plain20"}
    app.multiselect(key="model").set_value(["plain20"]).run()
    assert set(app.dataframe[1].value["model"]) == {"plain20"}


def test_leaderboard_is_best_first_with_its_interval(open_page, store, record, make_seeds):
    record(
        *make_seeds(0.80, 0.82), *make_seeds(0.90, 0.92, model="plain20"), *make_seeds(0.5, recipe="paper")
    )
    table = open_page("verdicts", store.root).dataframe[1].value
    assert table["test error, %"].tolist() == [9.0, 19.0, 50.0]
    assert table["model"].tolist() == ["plain20", "resnet20", "resnet20"]
    # sd 0.01414 * 12.706 / sqrt(2) = 0.12706
    assert (table["from"][0], table["to"][0]) == (-3.71, 21.71)
    assert pd.isna(table["from"][2])


def test_two_runs_are_shown_by_what_differs(open_page, store, record, make_run):
    record(make_run(seed=0, torch="2.9.0"), make_run(seed=1, torch="2.10.0"))
    app = open_page("runs", store.root)
    table = app.dataframe[1].value
    by_name = {row["column"]: list(row.values())[1:] for row in table.to_dict("records")}
    assert by_name["seed"] == ["1", "0"]  # the latest first
    assert by_name["torch"] == ["2.10.0", "2.9.0"]
    assert by_name["spec: seed"] == ["1", "0"]
    assert "recipe" not in by_name
    app.toggle(key="differing").set_value(False).run()
    assert "recipe" in {row["column"] for row in app.dataframe[1].value.to_dict("records")}


def test_the_command_that_repeats_a_run_is_shown(open_page, store, record, make_run):
    record(make_run(seed=3, iterations=100), make_run(seed=4))
    codes = [code.value for code in open_page("runs", store.root).code]
    assert "harness run --model resnet20 --recipe short --seed 3 --precision fp32 --iterations 100" in codes
    assert "harness verify run-1" in codes


def test_a_record_with_a_strange_request_is_shown(open_page, store, record, make_run):
    record(make_run(), make_run(seed=1, spec="[" * 5000), make_run(seed=2, spec=json.dumps({"a": [1]})))
    for page in PAGES:
        assert_sound(open_page(page, store.root), page)


def test_only_stores_that_were_given_are_shown(open_page, published, store, record, make_run):
    record(make_run("plain20"))
    app = open_page("runs", published, store.root, store="/etc")
    assert app.selectbox(key="store").options == [str(published), str(store.root)]
    assert len(app.dataframe[0].value) > 1
    app.selectbox(key="store").set_value(str(store.root)).run()
    assert app.dataframe[0].value["model"].tolist() == ["plain20"]


@pytest.mark.parametrize(
    "query",
    [
        {"model": "nobody"},
        {"model": "../../etc/passwd"},
        {"margin": "nan"},
        {"margin": "-1"},
        {"margin": "1e999"},
        {"setting": "<script>"},
        {"first": "x", "second": "y"},
        {"training": "maybe", "paper": "2"},
        {"unknown": "1"},
    ],
)
@pytest.mark.parametrize("page", ["verdicts", "accuracy", "runs"])
def test_strange_addresses_are_no_error(open_page, published, page, query):
    assert_sound(open_page(page, published, **query), page)
