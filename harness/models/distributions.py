"""Installed packages that networks come from: their versions, and what to do when they are missing."""

from __future__ import annotations

from importlib import import_module, metadata

from harness.errors import ModelError

__all__ = ["import_distribution", "installed_version", "not_installed"]


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, None if it is not installed; imports nothing of it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def not_installed(distribution: str) -> str:
    """What to say of a distribution that is not there."""
    return f"{distribution} is not installed; install it with: pip install {distribution}"


def import_distribution(distribution: str) -> None:
    """Import the package of a distribution that has the same name, hyphens aside.

    Raises:
        ModelError: it is not installed, or does not fit the other packages here; the message names the remedy.
    """
    package = distribution.replace("-", "_")
    try:
        import_module(package)
    except (ImportError, RuntimeError) as error:  # operators built for another torch are a RuntimeError
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            message = not_installed(distribution)
        else:
            reason = " ".join(str(error).split())
            message = (
                f"{distribution} {installed_version(distribution)} is installed but cannot be imported: {reason}; "
                f"install versions that belong together with: pip install --upgrade torch {distribution}"
            )
        raise ModelError(message) from error
