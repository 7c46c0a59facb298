"""How fast networks are trained here: as it is recorded, or else reckoned from how fast others are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from harness.config import Precision, RunSpec
from harness.errors import HarnessError
from harness.models import find

if TYPE_CHECKING:
    import pyarrow as pa

    from harness.environment import Environment

__all__ = ["Speeds", "known_speeds"]

_SECONDS_ON_A_CORE: Final = {Precision.BF16: 1.8e-3, Precision.FP32: 2.9e-3}
"""Of an image in the training of ResNet-20 on a CPU, as measured on Zen 4; a guess for any other."""
_GPU_SECONDS_PER_LAYER: Final = 60e-6
"""Of a mini-batch on a GPU, where small networks take as long as their kernels are many: a guess."""
_GPU_NETWORKS_UNTIL_FULL: Final = 3
"""That a GPU trains at once without any becoming slower: a guess."""
_REFERENCE: Final = "resnet20"
_DEPTH: Final = 20
_EVALUATION_SHARE: Final = 1.08


@dataclass(frozen=True)
class Speeds:
    """What is known of a kind of device, with as many threads and runs at once."""

    environment: Environment
    runs_at_once: int
    rates: Mapping[tuple[str, str], float]
    """Model and precision -> median images per second in training."""
    macs: Mapping[str, int]
    """Model -> multiply-accumulates for an image."""

    def images_per_second(self, spec: RunSpec) -> float:
        """Of a run, its evaluations included."""
        known = {
            model: rate for (model, precision), rate in self.rates.items() if precision == spec.precision
        }
        cost = self._cost(spec.model)
        if known:
            nearest = min(
                known, key=lambda model: (model != spec.model, abs(math.log(self._cost(model) / cost)))
            )
            return known[nearest] * self._cost(nearest) / cost / _EVALUATION_SHARE
        return self._guess(spec) / _EVALUATION_SHARE

    def _cost(self, model: str) -> float:
        """Time beside that of ResNet-20: on a CPU by arithmetic where that is known, else by depth."""
        if self.environment.device == "cpu" and {model, _REFERENCE} <= self.macs.keys():
            return self.macs[model] / self.macs[_REFERENCE]
        try:
            depth = find(model).depth
        except HarnessError:  # somebody's own network, recorded once, and gone
            depth = None
        return (depth or _DEPTH) / _DEPTH

    def _guess(self, spec: RunSpec) -> float:
        cost = self._cost(spec.model)
        if self.environment.device == "cpu":
            return self.environment.threads / (_SECONDS_ON_A_CORE[spec.precision] * cost)
        alone = spec.recipe.batch_size / (_GPU_SECONDS_PER_LAYER * _DEPTH * cost)
        return alone * min(1.0, _GPU_NETWORKS_UNTIL_FULL / self.runs_at_once)


def known_speeds(runs: pa.Table, cards: pa.Table, environment: Environment, runs_at_once: int) -> Speeds:
    """From what is recorded.

    Args:
        runs: records of that kind.
        cards: records of the kind ``identities``.
        environment: where runs would be trained.
        runs_at_once: in turn in one process.
    """
    columns = ["model", "precision", "device_name", "threads", "runs_at_once", "images_per_second", "macs"]
    place = (environment.device_name, environment.threads, runs_at_once)
    samples: dict[tuple[str, str], list[float]] = {}
    rows = runs.select(columns).to_pylist()
    counted = [*cards.select(["model", "macs"]).to_pylist(), *rows]
    macs = {row["model"]: row["macs"] for row in counted if row["macs"]}
    for row in rows:
        here = (row["device_name"], row["threads"], row["runs_at_once"] or 1)
        if here == place and row["images_per_second"]:
            samples.setdefault((row["model"], row["precision"]), []).append(row["images_per_second"])
    return Speeds(environment, runs_at_once, {key: median(values) for key, values in samples.items()}, macs)
