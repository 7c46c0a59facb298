import pytest

from harness.records.index import Indexed, write_index
from harness.records.schema import to_table
from harness.storage import listing

from .pages import PAGES, answers, assert_sound, course, filled

NUM_RUNS = 10_000
NUM_SEEDS = 625


@pytest.fixture
def ten_thousand(store, make_run):
    """The store with 4 models x 2 recipes x 2 precisions x 625 seeds; of each 625, the first failed and the second diverged.

    Every file is a record as the store writes it. They were read once before, as all but the newest have been whenever somebody
    opens the dashboard: the index of the store has them.
    """
    rows = []
    for recipe in ("paper", "short"):
        for precision in ("fp32", "bf16"):
            for model in ("resnet20", "plain20", "resnet56", "plain56"):
                first = filled("runs", **make_run(model, recipe, precision=precision))
                for seed in range(NUM_SEEDS):
                    changes = {"seed": seed, "run_id": f"{recipe}-{precision}-{model}-{seed}"}
                    changes["spec"] = first["spec"].replace('"seed":0', f'"seed":{seed}')
                    changes["test_accuracy"] = 0.9 + seed / 100_000
                    changes["status"] = {0: "failed", 1: "diverged"}.get(seed, "completed")
                    rows.append(first | changes)
    rows.sort(key=lambda row: row["run_id"])
    table = to_table("runs", rows)
    for number, row in enumerate(rows):
        store.write_table("runs", row["run_id"], table.slice(number, 1))
    for seed in (2, 3):
        run_id = f"paper-bf16-resnet20-{seed}"
        store.write_run(next(row for row in rows if row["run_id"] == run_id), course(run_id), answers(run_id))
    known = [
        Indexed(f"runs/{file.path.name}", file.stamp, 1) for file in listing(store.root / "runs", ".parquet")
    ]
    write_index(store.root / ".index" / "runs.arrow", table, known)
    return store


def test_ten_thousand_runs_are_shown_on_every_page(open_page, ten_thousand):
    apps = {page: open_page(page, ten_thousand.root) for page in PAGES}
    for page, app in apps.items():
        assert_sound(app, page)
        assert len(app.sidebar.expander) == 0
    runs = apps["runs"].dataframe[0].value
    assert len(runs) == runs["run"].nunique() == NUM_RUNS
    # 4 x 2 x 2 = 16 groups, of 625 - 2 completed seeds each
    assert runs["status"].value_counts().to_dict() == {"completed": 16 * 623, "failed": 16, "diverged": 16}
    assert apps["verdicts"].dataframe[1].value["seeds"].tolist() == [623] * 16
    # of one recipe and precision
    assert apps["accuracy"].dataframe[0].value["seeds"].tolist() == [623] * 4
    # bf16 beside fp32, of 4 models in 2 recipes
    assert len(apps["bits"].dataframe[0].value) == 8
    assert apps["mistakes"].dataframe[0].value["seeds"].tolist() == [2]
    assert len(apps["live"].dataframe[0].value) == 10
    runs = apps["runs"].multiselect(key="status").set_value(["failed"]).run()
    assert len(runs.dataframe[0].value) == 16
    assert_sound(runs, "runs")
