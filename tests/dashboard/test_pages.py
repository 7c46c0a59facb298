import json

import pandas as pd
import pytest

from .pages import PAGES, assert_sound, card, figures, furnish


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
    assert (
        "harness run --model resnet20 --recipe short --seed 3 --precision fp32 --iterations 100 --threads 1"
        in codes
    )
    assert "harness verify run-1" in codes


def test_precisions_that_end_alike_are_compared_too(open_page, store, record, make_run):
    record(make_run(), make_run(precision="bf16"), make_run(seed=1), make_run(seed=1, precision="bf16"))
    page = open_page("bits", store.root)
    assert_sound(page, "bits")
    assert "Precisions, paired by seed" in {header.value for header in page.header}


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


def names(figure):
    return [trace.get("name") for trace in figure["data"]]


@pytest.mark.parametrize(
    ("against", "x"),
    # 128 images a millisecond each, the median round 2 % slower; one image, 1.02 ms; and as `profiled` says
    [
        ("throughput", 1000 / 1.02),
        ("latency", 1.02),
        ("parameters", 0.27),
        ("MACs", 40),
        ("energy", 10),
    ],
)
def test_accuracy_is_shown_against_any_cost(open_page, furnished, against, x):
    app = open_page("cost", furnished.root)
    app.segmented_control(key="against").set_value(against).run()
    assert_sound(app, "cost")
    figure = figures(app)[0]
    assert [trace["x"] for trace in figure["data"][:2]] == [[pytest.approx(x)], [pytest.approx(x)]]
    # 1 - (0.9 + 0.89) / 2
    assert figure["data"][0]["y"] == [pytest.approx(10.5)]
    assert set(names(figure)) >= {"resnet20", "plain20"}


def test_a_cost_that_was_not_measured_is_said_to_be_unknown(open_page, store, make_run):
    furnish(
        store, make_run, lambda kind, row: row | {"joules_per_image": None} if kind == "profiles" else row
    )
    app = open_page("cost", store.root, against="energy")
    assert_sound(app, "cost")
    assert any("energy" in info.value for info in app.info)


def test_published_profiles_are_shown_by_size_operator_and_under_the_roof(open_page, published):
    app = open_page("cost", published)
    axes = [figure["layout"]["xaxis"]["title"]["text"] for figure in figures(app)]
    assert axes[:2] == ["images per second in training", "images in a mini-batch"]
    assert axes[2].endswith("operations per byte, at most")
    assert [title.startswith("share of") for title in axes[3:]] == [True]
    assert all(len(figure["data"]) > 1 for figure in figures(app))


def test_networks_beside_each_other_are_told_what_they_are(open_page, furnished):
    furnished.write("identities", card("other", counterpart="resnet20", equivalence="different"))
    chosen = ["resnet20", "timm-resnet20", "plain20", "other"]
    app = open_page("networks", furnished.root, cards=chosen)
    matrix = figures(app)[0]["data"][0]
    assert matrix["x"] == matrix["y"] == chosen
    assert matrix["text"] == [
        ["identical", "equal", "different", "different"],
        ["equal", "identical", "different", "different"],
        ["different", "different", "identical", "different"],
        ["different", "different", "different", "identical"],
    ]


def test_a_filter_leaves_the_cards_of_its_networks(open_page, furnished):
    app = open_page("networks", furnished.root)
    assert sorted(app.dataframe[-1].value["model"]) == ["plain20", "resnet20", "timm-resnet20"]
    app.multiselect(key="model").set_value(["plain20"]).run()
    assert app.dataframe[-1].value["model"].tolist() == ["plain20"]
    app.multiselect(key="model").set_value(["chenyaofo-resnet20"]).run()
    assert_sound(app, "networks")
    assert len(app.dataframe) == 0


@pytest.mark.parametrize(
    ("key", "value", "number"),
    # 3 settings x 2 networks x 2 seeds, and one that failed, of resnet20 in short, float32, of another device and experiment
    [
        ("status", "failed", 1),
        ("model", "plain20", 6),
        ("recipe", "paper", 8),
        ("precision", "bf16", 4),
        ("device", "A GPU", 4),
        ("experiment", "paper", 8),
    ],
)
def test_each_filter_leaves_the_runs_it_says(open_page, furnished, key, value, number):
    app = open_page("runs", furnished.root)
    assert len(app.dataframe[0].value) == 13
    app.multiselect(key=key).set_value([value]).run()
    assert_sound(app, "runs")
    assert len(app.dataframe[0].value) == number


def test_runs_that_no_filter_passes_are_said_to_be_none(open_page, furnished):
    app = open_page("runs", furnished.root, status="failed", model="plain20")
    assert_sound(app, "runs")
    assert len(app.dataframe) == 0
    assert [info.value for info in app.info] == ["No run passes these filters; remove one."]


def test_filters_leave_the_repetitions_and_audits_of_a_network(open_page, furnished):
    app = open_page("bits", furnished.root, model="chenyaofo-resnet20")
    assert_sound(app, "bits")
    assert [header.value for header in app.header] == [
        "Runs, repeated in a fresh process",
        "Published weights",
    ]
    assert app.dataframe[0].value["checkpoint"].tolist() == ["chenyaofo-resnet20"]
    app = open_page("bits", furnished.root, model="plain20")
    assert "Published weights" not in [header.value for header in app.header]
    # in the paper's recipe, bf16 beside float32
    assert app.dataframe[0].value["model"].tolist() == ["plain20"]


@pytest.mark.parametrize("page", [page for page in PAGES if page not in {"verdicts", "live"}])
def test_a_filter_holds_on_the_next_page_and_back(open_page, furnished, page):
    app = open_page("verdicts", furnished.root)
    app.multiselect(key="model").set_value(["plain20"]).run()
    app.switch_page(f"views/{page}.py").run()
    assert_sound(app, page)
    assert app.multiselect(key="model").value == ["plain20"]
    app.switch_page("views/verdicts.py").run()
    assert app.multiselect(key="model").value == ["plain20"]
    assert set(app.dataframe[1].value["model"]) == {"plain20"}
