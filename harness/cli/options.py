"""Options that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.errors import UsageError, printable
from harness.storage import is_remote, open_folder

__all__ = [
    "DEFAULT_CHECKPOINT_SECONDS",
    "DEFAULT_RESULTS",
    "EXIT_OUT_OF_TOLERANCE",
    "EXIT_SOME_FAILED",
    "MAX_SEED",
    "Address",
    "AtOnce",
    "CheckpointSeconds",
    "Data",
    "Device",
    "Eager",
    "ExecutorChoice",
    "ExistingResults",
    "ExperimentName",
    "IfChangedChoice",
    "Iterations",
    "Json",
    "Models",
    "PrecisionName",
    "Results",
    "Seeds",
    "Threads",
    "Upstream",
    "Workers",
    "is_integer",
    "names",
    "no_records",
    "numbers",
]

DEFAULT_CHECKPOINT_SECONDS = 120.0
DEFAULT_RESULTS = Path("results")
EXIT_OUT_OF_TOLERANCE = 3
EXIT_SOME_FAILED = 4
MAX_SEED = 2**63 - 1
MAX_SEEDS = 100_000
MAX_RUNS_AT_ONCE = 32
"""Torch has so many CUDA streams; beyond, runs would share one."""


def is_integer(text: str, greatest: int) -> bool:
    """Whether it is an integer from 0 to the greatest one; Python reads none of thousands of digits."""
    return text.isdecimal() and len(text) <= len(str(greatest)) and int(text) <= greatest


def numbers(text: str) -> list[int]:
    """``"0,2,5-7"`` -> [0, 2, 5, 6, 7]."""
    listed: list[int] = []
    for part in text.split(","):
        ends = [end.strip() for end in part.split("-")]
        if len(ends) > 2 or not all(is_integer(end, MAX_SEED) for end in ends):
            raise UsageError(
                f"--seeds {printable(repr(text))}: seeds are integers from 0 to 2**63 - 1; write e.g. 0,1,2 or 0-4"
            )
        seeds = range(int(ends[0]), int(ends[-1]) + 1)
        if not 0 < len(seeds) <= MAX_SEEDS:
            raise UsageError(
                f"--seeds {printable(repr(text))}: {part!r} is not a range of 1 to {MAX_SEEDS:,} seeds; write e.g. 0-4"
            )
        listed += seeds
    return list(dict.fromkeys(listed))


def names(text: str) -> list[str]:
    """``"a, b"`` -> ``["a", "b"]``."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _existing_data(text: str) -> str:
    try:
        exists = text in {"cifar10", "synthetic"} or Path(text).expanduser().exists()
    except (OSError, RuntimeError):  # a name longer than any file's, the home of nobody
        exists = False
    if not exists:
        raise UsageError(
            f"--data {printable(repr(text))}: neither cifar10, nor synthetic, nor a folder or archive that exists"
        )
    return text


def _folder(path: Path | None) -> Path | None:
    """A folder that is there, or could be made."""
    try:
        if path is not None:
            path.stat()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise UsageError(f"{printable(path)}: {error.strerror}; name another folder") from error
    return path


def _results(name: str | Path) -> Path:
    """A folder of this machine, or of an object store; in which nothing need be yet."""
    folder = open_folder(str(name))
    if not is_remote(folder):
        _folder(folder)
        if folder.is_file():
            raise UsageError(f"--results {printable(name)}: is a file; name a folder")
    return folder


def _existing_results(name: str | Path) -> Path:
    """A folder of this machine that is there, or one of an object store, which has no folders to ask for."""
    folder = _results(name)
    if not is_remote(folder) and not folder.is_dir():
        raise UsageError(f"no such folder: {printable(name)}; {_make_some(folder)}")
    return folder


def no_records(results: Path, kind: str = "runs", command: str = "reproduce quick") -> str:
    """That there are none in a folder, and how to get some."""
    return f"no {kind} in {printable(results)}; {_make_some(results, command)}"


def _make_some(results: Path, command: str = "reproduce quick") -> str:
    return f"make some with: harness {command} --results {printable(shlex.quote(str(results)))}"


Seeds = Annotated[str | None, typer.Option(help="Seeds in place of the experiment's, e.g. 0,1,2 or 0-4.")]
Models = Annotated[
    str | None,
    typer.Option(
        help="Train only these models (comma-separated); models that the experiment lacks are added to its first group."
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
PrecisionName = Annotated[
    str | None,
    typer.Option(
        help="fp32, tf32, bf16, or auto: bf16 where the hardware has it, else fp32. Default: the experiment's (paper: "
        "fp32)."
    ),
]
Iterations = Annotated[int | None, typer.Option(min=1, help="Shorten every run to so many mini-batches.")]
_RESULTS_HELP = "Folder of the records, or the URL of one in an object store: s3://bucket/folder."
Results = Annotated[Path, typer.Option(help=_RESULTS_HELP, parser=_results, metavar="<dir>")]
ExistingResults = Annotated[
    Path, typer.Option("--results", help=_RESULTS_HELP, parser=_existing_results, metavar="<dir>")
]
"""For commands that only read."""
Data = Annotated[
    str,
    typer.Option(
        help="cifar10; synthetic (a small made-up set, for trials); or a folder or archive of CIFAR-10.",
        callback=_existing_data,
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes side by side. Default: one per core; one on a GPU.")
]
ExecutorChoice = Annotated[
    Literal["local", "in-process", "ray"],
    typer.Option(
        "--executor",
        help="Who trains: processes of this machine, this process (for a debugger), or a Ray cluster.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of a Ray cluster, as ray.init takes it. Default: RAY_ADDRESS, or one of this machine alone."
    ),
]
AtOnce = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_RUNS_AT_ONCE,
        help="Runs that a process trains at once on a GPU. Default: up to 10, as its memory allows.",
    ),
]
Eager = Annotated[
    bool, typer.Option("--eager", help="Launch a GPU's operations one by one: no CUDA graphs, the same bits.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads of a run on a CPU; part of what decides its bits. Default: its share of the cores.",
    ),
]
Upstream = Annotated[
    Path | None,
    typer.Option(
        help="Folder with clones of repositories, as OWNER/NAME or NAME, used in place of fetching.",
        callback=_folder,
    ),
]
CheckpointSeconds = Annotated[float, typer.Option(min=0, help="Time between two checkpoints of a run.")]
IfChangedChoice = Annotated[
    Literal["refuse", "resume", "restart"],
    typer.Option(
        help="What becomes of runs that were interrupted before the machine, the versions, the code or the recipe "
        "changed: refuse, restart them, or resume them all the same, which is recorded."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
ExperimentName = Annotated[
    str | None,
    typer.Argument(
        help="smoke, quick, compare, precision, paper, two-gpus, references, recipes, depth, or a TOML file. Default: paper where "
        "there is CUDA, else quick."
    ),
]
