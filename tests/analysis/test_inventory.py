"""Which records stand together, and the command that makes them: worked out by hand, and planned again."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import harness
from harness.analysis.inventory import Defaults, machine_of, take_inventory
from harness.cli.options import names, numbers
from harness.config import Precision, experiment_names, load_experiment, runs_asked
from harness.execution.isolation import KNOBS, turned
from harness.execution.plan import num_threads_per_run
from harness.records import Store
from harness.training.trace import Settings

PUBLISHED = Path(harness.__file__).parents[1] / "results" / "published"
DEFAULTS = Defaults(
    models=["resnet20", "plain20", "resnet56"],
    checkpoints=["akamaster-resnet20", "akamaster-resnet56"],
    rounds=15,
    batch_sizes=lambda number, device: (1, 2) if number < 3 else (4,),
)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def cell(run):
    return run["model"], run["recipe"], run["iterations"], run["precision"], run["seed"]


def planned(command, device="cpu"):
    """What a command of ``harness reproduce`` asks for, by the function behind ``harness plan``."""
    words = list(command)
    assert words[:2] == ["harness", "reproduce"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    assert set(options) <= {"--models", "--seeds", "--precision", "--iterations"}
    asked = runs_asked(
        load_experiment(words[2]),
        device=device,
        models=names(options["--models"]) if "--models" in options else None,
        seeds=numbers(options["--seeds"]) if "--seeds" in options else None,
        precision=options.get("--precision"),
        iterations=int(options["--iterations"]) if "--iterations" in options else None,
    )
    return {(run.model, run.recipe.name, run.iterations, run.precision, run.seed) for run in asked}


@pytest.fixture
def batches_of():
    """A function from rows by kind to batches."""

    def make(**records):
        return take_inventory(records, DEFAULTS)

    return make


@pytest.fixture
def commands_of(batches_of):
    """A function from runs to commands with their options, each a text, in order."""

    def make(runs):
        return [" ".join([*batch.command, *batch.options]) for batch in batches_of(runs=runs)]

    return make


@pytest.fixture
def quick(make_run):
    """A function that makes the runs of the experiment quick, in bf16 unless told."""

    def make(**changes):
        lengths = {
            "resnet20": 782,
            "plain20": 782,
            "torchvision-resnet20": 782,
            "resnet56": 391,
            "plain56": 391,
        }
        return [
            make_run(
                model, iterations=length, seed=seed, **{"precision": "bf16", "experiment": "quick"} | changes
            )
            for model, length in lengths.items()
            for seed in ((0, 1) if model in {"resnet20", "plain20"} else (0,))
        ]

    return make


# runs


def test_a_whole_experiment_is_one_command_whatever_lengths_it_has(commands_of, quick):
    assert commands_of(quick()) == ["harness reproduce quick --precision bf16"]


def test_what_an_experiment_says_is_left_out(commands_of, make_run):
    runs = [
        make_run(model, "paper", seed=seed, experiment="paper")
        for model in ("resnet20", "plain20")
        for seed in range(5)
    ]
    assert commands_of(runs) == ["harness reproduce paper"]
    assert commands_of(runs[:5]) == ["harness reproduce paper --models resnet20"]
    assert commands_of([run for run in runs if run["seed"] < 3]) == ["harness reproduce paper --seeds 0-2"]
    assert commands_of(runs[:2]) == ["harness reproduce paper --models resnet20 --seeds 0,1"]


def test_other_models_seeds_precision_and_length_are_said(commands_of, make_run):
    runs = [
        make_run(model, "paper", seed=seed, experiment="paper", precision="bf16", iterations=500)
        for model in ("plain56", "plain20")
        for seed in (0, 1, 2, 3, 9)
    ]
    assert commands_of(runs) == [
        "harness reproduce paper --models plain20,plain56 --seeds 0-3,9 --precision bf16 --iterations 500"
    ]


def test_precisions_of_an_experiment_are_those_of_the_device(commands_of, make_run):
    def runs(*precisions, **changes):
        return [
            make_run(seed=seed, precision=one, experiment="precision", **changes)
            for one in precisions
            for seed in range(6)
        ]

    gpu = {"device": "cuda", "device_name": "Some GPU"}
    assert commands_of(runs("fp32", "bf16")) == ["harness reproduce precision"]
    assert commands_of(runs("fp32", "bf16", "tf32", **gpu)) == ["harness reproduce precision"]
    assert sorted(commands_of(runs("fp32", "bf16", **gpu))) == [
        "harness reproduce precision --precision bf16",
        "harness reproduce precision --precision fp32",
    ]


def test_an_experiment_as_it_was_is_what_its_present_form_makes_with_options(batches_of, quick, make_run):
    runs = [
        make_run(model, iterations=1563, seed=seed, precision="bf16", experiment="quick")
        for model in ("resnet20", "plain20")
        for seed in (0, 1)
    ]
    others = [run for run in quick() if run["iterations"] == 391]
    found = batches_of(runs=runs + others)
    assert [" ".join(batch.command) for batch in found] == [
        "harness reproduce quick --models resnet20,plain20 --precision bf16 --iterations 1563",
        "harness reproduce quick --models resnet56,plain56 --precision bf16",
    ]
    assert [len(batch.names) for batch in found] == [4, 2]
    assert all(batch.exact for batch in found)


def test_one_run_of_no_experiment_is_that_run_and_several_are_spelt_out(batches_of, make_run):
    [one] = batches_of(runs=[make_run(experiment="run")])
    assert (one.command, one.options, one.exact) == ((), [], True)
    for experiment in ("run", "mine"):
        [several] = batches_of(runs=[make_run(seed=seed, experiment=experiment) for seed in (0, 1)])
        assert several.exact
        options = {"--models", "--seeds", "--precision", "--iterations"}
        assert options < set(several.command)
        assert planned(several.command) == {cell(run) for run in several.rows}


def test_a_recipe_of_a_file_is_of_the_experiments_file(batches_of, make_run):
    def runs(experiment):
        changes = {"recipe_changes": {"name": "tiny"}, "experiment": experiment}
        return [
            make_run(model, seed=seed, **changes)
            for model in ("plain20", "pkg.net:make")
            for seed in range(3)
        ]

    [batch] = batches_of(runs=runs("mine"))
    assert " ".join(batch.command) == (
        "harness reproduce mine.toml --models pkg.net:make,plain20 --seeds 0-2 --precision fp32 --iterations 1563"
    )
    assert not batch.exact
    alone = batches_of(runs=runs("run"))  # of which there is no file
    assert [(list(batch.command), batch.exact, len(batch.rows)) for batch in alone] == [([], False, 1)] * 6


def test_a_recipe_that_has_changed_is_told_and_stands_apart(batches_of, make_run):
    today = make_run("resnet20", "paper", experiment="paper")
    before = make_run("plain20", "paper", experiment="paper", recipe_changes={"batch_size": 64})
    found = batches_of(runs=[today, before])
    assert [(batch.rows, batch.exact) for batch in found] == [([today], True), ([before], False)]
    assert [" ".join(batch.command) for batch in found] == [
        f"harness reproduce paper --models {model} --seeds 0" for model in ("resnet20", "plain20")
    ]


def test_a_network_of_ones_own_joins_an_experiment(batches_of, make_run):
    [batch] = batches_of(
        runs=[make_run("pkg.net:make", "paper", seed=seed, experiment="paper") for seed in range(5)]
    )
    assert " ".join(batch.command) == "harness reproduce paper --models pkg.net:make"
    # the network itself is nowhere, and a network of the catalogue in its place is planned alike
    assert planned([*batch.command[:3], "--models", "plain56"]) == {
        ("plain56", *cell(run)[1:]) for run in batch.rows
    }


@pytest.mark.parametrize("model", ["a,b", " a", "a ", ""])
def test_a_name_that_a_list_cannot_hold_is_run_alone(batches_of, make_run, model):
    for experiment in ("paper", "mine", "run"):
        runs = [make_run(model, "paper", seed=seed, experiment=experiment) for seed in range(5)]
        assert [list(batch.command) for batch in batches_of(runs=runs)] == [[]] * 5


@pytest.mark.parametrize(
    "changes", [{"precision": "int8"}, {"data": "imagenet"}, {"iterations": -1}, {"seed": -1}]
)
def test_what_no_request_can_be_is_still_counted(batches_of, make_run, changes):
    run = make_run("resnet20", "paper", experiment="paper") | changes
    [batch] = batches_of(runs=[run])
    assert (batch.rows, batch.exact) == ([run], False)


@pytest.mark.parametrize(
    "changes",
    [
        {"experiment": "run"},
        {"data": "synthetic"},
        {"device_name": "Another CPU"},
        {"threads": 2},
        {"cpu_cores": 64},
        {"cpu_capability": "AVX2"},
        {"torch": "2.10.0"},
        {"device": "cuda"},
    ],
    ids=str,
)
def test_what_one_command_on_one_machine_does_not_make_is_apart(batches_of, make_run, changes):
    runs = [
        make_run("resnet20", "paper", experiment="paper"),
        make_run("plain20", "paper", **{"experiment": "paper"} | changes),
    ]
    assert [batch.rows for batch in batches_of(runs=runs)] == [runs[:1], runs[1:]]


def test_versions_of_the_code_are_counted_and_keep_nothing_apart(batches_of, make_run):
    runs = [
        make_run(
            "resnet20", "paper", experiment="paper", seed=0, commit=commit, dirty=dirty, model_source=source
        )
        for commit, dirty, source in (
            ("a", False, "ours"),
            ("b", False, None),
            ("a", None, "ours"),
            (None, None, "ours"),
        )
    ]
    [batch] = batches_of(runs=runs)
    assert (len(batch.names), batch.commits, batch.changed) == (4, ["a", "b"], False)
    runs[0]["dirty"] = True
    assert batches_of(runs=runs)[0].changed


def test_first_and_last_are_of_the_whole_batch(batches_of, make_run):
    days = [
        {"started_at": NOON + timedelta(days=number), "finished_at": NOON + timedelta(days=number, hours=13)}
        for number in (3, 0, 1)
    ]
    [batch] = batches_of(
        runs=[make_run(seed=seed, experiment="precision", **day) for seed, day in enumerate(days)]
    )
    assert (batch.first, batch.last) == (NOON, NOON + timedelta(days=3, hours=13))


@pytest.mark.parametrize("cores", [1, 2, 4, 64])
@pytest.mark.parametrize("threads", [1, 2, 4, 64])
@pytest.mark.parametrize("num_runs", [1, 2, 5])
def test_threads_are_said_where_so_many_runs_get_others(batches_of, make_run, cores, threads, num_runs):
    runs = [
        make_run("resnet20", "paper", seed=seed, experiment="paper", cpu_cores=cores, threads=threads)
        for seed in range(num_runs)
    ]
    [batch] = batches_of(runs=runs)
    needed = num_threads_per_run(num_runs, cores, "cpu") != threads
    assert batch.options == (["--threads", str(threads)] if needed else [])


def test_made_up_images_are_said(batches_of, make_run):
    [batch] = batches_of(runs=[make_run("resnet20", "paper", experiment="paper", data="synthetic")])
    assert batch.options == ["--data", "synthetic"]


@pytest.mark.parametrize("experiment", [*experiment_names(), "run", "mine"])
def test_commands_of_any_part_of_experiments_make_it_and_nothing_else(batches_of, make_run, experiment):
    draw = random.Random(experiment)
    for _ in range(6):
        whole = [
            make_run(
                model, recipe, iterations=iterations, seed=seed, precision=precision, experiment=experiment
            )
            for recipe, lengths in {"short": (100, 391, 782, 1563), "paper": (100, 64_000)}.items()
            for model in ("resnet20", "plain20", "resnet56", "torchvision-resnet20", "plain32")
            for iterations in lengths
            for precision in ("fp32", "bf16")
            for seed in range(3)
        ]
        runs = draw.sample(whole, draw.choice([1, 3, 10, 40, len(whole)]))
        found = batches_of(runs=runs)
        made = []
        for batch in found:
            cells = {cell(run) for run in batch.rows}
            if batch.command:
                assert planned(batch.command) == cells
            else:
                assert len(cells) == 1
            assert batch.exact
            made += batch.names
        assert sorted(made) == sorted(run["run_id"] for run in runs)


def test_commands_of_published_runs_make_them_and_nothing_else(batches_of):
    runs = Store(PUBLISHED).read("runs")[0].to_pylist()
    found = batches_of(runs=runs)
    assert sorted(name for batch in found for name in batch.names) == sorted(run["run_id"] for run in runs)
    for batch in (batch for batch in found if batch.exact and batch.command):
        assert planned(batch.command, batch.machine.device) == {cell(run) for run in batch.rows}
    assert any(batch.exact and batch.command for batch in found)


# other kinds


def test_a_machine_is_the_gpu_where_that_computes(fill):
    row = fill(
        "audits", device="cuda", device_name="GPU", cpu_name="CPU", cudnn="91002", threads=9, cpu_cores=5
    )
    assert machine_of(row).name == "GPU"
    assert (machine_of(row).threads, machine_of(row).cores, machine_of(row).cudnn) == (None, None, "91002")
    assert machine_of(row | {"cpu_name": "other", "threads": 1, "cpu_cores": 1}) == machine_of(row)
    row |= {"device": "cpu", "device_name": "CPU", "cudnn": None}
    assert (machine_of(row).name, machine_of(row).threads, machine_of(row).cores) == ("CPU", 9, 5)


@pytest.mark.parametrize(
    ("kind", "models", "command"),
    [
        ("identities", ["plain20", "resnet20", "resnet56"], "harness identify"),
        ("identities", ["resnet56", "resnet20"], "harness identify resnet20 resnet56"),
        (
            "identities",
            ["plain20", "a.b:c", "resnet20", "resnet56"],
            "harness identify resnet20 plain20 resnet56 a.b:c",
        ),
        ("audits", ["akamaster-resnet56", "akamaster-resnet20"], "harness audit"),
        ("audits", ["akamaster-resnet56"], "harness audit akamaster-resnet56"),
    ],
)
def test_models_are_named_where_they_are_not_all(batches_of, fill, kind, models, command):
    column = {"identities": "identity_id", "audits": "audit_id"}[kind]
    rows = [fill(kind, model=model, **{column: model}) for model in models]
    [batch] = batches_of(**{kind: rows})
    assert (" ".join(batch.command), sorted(batch.names)) == (command, sorted(models))
    rows[0]["torch"] = "another"
    found = batches_of(**{kind: rows})
    assert {batch.machine.torch: len(batch.names) for batch in found} == (
        {"another": 1} | ({"text": len(rows) - 1} if len(rows) > 1 else {})
    )


@pytest.fixture
def session(fill):
    """A function that makes a session of profiles, a row a cell, of all models in all sizes unless told."""

    def make(
        name="s",
        models=("resnet20",),
        sizes=(1, 2),
        precisions=("bf16",),
        modes=("train", "infer"),
        rounds=7,
        **columns,
    ):
        rows = [
            fill(
                "profiles",
                session_id=name,
                model=model,
                mode=mode,
                batch_size=size,
                precision=precision,
                **columns,
            )
            for model in models
            for mode in modes
            for size in sizes
            for precision in precisions
        ]
        return [row | {"status": "measured", "round_seconds": [[0.1]] * rounds} for row in rows]

    return make


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "resnet20 --precisions bf16"),
        ({"precisions": ("bf16", "fp32")}, "resnet20 --precisions fp32,bf16"),
        ({"rounds": 15}, "resnet20 --precisions bf16"),
        ({"rounds": 16}, "resnet20 --precisions bf16 --rounds 16"),
        ({"modes": ("train",)}, "resnet20 --modes train --precisions bf16"),
        ({"sizes": (2, 1)}, "resnet20 --precisions bf16"),
        ({"sizes": (1, 512)}, "resnet20 --batch-sizes 1,512 --precisions bf16"),
        ({"models": ("resnet56", "plain20")}, "plain20 resnet56 --precisions bf16"),
        ({"models": ("a.b:c",)}, "a.b:c --precisions bf16"),
        ({"models": ("resnet56", "plain20", "resnet20"), "sizes": (4,)}, "--precisions bf16"),
        ({"models": ("resnet56", "plain20", "resnet20")}, "--batch-sizes 1,2 --precisions bf16"),
    ],
)
def test_a_profile_is_told_what_it_does_not_do_by_itself(batches_of, session, changes, words):
    [batch] = batches_of(profiles=session(**changes))
    assert " ".join(batch.command) == f"harness profile {words}"


def test_precisions_are_listed_as_the_option_takes_them(batches_of, session):
    [batch] = batches_of(profiles=session(precisions=("bf16", "tf32", "fp32")))
    listed = batch.command[batch.command.index("--precisions") + 1]
    assert [Precision(name) for name in names(listed)] == [Precision.TF32, Precision.FP32, Precision.BF16]


def test_sessions_that_one_command_makes_stand_together(batches_of, session):
    rows = [*session("a"), *session("b", rounds=9), *session("c", sizes=(8,)), *session("d", torch="another")]
    found = take_inventory({"profiles": rows}, DEFAULTS, {"operators": {"a", "c"}})
    assert [batch.names for batch in found] == [["a", "b"], ["c"], ["d"]]
    assert [batch.parts for batch in found] == [{"operators": 1}, {"operators": 1}, {"operators": 0}]


def test_benchmarks_of_the_same_groups_stand_together(batches_of, fill):
    def rows(name, *groups, **columns):
        return [fill("benchmarks", session_id=name, group=group, **columns) for group in groups]

    found = batches_of(
        benchmarks=[
            *rows("a", "x", "y"),
            *rows("b", "y", "x"),
            *rows("c", "x", "z"),
            *rows("d", "x", torch="t"),
        ]
    )
    assert [batch.names for batch in found] == [["a", "b"], ["c"], ["d"]]
    assert {" ".join(batch.command) for batch in found} == {"pytest --benchmark-only"}
    assert not any(batch.exact for batch in found)


@pytest.fixture
def calls(fill):
    """A function that makes verifications a minute apart, each from (knob, now) or from None, and the rest as columns."""

    def make(*calls):
        return [
            fill(
                "verifications",
                verification_id=f"v{minute}",
                verified_at=NOON + timedelta(minutes=minute),
                **{"run_id": "r", "num_epochs": 1, "complete": False} | columns,
            )
            for minute, columns in enumerate(calls)
        ]

    return make


def knob(name, then, now, **columns):
    return {"knob": name, "knob_then": then, "knob_now": now} | columns


def test_a_repetition_says_how_much_of_the_run_it_is(batches_of, calls):
    rows = calls(
        {"complete": True, "num_epochs": 4}, {}, {"num_epochs": 2}, {"complete": True, "num_epochs": 4}
    )
    found = {" ".join(batch.command): batch.names for batch in batches_of(verifications=rows)}
    assert found == {
        "harness verify r": ["v0", "v3"],
        "harness verify r --epochs 1": ["v1"],
        "harness verify r --epochs 2": ["v2"],
    }


def test_knobs_go_with_the_repetition_before_them(batches_of, calls):
    rows = calls(
        {"complete": True},
        {},
        knob("threads", "1", "4"),
        {"run_id": "another"},
        knob("deterministic", "on", "off"),
        {"num_epochs": 2},
        knob("precision", "fp32", "bf16", num_epochs=2),
    )
    found = {" ".join(batch.command): batch.names for batch in batches_of(verifications=rows[::-1])}
    assert found == {
        "harness verify r": ["v0"],
        "harness verify r --turn threads=4 --turn deterministic=off": ["v1", "v2", "v4"],
        "harness verify another --epochs 1": ["v3"],
        "harness verify r --turn precision=bf16 --epochs 2": ["v5", "v6"],
    }


def test_knobs_whose_repetition_is_lost_are_no_part_of_a_whole_one(batches_of, calls):
    rows = calls({"complete": True}, knob("threads", "1", "2"))
    assert [" ".join(batch.command) for batch in batches_of(verifications=rows)] == [
        "harness verify r",
        "harness verify r --turn threads=2",
    ]


@pytest.mark.parametrize(
    "then",
    [
        Settings(threads=1, precision="bf16"),
        Settings(threads=4, precision="fp32", deterministic=False, compilation=True),
    ],
    ids=str,
)
def test_every_knob_turned_by_default_is_an_isolation(batches_of, calls, then):
    def text(settings, name):
        value = getattr(settings, name)
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)

    rows = [knob(name, text(then, name), text(turned(then, name), name)) for name in KNOBS]
    [batch] = batches_of(verifications=calls({}, *rows))
    assert " ".join(batch.command) == "harness verify r --isolate"
    assert len(batch.names) == 1 + len(KNOBS)
    for others in (rows[:-1], [*rows[1:], rows[0] | {"knob_now": "17"}], [*rows, rows[0]]):
        [batch] = batches_of(verifications=calls({}, *others))
        assert "--isolate" not in batch.command
        assert batch.command.count("--turn") == len(others)


def test_nothing_is_nothing_and_kinds_come_in_order(batches_of, fill, make_run):
    assert take_inventory({}, DEFAULTS) == []
    late, early = (
        fill("audits", audit_id="late", audited_at=NOON, torch="b"),
        fill("audits", audit_id="early"),
    )
    found = batches_of(audits=[late, early], runs=[make_run()], identities=[fill("identities")])
    assert [batch.kind for batch in found] == ["runs", "identities", "audits", "audits"]
    assert [batch.names for batch in found[2:]] == [["early"], ["late"]]
