"""Runs on a simulated cluster: nodes that are processes of this machine."""

import os
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client

import pytest

from harness.errors import UsageError
from harness.execution import in_process, local, on_ray
from harness.execution.job import Advanced, Ended, Noted, Started
from harness.records import Store


@pytest.fixture(autouse=True)
def ray_where_it_is_needed(request):
    """Tests without a cluster need none."""
    if request.node.get_closest_marker("cluster"):
        pytest.importorskip("ray")


@pytest.fixture
def cluster():
    """Three nodes with a core each; the driver is on none of them."""
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()


def results_of(job):
    run = Store(job.results).local_run(job.run_id)
    return run["status"], run["weights_sha256"], run["trajectory_sha256"]


def silent(job, event):
    pass


@pytest.mark.cluster
def test_runs_are_the_same_whoever_executes_them_though_a_node_is_lost(
    cluster, make_job, make_environment, make_recipe
):
    cluster, nodes = cluster
    here, recipe = make_environment(), make_recipe(iterations=40)

    def jobs(results):
        return [make_job(0.0, results, seed=seed, recipe=recipe) for seed in range(4)]

    in_process.execute(jobs("in-process"), here, observer=silent)
    local.execute(jobs("local"), here, num_workers=2, observer=silent)
    events, lost = [], threading.Event()

    def lose_a_node(job, event):
        events.append((job.run_id, event))
        if isinstance(event, Advanced) and event.iteration > 5 and not lost.is_set():
            lost.set()
            cluster.remove_node(nodes[0], allow_graceful=False)

    execution = on_ray.execute(jobs("ray"), here, observer=lose_a_node)
    assert {end.status for end in execution.ended.values()} == {"completed"}
    found = {folder: [results_of(job) for job in jobs(folder)] for folder in ("in-process", "local", "ray")}
    assert found["ray"] == found["local"] == found["in-process"]
    ends = [run_id for run_id, event in events if isinstance(event, Ended)]
    assert sorted(ends) == sorted(job.run_id for job in jobs("ray"))  # each to its end, once
    assert any(isinstance(event, Noted) and "the process was lost" in event.text for _, event in events)
    again = [event.iteration for _, event in events if isinstance(event, Started) and event.iteration]
    assert again  # from its checkpoint, not from the beginning


@pytest.mark.cluster
def test_a_signal_drains_the_cluster_and_tasks_that_wait_never_begin(
    cluster, make_job, make_environment, make_recipe
):
    jobs = [make_job(0.0, seed=seed, recipe=make_recipe(iterations=5000)) for seed in range(5)]
    begun = set()

    def interrupt(job, event):
        if isinstance(event, Advanced):
            begun.add(job.run_id)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", once(os.kill))
        execution = on_ray.execute(jobs, make_environment(), observer=interrupt)
    assert execution.signal_number == signal.SIGINT
    assert {end.status for end in execution.ended.values()} == {"interrupted"}
    assert begun <= {path.stem for path in Store(jobs[0].results).checkpoints()}


def once(function):
    """A function that does something the first time only: the second signal kills."""
    called = []

    def call(*arguments):
        if not called:
            called.append(arguments)
            function(*arguments)

    return call


@pytest.mark.cluster
def test_a_node_that_would_give_other_bits_says_so(cluster, make_job, make_environment):
    job = make_job()
    job = replace(job, place=dict(job.place) | {"torch": "1.0"})
    [end] = on_ray.execute([job], make_environment(), observer=silent).ended.values()
    assert end.status == "failed"
    assert "differs from the one that planned the run: torch" in end.reason
    assert end.reason.endswith("not 1.0; run it from there")
    assert Store(job.results).local_run(job.run_id)["status"] == "failed"


@pytest.mark.cluster
def test_without_a_cluster_it_is_said_how_to_start_one(make_job, make_environment):
    with pytest.raises(UsageError, match=r"no Ray cluster answers at 127\.0\.0\.1:1: .*ray start --head"):
        on_ray.execute([make_job()], make_environment(), address="127.0.0.1:1", observer=silent)


@pytest.mark.cluster
@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "nowhere", "127.0.0.1:x"])
def test_an_address_of_another_form_is_refused(make_job, make_environment, address):
    with pytest.raises(UsageError, match="write HOST:PORT"):
        on_ray.execute([make_job()], make_environment(), address=address, observer=silent)


@pytest.fixture
def door():
    with on_ray._Door("127.0.0.1") as door:
        yield door


@pytest.fixture
def come(door):
    """A function that lets a task come to the door, which may never open, and gives its end of the line."""
    ends = []

    def knock(token):
        with suppress(OSError, EOFError):
            ends.append(Client(door.address, authkey=door.key))
            ends[-1].send(token)

    def come(token):
        thread = threading.Thread(target=knock, args=(token,), daemon=True)
        thread.start()
        thread.join(10)
        return ends[-1] if ends else None

    yield come
    for end in ends:
        end.close()


def test_who_does_not_know_the_key_is_turned_away_and_hinders_nobody(door, come):
    with pytest.raises(AuthenticationError):
        Client(door.address, authkey=b"another")
    socket.create_connection(door.address).close()
    come("token")
    assert door.wait_for("token", 10) is not None


@pytest.mark.parametrize(
    "words",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\0\0\0\1x", b""],
    ids=["http", "negative length", "wrong answer", "silence"],
)
def test_who_speaks_another_language_or_says_nothing_hinders_nobody(door, come, words):
    with socket.create_connection(door.address) as stranger:
        stranger.sendall(words)
        come("token")
        assert door.wait_for("token", 10) is not None


def test_a_door_that_is_closed_listens_no_more():
    before = set(threading.enumerate())
    with on_ray._Door("127.0.0.1") as door:
        address, [listener] = door.address, set(threading.enumerate()) - before
    with suppress(OSError):  # wakes it where closing does not
        socket.create_connection(address, timeout=1).close()
    listener.join(10)
    assert not listener.is_alive()


class FakeRay:
    """Knows of one task whether it has ended; starts none."""

    def __init__(self):
        self.ended = threading.Event()

    def remote(self, **options):
        return lambda function: None

    def wait(self, references, timeout):
        return (references, []) if self.ended.is_set() else ([], references)

    def get(self, reference, timeout):
        raise RuntimeError("the node has died")


@pytest.fixture
def relay(door, come, monkeypatch):
    """A task that has come, Ray that knows of it, the pool's end of the line, and the thread between them."""
    monkeypatch.setattr(on_ray, "SECONDS_OF_SILENCE", 0.05, raising=False)
    ray = FakeRay()
    ours, theirs = Pipe()
    arguments = (on_ray._Task(ray, None), "token", theirs)
    thread = threading.Thread(target=on_ray._Starter(ray, door, 1)._relay, args=arguments, daemon=True)
    thread.start()
    task = come("token")
    yield task, ray, ours, thread
    task.close()
    thread.join(10)
    ours.close()


def test_a_node_that_is_lost_without_a_word_is_noticed(relay):
    task, ray, pool, thread = relay
    task.send("before")
    assert pool.poll(10)
    assert pool.recv() == "before"
    thread.join(0.5)
    assert thread.is_alive()  # silence alone means nothing
    ray.ended.set()  # the connection stays open
    assert pool.poll(10), "nobody noticed"
    with pytest.raises(EOFError):
        pool.recv()


def test_what_a_task_said_before_it_ended_is_heard(relay):
    task, ray, pool, _ = relay
    ray.ended.set()
    for number in range(100):
        task.send(number)
    task.close()
    assert [pool.recv() for _ in range(100)] == list(range(100))
    with pytest.raises(EOFError):
        pool.recv()
