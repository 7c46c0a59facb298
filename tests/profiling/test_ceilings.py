"""What a machine could do, from times that are made up."""

import itertools

import pytest
import torch

from harness.config import Precision
from harness.profiling import ceilings
from harness.profiling.ceilings import Ceilings, make_reference, measure_ceilings

PRODUCT = 2 * 1536**3  # of n x n is n^3 multiplications and as many additions
CONVOLUTION = 2 * 32 * 8 * 8 * 9 * 512**2


@pytest.mark.parametrize("faster", ["product", "convolution"])
@pytest.mark.parametrize(
    ("precision", "dtype"), [(Precision.FP32, torch.float32), (Precision.BF16, torch.bfloat16)]
)
def test_ceilings_are_work_over_the_median_time(monkeypatch, one_thread, precision, dtype, faster):
    calls = []

    def seconds_of(call, device):
        del calls[:]
        call()
        done = calls[0] if calls else "copy"
        return next(seconds) * (2 if done not in ("copy", faster) else 1)

    def multiply(a, b, out):
        assert a.dtype == b.dtype == dtype
        assert a.shape == b.shape == (1536, 1536)
        calls.append("product")

    def convolve(images, weight, padding):
        assert images.dtype == weight.dtype == dtype
        assert (images.shape, weight.shape, padding) == ((32, 512, 8, 8), (512, 512, 3, 3), 1)
        assert images.is_contiguous(memory_format=torch.channels_last)
        calls.append("convolution")

    monkeypatch.setattr(torch, "mm", multiply)
    monkeypatch.setattr(torch.nn.functional, "conv2d", convolve)
    monkeypatch.setattr(ceilings, "warm_up", lambda call, device: call())
    monkeypatch.setattr(ceilings, "seconds_of", seconds_of)
    seconds = itertools.cycle([9.0, 0.5, 0.5, 0.25, 0.125, 7.0, 0.5])
    measured = measure_ceilings(torch.device("cpu"), precision)
    work = {"product": PRODUCT, "convolution": CONVOLUTION}
    rates = {name: flops / (0.5 if name == faster else 1.0) for name, flops in work.items()}
    # a copy reads and writes 2^25 floats
    assert measured == Ceilings(flops=max(rates.values()), copy_bytes=2 * 4 * 2**25 / 0.5)


def test_the_reference_is_of_many_operations_on_all_threads(monkeypatch, torch_settings):
    torch.set_num_threads(2)
    add, sizes = torch.Tensor.add_, []
    monkeypatch.setattr(torch.Tensor, "add_", lambda self, other: sizes.append(len(add(self, other))))
    make_reference(torch.device("cpu"))()
    assert sizes == [2 * 2**15] * 200
