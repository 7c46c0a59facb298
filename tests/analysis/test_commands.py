"""What an experiment asks for, as it is planned; commands for runs are tested with the inventory."""

import pytest
import torch

from harness.analysis.commands import runs_asked, seed_ranges
from harness.cli.options import numbers
from harness.config import Precision, experiment_names, load_experiment
from harness.execution.plan import select_specs
from harness.execution.session import _with_precisions


def cell(run):
    return run["model"], run["recipe"], run["iterations"], run["precision"], run["seed"]


@pytest.mark.parametrize(
    ("seeds", "ranges"),
    [
        ([], []),
        ([3], ["3"]),
        ([1, 0], ["0", "1"]),
        ([2, 0, 1], ["0-2"]),
        ([0, 2, 5, 6, 7, 9, 10], ["0", "2", "5-7", "9", "10"]),
        ([1, 1, 2, 3], ["1-3"]),
        ([2**63 - 1], [str(2**63 - 1)]),
    ],
)
def test_seeds_are_written_as_they_are_read(seeds, ranges):
    assert seed_ranges(seeds) == ranges
    assert not seeds or numbers(",".join(ranges)) == sorted(set(seeds))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("precision", [None, "fp32", "bf16"])
@pytest.mark.parametrize("name", experiment_names())
def test_what_is_asked_is_what_is_planned(name, precision, device):
    experiment = load_experiment(name)
    for models in (None, ["plain20"], ["resnet110", "resnet20"], ["plain32"]):
        for seeds in (None, [0], [7, 8]):
            for iterations in (None, 10, 1563):
                options = {"models": models, "seeds": seeds, "iterations": iterations}
                specs = select_specs(
                    _with_precisions(experiment, precision, torch.device(device)),
                    precision=Precision("tf32" if precision is None else precision),
                    data="cifar10",
                    **options,
                )
                # what the hardware would decide, and nothing else, is tf32 in what is planned
                by_hardware = experiment.precision if precision is None else precision
                listed = any(group.precisions for group in experiment.groups) and precision is None
                expected = {cell(spec.columns()) for spec in specs}
                if not listed:
                    expected = {(*its[:3], by_hardware, its[4]) for its in expected}
                found = runs_asked(experiment, device=device, precision=precision, **options)
                assert found == expected
                assert len(found) == len(specs)


def test_a_length_beyond_a_recipe_asks_for_nothing():
    assert runs_asked(load_experiment("quick"), device="cpu", iterations=1564) == set()
    assert runs_asked(load_experiment("quick"), device="cpu", iterations=1563)
