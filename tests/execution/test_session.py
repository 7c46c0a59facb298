"""What a request becomes on this machine."""

from datetime import UTC, datetime

import pytest
import torch

from harness.config import Experiment, Group, Precision
from harness.errors import UsageError
from harness.execution.plan import num_runs_at_once, plan_runs
from harness.execution.recording import failed_row
from harness.execution.session import Request, resolve
from harness.models import find
from harness.records import Store
from harness.training.device import has_native_bf16


@pytest.fixture
def request_for(tmp_path):
    """A function from a request to the session that it becomes on the CPU."""

    def make(**wishes):
        return resolve(Request(device="cpu", results=tmp_path / "results", synthetic=True, **wishes))

    return make


def grouped(*precisions, models=("resnet20",)):
    groups = [Group(models=models, recipe="short", seeds=(0, 1), precisions=part) for part in precisions]
    return Experiment(name="e", summary="", precision="fp32", shows="", shows_not="", groups=tuple(groups))


def precisions(session):
    return [(run.spec.seed, run.spec.precision.value) for run in session.planned]


def test_a_group_is_run_in_each_of_its_precisions_seed_by_seed(request_for):
    session = request_for(experiment=grouped(("fp32", "bf16")))
    assert precisions(session) == [(0, "fp32"), (0, "bf16"), (1, "fp32"), (1, "bf16")]


def test_precisions_that_the_device_lacks_are_left_out(request_for):
    session = request_for(experiment="precision")
    assert set(precisions(session)) == {(seed, name) for seed in range(6) for name in ("fp32", "bf16")}


def test_a_group_of_which_the_device_has_no_precision_is_refused(request_for):
    with pytest.raises(UsageError, match="'tf32' exists on CUDA only"):
        request_for(experiment=grouped(("tf32",)))


def test_auto_is_what_the_device_has(request_for):
    native = Precision.BF16 if has_native_bf16(torch.device("cpu")) else Precision.FP32
    assert {name for _, name in precisions(request_for(experiment=grouped(("auto",))))} == {native}


def test_the_precision_that_is_asked_for_takes_the_place_of_all(request_for):
    session = request_for(experiment=grouped(("fp32", "bf16"), None), precision="bf16")
    assert precisions(session) == [(0, "bf16"), (1, "bf16")]


def test_a_group_without_precisions_has_that_of_the_experiment(request_for):
    assert precisions(request_for(experiment=grouped(None))) == [(0, "fp32"), (1, "fp32")]


def test_on_a_cpu_a_process_trains_one_run(request_for):
    session = request_for(experiment="smoke", num_workers=2)
    assert (session.runs_at_once, session.num_workers, session.num_lanes) == (1, 2, 2)
    with pytest.raises(UsageError, match="--at-once 3: on 'cpu' a process trains one run; use --workers"):
        request_for(experiment="smoke", runs_at_once=3)


def test_what_is_wished_reaches_the_jobs(request_for):
    jobs = request_for(experiment="smoke", eager=True).jobs(checkpoint_seconds=7.0)
    assert {(job.eager, job.checkpoint_seconds) for job in jobs} == {(True, 7.0)}


def test_jobs_know_what_decides_their_bits(request_for):
    session = request_for(experiment=grouped(None, models=("resnet20", "timm-resnet20")), num_threads=3)
    for job in session.jobs(checkpoint_seconds=7.0):
        origin = find(job.spec.model).origin
        assert job.place == session.environment.deciding(origin)
        assert (job.place["model_source"], job.place["threads"]) == (origin, "3")


@pytest.mark.parametrize(
    ("device", "gigabytes", "num_runs", "expected"),
    [
        ("cpu", 500, 10, 1),
        ("mps", 500, 10, 1),
        ("cuda", 140, 10, 10),
        ("cuda", 140, 3, 3),
        ("cuda", 140, 50, 10),
        ("cuda", 8, 10, 2),
        ("cuda", 2, 10, 1),
    ],
)
def test_a_gpu_trains_as_many_as_fill_it_and_fit_it(make_environment, device, gigabytes, num_runs, expected):
    there = make_environment(device=device, device_memory_bytes=gigabytes * 10**9)
    assert num_runs_at_once(num_runs, there) == expected


def test_time_is_estimated_from_runs_of_as_many_at_once(make_spec, make_environment, tmp_path, make_job):
    here = make_environment(device="cuda", device_name="Some GPU", threads=1)
    store, spec, job = Store(tmp_path / "results"), make_spec(seed=1), make_job()

    def estimate(runs_at_once):
        [planned] = plan_runs([spec], here, store, runs_at_once=runs_at_once)
        return planned.estimated_seconds

    assert estimate(2) == estimate(1) < estimate(10)  # guesses: two do not yet fill a GPU
    for name, runs_at_once, rate in (("a", None, 1000.0), ("b", 10, 400.0)):
        row = failed_row(job, here, "", datetime.now(UTC))
        store.write_run(row | {"run_id": name, "runs_at_once": runs_at_once, "images_per_second": rate})
    assert estimate(10) == pytest.approx(estimate(1) * 2.5)
    assert estimate(1) == pytest.approx(1.08 * 160 / 1000)
