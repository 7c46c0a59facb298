"""What planning, scheduling and recording add to a run, and how the cores of a machine are best shared by runs."""

import functools
import sys
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

from harness import environment
from harness.config import Experiment, Group, load_recipe
from harness.execution import in_process, local, worker
from harness.execution.eta import Eta
from harness.execution.live import tell_live
from harness.execution.session import Request, resolve
from harness.progress import observe_runs
from harness.training import loop

from .clock import Clock

NUM_ROUNDS = 3
NUM_RUNS = {"few": 100, "many": 1_000}
NUM_PROCESSES = 40
"""A process for each run takes longer, and how long does not depend on how many there are."""
NUM_CORES = environment.num_cores()
NUM_REAL_RUNS, NUM_ITERATIONS = 2 * NUM_CORES, 20
SHARES = {
    "a process of all cores": {"num_workers": 1, "num_threads": NUM_CORES},
    "a process a core": {"num_workers": NUM_CORES, "num_threads": 1},
    "the default": {},
}

CLOCK = Clock()


def plan(results, num_runs, *, num_iterations=1, **wishes):
    """As the command line does it."""
    group = Group(models=("resnet20",), recipe="short", seeds=tuple(range(num_runs)))
    texts = dict.fromkeys(("summary", "shows", "shows_not"), "")
    experiment = Experiment(name="benchmark", precision="auto", groups=(group,), **texts)
    return resolve(
        Request(experiment=experiment, iterations=num_iterations, synthetic=True, results=results, **wishes)
    )


def execute(session, executor, **options):
    """As the command line does it, with all that it tells of runs: seconds, and how they ended."""
    jobs = session.jobs(checkpoint_seconds=120.0)
    start = perf_counter()
    eta = Eta(session.planned, session.num_lanes)
    with observe_runs(eta) as show, tell_live(session.store.root, "benchmark", eta) as tell:

        def observe(job, event):
            for observer in (eta.hear, show, tell):
                observer(job, event)

        execution = executor(jobs, session.environment, observer=observe, **options)
    seconds = perf_counter() - start
    assert {end.status for end in execution.ended.values()} == {"completed"}
    assert len(execution.ended) == len(jobs)
    return seconds


def timed(function, *arguments, **options):
    start = perf_counter()
    function(*arguments, **options)
    return perf_counter() - start


def in_turn(parts):
    """Seconds of every part in every round; what slows the machine down for a while slows all of them."""
    seconds = {name: [] for name in parts}
    with redirect_stderr(StringIO()):  # thousands of lines
        for _ in range(NUM_ROUNDS):
            for name, part in parts.items():
                seconds[name].append(part())
    return seconds


@pytest.fixture(scope="module")
def new_folder(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def added(new_folder):
    """Seconds that the harness adds to a run which is not trained."""
    parts, folders = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)  # of this process, and of those that it makes
        import untrained

        patch.setattr(loop, "train_in_turns", untrained.train_in_turns)
        patch.setattr(worker._SharedByRuns, "images", untrained.images_of)
        patch.setattr(local, "work", untrained.work)

        def in_this_process(size):
            folders[size] = new_folder()
            return execute(plan(folders[size], NUM_RUNS[size]), in_process.execute)

        def planned_again(size):
            return timed(plan, folders[size], NUM_RUNS[size])

        def passed_over(size):
            """Of a plan that was made before another process recorded all of it."""
            session = plan(folders[size], NUM_RUNS[size])
            return execute(replace(session, planned=stale[size]), in_process.execute)

        def in_processes():
            session = plan(new_folder(), NUM_PROCESSES, num_threads=1)
            return execute(session, local.execute, num_workers=NUM_CORES)

        for size, num_runs in NUM_RUNS.items():
            parts[f"planned, {size}"] = functools.partial(timed, plan, new_folder(), num_runs)
            parts[f"in this process, {size}"] = functools.partial(in_this_process, size)
            parts[f"planned when recorded, {size}"] = functools.partial(planned_again, size)
            parts[f"passed over, {size}"] = functools.partial(passed_over, size)
        parts["a process each"] = in_processes
        with redirect_stderr(StringIO()):  # what the first run of a process imports is not counted
            execute(plan(new_folder(), 1), in_process.execute)
            execute(plan(new_folder(), 1), local.execute, num_workers=1)
        stale = {size: plan(new_folder(), num_runs).planned for size, num_runs in NUM_RUNS.items()}
        seconds = in_turn(parts)
    sizes = {name: NUM_RUNS.get(name.rpartition(" ")[2], NUM_PROCESSES) for name in parts}
    return {name: [total / sizes[name] for total in totals] for name, totals in seconds.items()}


@pytest.mark.benchmark(
    group=f"what the harness adds to a run, few of {NUM_RUNS['few']}, many of {NUM_RUNS['many']:,}",
    timer=CLOCK,
)
@pytest.mark.parametrize(
    "name",
    [
        f"{part}, {size}"
        for part in ("planned", "in this process", "planned when recorded", "passed over")
        for size in NUM_RUNS
    ]
    + ["a process each"],
)
def test_added(benchmark, added, name):
    benchmark.extra_info["ms_per_run"] = 1_000 * median(added[name])
    CLOCK.tabulate(benchmark, added[name])


@pytest.fixture(scope="module")
def shared(new_folder):
    """Seconds of real runs, by how they share the cores."""

    def train(**share):
        session = plan(new_folder(), NUM_REAL_RUNS, num_iterations=NUM_ITERATIONS, **share)
        return execute(session, local.execute, num_workers=session.num_workers)

    with redirect_stderr(StringIO()):
        train()  # the process from which all others are forked begins
    return in_turn({name: functools.partial(train, **share) for name, share in SHARES.items()})


@pytest.mark.benchmark(
    group=f"{NUM_REAL_RUNS} runs of ResNet-20, {NUM_ITERATIONS} mini-batches each, on {NUM_CORES} cores",
    timer=CLOCK,
)
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
@pytest.mark.parametrize("name", SHARES)
def test_shares(benchmark, shared, name):
    ratios = [
        first / here for first, here in zip(shared["a process of all cores"], shared[name], strict=True)
    ]
    benchmark.extra_info.update(
        images=NUM_REAL_RUNS * NUM_ITERATIONS * load_recipe("short").batch_size,
        runs_per_hour=3_600 * NUM_REAL_RUNS / median(shared[name]),
        times_as_fast=[min(ratios), median(ratios), max(ratios)],
    )
    CLOCK.tabulate(benchmark, shared[name])
