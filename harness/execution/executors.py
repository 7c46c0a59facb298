"""Who executes runs: this process, processes of this machine, or a Ray cluster. The bits of a run do not depend on it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.environment import Environment
    from harness.execution.job import Job, RunObserver
    from harness.execution.ledger import Execution
    from harness.execution.session import Session

__all__ = ["Executor", "ExecutorName", "choose_executor"]

ExecutorName = Literal["local", "in-process", "ray"]


class Executor(Protocol):
    """Runs jobs, each once whoever else is at them, and records how they end."""

    def __call__(self, jobs: Sequence[Job], environment: Environment, *, observer: RunObserver) -> Execution:
        """See `harness.execution.local.execute`."""


def choose_executor(
    name: ExecutorName, session: Session, *, address: str | None = None, num_workers: int | None = None
) -> Executor:
    """The executor of a name; what it needs is imported only now.

    Args:
        name: of it.
        session: for how many processes there are to be.
        address: of a Ray cluster; None: the one of the variable ``RAY_ADDRESS``, or else one of this machine alone.
        num_workers: that were asked for; the session has them already.

    Raises:
        UsageError: an address is given to another executor than Ray, or workers to another than that of this machine.
    """
    if num_workers is not None and name != "local":
        raise UsageError(f"--workers {num_workers}: only --executor local has workers; leave one of them out")
    if address is not None and name != "ray":
        raise UsageError(f"--address {address}: only --executor ray has an address; leave one of them out")
    if name == "in-process":
        from harness.execution import in_process

        return in_process.execute
    if name == "ray":
        from harness.execution import on_ray

        return functools.partial(on_ray.execute, address=address, runs_at_once=session.runs_at_once)
    from harness.execution import local

    return functools.partial(
        local.execute, num_workers=session.num_workers, runs_at_once=session.runs_at_once
    )
