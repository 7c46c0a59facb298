"""What networks reach of what their machine can do. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.analysis.timing import summarize_timing

__all__ = ["PASSES", "Roofline", "rooflines"]

PASSES: Final = {"train": 3, "infer": 1}
"""Through the network, of about as many operations each: backwards, there are the gradients of inputs and of weights."""
_CROSSINGS: Final = {"train": 5, "infer": 2}
"""How often an activation travels between memory and processor at least: it is written and read forwards; in training it is
read again backwards, where its gradient is written and read."""


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """What a cell reaches of what its machine can do (Williams, Waterman and Patterson, 2009)."""

    model: str
    mode: str
    batch_size: int
    intensity: float
    """Floating-point operations per byte that must travel between memory and processor at least, if no activation stays
    in a cache: more than the truth where more travels, less where caches help."""
    flops: float
    """Floating-point operations per second that were reached."""
    ceiling_flops: float
    """That the machine reached in the same session with one large operation."""
    ceiling_bytes: float
    """Bytes per second that the machine copied, read and written ones."""

    @property
    def attainable(self) -> float:
        """Floating-point operations per second under the roof at this intensity."""
        return min(self.ceiling_flops, self.intensity * self.ceiling_bytes)


def rooflines(cells: Iterable[Mapping[str, Any]]) -> list[Roofline]:
    """Measured cells whose operations and activations were counted, in order.

    Args:
        cells: rows of the records of kind ``profiles``, with rounds.
    """
    found = []
    for cell in cells:
        counted = ("macs", "activation_bytes_per_image", "ceiling_flops", "ceiling_copy_bytes")
        if cell["mode"] not in PASSES or not all(0 < (cell[name] or 0) < math.inf for name in counted):
            continue
        mode, size = cell["mode"], cell["batch_size"]
        bytes_a_number = 2 if cell["precision"] == "bf16" else 4
        operations = 2 * PASSES[mode] * cell["macs"] * size
        # activations are counted in float32; parameters stay in it, and are read once a pass
        activations = _CROSSINGS[mode] * cell["activation_bytes_per_image"] * bytes_a_number / 4 * size
        parameters = 4 * PASSES[mode] * (cell["parameters_total"] or 0)
        found.append(
            Roofline(
                model=cell["model"],
                mode=mode,
                batch_size=size,
                intensity=operations / (activations + parameters),
                flops=operations / summarize_timing(cell["round_seconds"]).median,
                ceiling_flops=cell["ceiling_flops"],
                ceiling_bytes=cell["ceiling_copy_bytes"],
            )
        )
    return found
