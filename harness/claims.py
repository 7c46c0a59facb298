"""Published results as data, from ``claims.toml``: who says what of which model, and how it was chosen."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Claim", "claims"]


class Claim(BaseModel):
    """One published number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    key: str
    claimant: str
    model: str
    """Key of the catalogue; the model may still be to come."""
    test_error_percent: Annotated[float, Field(gt=0, lt=100)]
    selection: Literal["last", "mean-of-5-runs", "best-of-5-runs", "best-on-test", "unknown"]
    """How the number was chosen."""
    recipes: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """The harness's recipes for the documented protocol, any of which will do; none where none is documented, or it is
    another."""
    stated_in: str
    read_from_figure: bool = False
    note: str = ""


@functools.cache
def claims() -> Mapping[str, Claim]:
    """Every claim, by key, in the order of the file."""
    text = resources.files("harness").joinpath("claims.toml").read_text(encoding="utf-8")
    listed = [Claim.model_validate(entry) for entry in tomllib.loads(text)["claims"]]
    by_key = {claim.key: claim for claim in listed}
    assert len(by_key) == len(listed), "keys of claims are unique"
    return MappingProxyType(by_key)
