"""Peaks of resident memory, of networks that are known to need much or little."""

import pytest
import torch

from harness.config import Precision
from harness.errors import HarnessError
from harness.profiling import memory
from harness.profiling.memory import PeakMemory, resident_peaks
from harness.profiling.subjects import Cell

KIB, MIB = 2**10, 2**20
SLACK = 12 * MIB
"""What libraries may keep for themselves; less than what is told apart."""

counted_by_the_kernel = pytest.mark.skipif(
    not memory._RESET_PEAK.exists(), reason="the kernel keeps no peak that can be reset"
)

# training keeps of each image in `deep` the outputs of 6 activations, each of 16 feature maps: 6 times 64 KiB
NETWORKS = """\
import os
import torch
from torch import nn

def deep():
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(5):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 3, padding=1), nn.Flatten(), nn.Linear(1024, 10))

class hoard(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3072, 10)

    def forward(self, x):
        hoarded = torch.ones(16 * 2**20)  # 64 MiB
        return self.fc(x.flatten(1)) * hoarded[0]

class once(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3072, 10)
        torch.ones(32 * 2**20)  # 128 MiB

    def forward(self, x):
        return self.fc(x.flatten(1))

class picky(hoard):
    def forward(self, x):
        if len(x) != 2:
            raise ValueError(f"{len(x)} images")
        return self.fc(x.flatten(1))

class heavy(picky):
    def __init__(self):
        super().__init__()
        self.register_buffer("ballast", torch.ones(32 * 2**20))  # 128 MiB

class deadly(picky):
    def forward(self, x):
        if len(x) != 2:
            os._exit(7)
        return self.fc(x.flatten(1))
"""


@pytest.fixture
def peaks(write_module):
    """A function from cells, as (network, mode, size), to their peaks."""
    write_module(NETWORKS)

    def measure(*cells):
        return list(
            resident_peaks(
                [
                    Cell(model=f"mynet:{name}", mode=mode, batch_size=size, precision=Precision.FP32)
                    for name, mode, size in cells
                ],
                num_threads=1,
            )
        )

    return measure


def needed(peak):
    return peak.peak - peak.base


@counted_by_the_kernel
def test_more_images_need_more_memory_and_training_more_than_inference_whatever_their_order(peaks):
    sizes = [("deep", "train", 8), ("deep", "train", 256), ("deep", "infer", 256)]
    small, large, inference, *reverse = map(needed, peaks(*sizes, *sizes[::-1]))
    # all that is kept, and two maps of gradients; of an inference the input and the output of one layer
    assert large == pytest.approx(256 * (384 + 2 * 64) * KIB, abs=SLACK)
    assert small == pytest.approx(8 * (384 + 2 * 64) * KIB, abs=SLACK)
    assert inference == pytest.approx(256 * 2 * 64 * KIB, abs=SLACK)
    assert reverse == pytest.approx([inference, large, small], abs=SLACK)


@counted_by_the_kernel
def test_what_a_network_makes_for_a_moment_is_in_its_peak_and_what_its_factory_makes_is_not(peaks):
    cells = [("picky", "train", 2), ("hoard", "train", 2), ("hoard", "infer", 2), ("once", "infer", 2)]
    first, *hoarding, once, again = peaks(*cells, ("picky", "train", 2))
    for each in hoarding:
        assert abs(needed(each) - 64 * MIB) <= SLACK
    for each in (first, once, again):
        assert abs(needed(each)) <= SLACK
    assert first.base > 64 * MIB  # an interpreter with torch
    assert first.reserved is None


@counted_by_the_kernel
def test_of_a_cell_that_fails_nothing_is_known_and_the_others_go_on(peaks):
    works, fails = ("hoard", "train", 4), ("heavy", "train", 3)
    found = peaks(fails, works, fails, works, fails)
    assert [peak is None for peak in found] == [True, False, True, False, True]
    assert all(abs(needed(peak) - 64 * MIB) <= SLACK for peak in found if peak)


@counted_by_the_kernel
def test_a_process_that_dies_is_said_with_the_cell(peaks):
    with pytest.raises(HarnessError, match=r"died at mynet:deadly infer 3 fp32, with exit code 7"):
        peaks(("picky", "train", 2), ("deadly", "infer", 3))


def test_where_the_kernel_keeps_no_peak_nothing_is_known(peaks, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_RESET_PEAK", tmp_path / "nothing")
    assert peaks(("wide", "train", 2), ("wide", "infer", 2)) == [None, None]


def test_a_peak_on_cuda_is_that_of_one_call(monkeypatch):
    course = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: course.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: course.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 170)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 400)
    peak = memory.cuda_peak(lambda: course.append("call"), torch.device("cuda", 0), 50)
    assert peak == PeakMemory(peak=300, base=120, reserved=400)
    assert course == ["wait", "reset", "call", "wait"]
