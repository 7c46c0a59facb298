"""Published checkpoints as data, from ``checkpoints.toml``. Reading it imports no torch."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from harness.errors import UnknownNameError
from harness.models import find
from harness.models.upstream import UpstreamFile

__all__ = ["PublishedCheckpoint", "find_checkpoint", "published_checkpoints"]


@dataclass(frozen=True, kw_only=True)
class PublishedCheckpoint:
    """Weights that somebody published with a number."""

    model: str
    """Key of the catalogue, of a network of a repository; it is the checkpoint's key too."""
    file: UpstreamFile
    claim: str
    """Key of ``claims.toml``."""
    recipe: str
    """Whose normalisation the repository documents."""
    counterpart: str
    """The network of ours that the weights are carried over to."""


def published_checkpoints() -> dict[str, PublishedCheckpoint]:
    """All of them, by key of the model."""
    text = resources.files("harness.audit").joinpath("checkpoints.toml").read_text(encoding="utf-8")
    return {listed["model"]: _checkpoint(**listed) for listed in tomllib.loads(text)["checkpoints"]}


def find_checkpoint(model: str) -> PublishedCheckpoint:
    """The checkpoint of a model.

    Raises:
        UnknownNameError: none is known.
    """
    known = published_checkpoints()
    if model not in known:
        raise UnknownNameError("published checkpoint", model, known)
    return known[model]


def _checkpoint(*, model: str, path: str, sha256: str, **others: str) -> PublishedCheckpoint:
    code = find(model).upstream
    assert code is not None, "the model is of a repository"
    file = UpstreamFile(repository=code.repository, commit=code.commit, path=path, sha256=sha256)
    return PublishedCheckpoint(model=model, file=file, **others)
