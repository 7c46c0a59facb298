"""What ran where: machine, driver, versions, code. Captured once per run, recorded whole.

The *fingerprint* is the part that can change the bits of a result: device model, arithmetic capability,
torch, number of threads on a CPU, and the harness's own computing code.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import torch

__all__ = [
    "Environment",
    "capture",
    "code_sha256",
    "cores",
    "cpu_flags",
    "git_state",
    "num_cores",
    "nvidia_driver",
    "variables_for_git",
]

_LIBRARIES = ("numpy", "pyarrow", "pydantic", "safetensors", "timm", "torch", "torchvision", "triton")
_COMPUTING_CODE = ("paper.py", "models/**/*.py", "training/**/*.py")


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Where a run computes; the fields are columns of the records of kind ``runs``."""

    device: str
    """``cpu``, ``cuda`` or ``mps``."""
    device_name: str
    device_memory_bytes: int
    driver: str | None
    cuda: str | None
    cudnn: str | None
    cpu_name: str
    cpu_capability: str
    """The vector instructions torch uses, e.g. ``AVX512``."""
    cpu_cores: int
    memory_bytes: int
    threads: int
    """Of torch, for this run."""
    operating_system: str
    python: str
    torch: str
    libraries: str
    """JSON object: distribution -> version."""
    commit: str | None
    """Of the harness, where it runs from a git checkout."""
    dirty: bool | None
    """Whether tracked or new files of the harness differ from the commit."""
    code_sha256: str
    """Of the computing code; see `code_sha256`."""
    allocator: str
    deterministic: bool

    def deciding(self, model_source: str) -> dict[str, str]:
        """What can change the bits of a result, by name.

        Args:
            model_source: where the network comes from, at which version or commit.
        """
        fields = {
            "model_source": model_source,
            "device": self.device,
            "device_name": self.device_name,
            "torch": self.torch,
            "code_sha256": self.code_sha256,
        }
        if self.device == "cuda":
            fields["cudnn"] = str(self.cudnn)
        if self.device == "cpu":
            fields |= {
                "cpu_capability": self.cpu_capability,
                "threads": str(self.threads),
                "machine": platform.machine(),
            }
        return fields

    def fingerprint(self, model_source: str) -> str:
        """SHA-256 of what can change the bits of a result; see `deciding`."""
        return hashlib.sha256(json.dumps(self.deciding(model_source)).encode()).hexdigest()

    def columns(self) -> dict[str, object]:
        """The fields by name."""
        return asdict(self)


def capture(device: torch.device, *, num_threads: int, allocator: str) -> Environment:
    """Describe this process on a device."""
    import torch

    name, memory, driver = cpu_name(), psutil.virtual_memory().total, None
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name, memory, driver = properties.name, properties.total_memory, nvidia_driver()
    elif device.type == "mps":
        memory = torch.mps.recommended_max_memory()
    cudnn = torch.backends.cudnn.version() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
    commit, dirty = git_state(Path(__file__).parent)
    return Environment(
        device=device.type,
        device_name=name,
        device_memory_bytes=memory,
        driver=driver,
        cuda=torch.version.cuda if device.type == "cuda" else None,
        cudnn=None if cudnn is None else str(cudnn),
        cpu_name=cpu_name(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        cpu_cores=num_cores(),
        memory_bytes=psutil.virtual_memory().total,
        threads=num_threads,
        operating_system=platform.platform(),
        python=platform.python_version(),
        torch=torch.__version__,
        libraries=library_versions(),
        commit=commit,
        dirty=dirty,
        code_sha256=code_sha256(),
        allocator=allocator,
        deterministic=True,
    )


@functools.cache
def cores() -> frozenset[int]:
    """Numbers of the cores this process may use, as when first asked; empty where the system does not say.

    Where threads are to be bound to cores, ask before torch is imported, which binds this one.
    """
    try:
        return frozenset(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return frozenset()


def num_cores() -> int:
    """Cores this process may use."""
    return len(cores()) or os.cpu_count() or 1


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction-set flags as Linux names them; empty elsewhere."""
    for line in _cpuinfo():
        name, _, value = line.partition(":")
        if name.strip() in {"flags", "Features"}:
            return frozenset(value.split())
    return frozenset()


@functools.cache
def cpu_name() -> str:
    """Model of the CPU; where virtual machines hide it behind a brand, with its family and model number."""
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in _cpuinfo())}
    if "model name" not in fields:
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"


@functools.cache
def code_sha256() -> str:
    """SHA-256 of the code that decides numbers (`_COMPUTING_CODE`), comments and docstrings aside.

    It is of the syntax trees as this minor version of Python makes them, so another one gives another digest.

    The data set is not in it: its bytes are verified by digests of their own.
    """
    root = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _COMPUTING_CODE for path in root.glob(pattern)):
        tree = ast.parse(path.read_bytes())
        _strip_docstrings(tree)
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _strip_docstrings(tree: ast.Module) -> None:
    """Remove string statements; they compute nothing."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                statement
                for statement in body
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            ]


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:  # not Linux
        return []


@functools.cache
def library_versions() -> str:
    """Versions of the installed libraries that a run computes with, as a JSON object."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return json.dumps(versions)


def nvidia_driver() -> str | None:
    """The version of NVIDIA's driver; None where there is none, or none that says so."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:  # as in some containers
        return _driver_by_nvml()
    words = text.split("Kernel Module", 1)[-1].split()
    return next((word for word in words if word[0].isdigit()), None)


def _driver_by_nvml() -> str | None:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return None


_VARIABLES_OF_ONE_REPOSITORY = frozenset(
    {
        *("GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_IMPLICIT_WORK_TREE", "GIT_PREFIX"),
        *("GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"),
        *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE"),
        *("GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE", "GIT_CONFIG"),
    }
)
"""As ``git rev-parse --local-env-vars`` lists them, without those by which a person configures git for all repositories."""


def variables_for_git() -> dict[str, str]:
    """The environment for a call of git in a folder: without what binds this process to another repository.

    Hooks and aliases of git run with such variables, and it would work there whatever ``-C`` says.
    """
    return {name: value for name, value in os.environ.items() if name not in _VARIABLES_OF_ONE_REPOSITORY}


@functools.cache
def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that a folder is part of, and whether what is in the folder differs from it; None if it is of none."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(folder), *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30, env=variables_for_git()
        ).stdout.strip()

    try:
        if git("ls-files", "--", ".") == "":
            return None, None  # installed into somebody else's checkout
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", "."))
    except (OSError, subprocess.SubprocessError):
        return None, None
