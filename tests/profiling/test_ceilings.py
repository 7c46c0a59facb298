"""What a machine could do, from times that are made up."""

import itertools

import pytest
import torch

from harness.config import Precision
from harness.profiling import ceilings
from harness.profiling.ceilings import Ceilings, measure_ceilings


@pytest.mark.parametrize(
    ("precision", "dtype"), [(Precision.FP32, torch.float32), (Precision.BF16, torch.bfloat16)]
)
def test_ceilings_are_work_over_the_median_time(monkeypatch, one_thread, precision, dtype):
    factors = []
    monkeypatch.setattr(torch, "mm", lambda a, b, out: factors.append((a, b)))
    monkeypatch.setattr(ceilings, "warm_up", lambda call, device: call())
    seconds = itertools.cycle([9.0, 0.5, 0.5, 0.25, 0.125, 7.0, 0.5])
    monkeypatch.setattr(ceilings, "seconds_of", lambda call, device: next(seconds))
    measured = measure_ceilings(torch.device("cpu"), precision)
    [(a, b)] = factors
    assert a.dtype == b.dtype == dtype
    assert a.shape == b.shape == (1536, 1536)
    # a product of n x n is n^3 multiplications and as many additions; a copy reads and writes 2^25 floats
    assert measured == Ceilings(flops=2 * 1536**3 / 0.5, copy_bytes=2 * 4 * 2**25 / 0.5)
