"""Which runs an experiment asks for, which are done, and how long the rest takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import torch

from harness.config import Experiment, Group, load_experiment, load_recipe, recipe_names
from harness.errors import UnknownNameError, UsageError
from harness.execution.plan import makespan, num_threads_per_run, plan_runs, run_id, select_specs
from harness.execution.recording import failed_row
from harness.records import Store
from harness.training.checkpoint import Checkpoint, CheckpointHeader


def select(experiment: Experiment, **wishes: object):
    return select_specs(experiment, torch.device("cpu"), **{"precision": "fp32"} | wishes)


def experiment(*groups: Group) -> Experiment:
    return Experiment(name="e", summary="", precision="fp32", shows="", shows_not="", groups=groups)


def test_quick_is_two_seeds_of_20_layers_another_s_classes_and_56_layers_for_an_epoch() -> None:
    runs = [
        (spec.model, spec.seed, spec.iterations, spec.shortened) for spec in select(load_experiment("quick"))
    ]
    assert runs == [
        ("resnet20", 0, 782, True),
        ("resnet20", 1, 782, True),
        ("plain20", 0, 782, True),
        ("plain20", 1, 782, True),
        ("torchvision-resnet20", 0, 782, True),
        ("resnet56", 0, 391, True),
        ("plain56", 0, 391, True),
    ]


def test_compare_is_five_implementations_by_three_seeds_as_their_own_code_starts_them() -> None:
    specs = select(load_experiment("compare"))
    implementations = [
        "resnet20",
        "torchvision-resnet20",
        "timm-resnet20",
        "akamaster-resnet20",
        "pytorchcv-resnet20",
    ]
    assert [(spec.model, spec.seed) for spec in specs] == [
        (model, seed) for model in implementations for seed in range(3)
    ]
    assert {(spec.recipe.name, spec.iterations, spec.shortened) for spec in specs} == {
        ("short-own-init", 1563, False)
    }
    own, common = load_recipe("short-own-init"), load_recipe("short")
    told = {"name", "summary", "source", "initialization"}
    assert own.model_dump(exclude=told) == common.model_dump(exclude=told)
    assert (own.initialization, common.initialization) == ("implementation", "he")


def test_two_gpus_pairs_the_runs_of_paper_with_those_of_smaller_batch_statistics() -> None:
    specs = select(load_experiment("two-gpus"))
    halves = [
        [(spec.model, spec.seed) for spec in specs if spec.recipe.name == name]
        for name in ("paper", "paper-two-gpus")
    ]
    assert halves[0] == halves[1]
    assert {spec.sha256 for spec in select(load_experiment("paper"))} < {spec.sha256 for spec in specs}


@pytest.mark.parametrize("name", ["references", "depth"])
def test_what_goes_beyond_paper_is_trained_as_there(name: str) -> None:
    [asked] = {(spec.recipe, spec.iterations, spec.precision) for spec in select(load_experiment("paper"))}
    specs = select(load_experiment(name))
    assert {(spec.recipe, spec.iterations, spec.precision) for spec in specs} == {asked}
    assert {spec.seed for spec in specs} == {0, 1, 2}
    assert not any(spec.shortened for spec in specs)


def test_recipes_trains_ours_by_every_recipe_of_others_to_its_end() -> None:
    specs = select(load_experiment("recipes"))
    others = {name for name in recipe_names() if not name.startswith(("paper", "short"))}
    assert {spec.recipe.name for spec in specs if spec.model == "resnet20"} == others
    assert {spec.recipe.name for spec in specs if spec.model.startswith(spec.recipe.name)} == others
    assert not any(spec.shortened for spec in specs)


def test_a_run_that_two_groups_ask_for_is_there_once() -> None:
    group = Group(models=("resnet20",), recipe="short", seeds=(0, 1))
    assert len(select(experiment(group, group))) == 2


@pytest.mark.parametrize(
    ("device", "asked", "precisions"),
    [
        ("cpu", None, ["bf16", "fp32"]),  # tf32 is CUDA's
        ("cuda", None, ["tf32", "bf16", "fp32"]),
        ("cpu", "fp32", ["fp32"]),
    ],
)
def test_a_group_is_run_in_those_of_its_precisions_that_there_are(device, asked, precisions) -> None:
    group = Group(models=("resnet20",), recipe="short", seeds=(0,), precisions=("tf32", "bf16", "fp32"))
    specs = select_specs(experiment(group), torch.device(device), precision=asked)
    assert [spec.precision for spec in specs] == precisions


def test_a_precision_that_the_device_lacks_is_refused() -> None:
    only = Group(models=("resnet20",), recipe="short", seeds=(0,), precisions=("tf32",))
    for wishes in ({"precision": None}, {"precision": "tf32"}):
        with pytest.raises(UsageError, match="exists on CUDA only"):
            select(experiment(only), **wishes)
    with pytest.raises(UnknownNameError, match="no precision named 'fp8'"):
        select(experiment(only), precision="fp8")


def test_models_of_no_group_join_the_first_one_only() -> None:
    first = Group(models=("resnet20",), recipe="short", seeds=(0,))
    second = Group(models=("plain20",), recipe="paper", seeds=(0, 1))
    chosen = select(experiment(first, second), models=["plain32", "plain20"])
    assert [(spec.model, spec.recipe.name) for spec in chosen] == [
        ("plain32", "short"),
        ("plain20", "paper"),
        ("plain20", "paper"),
    ]


def test_iterations_take_the_place_of_every_length() -> None:
    assert {spec.iterations for spec in select(load_experiment("quick"), iterations=10)} == {10}


def test_a_run_cannot_be_longer_than_its_recipe() -> None:
    with pytest.raises(UsageError, match="1564 iterations are more than the 1563"):
        select(load_experiment("quick"), iterations=1564)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="resnet18"):
        select(load_experiment("quick"), models=["resnet18"])


@pytest.mark.parametrize(
    ("num_runs", "num_cores", "device", "threads"),
    [
        (1, 2, "cpu", 2),
        (2, 2, "cpu", 1),
        (6, 2, "cpu", 1),
        (3, 16, "cpu", 5),
        (1, 1, "cpu", 1),
        (4, 16, "cuda", 1),
    ],
)
def test_the_cores_are_shared_among_runs(num_runs: int, num_cores: int, device: str, threads: int) -> None:
    assert num_threads_per_run(num_runs, num_cores, device) == threads


def test_a_run_id_is_a_file_name_and_tells_spec_and_place(make_spec, make_environment) -> None:
    here, there = make_environment(threads=1), make_environment(threads=2)
    name = run_id(make_spec(seed=3), here)
    assert name.startswith("resnet20-tiny-s3-")
    assert name != run_id(make_spec(seed=3), there)
    assert name != run_id(make_spec(seed=4), here)
    assert name.replace("-", "").replace(".", "").isalnum()


def test_a_network_of_one_s_own_can_be_planned(write_module, make_recipe, make_environment, tmp_path) -> None:
    code = write_module()
    wished = experiment(Group(models=("resnet20",), recipe="short", seeds=(0,)))
    [spec] = select(wished, models=["mynet:net"])
    [planned] = plan_runs([spec], make_environment(), Store(tmp_path / "results"))
    assert (planned.spec.model, planned.state) == ("mynet:net", "new")
    assert planned.estimated_seconds > 0
    assert planned.run_id.startswith("mynet-net-short-s0-")
    code.write_text(code.read_text() + "# changed")
    assert run_id(spec, make_environment()) != planned.run_id


def test_a_run_goes_on_from_its_checkpoint_and_takes_the_time_of_what_is_left(
    make_spec, make_environment, tmp_path
) -> None:
    spec, here, store = make_spec(), make_environment(), Store(tmp_path / "results")
    [new] = plan_runs([spec], here, store)
    header = CheckpointHeader(
        run_id=new.run_id, spec=spec.model_dump_json(), place={}, progress={"iteration": 6}
    )
    Checkpoint(header, {}).write(store.checkpoint(new.run_id))
    [planned] = plan_runs([spec], here, store)
    assert (planned.state, planned.note) == ("interrupted", "goes on after iteration 6")
    assert planned.estimated_seconds == pytest.approx(0.4 * new.estimated_seconds)


def test_a_run_whose_checkpoint_is_broken_is_planned_with_the_reason(
    make_spec, make_environment, tmp_path
) -> None:
    spec, here, store = make_spec(), make_environment(), Store(tmp_path / "results")
    path = store.checkpoint(run_id(spec, here))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no checkpoint")
    [planned] = plan_runs([spec], here, store)
    assert planned.state == "interrupted"
    assert planned.note.startswith(f"{path}: broken (")


def test_a_run_that_failed_is_planned_anew_with_the_reason(make_job, make_environment) -> None:
    job, here = make_job(), make_environment()
    store = Store(job.results)
    store.write_run(failed_row(job, here, "it broke", datetime.now(UTC)))
    [planned] = plan_runs([job.spec], here, store)
    assert (planned.state, planned.note, planned.to_do) == ("failed", "failed before: it broke", True)


def test_runs_go_to_the_worker_that_is_free_first() -> None:
    assert makespan([3, 2, 2], 2) == 4
    assert makespan([3, 2, 2], 1) == 7
    assert makespan([], 2) == 0
