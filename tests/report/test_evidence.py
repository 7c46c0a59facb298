import pytest

from harness.report import compose, gather, to_html, to_markdown


def test_empty_store_has_no_evidence(store):
    evidence = gather(store)
    assert not any(
        (
            *(evidence.runs, evidence.groups, evidence.epochs, evidence.predictions, evidence.cards),
            *(evidence.audits, evidence.profiles, evidence.verifications, evidence.broken),
        )
    )


def test_everything_recorded_is_read(full_store):
    evidence = gather(full_store)
    assert (len(evidence.runs), len(evidence.groups), len(evidence.epochs)) == (18, 6, 18)
    assert len(evidence.predictions) == 12
    assert {card["model"] for card in evidence.cards} == {"resnet20", "akamaster-resnet20"}
    assert evidence.networks.network_of("akamaster-resnet20") == "resnet20"
    assert (len(evidence.profiles), len(evidence.verifications), len(evidence.audits)) == (2, 2, 1)
    assert evidence.broken == []


def test_epochs_are_in_order_and_predictions_as_they_were_made(store, record, make_seeds):
    record(make_seeds(0.9), errors=(0.5, 0.3, 0.1), right=[[True, False, True]])
    evidence = gather(store)
    assert [row["test_error"] for row in evidence.epochs["run-1"]] == [0.5, 0.3, 0.1]
    assert evidence.predictions["run-1"].correct.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "columns", [{"data": "synthetic"}, {"status": "failed", "test_accuracy": None}, {"status": "diverged"}]
)
def test_groups_are_of_completed_runs_on_real_images(store, record, make_run, columns):
    record([make_run(), make_run(model="plain20", **columns)], right=[[True], [True]])
    evidence = gather(store)
    assert len(evidence.runs) == 2
    assert [group.model for group in evidence.groups] == ["resnet20"]
    assert set(evidence.predictions) == {"run-1"}


def test_device_is_a_column_only_where_there_are_several(store, record, make_seeds):
    record(make_seeds(0.9))
    evidence = gather(store)
    assert evidence.setting_columns == ("recipe", "iterations", "precision")
    assert evidence.setting_cells(evidence.groups[0]) == ("short", "1,563", "fp32")
    record(make_seeds(0.9, device_name="Some GPU"))
    evidence = gather(store)
    assert evidence.setting_columns[-1] == "device"
    assert [evidence.setting_cells(group)[-1] for group in evidence.groups] == ["Some CPU", "Some GPU"]


def cut(content):
    return content[: len(content) // 2]


def garbage(content):
    return b"garbage"


def flipped(content):
    return content[:50] + bytes([content[50] ^ 1]) + content[51:]


@pytest.mark.parametrize(
    ("kind", "name", "damage"),
    [
        ("runs", "run-1", cut),
        ("runs", "run-1", garbage),
        ("epochs", "run-1", flipped),
        ("predictions", "run-1", cut),
        ("identities", "resnet20-card", garbage),
        ("profiles", "session-resnet20", cut),
        ("audits", "a-1", flipped),
        ("verifications", "v-1", garbage),
    ],
)
def test_broken_file_is_named_and_the_rest_is_read(full_store, kind, name, damage):
    path = full_store.root / kind / f"{name}.parquet"
    path.write_bytes(damage(path.read_bytes()))
    evidence = gather(full_store)
    assert [file.path for file in evidence.broken] == [path]
    assert len(evidence.runs) == (17 if kind == "runs" else 18)
    report = compose(evidence, margin=0.005, command="harness report")
    for render in (to_html, to_markdown):
        assert path.name in render(report)


def test_broken_file_is_named_where_no_run_is_readable(store, record, make_run, report_of):
    record([make_run()])
    path = store.root / "runs" / "run-1.parquet"
    path.write_bytes(b"garbage")
    assert "run-1.parquet" in to_markdown(report_of())
