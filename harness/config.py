"""What is asked for: recipes, runs and experiments. Frozen, validated, hashed.

A *recipe* is a training protocol, an *experiment* is models x recipes x seeds, and a *run* is one of its
cells. Recipes and experiments are TOML files; the ones the harness ships lie in ``recipes/`` and
``experiments/`` beside this module. No torch here: planning must start fast.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.errors import ConfigError, UnknownNameError, printable

__all__ = [
    "Adam",
    "Augmentation",
    "CosineSchedule",
    "Experiment",
    "Group",
    "LinearSchedule",
    "Normalization",
    "Precision",
    "Recipe",
    "RunSpec",
    "Sgd",
    "StepSchedule",
    "Warmup",
    "experiment_names",
    "load_experiment",
    "load_recipe",
    "recipe_names",
]

NUM_TRAIN_IMAGES = 50_000
MAX_EPOCHS = 1_000_000
"""Of any recipe: more would be no length that a run can have."""
MAX_ITERATIONS = MAX_EPOCHS * NUM_TRAIN_IMAGES
MAX_NAME = 100
"""Characters of a name, which becomes part of names of files."""
_Loaded = TypeVar("_Loaded", "Recipe", "Experiment")


class Precision(StrEnum):
    """Arithmetic of the forward and backward pass; weights and optimiser state stay float32.

    ``fp32`` is IEEE single precision throughout; ``tf32`` lets CUDA's matrix units round the inputs of
    matrix products and convolutions to 10 bits of mantissa; ``bf16`` is autocast to bfloat16.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Epochs = Annotated[float, Field(gt=0, le=MAX_EPOCHS)]
Count = Annotated[int, Field(gt=0, le=MAX_ITERATIONS)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
ChannelTriple = Annotated[tuple[_Finite, _Finite, _Finite], Field(strict=False)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Sgd(_Model):
    """Stochastic gradient descent; weight decay acts on every parameter."""

    kind: Literal["sgd"] = "sgd"
    learning_rate: Positive
    """The peak learning rate."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False
    weight_decay: NonNegative = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError(
                f"Nesterov needs momentum > 0, not {self.momentum}; set momentum, or nesterov = false"
            )
        return self


class Adam(_Model):
    """Adam (Kingma and Ba, arXiv:1412.6980) with PyTorch's betas and epsilon."""

    kind: Literal["adam"]
    learning_rate: Positive
    """The peak learning rate."""
    weight_decay: NonNegative = 0.0
    """As an L2 penalty on every parameter."""


class StepSchedule(_Model):
    """The learning rate is multiplied by ``factor`` at each milestone."""

    kind: Literal["steps"]
    milestones: Annotated[tuple[Fraction, ...], Field(strict=False)]
    """Fractions of the length, so that a shortened run has the same shape."""
    factor: Fraction

    @model_validator(mode="after")
    def _milestones_ascend(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(
                f"milestones must ascend without repetition, not {list(self.milestones)}; sort them"
            )
        return self


class LinearSchedule(_Model):
    """From 0 up to the peak over ``warmup`` of the length, then linearly down to 0."""

    kind: Literal["linear"]
    warmup: Annotated[float, Field(ge=0, lt=1)]


class CosineSchedule(_Model):
    """From the peak down to 0 along half a cosine."""

    kind: Literal["cosine"]
    per: Literal["epoch", "iteration"]
    """How often the learning rate changes."""


class Warmup(_Model):
    """A lower constant learning rate at the start, for networks of at least ``min_depth`` layers."""

    learning_rate: Positive
    iterations: Count
    """Of the recipe's full length; a shortened run shortens its warm-up alike."""
    min_depth: Count


class Augmentation(_Model):
    """Zero-pad each side by ``pad``, crop 32x32 at random, mirror with probability one half."""

    pad: Annotated[int, Field(ge=0, le=16)] = 0
    flip: bool = False


class Normalization(_Model):
    """What is done to pixels scaled to [0, 1].

    ``per-pixel-mean`` subtracts the training set's mean image (3x32x32); ``channel`` subtracts ``mean``
    and divides by ``std`` per channel; ``none`` leaves them.
    """

    kind: Literal["per-pixel-mean", "channel", "none"]
    mean: ChannelTriple | None = None
    std: ChannelTriple | None = None

    @model_validator(mode="after")
    def _statistics_belong_to_channel(self) -> Self:
        if (self.mean is None or self.std is None) if self.kind == "channel" else (self.mean or self.std):
            raise ValueError(
                f"kind = 'channel' needs mean and std, other kinds take neither; kind is {self.kind!r}"
            )
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be positive, not {list(self.std)}")
        return self


NAMES_AND_LENGTH = ("name", "summary", "source", "epochs", "iterations")
"""Fields of a recipe that are no part of its protocol."""

_ADDED_LATER = {"last_batch": "carry"}
"""Fields that earlier versions lacked: at their defaults they are left out of the digest of a run, so that it
stays what it was."""


class Recipe(_Model):
    """A training protocol."""

    name: Name
    summary: str
    """One sentence for people."""
    source: str
    """Where the protocol is stated, and in what we depart from it."""
    batch_size: Annotated[int, Field(gt=0, le=NUM_TRAIN_IMAGES)]
    epochs: Epochs | None = None
    """Length in passes over the training set; or else ``iterations``."""
    iterations: Count | None = None
    """Length in mini-batches; or else ``epochs``."""
    last_batch: Literal["carry", "keep"] = "carry"
    """Where a pass is no multiple of the mini-batch: ``carry`` fills the last one from the next pass, ``keep``
    ends the pass with a smaller one, as PyTorch's data loader does."""
    optimizer: Annotated[Sgd | Adam, Field(discriminator="kind")]
    schedule: Annotated[StepSchedule | LinearSchedule | CosineSchedule, Field(discriminator="kind")]
    warmup: Warmup | None = None
    augmentation: Augmentation = Augmentation()
    normalization: Normalization
    initialization: Literal["he", "implementation"]
    """``he``: every weight is drawn anew as He et al. (2015) prescribe; ``implementation``: left alone."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.iterations is None):
            raise ValueError("give exactly one of epochs and iterations")
        return self

    def num_iterations(self, num_train_images: int = NUM_TRAIN_IMAGES) -> int:
        """The full length in mini-batches; a last fraction of one is rounded up."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None
        per_pass = num_train_images / self.batch_size
        if self.last_batch == "keep":
            per_pass = math.ceil(per_pass)
        return max(1, math.ceil(round(self.epochs * per_pass, 9)))

    def protocol(self) -> dict[str, Any]:
        """The part that decides the numbers: everything but the texts and the length."""
        protocol = self.model_dump(mode="json", exclude=set(NAMES_AND_LENGTH))
        for name, default in _ADDED_LATER.items():
            if protocol[name] == default:
                del protocol[name]
        return protocol


class RunSpec(_Model):
    """One training run, as asked for: model + recipe + length + seed + precision + data."""

    model: str
    recipe: Recipe
    iterations: Count
    seed: Seed
    precision: Precision
    data: Literal["cifar10", "synthetic"]

    @property
    def shortened(self) -> bool:
        """Whether the run is shorter than its recipe says: its results are then no claim about it."""
        return self.iterations < self.recipe.num_iterations()

    @property
    def sha256(self) -> str:
        """Digest of what was asked: equal for equal questions, whatever file, machine or time."""
        asked = {
            "model": self.model,
            "protocol": self.recipe.protocol(),
            "full_iterations": self.recipe.num_iterations(),
            "iterations": self.iterations,
            "seed": self.seed,
            "precision": self.precision.value,
            "data": self.data,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def columns(self) -> dict[str, Any]:
        """What was asked, as columns of the records of kind ``runs``."""
        return {
            "spec_sha256": self.sha256,
            "model": self.model,
            "recipe": self.recipe.name,
            "seed": self.seed,
            "precision": self.precision.value,
            "data": self.data,
            "iterations": self.iterations,
            "batch_size": self.recipe.batch_size,
            "shortened": self.shortened,
        }

    @property
    def label(self) -> str:
        """Short name for people, e.g. ``resnet20/short/bf16/seed 0``."""
        return f"{self.model}/{self.recipe.name}/{self.precision.value}/seed {self.seed}"


_PrecisionName = Literal["fp32", "tf32", "bf16", "auto"]


class Group(_Model):
    """Models x one recipe x seeds, a part of an experiment."""

    models: Annotated[tuple[str, ...], Field(min_length=1, strict=False)]
    recipe: str
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1, strict=False)]
    epochs: Epochs | None = None
    """Shortens the recipe, in passes over the training set."""
    iterations: Count | None = None
    """Shortens the recipe, in mini-batches."""
    precisions: Annotated[tuple[_PrecisionName, ...], Field(min_length=1, strict=False)] | None = None
    """In place of the experiment's one: each run once in each of those that the device has."""

    @model_validator(mode="after")
    def _at_most_one_length(self) -> Self:
        if self.epochs is not None and self.iterations is not None:
            raise ValueError("give at most one of epochs and iterations")
        return self


class Experiment(_Model):
    """A question, as a set of runs."""

    name: Name
    summary: str
    """One sentence for people."""
    precision: _PrecisionName
    """``auto``: bf16 where the hardware computes it natively, else fp32."""
    shows: str
    """What the results can be taken to show."""
    shows_not: str
    """What they must not be taken to show."""
    groups: Annotated[tuple[Group, ...], Field(min_length=1, strict=False)]


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the harness."""
    return _shipped("recipes")


def experiment_names() -> list[str]:
    """Names of the experiments that ship with the harness."""
    return _shipped("experiments")


def load_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name, or any by the path of its TOML file.

    Raises:
        UnknownNameError: there is no such recipe.
        ConfigError: the file is no valid recipe; the message names file, key, value and remedy.
    """
    return _load(Recipe, "recipe", name_or_path)


def load_experiment(name_or_path: str) -> Experiment:
    """Read a shipped experiment by name, or any by the path of its TOML file.

    Recipes that it names by a path are looked for beside it.

    Raises:
        UnknownNameError: there is no such experiment.
        ConfigError: the file is no valid experiment; the message names file, key, value and remedy.
    """
    experiment = _load(Experiment, "experiment", name_or_path)
    folder = Path(name_or_path).parent
    groups = tuple(
        group.model_copy(update={"recipe": str(folder / group.recipe)})
        if group.recipe.endswith(".toml")
        else group
        for group in experiment.groups
    )
    return experiment.model_copy(update={"groups": groups})


def _shipped(folder: str) -> list[str]:
    entries = resources.files("harness").joinpath(folder).iterdir()
    return sorted(entry.name.removesuffix(".toml") for entry in entries if entry.name.endswith(".toml"))


def _load(kind: type[_Loaded], noun: str, name_or_path: str) -> _Loaded:
    if name_or_path.endswith(".toml"):
        path = Path(name_or_path)
        shown, name = printable(path), path.stem
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: no UTF-8, or NUL in the path
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"{shown}: cannot be read: {reason}") from error
    else:
        folder, name = f"{noun}s", name_or_path
        if name not in _shipped(folder):
            raise UnknownNameError(noun, name, _shipped(folder))
        shown = f"{folder}/{name}.toml"
        text = resources.files("harness").joinpath(shown).read_text(encoding="utf-8")
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: an integer of thousands of digits too
        raise ConfigError(f"{shown}: not TOML: {printable(error)}") from error
    try:
        return kind.model_validate({"name": name, **content})
    except ValidationError as error:
        raise ConfigError(_one_line(shown, error)) from error


_KINDS = {"schedule": {"steps", "linear", "cosine"}, "optimizer": {"sgd", "adam"}}
_REMEDIES = {
    "union_tag_not_found": "its key kind is missing; add it",
    "extra_forbidden": "unknown key; remove it or correct its spelling",
    "missing": "required key is missing; add it",
}


def _one_line(shown: str, error: ValidationError) -> str:
    """The first problem of a file in one line: file, key, value, remedy."""
    first, *others = error.errors(include_url=False)
    # pydantic puts the kind it has chosen into the key; in the file it does not stand there
    parts = [
        part
        for before, part in zip((None, *first["loc"]), first["loc"], strict=False)
        if part not in _KINDS.get(str(before), ())
    ]
    key = printable(".".join(map(str, parts))) or "(whole file)"
    problem = printable(_REMEDIES.get(first["type"], first["msg"].removeprefix("Value error, ")), 500)
    value = "" if first["type"] in {"missing", "value_error"} else f" = {_literal(first['input'])}"
    more = f" (and {len(others)} more)" if others else ""
    return f"{shown}: {key}{value}: {problem}{more}"


def _literal(value: object) -> str:
    """A value of a file as Python writes it, or else its type."""
    try:
        return printable(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits, tables within tables
        return f"({type(value).__name__})"
