"""Recipes and experiments read from their TOML files, shipped ones by name; a mistake is told in one line."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from harness.config.experiment import Experiment
from harness.config.recipe import Recipe
from harness.errors import ConfigError, UnknownNameError, printable

__all__ = ["experiment_names", "load_experiment", "load_recipe", "recipe_names"]

_Loaded = TypeVar("_Loaded", Recipe, Experiment)


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
    return (
        _load(Recipe, "recipe", name_or_path)
        if name_or_path.endswith(".toml")
        else _shipped_recipe(name_or_path)
    )


@functools.cache
def _shipped_recipe(name: str) -> Recipe:
    """Read once; it cannot be changed."""
    return _load(Recipe, "recipe", name)


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
