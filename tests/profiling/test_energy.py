"""Meters of energy, on counters that are made up."""

import shutil
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from harness.errors import HarnessError
from harness.profiling.energy import open_meter

CPU = torch.device("cpu")
RANGE = 65_532_610_987  # microjoules, of a real CPU


@pytest.fixture
def powercap(tmp_path):
    """A folder of counters: two packages with parts, the whole computer, and one package by another way."""
    if sys.platform == "win32":
        pytest.skip("names of counters have colons")
    zones = {
        "intel-rapl": ("", 0),
        "intel-rapl:0": ("package-0", 1_000_000),
        "intel-rapl:0:0": ("core", 10_000_000),
        "intel-rapl:0:1": ("dram", 20_000_000),
        "intel-rapl:1": ("package-1", 2_000_000),
        "intel-rapl:1:0": ("core", 30_000_000),
        "intel-rapl:2": ("psys", 40_000_000),
        "intel-rapl-mmio:0": ("package-0", 50_000_000),
    }
    for zone, (name, microjoules) in zones.items():
        folder = tmp_path / zone
        folder.mkdir()
        if name:
            (folder / "name").write_text(f"{name}\n")
            (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")
            count(tmp_path, zone, microjoules)
    return tmp_path


def count(powercap, zone, microjoules):
    (powercap / zone / "energy_uj").write_text(f"{microjoules}\n")


def test_energy_of_a_cpu_is_that_of_its_packages(powercap):
    meter = open_meter(CPU, powercap=powercap)
    assert meter.source == "rapl"
    before = meter.read()
    count(powercap, "intel-rapl:0", 4_000_000)
    count(powercap, "intel-rapl:1", 2_500_000)
    assert meter.read() - before == pytest.approx(3.5)
    count(powercap, "intel-rapl:1", 3_000_000)
    assert meter.read() - before == pytest.approx(4.0)


@pytest.mark.parametrize("zone", ["intel-rapl:0:0", "intel-rapl:0:1", "intel-rapl:2", "intel-rapl-mmio:0"])
def test_parts_of_a_package_and_what_it_is_part_of_do_not_count(powercap, zone):
    meter = open_meter(CPU, powercap=powercap)
    before = meter.read()
    count(powercap, zone, 60_000_000)
    assert meter.read() == before


def test_a_counter_of_a_cpu_that_starts_again_goes_on(powercap):
    count(powercap, "intel-rapl:0", RANGE - 1_000_000)
    meter = open_meter(CPU, powercap=powercap)
    before = meter.read()
    for _ in range(2):
        count(powercap, "intel-rapl:0", 500_000)
        after = meter.read()
        assert after - before == pytest.approx(1.5)
        count(powercap, "intel-rapl:0", RANGE - 1_000_000)
        before = meter.read()
        assert before - after == pytest.approx((RANGE - 1_500_000) / 1e6)


@pytest.mark.parametrize("file", ["energy_uj", "max_energy_range_uj", "name"])
def test_energy_of_a_cpu_is_unknown_where_a_package_cannot_be_read(powercap, file):
    (powercap / "intel-rapl:1" / file).unlink()
    (powercap / "intel-rapl:1" / file).mkdir()  # nobody can read this, not even root
    assert open_meter(CPU, powercap=powercap) is None


def test_energy_of_a_cpu_is_unknown_where_its_counter_is_no_number(powercap):
    (powercap / "intel-rapl:0" / "energy_uj").write_text("\n")
    assert open_meter(CPU, powercap=powercap) is None


def test_energy_of_a_cpu_is_unknown_without_counters(tmp_path):
    assert open_meter(CPU, powercap=tmp_path) is None
    assert open_meter(CPU, powercap=tmp_path / "nowhere") is None


def test_a_counter_of_a_cpu_that_vanishes_is_said(powercap):
    meter = open_meter(CPU, powercap=powercap)
    shutil.rmtree(powercap / "intel-rapl:1")
    with pytest.raises(HarnessError, match=r"CPU can no longer be read: .*intel-rapl:1"):
        meter.read()


def test_energy_of_other_devices_is_unknown(powercap):
    assert open_meter(torch.device("mps"), powercap=powercap) is None


UUIDS = ["aaaaaaaa-0000", "bbbbbbbb-1111"]


class Nvml(ModuleType):
    """As much of pynvml as is needed; GPUs are known by their place among all of the machine."""

    class NVMLError(Exception):
        pass

    def __init__(self):
        super().__init__("pynvml")
        self.millijoules = [1_000, 5_000_000_123]
        self.has_driver = True
        self.is_initialized = False

    def nvmlInit(self):  # noqa: N802
        if not self.has_driver:
            raise self.NVMLError("Driver Not Loaded")
        self.is_initialized = True

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        assert self.is_initialized
        if uuid not in (known := [f"GPU-{uuid}" for uuid in UUIDS]):
            raise self.NVMLError("Not Found")
        return known.index(uuid)

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        assert self.is_initialized
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        if self.millijoules[handle] is None:
            raise self.NVMLError("Not Supported")
        return self.millijoules[handle]


@pytest.fixture
def nvml(monkeypatch):
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return nvml


@pytest.fixture
def visible(monkeypatch):
    """A function that says which GPUs torch sees, by their UUIDs."""

    def see(*properties):
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties[device.index or 0])

    return see


def gpu(uuid):
    return SimpleNamespace(uuid=uuid)


def test_energy_of_a_gpu_is_in_joules(nvml, visible):
    visible(*map(gpu, UUIDS))
    meter = open_meter(torch.device("cuda", 1))
    assert meter.source == "nvml"
    before = meter.read()
    assert before == pytest.approx(5_000_000.123)
    nvml.millijoules[1] += 2_500
    assert meter.read() - before == pytest.approx(2.5)


def test_a_gpu_is_the_one_that_torch_means(nvml, visible, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    visible(*map(gpu, reversed(UUIDS)))
    assert open_meter(torch.device("cuda", 0)).read() == pytest.approx(5_000_000.123)
    assert open_meter(torch.device("cuda", 1)).read() == pytest.approx(1.0)
    assert open_meter(torch.device("cuda")).read() == pytest.approx(5_000_000.123)


def test_a_gpu_without_a_uuid_is_known_by_its_index_where_that_is_sure(nvml, visible, monkeypatch):
    visible(SimpleNamespace(), SimpleNamespace())
    assert open_meter(torch.device("cuda", 0)).read() == pytest.approx(1.0)
    assert open_meter(torch.device("cuda")).read() == pytest.approx(5_000_000.123)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    assert open_meter(torch.device("cuda", 0)) is None


def test_energy_of_a_gpu_that_does_not_count_it_is_unknown(nvml, visible):
    nvml.millijoules[0] = None
    visible(*map(gpu, UUIDS))
    assert open_meter(torch.device("cuda", 0)) is None
    assert open_meter(torch.device("cuda", 1)) is not None


def test_energy_of_a_gpu_that_the_driver_does_not_know_is_unknown(nvml, visible):
    visible(gpu("cccccccc-2222"))  # such as a part of one
    assert open_meter(torch.device("cuda", 0)) is None


def test_energy_of_a_gpu_is_unknown_without_a_driver(nvml, visible):
    nvml.has_driver = False
    visible(*map(gpu, UUIDS))
    assert open_meter(torch.device("cuda", 0)) is None


def test_energy_of_a_gpu_is_unknown_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_meter(torch.device("cuda", 0)) is None


def test_a_gpu_that_fails_is_said(nvml, visible):
    visible(*map(gpu, UUIDS))
    meter = open_meter(torch.device("cuda", 0))
    nvml.millijoules[0] = None
    with pytest.raises(HarnessError, match="GPU can no longer be read: Not Supported"):
        meter.read()
