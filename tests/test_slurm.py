"""The scripts for Slurm: as text, and run beside commands that only say how they were called."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from harness.cli import app

FOLDER = Path(__file__).parents[1] / "docs" / "slurm"
SCRIPTS = sorted(FOLDER.glob("*.sh"))
ALL = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
TERMINATED = 128 + signal.SIGTERM

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

COMMAND = f"""\
#!{sys.executable}
import os, re, signal, sys
from pathlib import Path

signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
name = Path(sys.argv[0]).name
with Path(os.environ["CALLS"]).open("a") as calls:
    print(name, *sys.argv[1:], file=calls)
"""
"""The beginning of each: it says how it was called."""
ACTS = {
    "harness": """\
print("begun", os.getpid(), flush=True)
if os.environ["ENDS"] == "when told":
    signal.sigwait({signal.SIGTERM})
    sys.exit(int(os.environ.get("LAST", 143)))
sys.exit(int(os.environ["ENDS"]))
""",
    "scontrol": """\
if sys.argv[1] == "show":
    print("node1", "node2", "node3", sep="\\n")
""",
    "srun": """\
if "BREAKS" in os.environ:
    sys.exit(1)
print(signal.sigwait({signal.SIGTERM}).name, file=open(os.environ["CALLS"], "a"))
""",
    # nodes are up as soon as they were started, if ever
    "ray": """\
calls = Path(os.environ["CALLS"]).read_text()
num_nodes = 0 if "BREAKS" in os.environ else sum(map(int, re.findall("srun --nodes=(.)", calls)))
print("Active:", *[f" 1 node_{n}" for n in range(num_nodes)], "Pending:", " (no node_)", sep="\\n")
""",
    "python": 'print("192.0.2.7")',
    "sleep": "",
}


@pytest.fixture
def start(tmp_path):
    """A function that starts a script as Slurm does: the process; what is called stands in ``tmp_path / "calls"``."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, act in ACTS.items():
        (commands / name).write_text(COMMAND + act)
        (commands / name).chmod(0o755)
    started = []

    def start(script, *arguments, **variables):
        others = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "CUDA"))}
        process = subprocess.Popen(
            ["bash", FOLDER / script, *arguments],
            env=others
            | {"PATH": f"{commands}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
            | {"SLURM_JOB_ID": "71", "SLURM_CPUS_PER_TASK": "6", "SLURM_JOB_NODELIST": "node[1-3]"}
            | variables,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.stdout.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def calls(tmp_path):
    """A function that gives what was called, of one command or of all."""
    path = tmp_path / "calls"
    return lambda name="": [line for line in path.read_text().splitlines() if line.startswith(name)]


def pid_of_harness(process):
    """Once it has begun."""
    return int(process.stdout.readline().removeprefix("begun"))


def commands_of(text):
    """The calls of the harness in a script or page, with lines that go on joined."""
    joined = text.replace("\\\n", " ")
    return [shlex.split(line) for line in re.findall(r"^\s*(harness \w.*?) ?&?$", joined, re.MULTILINE)]


@ALL
def test_bash_reads_it(script):
    subprocess.run(["bash", "-n", script], check=True)


@ALL
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="there is no shellcheck")
def test_shellcheck_finds_nothing(script):
    subprocess.run(["shellcheck", "--severity=warning", script], check=True)


@ALL
def test_every_option_is_one_of_the_harness(script):
    text = script.read_text()
    commands = typer.main.get_command(app).commands
    [words] = commands_of(text)
    known = {option for parameter in commands[words[1]].params for option in parameter.opts}
    given = {word for word in words if word.startswith("--")}
    given |= set(re.findall(r"--\w[\w-]*", " ".join(re.findall(r"place=\((.*)\)", text))))
    assert "--results" in given
    assert given <= known


@ALL
def test_slurm_tells_the_script_in_time_and_may_queue_it_again(script):
    asked = re.findall(r"^#SBATCH (--\S+)$", script.read_text(), re.MULTILINE)
    assert {"--signal=B:USR1@120", "--requeue", "--open-mode=append"} <= set(asked)


def test_a_task_of_the_array_shares_its_cores_between_runs(start, calls):
    assert start("array.sh", "smoke", "/shared/r", "--seeds", "0-9", ENDS="0").wait() == 0
    place = "--device cpu --threads 1 --workers 6"
    assert calls() == [f"harness reproduce smoke --results /shared/r {place} --seeds 0-9"]


def test_a_task_of_the_array_with_a_gpu_says_so(start, calls):
    assert start("array.sh", "smoke", "/shared/r", ENDS="0", CUDA_VISIBLE_DEVICES="2").wait() == 0
    assert calls() == ["harness reproduce smoke --results /shared/r --device cuda --threads 1"]


@ALL
def test_what_is_missing_is_said(script, start, tmp_path):
    assert start(script.name, "smoke", ENDS="0").wait() not in {0, TERMINATED}
    assert not (tmp_path / "calls").exists()


@ALL
@pytest.mark.parametrize("code", [0, 1, 2, 4])
def test_who_ends_by_itself_is_not_queued_again(script, start, calls, code):
    assert start(script.name, "smoke", "/shared/r", ENDS=str(code)).wait() == code
    assert calls("scontrol requeue") == []


@pytest.mark.parametrize(
    ("script", "variables", "job"),
    [
        ("array.sh", {"SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "3"}, "70_3"),
        ("array.sh", {}, "71"),
        ("ray.sh", {}, "71"),
    ],
)
def test_near_the_time_limit_the_harness_is_told_and_queued_again(script, variables, job, start, calls):
    process = start(script, "smoke", "/shared/r", ENDS="when told", **variables)
    pid_of_harness(process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait() == TERMINATED
    assert calls("scontrol requeue") == [f"scontrol requeue {job}"]


@ALL
@pytest.mark.parametrize("code", [0, 1, 4])
def test_who_was_done_when_told_is_not_queued_again(script, code, start, calls):
    process = start(script.name, "smoke", "/shared/r", ENDS="when told", LAST=str(code))
    pid_of_harness(process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait() == code
    assert calls("scontrol requeue") == []


@ALL
def test_who_is_cancelled_is_not_queued_again(script, start, calls):
    process = start(script.name, "smoke", "/shared/r", ENDS="when told")
    harness = pid_of_harness(process)
    for pid in (process.pid, harness):  # scancel signals them all
        os.kill(pid, signal.SIGTERM)
    assert process.wait() == TERMINATED
    assert calls("scontrol requeue") == []


def test_the_code_of_who_ends_in_the_moment_of_a_signal_is_not_lost(start, tmp_path):
    (tmp_path / "commands" / "harness").write_text("#!/bin/sh\necho begun $$\nexec tail -f /dev/null\n")
    for _ in range(10):
        process = start("array.sh", "smoke", "/shared/r")
        harness = pid_of_harness(process)
        for pid in (process.pid, harness):
            os.kill(pid, signal.SIGTERM)
        assert process.wait(timeout=30) == TERMINATED


def test_the_harness_begins_when_every_node_has_joined_the_cluster(start, calls):
    assert start("ray.sh", "smoke", "/shared/r", "--seeds", "0-9", ENDS="0").wait() == 0
    of_srun = [shlex.split(call) for call in calls("srun")]
    head, others = sorted(of_srun, key=lambda words: "--head" not in words)
    assert {"--nodes=1", "--nodelist=node1", "--cpus-per-task=6", "--port=20071", "--num-gpus=0"} <= set(head)
    assert {"--nodes=2", "--ntasks=2", "--exclude=node1", "--address=192.0.2.7:20071"} <= set(others)
    assert all(words[words.index("ray") + 1] == "start" for words in of_srun)
    place = "--executor ray --address 192.0.2.7:20071 --device cpu --threads 1"
    *before, asked, harness, first, second = calls()
    assert sum(call.startswith("srun") for call in before) == 2
    assert asked == "ray status --address 192.0.2.7:20071"
    assert harness == f"harness reproduce smoke --results /shared/r {place} --seeds 0-9"
    assert first == second == "SIGTERM"  # the cluster ends with the harness


def test_a_cluster_that_does_not_begin_is_not_waited_for(start, calls):
    process = start("ray.sh", "smoke", "/shared/r", ENDS="0", BREAKS="yes")
    assert process.wait() != 0
    assert calls("harness") == []
