import dataclasses
import json
import os
import platform
import re
import subprocess

import pytest

from harness import environment
from harness.environment import (
    Environment,
    code_sha256,
    cpu_flags,
    cpu_name,
    git_state,
    num_cores,
    variables_for_git,
)
from harness.records import KINDS


@pytest.fixture
def on_cpu():
    return Environment(
        device="cpu",
        device_name="Some CPU",
        device_memory_bytes=2**34,
        driver=None,
        cuda=None,
        cudnn=None,
        cpu_name="Some CPU",
        cpu_capability="AVX2",
        cpu_cores=2,
        memory_bytes=2**34,
        threads=1,
        operating_system="Linux",
        python="3.11.0",
        torch="2.9.0",
        libraries="{}",
        commit="a" * 40,
        dirty=False,
        code_sha256="0" * 64,
        allocator="glibc-tuned",
        deterministic=True,
    )


@pytest.fixture
def on_gpu(on_cpu):
    return dataclasses.replace(
        on_cpu, device="cuda", device_name="Some GPU", driver="1.2.3", cuda="13.0", cudnn="91000"
    )


CHANGES_BITS = {"device_name": "Another", "torch": "2.10.0", "code_sha256": "1" * 64}
CHANGES_BITS_ON_CPU = {"threads": 2, "cpu_capability": "AVX512"}
CHANGES_NO_BITS = {
    "commit": "b" * 40,
    "dirty": True,
    "libraries": '{"timm": "1"}',
    "operating_system": "Linux 2",
    "python": "3.12.0",
    "memory_bytes": 2**35,
    "cpu_cores": 4,
}


@pytest.mark.parametrize(("field", "value"), (CHANGES_BITS | CHANGES_BITS_ON_CPU).items())
def test_fingerprint_on_a_cpu_changes_with_what_changes_bits(on_cpu, field, value):
    assert dataclasses.replace(on_cpu, **{field: value}).fingerprint("ours") != on_cpu.fingerprint("ours")


@pytest.mark.parametrize(("field", "value"), (CHANGES_BITS | {"cudnn": "92000"}).items())
def test_fingerprint_on_a_gpu_changes_with_what_changes_bits(on_gpu, field, value):
    assert dataclasses.replace(on_gpu, **{field: value}).fingerprint("ours") != on_gpu.fingerprint("ours")


@pytest.mark.parametrize(("field", "value"), CHANGES_NO_BITS.items())
def test_fingerprint_does_not_change_with_anything_else(on_cpu, field, value):
    assert dataclasses.replace(on_cpu, **{field: value}).fingerprint("ours") == on_cpu.fingerprint("ours")


def test_fingerprint_on_a_gpu_does_not_depend_on_the_cpu(on_gpu):
    other = dataclasses.replace(on_gpu, **CHANGES_BITS_ON_CPU, cpu_name="Another")
    assert other.fingerprint("ours") == on_gpu.fingerprint("ours")


def test_fingerprint_tells_devices_apart(on_cpu, on_gpu):
    same_name = dataclasses.replace(on_gpu, device_name=on_cpu.device_name)
    assert same_name.fingerprint("ours") != on_cpu.fingerprint("ours")


def test_fingerprint_on_a_cpu_changes_with_the_instruction_set(on_cpu, monkeypatch):
    before = on_cpu.fingerprint("ours")
    monkeypatch.setattr(platform, "machine", lambda: "another")
    assert on_cpu.fingerprint("ours") != before


def test_fields_are_columns_of_the_records(on_cpu):
    columns = on_cpu.columns()
    assert set(columns) <= set(KINDS["runs"].names)
    assert columns["device_name"] == "Some CPU"


def test_capture_describes_this_process():
    import torch

    here = environment.capture(torch.device("cpu"), num_threads=3, allocator="default")
    assert (here.device, here.threads, here.allocator) == ("cpu", 3, "default")
    assert (here.driver, here.cuda, here.cudnn) == (None, None, None)
    assert here.torch == torch.__version__
    assert here.device_name == here.cpu_name
    assert here.memory_bytes > 2**28
    assert json.loads(here.libraries)["numpy"]
    assert here.commit is None or re.fullmatch("[0-9a-f]{40}", here.commit)
    assert (here.commit is None) == (here.dirty is None)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A function from a name to a new repository with a commit of its own, and the digest of that."""
    for name in set(os.environ) - set(variables_for_git()):
        monkeypatch.delenv(name)

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").write_text(name)
        settings = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", name]):
            subprocess.run(["git", "-C", str(folder), *settings, *words], check=True, capture_output=True)
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        return folder, subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return make


BOUND = {"GIT_DIR": ".git", "GIT_WORK_TREE": ".", "GIT_COMMON_DIR": ".git", "GIT_INDEX_FILE": ".git/index"}
BOUND |= {"GIT_OBJECT_DIRECTORY": ".git/objects"}


@pytest.mark.parametrize("name", BOUND)
def test_state_is_that_of_the_folder_whatever_git_is_bound_to(checkout, monkeypatch, name):
    (folder, commit), (other, another) = checkout("this"), checkout("other")
    assert commit != another
    monkeypatch.setenv(name, str(other / BOUND[name]))
    assert git_state.__wrapped__(folder) == (commit, False)
    (folder / "file").write_text("changed")
    assert git_state.__wrapped__(folder) == (commit, True)
    assert git_state.__wrapped__(other.parent) == (None, None)


def test_what_a_person_configured_reaches_git(monkeypatch):
    given = {"GIT_CONFIG_GLOBAL": "a", "GIT_CONFIG_COUNT": "0", "GIT_SSH_COMMAND": "ssh", "HTTPS_PROXY": "b"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_DIR", "elsewhere")
    assert given.items() <= variables_for_git().items()
    assert "GIT_DIR" not in variables_for_git()


def test_cpu_is_described_everywhere():
    assert cpu_name()
    assert all(isinstance(flag, str) for flag in cpu_flags())
    assert num_cores() >= 1


@pytest.fixture
def cpuinfo(monkeypatch):
    """A function that makes /proc/cpuinfo say something else, or nothing."""

    def say(text):
        class CpuInfo:
            def __init__(self, path):
                assert path == "/proc/cpuinfo"

            def read_text(self, encoding):
                if text is None:
                    raise FileNotFoundError
                return text

        monkeypatch.setattr(environment, "Path", CpuInfo)

    return say


X86 = """processor\t: 0
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC
flags\t\t: fpu avx512_bf16

processor\t: 1
flags\t\t: other
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    ("text", "flags"),
    [(X86, {"fpu", "avx512_bf16"}), (ARM, {"fp", "asimd", "bf16"}), ("", set()), (None, set())],
)
def test_flags_of_the_first_core(cpuinfo, text, flags):
    cpuinfo(text)
    assert cpu_flags.__wrapped__() == flags


def test_name_of_a_cpu_has_family_and_model(cpuinfo):
    cpuinfo(X86)
    assert cpu_name.__wrapped__() == "AMD EPYC (family 26, model 2)"


@pytest.mark.parametrize("text", [ARM, None])
def test_name_of_a_cpu_without_a_name_is_what_python_knows(cpuinfo, monkeypatch, text):
    cpuinfo(text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert cpu_name.__wrapped__() == "aarch64"


CODE = '''"""A module."""

RATE = 0.1  # the rate


def double(x):
    """Twice x."""
    return 2 * x


class Thing:
    """A thing."""

    size = 3
    """Its size."""
'''


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    """A function from files, path -> source, to the digest of a harness made of them."""

    def digest(files):
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, source in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
        monkeypatch.setattr(environment, "__file__", str(root / "environment.py"))
        return code_sha256.__wrapped__()

    return digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  # the rate", ""),
        ('"""A module."""\n', ""),
        ("Twice x.", "Two times x."),
        ('    """Its size."""\n', ""),
        ("\n\n\n", "\n\n\n\n"),
        ("2 * x", "(2 * x)"),
    ],
)
def test_code_digest_ignores_what_computes_nothing(digest_of, old, new):
    assert old in CODE
    changed = digest_of({"training/loop.py": CODE.replace(old, new)})
    assert changed == digest_of({"training/loop.py": CODE})


@pytest.mark.parametrize(("old", "new"), [("0.1", "0.2"), ("2 * x", "x * 2"), ("size = 3", "size = 4")])
def test_code_digest_changes_with_code(digest_of, old, new):
    assert old in CODE
    changed = digest_of({"training/loop.py": CODE.replace(old, new)})
    assert changed != digest_of({"training/loop.py": CODE})


@pytest.mark.parametrize("folder", ["models", "training", "training/deep"])
def test_code_digest_covers_what_computes(digest_of, folder):
    assert digest_of({f"{folder}/a.py": "x = 1"}) != digest_of({f"{folder}/a.py": "x = 2"})


def test_code_digest_covers_the_constants_of_the_paper(digest_of):
    assert digest_of({"paper.py": "x = 1"}) != digest_of({"paper.py": "x = 2"})


def test_code_digest_does_not_cover_what_shows(digest_of):
    without = digest_of({"training/loop.py": CODE})
    assert (
        digest_of(
            {"training/loop.py": CODE, "console.py": "x", "records/store.py": "x", "data/cache.py": "x"}
        )
        == without
    )


def test_code_digest_changes_with_the_name_of_a_file(digest_of):
    assert digest_of({"models/a.py": CODE}) != digest_of({"models/b.py": CODE})


def test_text_that_is_a_value_is_code(digest_of):
    assert digest_of({"models/a.py": 'x = "a"'}) != digest_of({"models/a.py": 'x = "b"'})
