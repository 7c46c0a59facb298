import pytest
import torch

from harness.data import synthetic


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """One thread, since machines that run tests have other work; and what a test sets is set back."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory
    arithmetic = torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    benchmark, generator = torch.backends.cudnn.benchmark, torch.get_rng_state()
    # known to monkeypatch, it is put back to what it was
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = fill
    torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.conv.fp32_precision = arithmetic
    torch.backends.cudnn.benchmark = benchmark
    torch.set_rng_state(generator)


@pytest.fixture
def cpu():
    return torch.device("cpu")


@pytest.fixture(scope="session")
def small_set():
    """60 training and 40 test images: an epoch of mini-batches of 16 does not come out even."""
    return synthetic(60, 40)


@pytest.fixture
def ear(ear):
    """The class of listeners to a run that there is nothing to say of, as on a CPU."""

    class Ear(ear):
        def noted(self, text):
            raise AssertionError(text)

    return Ear
