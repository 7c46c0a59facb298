import os

import pytest
import torch

from harness import environment
from harness.config import Precision
from harness.errors import UnknownNameError, UsageError
from harness.training import device as module
from harness.training.device import (
    autocast,
    configure,
    has_native_bf16,
    memory_format,
    resolve_device,
    resolve_precision,
)


@pytest.fixture
def machine(monkeypatch):
    """A function that makes this machine have other devices."""

    def have(*, cuda=0, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return have


@pytest.mark.parametrize(
    ("devices", "name", "expected"),
    [
        ({}, "auto", "cpu"),
        ({"mps": True}, "auto", "mps"),
        ({"cuda": 1}, "auto", "cuda:0"),
        ({"cuda": 1, "mps": True}, "auto", "cuda:0"),
        ({"cuda": 1}, "cpu", "cpu"),
        ({"cuda": 2}, "cuda", "cuda:0"),
        ({"cuda": 2}, "cuda:1", "cuda:1"),
        ({"mps": True}, "mps", "mps"),
    ],
)
def test_name_becomes_a_device(machine, devices, name, expected):
    machine(**devices)
    assert resolve_device(name) == torch.device(expected)


@pytest.mark.parametrize("name", ["gpu", "tpu", "cuda:x", "cuda:-1", "", "CPU", "cpu:one"])
def test_unknown_device_is_told_what_there_is(machine, name):
    machine(cuda=1)
    with pytest.raises(UnknownNameError, match="no device named"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps"])
def test_device_that_the_machine_lacks_is_refused_with_a_remedy(machine, name):
    machine()
    with pytest.raises(UsageError, match=f"{name}.*use --device auto"):
        resolve_device(name)


def test_cuda_device_beyond_the_last_is_refused(machine):
    machine(cuda=2)
    with pytest.raises(UsageError, match="'cuda:2': there are 2 CUDA devices, counted from 0"):
        resolve_device("cuda:2")


@pytest.mark.parametrize(
    ("flags", "native"),
    [
        ({"avx512_bf16"}, True),
        ({"amx_bf16"}, True),
        ({"bf16"}, True),
        ({"avx2", "avx512f"}, False),
        (set(), False),
    ],
)
def test_bf16_of_a_cpu_is_native_where_its_flags_say_so(monkeypatch, cpu, flags, native):
    monkeypatch.setattr(environment, "cpu_flags", lambda: frozenset(flags))
    assert has_native_bf16(cpu) is native
    assert resolve_precision("auto", cpu) is (Precision.BF16 if native else Precision.FP32)


@pytest.mark.parametrize("native", [True, False])
def test_bf16_of_a_gpu_must_not_be_emulated(monkeypatch, native):
    def is_supported(*, including_emulation):
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert has_native_bf16(torch.device("cuda", 0)) is native


def test_metal_is_not_taken_to_have_native_bf16():
    assert resolve_precision("auto", torch.device("mps")) is Precision.FP32


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_name_becomes_a_precision(cpu, name):
    assert resolve_precision(name, cpu).value == name


def test_tf32_exists_on_cuda_only(cpu):
    assert resolve_precision("tf32", torch.device("cuda", 0)) is Precision.TF32
    for device in (cpu, torch.device("mps")):
        with pytest.raises(UsageError, match=r"'tf32' exists on CUDA only.*use fp32 or bf16"):
            resolve_precision("tf32", device)


def test_unknown_precision_is_told_what_there_is(cpu):
    with pytest.raises(UnknownNameError, match="no precision named 'fp23'; did you mean fp32"):
        resolve_precision("fp23", cpu)


def test_configuring_sets_threads_and_determinism(cpu, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    torch.use_deterministic_algorithms(False)
    configure(cpu, Precision.FP32, num_threads=2)
    assert torch.get_num_threads() == 2
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_determinism_can_be_turned_off_to_measure_what_it_costs(cpu):
    configure(cpu, Precision.FP32, num_threads=1, deterministic=False)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
    configure(cpu, Precision.FP32, num_threads=1)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.benchmark


def test_a_cublas_workspace_of_the_users_own_is_kept(cpu, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    configure(cpu, Precision.FP32, num_threads=1)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


@pytest.mark.parametrize(
    ("precision", "arithmetic"),
    [(Precision.TF32, "tf32"), (Precision.FP32, "ieee"), (Precision.BF16, "ieee")],
)
def test_inputs_of_products_are_rounded_under_tf32_only(cpu, precision, arithmetic):
    configure(cpu, precision, num_threads=1)
    assert torch.backends.cuda.matmul.fp32_precision == arithmetic
    assert torch.backends.cudnn.conv.fp32_precision == arithmetic


@pytest.mark.parametrize(
    ("precision", "dtype"), [(Precision.BF16, torch.bfloat16), (Precision.FP32, torch.float32)]
)
def test_forward_pass_computes_in_the_precision(cpu, precision, dtype):
    with autocast(cpu, precision):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_layout_is_channels_last_except_on_metal(cpu):
    assert memory_format(cpu) is torch.channels_last
    assert memory_format(torch.device("cuda")) is torch.channels_last
    assert memory_format(torch.device("mps")) is torch.contiguous_format


def test_waiting_for_a_cpu_is_nothing(cpu):
    assert module.synchronize(cpu) is None
