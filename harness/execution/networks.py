"""Before runs begin: the code of networks from repositories is had, or their runs are recorded as skipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from harness.environment import Environment
from harness.errors import ModelError
from harness.execution.worker import Job, failed_row
from harness.models import find
from harness.models.upstream import fetch, read
from harness.records import Store

__all__ = ["fetch_networks"]


def fetch_networks(jobs: Sequence[Job], environment: Environment, tell: Callable[[str], None]) -> list[Job]:
    """Fetch what the jobs' networks need.

    Args:
        jobs: what is to run.
        environment: for the records of runs that are skipped.
        tell: is given a line about every network that is fetched or cannot be had.

    Returns:
        The jobs whose networks can be had; the others are recorded as skipped, with the reason.
    """
    missing: dict[str, str] = {}
    for model in dict.fromkeys(job.spec.model for job in jobs):
        try:
            _fetch(model, tell)
        except ModelError as error:
            missing[model] = str(error)
            tell(f"{model}: skipped: {error}")
    now = datetime.now(UTC)
    for job in jobs:
        if reason := missing.get(job.spec.model):
            Store(job.results).write_run(failed_row(job, environment, reason, now, status="skipped"))
    return [job for job in jobs if job.spec.model not in missing]


def _fetch(model: str, tell: Callable[[str], None]) -> None:
    file = find(model).upstream
    if file is None:
        return
    try:
        read(file)
    except ModelError:
        tell(f"{model}: fetching {file.path} of {file.repository} at {file.commit[:10]}")
        fetch(file)
        read(file)  # a wrong file in HARNESS_UPSTREAM_DIR stands before the one that was fetched
