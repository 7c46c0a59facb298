"""Networks are had before runs begin, or their runs are recorded as skipped; one's own must keep the contract."""

import hashlib
import os
from datetime import UTC, datetime
from importlib import metadata

import pytest
from filelock import FileLock

from harness.errors import ModelError
from harness.execution import networks
from harness.execution.networks import prepare_networks
from harness.execution.recording import failed_row
from harness.models import find
from harness.records import Store


@pytest.mark.usefixtures("nowhere")
def test_a_run_whose_network_cannot_be_had_is_recorded_as_skipped_and_the_others_go_on(
    make_job, make_environment
):
    ours, theirs = make_job(), make_job(model="akamaster-resnet20")
    told = []
    assert prepare_networks([theirs, ours], make_environment(), told.append) == [ours]
    row = Store(ours.results).local_run(theirs.run_id)
    assert (row["status"], row["model"], row["test_accuracy"]) == ("skipped", "akamaster-resnet20", None)
    assert row["model_source"] == "akamaster/pytorch_resnet_cifar10@d5489e8995"
    assert "git fetch failed" in row["reason"]
    assert any("skipped" in line for line in told)
    assert Store(ours.results).local_run(ours.run_id) is None


@pytest.mark.usefixtures("nowhere")
def test_a_run_that_another_machine_has_ended_meanwhile_keeps_its_record(make_job, make_environment):
    job, here = make_job(model="akamaster-resnet20"), make_environment()
    store = Store(job.results)
    row = failed_row(job, here, "a loss was not finite", datetime.now(UTC), status="diverged")
    store.write_run(row)
    assert prepare_networks([job], here, lambda _: None) == []
    assert store.local_run(job.run_id) == row


@pytest.mark.usefixtures("nowhere")
def test_a_run_that_another_machine_is_at_is_not_recorded_as_skipped(make_job, make_environment):
    job = make_job(model="akamaster-resnet20")
    store = Store(job.results)
    lock = store.checkpoint(job.run_id).with_suffix(".lock")
    lock.parent.mkdir(parents=True)
    with FileLock(lock):
        assert prepare_networks([job], make_environment(), lambda _: None) == []
    assert store.local_run(job.run_id) is None


@pytest.mark.usefixtures("nowhere")
def test_a_network_that_is_here_is_not_fetched(make_job, make_environment, monkeypatch):
    job = make_job(model="kuangliu-resnet18")
    monkeypatch.setattr(networks, "is_here", lambda file: True)
    assert prepare_networks([job], make_environment(), lambda _: None) == [job]


@pytest.mark.usefixtures("nowhere")
def test_a_changed_file_in_a_given_folder_is_refused(make_job, make_environment, monkeypatch, tmp_path):
    job = make_job(model="akamaster-resnet20")
    file = find(job.spec.model).upstream
    given = tmp_path / "given" / file.name / file.path
    given.parent.mkdir(parents=True)
    given.write_bytes(b"raise SystemExit")
    assert hashlib.sha256(given.read_bytes()).hexdigest() != file.sha256
    monkeypatch.setenv("HARNESS_UPSTREAM_DIR", str(tmp_path / "given"))
    assert prepare_networks([job], make_environment(), lambda _: None) == []
    with pytest.raises(ModelError, match="not the pinned"):
        find(job.spec.model).build()


def test_a_run_of_a_package_that_is_not_installed_is_recorded_as_skipped(
    make_job, make_environment, monkeypatch
):
    installed = metadata.version

    def version(name):
        if name == "pytorchcv":
            raise metadata.PackageNotFoundError(name)
        return installed(name)

    monkeypatch.setattr(metadata, "version", version)
    ours, theirs = make_job(), make_job(model="pytorchcv-resnet20")
    told = []
    assert prepare_networks([theirs, ours], make_environment(), told.append) == [ours]
    remedy = "pytorchcv is not installed; install it with: pip install pytorchcv"
    row = Store(ours.results).local_run(theirs.run_id)
    assert (row["status"], row["reason"], row["test_accuracy"]) == ("skipped", remedy, None)
    assert row["model_source"] == "pytorchcv, not installed"
    assert told == [f"pytorchcv-resnet20: skipped: {remedy}"]


def test_a_network_of_one_s_own_that_keeps_the_contract_is_run(make_job, make_environment, write_module):
    write_module()
    job = make_job(model="mynet:net")
    assert prepare_networks([job], make_environment(), lambda _: None) == [job]


@pytest.mark.usefixtures("nowhere")
def test_a_network_of_one_s_own_that_breaks_the_contract_stops_all_before_anything_is_recorded(
    make_job, make_environment, write_module
):
    write_module()
    theirs, own = make_job(model="akamaster-resnet20"), make_job(model="mynet:hundred")
    with pytest.raises(ModelError, match=r"'mynet:hundred'.* shape \(2, 100\)"):
        prepare_networks([theirs, own], make_environment(), lambda _: None)
    assert not own.results.exists()


def test_the_version_of_a_network_from_elsewhere_is_part_of_the_run_s_name(make_job, make_environment):
    here = make_environment()
    assert len({here.fingerprint(origin) for origin in ("ours", "timm 1.0.31", "timm 1.0.32")}) == 3
    ours, theirs = make_job(), make_job(model="timm-resnet20")
    assert ours.run_id.rsplit("-", 1)[1] == here.fingerprint("ours")[:8]
    assert theirs.run_id.rsplit("-", 1)[1] == here.fingerprint(find("timm-resnet20").origin)[:8]
    assert os.sep not in theirs.run_id
