"""Few commands that make given runs. No torch."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.config import Experiment, experiment_names, load_experiment, runs_asked
from harness.errors import UsageError

__all__ = ["Cell", "Command", "commands_for", "seed_ranges"]

Cell = tuple[str, str, int, str, int]
"""What is asked of a run: model, recipe, iterations, precision (``auto`` where the hardware decides), seed."""

_ONE_RUN: Final = "run"
"""The experiment that ``harness run`` names in its records; there is no file of it."""


@dataclass(frozen=True)
class Command:
    """That makes some runs."""

    words: Sequence[str]
    """Empty where ``harness run`` makes the run."""
    makes: frozenset[Cell]
    exact: bool
    """Whether the command, as this version of the harness reads it, makes these and no others."""


def seed_ranges(seeds: Iterable[int]) -> list[str]:
    """Seeds as the option ``--seeds`` takes them, three and more in succession as a range: ``["0", "2", "5-7"]``."""
    ranges = []
    for _, numbered in itertools.groupby(enumerate(sorted(set(seeds))), key=lambda pair: pair[1] - pair[0]):
        its = [seed for _, seed in numbered]
        ranges += [f"{its[0]}-{its[-1]}"] if len(its) > 2 else [str(seed) for seed in its]
    return ranges


_experiment = functools.cache(load_experiment)


def _models_of(experiment: Experiment) -> list[str]:
    return list(dict.fromkeys(model for group in experiment.groups for model in group.models))


def _asked(experiment: Experiment, **options: Any) -> set[Cell]:
    """The runs that ``harness reproduce`` makes of an experiment; none if a recipe is shorter than asked."""
    try:
        runs = runs_asked(experiment, **options)
    except UsageError:
        return set()
    return {(run.model, run.recipe.name, run.iterations, run.precision, run.seed) for run in runs}


def commands_for(name: str, cells: frozenset[Cell], device: str, *, of_today: bool) -> Iterable[Command]:
    """Few commands that make these runs between them, each run once.

    Of the experiment itself if it ships with the harness; else of another that does, with everything said; else of its
    own file, which is not known but for its name; else one run each.
    """
    left = set(cells)

    def take(choose: Callable[[], Command | None]) -> Iterable[Command]:
        while left and (command := choose()) is not None:
            yield command
            left.difference_update(command.makes)

    if name in experiment_names():
        yield from take(lambda: _best([name], left, device, exact=of_today))
    if of_today:
        yield from take(lambda: _best(experiment_names(), left, device, exact=True, in_full=True))
    if name != _ONE_RUN:
        yield from _of_file(name, left)
    yield from (Command((), frozenset([cell]), of_today) for cell in sorted(left))


def _best(
    names: Iterable[str], cells: Collection[Cell], device: str, *, exact: bool, in_full: bool = False
) -> Command | None:
    """The command of an experiment that makes most of these runs and no other; of several, one of few options.

    Args:
        names: of experiments.
        cells: runs that are to be made.
        device: type of it.
        exact: whether recipes are what they were.
        in_full: say everything, and make more than one run.
    """
    candidates: list[tuple[int, int, Command]] = []
    for name in names:
        experiment = _experiment(name)
        listed = _models_of(experiment)
        models = [*listed, *sorted({cell[0] for cell in cells} - set(listed))]
        models = [model for model in models if _can_be_listed(model)]
        for seeds, precision, iterations in _wishes(cells):
            if in_full and None in {seeds, precision, iterations}:
                continue
            makes: dict[str, set[Cell]] = {}
            for model in models:
                asked = _asked(
                    experiment,
                    device=device,
                    models=[model],
                    seeds=seeds,
                    precision=precision,
                    iterations=iterations,
                )
                if asked and asked.issubset(cells):
                    makes[model] = asked
            words = {
                "--models": ",".join(makes) if in_full or set(makes) != set(listed) else None,
                "--seeds": None if seeds is None else ",".join(seed_ranges(seeds)),
                "--precision": precision,
                "--iterations": None if iterations is None else str(iterations),
            }
            given = [(option, value) for option, value in words.items() if value is not None]
            made = frozenset[Cell]().union(*makes.values())
            if len(made) > (1 if in_full else 0):
                command = ("harness", "reproduce", name, *itertools.chain.from_iterable(given))
                candidates.append((len(made), -len(given), Command(command, made, exact)))
    return max(candidates, key=lambda candidate: candidate[:2])[2] if candidates else None


def _wishes(cells: Iterable[Cell]) -> Iterable[tuple[tuple[int, ...] | None, str | None, int | None]]:
    """Seeds, precisions and lengths that commands may name."""
    by_question: dict[tuple[Any, ...], set[int]] = {}
    for *question, seed in cells:
        by_question.setdefault(tuple(question), set()).add(seed)
    seeds = sorted({tuple(sorted(its)) for its in by_question.values()})
    precisions = sorted({precision for _, _, _, precision, _ in cells})
    lengths = sorted({iterations for _, _, iterations, _, _ in cells})
    return itertools.product([None, *seeds], [None, *precisions], [None, *lengths])


def _of_file(name: str, left: set[Cell]) -> Iterable[Command]:
    """Commands for what is left, where they make more than one run; these are taken from it."""
    by_question: dict[tuple[str, int, str], dict[str, set[int]]] = {}
    for model, recipe, iterations, precision, seed in sorted(left):
        if _can_be_listed(model):
            by_question.setdefault((recipe, iterations, precision), {}).setdefault(model, set()).add(seed)
    for (recipe, iterations, precision), by_model in by_question.items():
        by_seeds: dict[tuple[int, ...], list[str]] = {}
        for model, seeds in by_model.items():
            by_seeds.setdefault(tuple(sorted(seeds)), []).append(model)
        for its, models in by_seeds.items():
            made = frozenset((model, recipe, iterations, precision, seed) for model in models for seed in its)
            if len(made) > 1:
                words = ["harness", "reproduce", f"{name}.toml", "--models", ",".join(models)]
                words += ["--seeds", ",".join(seed_ranges(its))]
                words += ["--precision", precision, "--iterations", str(iterations)]
                yield Command(words, made, exact=False)
                left -= made


def _can_be_listed(model: str) -> bool:
    """Whether ``--models`` can name it among others."""
    return bool(model) and model == model.strip() and "," not in model
