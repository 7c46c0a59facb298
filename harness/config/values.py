"""What every part of a question is made of: strictness, and kinds of values with their limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "NUM_TRAIN_IMAGES",
    "ChannelTriple",
    "Count",
    "Epochs",
    "Fraction",
    "Name",
    "NonNegative",
    "Positive",
    "Seed",
    "StrictModel",
]

NUM_TRAIN_IMAGES = 50_000
MAX_EPOCHS = 1_000_000
"""Of any recipe: more would be no length that a run can have."""
MAX_ITERATIONS = MAX_EPOCHS * NUM_TRAIN_IMAGES
MAX_NAME = 100
"""Characters of a name, which becomes part of names of files."""


class StrictModel(BaseModel):
    """Takes no unknown key and no value of another type, and never changes."""

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
