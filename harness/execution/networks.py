"""Before runs begin: networks that cannot be had are found out, and their runs recorded as skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from harness.environment import Environment
from harness.errors import ModelError
from harness.execution.job import Job
from harness.execution.ledger import record_failure
from harness.execution.recording import failed_row
from harness.models import ModelEntry, find
from harness.models.distributions import not_installed
from harness.models.upstream import UpstreamFile, fetch, is_here
from harness.records import Store

__all__ = ["have_file", "have_network", "prepare_networks"]

Tell = Callable[[str], None]


def prepare_networks(jobs: Sequence[Job], environment: Environment, tell: Tell) -> list[Job]:
    """Have the network of every job on this machine.

    Args:
        jobs: what is to run.
        environment: for the records of runs that are skipped.
        tell: is given a line about every network that is fetched or cannot be had.

    Returns:
        The jobs whose networks can be had; the others are recorded as skipped, with the reason, unless another process is
        at them, or they have come to their end since they were planned.

    Raises:
        ModelError: a network of one's own breaks the contract; nothing is recorded.
    """
    missing: dict[str, str] = {}
    for model in dict.fromkeys(job.spec.model for job in jobs):
        entry = find(model)
        if entry.source == "own":
            entry.build()
            continue
        try:
            have_network(entry, tell)
        except ModelError as error:
            missing[model] = str(error)
            tell(f"{model}: skipped: {error}")
    now = datetime.now(UTC)
    for job in jobs:
        if reason := missing.get(job.spec.model):
            record_failure(Store(job.results), failed_row(job, environment, reason, now, status="skipped"))
    return [job for job in jobs if job.spec.model not in missing]


def have_network(entry: ModelEntry, tell: Tell) -> None:
    """Fetch the code of a network of a repository unless it is here; find out whether a package is installed.

    Raises:
        ModelError: it cannot be had; the message says why.
    """
    if entry.upstream is not None:
        have_file(entry.upstream, entry.key, tell)
    elif entry.distribution is not None and entry.version is None:
        raise ModelError(not_installed(entry.distribution))


def have_file(file: UpstreamFile, model: str, tell: Tell) -> None:
    """Fetch a file of a repository unless it is here.

    Raises:
        ModelError: it cannot be had; the message says why.
    """
    if not is_here(file):
        tell(f"{model}: fetching {file.path} of {file.repository} at {file.commit[:10]}")
        fetch(file)
