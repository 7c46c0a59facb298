import hashlib

import pytest
from pydantic import ValidationError

from harness.config import (
    Augmentation,
    Normalization,
    Precision,
    Recipe,
    RunSpec,
    Sgd,
    StepSchedule,
    Warmup,
    experiment_names,
    load_experiment,
    load_recipe,
    recipe_names,
)
from harness.errors import ConfigError, UnknownNameError
from harness.models import models

RECIPE = """
summary = "s"
source = "t"
batch_size = 128
iterations = 1000
initialization = "he"

[optimizer]
kind = "sgd"
learning_rate = 0.1
momentum = 0.9

[schedule]
kind = "steps"
milestones = [0.5, 0.75]
factor = 0.1

[normalization]
kind = "none"
"""

EXPERIMENT = """
summary = "s"
precision = "fp32"
shows = "a"
shows_not = "b"

[[groups]]
models = ["resnet20"]
recipe = "short"
seeds = [0, 1]
"""


@pytest.fixture
def recipe_file(tmp_path):
    """A function that writes the recipe above with one text replaced, and returns the path."""
    return _writer(tmp_path / "mine.toml", RECIPE)


@pytest.fixture
def experiment_file(tmp_path):
    return _writer(tmp_path / "mine.toml", EXPERIMENT)


def _writer(path, text):
    def write(old, new):
        assert text.count(old) == 1
        path.write_text(text.replace(old, new), encoding="utf-8")
        return str(path)

    return write


def error_line(load, path):
    """The message of the ConfigError that loading raises, which must be one line that names the file."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(path)
    return message.removeprefix(path)


def test_file_without_mistake_loads_and_takes_its_name_from_the_path(recipe_file):
    recipe = load_recipe(recipe_file("batch_size = 128", "batch_size = 64"))
    assert (recipe.name, recipe.batch_size, recipe.num_iterations()) == ("mine", 64, 1000)
    assert recipe.schedule.milestones == (0.5, 0.75)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("batch_size", "batch_sise = 3\nbatch_size", ["batch_sise = 3", "remove"], id="unknown"),
        pytest.param("momentum", "dampening", ["optimizer.dampening = 0.9", "remove"], id="unknown in table"),
        pytest.param(
            '"none"', '"none"\neps = 1', ["normalization.eps = 1", "unknown key"], id="unknown last"
        ),
        pytest.param("batch_size = 128", "", ["batch_size", "missing", "add"], id="missing"),
        pytest.param("learning_rate = 0.1", "", ["optimizer.learning_rate", "add"], id="missing in table"),
        pytest.param("128", '"128"', ["batch_size = '128'", "valid integer"], id="text for integer"),
        pytest.param("128", "128.0", ["batch_size = 128.0", "valid integer"], id="float for integer"),
        pytest.param("128", "true", ["batch_size = True", "valid integer"], id="truth for integer"),
        pytest.param("0.9", '"0.9"', ["optimizer.momentum = '0.9'", "valid number"], id="text for number"),
        pytest.param('"none"', "7", ["normalization.kind = 7", "per-pixel-mean"], id="integer for text"),
        pytest.param("128", "0", ["batch_size = 0", "greater than 0"], id="no images"),
        pytest.param("128", "50_001", ["batch_size = 50001", "50000"], id="more than there are images"),
        pytest.param("1000", "-1", ["iterations = -1", "greater than 0"], id="negative length"),
        pytest.param("= 0.9", "= 1.0", ["optimizer.momentum = 1.0", "less than 1"], id="momentum 1"),
        pytest.param("= 0.9", "= nan", ["optimizer.momentum = nan", "less than 1"], id="momentum nan"),
        pytest.param(
            "learning_rate = 0.1", "learning_rate = inf", ["learning_rate = inf", "finite"], id="rate inf"
        ),
        pytest.param(
            "learning_rate = 0.1",
            "learning_rate = 0.0",
            ["learning_rate = 0.0", "greater than 0"],
            id="rate 0",
        ),
        pytest.param("0.75]", "1.5]", ["milestones.1 = 1.5", "less than 1"], id="milestone after the end"),
        pytest.param('"he"', '"xavier"', ["initialization = 'xavier'", "'he'"], id="unknown initialization"),
        pytest.param(
            '"steps"',
            '"exponential"',
            ["schedule", "'exponential'", "'steps', 'linear', 'cosine'"],
            id="schedule kind",
        ),
        pytest.param("iterations = 1000", "", ["exactly one of epochs and iterations"], id="no length"),
        pytest.param("1000", "1000\nepochs = 2", ["exactly one of epochs and iterations"], id="two lengths"),
        pytest.param("[0.5, 0.75]", "[0.75, 0.5]", ["schedule", "milestones", "sort"], id="descending"),
        pytest.param("[0.5, 0.75]", "[0.5, 0.5]", ["schedule", "milestones", "repetition"], id="repeated"),
        pytest.param(
            "momentum = 0.9", "nesterov = true", ["optimizer", "Nesterov", "set momentum"], id="nesterov"
        ),
        pytest.param('"none"', '"channel"', ["normalization", "mean and std", "channel"], id="no mean, std"),
        pytest.param(
            '"none"', '"channel"\nmean = [0.5, 0.5, 0.5]', ["normalization", "mean and std"], id="no std"
        ),
        pytest.param(
            '"none"',
            '"none"\nmean = [0.5, 0.5, 0.5]',
            ["normalization", "mean", "'none'"],
            id="mean for none",
        ),
        pytest.param(
            '"none"',
            '"per-pixel-mean"\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.2, 0.2]',
            ["normalization", "mean and std", "'per-pixel-mean'"],
            id="std for per-pixel-mean",
        ),
        pytest.param(
            '"none"',
            '"channel"\nmean = [0.5, 0.5, 0.5]\nstd = [0.2, 0.0, 0.2]',
            ["normalization", "std must be positive", "[0.2, 0.0, 0.2]"],
            id="std 0",
        ),
        pytest.param("[optimizer]", "[optimizer", ["not TOML", "line 8"], id="not TOML"),
    ],
)
def test_mistake_in_a_recipe_is_named_in_one_line(recipe_file, old, new, said):
    message = error_line(load_recipe, recipe_file(old, new))
    assert [part for part in said if part not in message] == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param("shows_not", "shows_nought", ["shows_not", "missing"], id="missing"),
        pytest.param('"fp32"', '"fp16"', ["precision = 'fp16'", "'bf16'"], id="unknown precision"),
        pytest.param("[0, 1]", "[0, 1.0]", ["groups.0.seeds.1 = 1.0", "valid integer"], id="seed 1.0"),
        pytest.param("[0, 1]", "[]", ["groups.0.seeds = []", "at least 1"], id="no seeds"),
        pytest.param('["resnet20"]', "[]", ["groups.0.models = []", "at least 1"], id="no models"),
        pytest.param(
            "[0, 1]", "[0, 1]\nepochs = 1.0\niterations = 5", ["groups.0", "at most one"], id="two lengths"
        ),
        pytest.param("[[groups]]", "[[group]]", ["groups", "missing"], id="no groups"),
    ],
)
def test_mistake_in_an_experiment_is_named_in_one_line(experiment_file, old, new, said):
    message = error_line(load_experiment, experiment_file(old, new))
    assert [part for part in said if part not in message] == []


def test_several_mistakes_are_counted(recipe_file):
    path = recipe_file('batch_size = 128\niterations = 1000\ninitialization = "he"', "batch_size = 0")
    assert error_line(load_recipe, path).endswith("(and 1 more)")


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_that_no_run_can_have_is_refused_when_the_experiment_is_read(experiment_file, seed):
    assert "seeds" in error_line(load_experiment, experiment_file("[0, 1]", f"[{seed}]"))


@pytest.mark.parametrize(("mean", "std"), [("nan", "0.2"), ("0.5", "nan"), ("0.5", "inf")])
def test_channel_statistics_must_be_finite(recipe_file, mean, std):
    new = f'"channel"\nmean = [0.5, {mean}, 0.5]\nstd = [0.2, {std}, 0.2]'
    assert "normalization" in error_line(load_recipe, recipe_file('"none"', new))


def test_key_of_a_schedule_is_named_as_it_stands_in_the_file(recipe_file):
    assert "schedule.milestones.1 = 1.5" in error_line(load_recipe, recipe_file("0.75]", "1.5]"))


def test_key_with_a_line_break_still_makes_one_line(recipe_file):
    error_line(load_recipe, recipe_file("batch_size", '"a\\nb" = 1\nbatch_size'))


@pytest.mark.parametrize("load", [load_recipe, load_experiment])
def test_file_that_cannot_be_read_is_named(load, tmp_path):
    assert "cannot be read" in error_line(load, str(tmp_path / "absent.toml"))
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    assert "cannot be read" in error_line(load, str(folder))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "cannot be read" in error_line(load, str(binary))


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (load_recipe, "papr", "no recipe named 'papr'; did you mean paper?"),
        (load_recipe, "zzz", f"no recipe named 'zzz'; known: {', '.join(recipe_names())}"),
        (load_experiment, "quik", "no experiment named 'quik'; did you mean quick?"),
    ],
)
def test_unknown_name_is_told_what_there_is(load, name, message):
    with pytest.raises(UnknownNameError) as caught:
        load(name)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["../recipes/paper", "recipes/paper", ".", ""])
def test_name_is_no_way_to_other_folders(name):
    with pytest.raises(UnknownNameError):
        load_recipe(name)


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_loads(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.summary
    assert recipe.source


def test_expected_recipes_and_experiments_are_shipped():
    assert {"paper", "short"} <= set(recipe_names())
    assert {"paper", "quick", "smoke"} <= set(experiment_names())


@pytest.mark.parametrize("name", experiment_names())
def test_every_shipped_experiment_asks_for_things_that_exist(name):
    experiment = load_experiment(name)
    assert experiment.name == name
    for group in experiment.groups:
        assert set(group.models) <= set(models())
        full = load_recipe(group.recipe)
        assert (group.iterations or 1) <= full.num_iterations()
        assert len(set(group.seeds)) == len(group.seeds)


def test_recipe_paper_is_section_4_2_number_by_number():
    recipe = load_recipe("paper")
    assert recipe.batch_size == 128
    assert recipe.num_iterations() == 64_000
    assert recipe.optimizer == Sgd(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=1e-4)
    assert isinstance(recipe.schedule, StepSchedule)
    assert [fraction * 64_000 for fraction in recipe.schedule.milestones] == [32_000, 48_000]
    assert recipe.schedule.factor == 0.1
    assert recipe.warmup == Warmup(learning_rate=0.01, iterations=400, min_depth=110)
    assert recipe.augmentation == Augmentation(pad=4, flip=True)
    assert recipe.normalization == Normalization(kind="per-pixel-mean")
    assert recipe.initialization == "he"
    assert recipe.ghost_batch_size is None


def test_recipe_paper_two_gpus_is_paper_but_for_the_batch_statistics():
    one, two = (
        load_recipe(name).model_dump(exclude={"name", "summary", "source"})
        for name in ("paper", "paper-two-gpus")
    )
    assert two == one | {"ghost_batch_size": 64}


@pytest.mark.parametrize("size", [3, 32])
def test_ghost_batches_must_fill_the_mini_batch(make_recipe, size):
    with pytest.raises(ValidationError, match=f"16 is none of {size}; change one of them"):
        make_recipe(batch_size=16, ghost_batch_size=size)


def test_ghost_batches_are_part_of_the_protocol_where_there_are_any(make_recipe):
    assert "ghost_batch_size" not in make_recipe().protocol()
    assert make_recipe(batch_size=16, ghost_batch_size=8).protocol()["ghost_batch_size"] == 8


@pytest.mark.parametrize(
    ("epochs", "batch_size", "num_images", "expected"),
    [
        (4.0, 128, 50_000, 1563),  # 1562.5
        (1.0, 125, 50_000, 400),
        (0.001, 100, 50_000, 1),  # half a mini-batch
        (1.0, 128, 512, 4),
        (1.1, 100, 50_000, 550),  # in binary it is a little more, which must not make it 551
        (4.9, 7, 50_000, 35_000),
    ],
)
def test_epochs_become_mini_batches_rounded_up(make_recipe, epochs, batch_size, num_images, expected):
    recipe = make_recipe(epochs=epochs, iterations=None, batch_size=batch_size)
    assert recipe.num_iterations(num_images) == expected


def test_length_in_iterations_does_not_depend_on_the_data(make_recipe):
    assert make_recipe(iterations=7).num_iterations(3) == 7


@pytest.mark.parametrize(("iterations", "shortened"), [(9, True), (10, False)])
def test_run_is_shortened_if_it_is_shorter_than_its_recipe(make_spec, iterations, shortened):
    assert make_spec(iterations=iterations).shortened is shortened


def test_shortened_counts_epochs_in_passes_over_cifar10(make_spec):
    recipe = {"epochs": 1.0, "iterations": None, "batch_size": 128}  # 390.625 mini-batches
    assert make_spec(recipe=recipe, iterations=390).shortened
    assert not make_spec(recipe=recipe, iterations=391).shortened


# What is hashed for the run below, written by hand: JSON with sorted keys.
ASKED = (
    '{"data": "synthetic", "full_iterations": 10, "iterations": 8, "model": "resnet20", '
    '"precision": "fp32", "protocol": {"augmentation": {"flip": true, "pad": 4}, "batch_size": 16, '
    '"initialization": "he", "normalization": {"kind": "per-pixel-mean", "mean": null, "std": null}, '
    '"optimizer": {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9, "nesterov": false, '
    '"weight_decay": 0.0001}, "schedule": {"factor": 0.1, "kind": "steps", "milestones": [0.5]}, '
    '"warmup": null}, "seed": 3}'
)


def test_spec_digest_is_the_sha256_of_what_was_asked(make_spec):
    assert make_spec(iterations=8, seed=3).sha256 == hashlib.sha256(ASKED.encode()).hexdigest()


def test_spec_digest_of_one_run_never_changes(make_spec):
    # golden value: a change of it cuts the link to every record written before
    assert make_spec(iterations=8, seed=3).sha256 == (
        "459db8ef21df36c90cfac2dbe21935be9a40706615743d5e5144a381a8bb9493"
    )


def test_spec_digest_does_not_depend_on_names_and_texts(make_spec):
    other = make_spec(recipe={"name": "other", "summary": "another sentence", "source": "elsewhere"})
    assert other.sha256 == make_spec().sha256
    assert other.label == "resnet20/other/fp32/seed 0"


def test_spec_digest_takes_equal_lengths_for_equal(make_spec):
    # 10 mini-batches of 16 are 0.0032 of 50,000 images
    assert make_spec(recipe={"epochs": 0.0032, "iterations": None}).sha256 == make_spec().sha256


OPTIMIZER = Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "plain20"},
        {"seed": 1},
        {"precision": Precision.BF16},
        {"iterations": 9},
        {"data": "cifar10"},
        {"recipe": {"batch_size": 8}},
        {"recipe": {"iterations": 11}},
        {"recipe": {"initialization": "implementation"}},
        {"recipe": {"normalization": Normalization(kind="none")}},
        {"recipe": {"augmentation": Augmentation(pad=4, flip=False)}},
        {"recipe": {"warmup": Warmup(learning_rate=0.01, iterations=1, min_depth=110)}},
        {"recipe": {"schedule": StepSchedule(kind="steps", milestones=(0.6,), factor=0.1)}},
        {"recipe": {"optimizer": OPTIMIZER.model_copy(update={"learning_rate": 0.06})}},
        {"recipe": {"optimizer": OPTIMIZER.model_copy(update={"momentum": 0.8})}},
        {"recipe": {"optimizer": OPTIMIZER.model_copy(update={"nesterov": True})}},
        {"recipe": {"optimizer": OPTIMIZER.model_copy(update={"weight_decay": 2e-4})}},
    ],
    ids=str,
)
def test_spec_digest_changes_with_whatever_decides_the_result(make_spec, change):
    assert make_spec(**({"iterations": 10} | change)).sha256 != make_spec(iterations=10).sha256


def test_run_is_frozen(make_spec):
    spec = make_spec()
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1
    with pytest.raises(ValidationError, match="frozen"):
        spec.recipe.optimizer.learning_rate = 1.0


def test_run_survives_its_own_json(make_spec):
    spec = make_spec(seed=2**63 - 1)
    again = RunSpec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert isinstance(again.recipe, Recipe)


def test_a_length_that_rounds_to_nothing_is_one_iteration(make_recipe):
    assert make_recipe(epochs=1e-300, iterations=None).num_iterations() == 1


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (
            "iterations = 1000",
            f"iterations = {2**63}",
            r"iterations = 9223372036854775808: .*less than or equal",
        ),
        ("iterations = 1000", "epochs = 1e308", r"epochs = 1e\+308: .*less than or equal to 1000000$"),
        ("iterations = 1000", f"iterations = {'9' * 5000}", "not TOML: Exceeds the limit"),
        ("iterations = 1000", f"iterations = {'[' * 3000}", "not TOML: maximum recursion depth"),
        ("iterations = 1000", f"{'.'.join('a' * 3000)} = 1", r"a = \(dict\): unknown key"),
        ('"s"', f"0x{'f' * 5000}", r"summary = \(int\): "),
        ('"s"', f'["{"y" * 10**6}"]', r"summary = \['y{195}\.\.\.: "),
        ('kind = "sgd"', r'kind = "\u001f"', r"Input tag '\\x1f' found"),
        ("batch_size", f'name = "{"a" * 101}"\nbatch_size', "at most 100 characters"),
    ],
)
def test_a_recipe_that_is_meant_to_break_its_reader_is_refused_in_a_line(tmp_path, old, new, complaint):
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_recipe(str(path))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("path", ["a\0.toml", "a\n.toml", f"{'a' * 5000}.toml", "\x1b[2J.toml"])
def test_a_path_that_no_file_has_is_refused_in_a_line(path):
    with pytest.raises(ConfigError, match="cannot be read: ") as caught:
        load_recipe(path)
    assert str(caught.value).isprintable()
