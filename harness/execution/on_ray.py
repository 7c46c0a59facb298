"""Runs on a Ray cluster: a task each, wherever its threads or its share of a GPU are free.

Ray decides where; all else is as on one machine. A task connects back to this process and says on that line what becomes of
its runs. One whose node is lost is started again elsewhere, and goes on from its checkpoint, so results must lie where every
node finds them under the same path.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
    wait,
)
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from harness.environment import Environment
from harness.errors import UsageError
from harness.execution.job import Ended, Job, RunObserver
from harness.execution.ledger import Execution
from harness.execution.pool import Pool, Worker
from harness.execution.worker import ConnectionLine, differences, do_jobs
from harness.storage import is_remote

if TYPE_CHECKING:
    from ray import ObjectRef

__all__ = ["execute"]

NUM_LOSSES = 3
"""So often a run may lose its node."""
MAX_TASKS = 256
"""Given to Ray at a time; each has a thread here that listens."""
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_OF_SILENCE = 5.0
"""Of a task, until Ray is asked whether it is there still: a node that loses its power closes no connection."""
SECONDS_TO_ANSWER = 10


def execute(
    jobs: Sequence[Job],
    environment: Environment,
    *,
    address: str | None = None,
    runs_at_once: int = 1,
    observer: RunObserver,
) -> Execution:
    """Run jobs on a cluster and record those that fail; the others record themselves.

    Signals are handled as by `harness.execution.local.execute`.

    Args:
        jobs: what to run, in order.
        environment: that the nodes must have too, as far as it decides bits; elsewhere runs fail, and say why.
        address: of the cluster, as ``ray.init`` takes it; None: the one of the variable ``RAY_ADDRESS``, or else one of this
            machine alone, for as long as it takes.
        runs_at_once: share a GPU.
        observer: is told of every event.

    Raises:
        StorageError: results cannot be written; all tasks have stopped.
        UsageError: Ray is not installed, or there is no cluster.
    """
    with _cluster(address) as ray, _Door(ray.util.get_node_ip_address()) as door:
        start = _Starter(ray, door, runs_at_once)
        pool = Pool(
            [replace(job, results=_everywhere(job.results)) for job in jobs],
            environment,
            observer,
            start,
            num_workers=MAX_TASKS,
            num_losses=NUM_LOSSES,
        )
        return pool.run()


def _everywhere(results: Path) -> Path:
    """The folder as every node finds it, wherever a task begins."""
    return results if is_remote(results) else results.absolute()


@contextmanager
def _cluster(address: str | None) -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "--executor ray: Ray is not installed; install it (pip install ray), or choose another executor"
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = address or os.environ.get("RAY_ADDRESS")
    was_connected = ray.is_initialized()
    if not was_connected:
        if address is not None:
            _check_address(address)
        ray.init(address=address, include_dashboard=None if address else False, log_to_driver=False)
    try:
        yield ray
    finally:
        if not was_connected:
            ray.shutdown()


def _check_address(address: str) -> None:
    """Whether anybody answers; Ray itself would try for minutes, and then end the process.

    Raises:
        UsageError: nobody does, or it is no address.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise UsageError(
            f"--address {address}: write HOST:PORT of the head of the cluster, from one of its nodes"
        )
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address}: {error}; start one with `ray start --head`"
        ) from error


class _Door:
    """Where tasks connect to.

    Args:
        host: by which nodes know this one.
    """

    def __init__(self, host: str) -> None:
        self.key = secrets.token_bytes(32)
        self._listener = Listener((host, 0), backlog=MAX_TASKS)
        self._is_closed = threading.Event()
        self._come: dict[str, Connection] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> tuple[str, int]:
        """Of this end."""
        host, port = self._listener.address
        return str(host), int(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed.set()
        self._listener.close()

    def wait_for(self, token: str, seconds: float) -> Connection | None:
        """The connection of a task, if it has come."""
        with self._changed:
            self._changed.wait_for(lambda: token in self._come, timeout=seconds)
            return self._come.pop(token, None)

    def _listen(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                if self._is_closed.wait(SECONDS_BETWEEN_LOOKS):
                    return
                continue
            # whoever says nothing keeps nobody else waiting
            threading.Thread(target=self._admit, args=(connection,), daemon=True).start()

    def _admit(self, connection: Connection) -> None:
        """Take in a task; turn away whoever does not know the key, or says something else."""
        try:
            deliver_challenge(connection, self.key)
            answer_challenge(connection, self.key)
            token = connection.recv()
        except (EOFError, OSError, AuthenticationError):
            connection.close()
            return
        with self._changed:
            self._come[token] = connection
            self._changed.notify_all()


@dataclass
class _Task:
    """What stands for a process of this machine."""

    ray: Any
    reference: ObjectRef[None]
    thread: threading.Thread | None = None
    exitcode: int | None = None

    def join(self) -> None:
        """Wait until it has ended."""
        if self.thread is not None:
            self.thread.join()

    def kill(self) -> None:
        """Without a word."""
        self.ray.cancel(self.reference, force=True)


class _Starter:
    def __init__(self, ray: Any, door: _Door, runs_at_once: int) -> None:
        self._ray, self._door, self._runs_at_once = ray, door, runs_at_once
        variables = {name: value for name, value in os.environ.items() if name.startswith("HARNESS_")}
        # a process has but one precision, so each task has a process of its own
        self._remote = ray.remote(max_calls=1, max_retries=0, runtime_env={"env_vars": variables})(
            _do_jobs_elsewhere
        )

    def __call__(self, jobs: Sequence[Job]) -> Worker:
        token, first = secrets.token_hex(16), jobs[0]
        on_gpu = first.device != "cpu"
        reference = self._remote.options(
            name=first.run_id,
            num_cpus=first.num_threads,
            num_gpus=1 / self._runs_at_once if on_gpu else 0,
        ).remote(jobs, self._door.address, self._door.key, token, str(Path.cwd()))
        task = _Task(self._ray, reference)
        ours, theirs = Pipe()
        task.thread = threading.Thread(target=self._relay, args=(task, token, theirs), daemon=True)
        task.thread.start()
        return Worker({job.run_id: job for job in jobs}, task, ours, datetime.now(UTC))

    def _relay(self, task: _Task, token: str, theirs: Connection) -> None:
        """Between a task and the pool, until one of them is gone."""
        with theirs:
            connection = self._wait_for(task, token, theirs)
            if connection is not None:
                with connection:
                    _pump(connection, theirs, lambda: self._has_ended(task))
            with suppress(Exception):  # whatever it died of, it has died
                self._ray.get(task.reference, timeout=SECONDS_BETWEEN_LOOKS)

    def _wait_for(self, task: _Task, token: str, theirs: Connection) -> Connection | None:
        """Until a task begins, which can take as long as others hold the nodes; None if it never will."""
        while (connection := self._door.wait_for(token, SECONDS_BETWEEN_LOOKS)) is None:
            if theirs.poll():  # to be stopped before it has begun
                self._ray.cancel(task.reference, force=True)
                return None
            if self._has_ended(task) and (connection := self._door.wait_for(token, 0)) is None:
                return None
        return connection

    def _has_ended(self, task: _Task) -> bool:
        ended, _ = self._ray.wait([task.reference], timeout=0)
        return bool(ended)


def _pump(task: Connection, pool: Connection, has_ended: Callable[[], bool]) -> None:
    """What one says is told to the other, until one is gone, or the task has ended and nothing of it is under way."""
    ended = False
    while True:
        ready = wait([task, pool], SECONDS_OF_SILENCE)
        if not ready:
            if ended:
                return
            ended = has_ended()
        try:
            if task in ready:
                pool.send(task.recv())
            if pool in ready:
                task.send(pool.recv())
        except (EOFError, OSError):
            return


def _do_jobs_elsewhere(
    jobs: Sequence[Job], address: tuple[str, int], key: bytes, token: str, folder: str
) -> None:
    """The entry point on a node."""
    with suppress(OSError):  # own networks are looked for in the folder from which they were asked for
        os.chdir(folder)
    with Client(address, authkey=key) as connection:
        connection.send(token)
        line = ConnectionLine(connection)
        sound = []
        for job in jobs:
            difference = _difference(job)
            if difference is None:
                sound.append(job)
            else:
                line.send(job.run_id, Ended("failed", difference))
        if sound:
            do_jobs(sound, line)


def _difference(job: Job) -> str | None:
    """What of this node would give a run other bits than its name says."""
    from harness import allocator

    state = allocator.configure()  # before torch is imported

    import torch

    from harness import environment
    from harness.models import find

    here = environment.capture(torch.device(job.device), num_threads=job.num_threads, allocator=state)
    others = differences(job, here, find(job.spec.model).origin)
    if not others:
        return None
    return f"a node of the cluster differs from the one that planned the run: {', '.join(others)}; run it from there"
