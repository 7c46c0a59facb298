"""A small environment, and jobs of a few iterations on made-up images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from harness import environment
from harness.execution.job import Job
from harness.execution.plan import run_id
from harness.models import find


def pytest_collection_modifyitems(config, items):
    """Without --cluster nobody wants to read of a cluster that is not there."""
    if not config.getoption("--cluster"):
        unwanted = [item for item in items if item.get_closest_marker("cluster")]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]


@pytest.fixture
def make_environment():
    """A function from changed fields to the environment of this process on the CPU."""
    here = environment.capture(torch.device("cpu"), num_threads=1, allocator="default")
    return lambda **changes: replace(here, **changes)


@pytest.fixture
def make_job(tmp_path, make_spec, make_environment):
    """A function from changed fields of a run to a job for a worker on the CPU."""

    def make(checkpoint_seconds=1e9, results="results", **changes):
        spec, here = make_spec(**changes), make_environment()
        return Job(
            run_id=run_id(spec, here),
            spec=spec,
            experiment="test",
            device="cpu",
            num_threads=1,
            results=tmp_path / results,
            checkpoint_seconds=checkpoint_seconds,
            place=here.deciding(find(spec.model).origin),
        )

    return make
