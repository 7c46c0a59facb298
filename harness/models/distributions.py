"""Installed packages that networks come from: their versions, and what to do when they are missing."""

from __future__ import annotations

from importlib import import_module, metadata

from harness.errors import ModelError

__all__ = ["import_distribution", "installed_version"]


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, None if it is not installed; imports nothing of it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def import_distribution(distribution: str) -> None:
    """Import the package of a distribution that has the same name.

    Raises:
        ModelError: it is not installed, or does not fit the other packages here; the message names the remedy.
    """
    try:
        import_module(distribution)
    except (ImportError, RuntimeError) as error:  # operators built for another torch are a RuntimeError
        if isinstance(error, ModuleNotFoundError) and error.name == distribution:
            message = f"{distribution} is not installed; install it with: pip install {distribution}"
        else:
            reason = " ".join(str(error).split())
            message = (
                f"{distribution} {installed_version(distribution)} is installed but cannot be imported: {reason}; "
                f"install versions that belong together with: pip install --upgrade torch {distribution}"
            )
        raise ModelError(message) from error
