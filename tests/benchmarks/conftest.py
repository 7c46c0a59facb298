"""Benchmarks: `pytest --benchmark-only` runs them, `pytest` does not."""

import dataclasses
from pathlib import Path

import torch

from harness import environment

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    wanted = bool(config.getoption("benchmark_only"))
    others = [item for item in items if (HERE in item.path.parents) is not wanted]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if (HERE in item.path.parents) is wanted]


def pytest_benchmark_update_machine_info(config, machine_info):
    """Where it was measured, as the records of runs have it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    here = environment.capture(device, num_threads=torch.get_num_threads(), allocator="see each benchmark")
    machine_info["harness"] = dataclasses.asdict(here)
