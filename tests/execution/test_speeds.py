"""How fast runs will be, from what is recorded of them and of others."""

import pytest

from harness.config import Precision
from harness.execution.speeds import known_speeds


def read(store):
    """Runs and identity cards."""
    return [store.read(kind)[0] for kind in ("runs", "identities")]


@pytest.fixture
def speed_of(store, make_environment, make_spec):
    """A function from changed fields of a run to its images per second on some CPU."""

    def reckon(**changes):
        here = make_environment(device_name="Some CPU", threads=1)
        return (
            known_speeds(*read(store), here, 1).images_per_second(make_spec(**changes)) * 1.08
        )  # without evaluations

    return reckon


@pytest.fixture
def identified(store, fill, make_card):
    """The identity cards of networks with these multiply-accumulates."""

    def write(**macs):
        for name, number in macs.items():
            card = make_card(name.replace("_", "-"), macs=number)
            store.write("identities", fill("identities", card))

    return write


def test_what_was_recorded_here_is_its_own_median(record, make_run, speed_of):
    record([make_run(seed=seed, images_per_second=rate) for seed, rate in enumerate((300.0, 500.0, 400.0))])
    record(
        [make_run(precision="bf16", images_per_second=900.0), make_run("plain20", images_per_second=700.0)]
    )
    record(
        [make_run(device_name="Other CPU", images_per_second=1.0), make_run(threads=2, images_per_second=1.0)]
    )
    assert speed_of() == pytest.approx(400)


def test_another_network_is_slower_by_its_arithmetic(record, make_run, identified, speed_of):
    identified(resnet20=40, kuangliu_resnet18=560, resnet56=120)
    record([make_run(images_per_second=420.0)])
    assert speed_of(model="kuangliu-resnet18") == pytest.approx(30)
    record([make_run("resnet56", images_per_second=112.0)])  # which is nearer
    assert speed_of(model="kuangliu-resnet18") == pytest.approx(24)


def test_networks_that_are_gone_and_have_no_arithmetic_hinder_nobody(record, make_run, identified, speed_of):
    identified(resnet20=40, resnet56=0)
    record([make_run(model, images_per_second=200.0) for model in ("gone:net", "no such model", "resnet56")])
    assert 0 < speed_of() < 1000


def test_where_the_arithmetic_is_not_known_depth_stands_for_it(record, make_run, speed_of):
    record([make_run(images_per_second=440.0)])
    assert speed_of(model="resnet44") == pytest.approx(200)


def test_without_any_record_there_is_a_guess_for_every_precision(speed_of):
    fp32, bf16 = speed_of(), speed_of(precision=Precision.BF16)
    assert 0 < fp32 < bf16
    assert speed_of(model="resnet110") == pytest.approx(fp32 / 5.5)


def test_a_gpu_is_filled_by_several_runs(store, make_environment, make_spec):
    gpu = make_environment(device="cuda", device_name="Some GPU")
    one, six, twelve = (
        known_speeds(*read(store), gpu, number).images_per_second(make_spec()) for number in (1, 6, 12)
    )
    assert one > six > twelve > 0
    assert 6 * six == pytest.approx(12 * twelve)
