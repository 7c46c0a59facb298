import json
from dataclasses import replace
from datetime import timedelta

import pytest

from harness.records import Live

from .pages import assert_sound, figures

LONG_AGO = timedelta(hours=1)


@pytest.fixture
def live(store):
    return Live(store.root)


@pytest.fixture
def run(make_live_run):
    run = make_live_run((0.5, 0.625), iteration=7, iterations=8, seconds_left=61.0)
    return replace(run, epochs=(replace(run.epochs[0], iteration=5, images_per_second=99.6),))


@pytest.fixture
def sweep(make_live_sweep):
    counts = {"num_runs": 4, "num_running": 1, "num_completed": 2, "num_failed": 1}
    return make_live_sweep(experiment="night", seconds_left=61.0, **counts)


def metrics(app):
    return {metric.label: metric.value for metric in app.metric}


def test_a_run_in_progress_is_shown_with_its_course(open_page, store, live, run):
    live.tell_run(run)
    app = open_page("live", store.root)
    assert_sound(app, "live")
    [row] = app.dataframe[0].value.to_dict("records")
    assert (row["run"], row["state"], row["iteration"], row["of"]) == ("r", "running", 7, 8)
    # 7 / 8; 61 s; 0.625
    assert (row["done, %"], row["left"], row["test error, %"], row["images/s"]) == (
        87.5,
        "1 min 01 s",
        62.5,
        100,
    )
    [figure] = figures(app)
    assert [(trace["x"], trace["y"]) for trace in figure["data"]] == [([5], [62.5]), ([5], [50.0])]
    assert len(app.code) == 0


def test_a_run_before_its_first_epoch_has_no_curve(open_page, store, live, run):
    live.tell_run(replace(run, epochs=(), iterations=0))
    app = open_page("live", store.root)
    assert_sound(app, "live")
    assert len(app.dataframe[0].value) == 1
    assert figures(app) == []


def test_a_sweep_in_progress_is_counted(open_page, store, live, sweep):
    live.tell_sweep(replace(sweep, started_at=sweep.heard_at - timedelta(seconds=183)))
    app = open_page("live", store.root)
    assert_sound(app, "live")
    # 2 completed and 1 failed; 183 of 183 + 61 seconds
    assert metrics(app) == {"done": "3 of 4", "running": "1", "failed or diverged": "1", "left": "1 min 01 s"}
    assert app.get("progress")[0].value == 75
    texts = [text.value for text in app.text]
    assert texts[0].startswith("Experiment night on h, since ")
    assert not any("died" in text for text in texts)


def test_a_sweep_is_shown_with_the_range_of_its_end_and_its_pace(open_page, store, live, sweep):
    live.tell_sweep(
        replace(sweep, seconds_left_low=7700.0, seconds_left_high=9 * 86400.0, runs_per_hour=12.34)
    )
    app = open_page("live", store.root)
    assert_sound(app, "live")
    assert metrics(app)["left"] == "2 h 00 min to 216 h 00 min"
    assert metrics(app)["runs an hour"] == "12.3"
    assert any(text.value.startswith("Between 20") and "all will be done" in text.value for text in app.text)


def test_a_sweep_of_an_older_harness_has_no_range(open_page, store, live, sweep):
    live.tell_sweep(sweep)
    path = store.root / ".live" / "sweeps" / "s.json"
    newer = {"seconds_left_low", "seconds_left_high", "runs_per_hour"}
    content = {name: value for name, value in json.loads(path.read_text()).items() if name not in newer}
    path.write_text(json.dumps(content))
    app = open_page("live", store.root)
    assert metrics(app)["left"] == "1 min 01 s"
    assert any(text.value.startswith("About 20") for text in app.text)


def test_a_sweep_that_says_nothing_has_probably_died(open_page, store, live, sweep):
    live.tell_sweep(replace(sweep, heard_at=sweep.heard_at - LONG_AGO))
    app = open_page("live", store.root)
    assert any(text.value.endswith("it has probably died.") for text in app.text)
    assert metrics(app)["left"] == "?"


def test_a_run_that_says_nothing_or_was_interrupted_has_no_time_left(open_page, store, live, run):
    live.tell_run(replace(run, run_id="a", heard_at=run.heard_at - LONG_AGO))
    live.tell_run(replace(run, run_id="b", heard_at=run.heard_at - LONG_AGO, state="interrupted"))
    silent, interrupted = open_page("live", store.root).dataframe[0].value.to_dict("records")
    assert silent["state"].startswith("silent for 1 h 00 min")
    assert interrupted["state"] == "interrupted"
    assert (silent["left"], interrupted["left"]) == (None, None)


def test_nothing_in_progress_says_what_to_run_and_lists_what_was_recorded(open_page, furnished):
    app = open_page("live", furnished.root)
    assert_sound(app, "live")
    assert [code.value for code in app.code] == ["nox -s reproduce -- quick"]
    # the latest ten, the failed one first
    finished = app.dataframe[0].value["finished"].tolist()
    assert finished == sorted(finished, reverse=True)
    assert len(finished) == 10
    assert app.dataframe[0].value["status"].tolist() == ["failed"] + ["completed"] * 9


def test_a_run_that_is_recorded_is_no_longer_in_progress(open_page, store, record, make_run, live, run):
    record(make_run(run_id="r"))
    live.tell_run(run)
    app = open_page("live", store.root)
    assert [table.value["run"].tolist() for table in app.dataframe] == [["r"]]
    assert "status" in app.dataframe[0].value


HUGE = 10**400
CHANGES = [
    *({"iteration": -1}, {"state": "dancing"}, {"heard_at": "yesterday"}, {"unknown": 1}, {"epochs": [{}]}),
    *({"run_id": "../../r"}, {"seconds_left": 1e300}, {"model": None}, {"model": 5}),
    *({"seed": HUGE}, {"seed": -HUGE}, {"iteration": HUGE}, {"iterations": HUGE}, {"iteration": 2**64}),
    *({"heard_at": "0001-01-01T00:00:00+14:00"}, {"heard_at": "9999-12-31T23:59:59-14:00"}),
    *({"iterations": 0}, {"model": ""}, {"model": "\u0000"}),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: str(change)[:40])
def test_what_others_wrote_of_a_run_is_no_error(open_page, store, live, run, change):
    live.tell_run(run)
    path = store.root / ".live" / "runs" / "r.json"
    content = json.loads(path.read_text())
    live.tell_run(replace(run, run_id="sound"))
    path.write_text(json.dumps(content | change))
    app = open_page("live", store.root)
    assert_sound(app, "live")
    assert "sound" in app.dataframe[0].value["run"].tolist()


@pytest.mark.filterwarnings("default::RuntimeWarning")
@pytest.mark.parametrize("field", ["test_error", "train_error", "seconds", "images_per_second"])
@pytest.mark.parametrize("number", [1.7e308, -1.7e308, 0.0])
def test_an_epoch_that_nobody_can_have_measured_is_no_error(open_page, store, live, run, field, number):
    live.tell_run(replace(run, epochs=(replace(run.epochs[0], **{field: number}),)))
    assert_sound(open_page("live", store.root), "live")


@pytest.mark.parametrize(
    "change",
    [
        {"num_runs": 0},
        {"num_runs": 10**400},
        {"num_failed": 10**400},
        {"num_running": 10**400},
        {"seconds_left": 1e9},
        {"seconds_left_low": 1e9, "seconds_left_high": 0.0},
        {"seconds_left_low": None, "seconds_left_high": 1e9},
        {"seconds_left_low": -1.0},
        {"seconds_left_high": 1e300},
        {"runs_per_hour": 1e9},
        {"runs_per_hour": "many"},
        {"started_at": "0001-01-01T00:00:00+14:00"},
        {"started_at": "9999-12-31T23:59:59-14:00"},
        {"heard_at": "9999-12-31T23:59:59-14:00"},
        {"heard_at": "0001-01-01T00:00:00+14:00"},
        {"sweep_id": "x"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_others_wrote_of_a_sweep_is_no_error(open_page, store, live, sweep, change):
    live.tell_sweep(sweep)
    path = store.root / ".live" / "sweeps" / "s.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert_sound(open_page("live", store.root), "live")


def test_names_of_files_that_no_record_could_have_are_no_error(open_page, store, live, run):
    live.tell_run(run)
    # 250 + .json is as long as a name can be; .parquet is longer
    name = "a" * 250
    path = store.root / ".live" / "runs" / f"{name}.json"
    content = json.loads((store.root / ".live" / "runs" / "r.json").read_text())
    path.write_text(json.dumps(content | {"run_id": name}))
    app = open_page("live", store.root)
    assert_sound(app, "live")
    assert "r" in app.dataframe[0].value["run"].tolist()


def test_what_is_no_file_of_a_run_is_no_error(open_page, store, live, run):
    live.tell_run(run)
    folder = store.root / ".live" / "runs"
    (folder / "folder.json").mkdir()
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "nowhere.json").symlink_to("/nowhere")
    for number, content in enumerate(
        [b"", b"\xff", b"[" * 100_000, b'{"run_id": ', b"null", b" " * (2**20 + 1)]
    ):
        (folder / f"{number}.json").write_bytes(content)
    (store.root / ".live" / "sweeps").write_bytes(b"no folder")
    app = open_page("live", store.root)
    assert_sound(app, "live")
    assert app.dataframe[0].value["run"].tolist() == ["r"]
