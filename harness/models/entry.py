"""What the catalogue knows of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.models.distributions import installed_version
from harness.models.upstream import UpstreamFile

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Family", "ModelEntry"]

Family = Literal["resnet", "plain", "vgg"]


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model: what it is, where it comes from, and how to build it.

    Of a network of one's own, nothing but its code is known.
    """

    key: str
    """The name used on the command line and in records."""
    source: Literal["ours", "pypi", "git", "own"]
    distribution: str | None = None
    """What to install with pip; None for others."""
    upstream: UpstreamFile | None = None
    """The file of a git repository; None for others."""
    code_sha256: str | None = None
    """Of the code of a network of one's own; None for others."""
    licence: str | None = None
    """Of the code, as an SPDX identifier."""
    family: Family | None = None
    depth: int | None = None
    """Weighted layers on the main path."""
    shortcut: Literal["A", "B", "3x3", "none"] | None = None
    """Where dimensions grow: padding (A), projection by a 1x1 (B) or 3x3 convolution, or none."""
    adapted: str = ""
    """What was changed in what is distributed, and why; empty where nothing was."""
    build: Callable[[], nn.Module]
    """Makes a new network from images (N, 3, 32, 32) to logits (N, 10), freshly initialised.

    Raises `ModelError` where the distribution is not installed, the file is not on this machine, or a network of
    one's own breaks the contract.
    """

    @property
    def version(self) -> str | None:
        """The installed version of the distribution, or the commit; None where there is neither."""
        if self.upstream is not None:
            return self.upstream.commit
        return installed_version(self.distribution) if self.distribution else None

    @property
    def origin(self) -> str:
        """Where it comes from, in words that change when its code does.

        ``ours``, ``timm 1.0.31``, ``timm, not installed``, ``OWNER/NAME@0123456789``, ``own code 0123456789``.
        """
        if self.upstream is not None:
            return f"{self.upstream.name.replace('+', '/')}@{self.upstream.commit[:10]}"
        if self.code_sha256 is not None:
            return f"{self.distribution or 'own'} code {self.code_sha256[:10]}"
        if self.distribution is None:
            return self.source
        return (
            f"{self.distribution} {self.version}" if self.version else f"{self.distribution}, not installed"
        )
