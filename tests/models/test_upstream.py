"""Pinned code of other repositories: had through git, verified, and loaded apart from everything."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import ModelError, UsageError
from harness.models.upstream import UpstreamFile, fetch, load_module, read, use_clones_in

SOURCE = b"""
import torch
import torch.nn as nn
import os

os.environ["CANARY"] = "sings"

class Net(nn.Module):
    flag = "as written"

def make(flag):
    Net.flag = flag
    return Net()
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A small git repository with two commits; a function from a path's content to what is pinned of it."""
    folder = tmp_path / "someone" / "nets"
    folder.mkdir(parents=True)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_UPSTREAM_DIR", "")  # what a test puts there goes with it

    def git(*words):
        settings = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(folder), *settings, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")

    def commit(content):
        (folder / "models").mkdir(exist_ok=True)
        (folder / "models" / "net.py").write_bytes(content)
        git("add", ".")
        git("commit", "--quiet", "-m", "change")
        return UpstreamFile(
            repository=str(folder),
            commit=git("rev-parse", "HEAD"),
            path="models/net.py",
            sha256=hashlib.sha256(content).hexdigest(),
        )

    return commit


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def canary(monkeypatch):
    monkeypatch.setenv("CANARY", "silent")


def test_the_pinned_commit_is_fetched_wherever_the_branch_has_moved(repository, cache):
    pinned = repository(SOURCE)
    repository(b"raise SystemExit('another version')")
    place = fetch(pinned, cache=cache)
    assert place.read_bytes() == SOURCE == read(pinned, cache=cache)
    assert pinned.name == "someone+nets"


def test_what_is_in_the_cache_is_not_fetched_again(repository, cache):
    pinned = repository(SOURCE)
    fetch(pinned, cache=cache)
    unreachable = dataclasses.replace(pinned, repository=pinned.repository)
    subprocess.run(["git", "-C", pinned.repository, "update-ref", "-d", "HEAD"], check=True)
    assert fetch(unreachable, cache=cache).read_bytes() == SOURCE


def test_a_damaged_copy_in_the_cache_is_refused_and_fetched_anew(repository, cache):
    pinned = repository(SOURCE)
    place = fetch(pinned, cache=cache)
    place.write_bytes(SOURCE.replace(b"silent", b"x") + b"#")
    with pytest.raises(ModelError, match="not the pinned"):
        load_module(pinned, cache=cache)
    assert os.environ["CANARY"] == "silent"
    assert fetch(pinned, cache=cache).read_bytes() == SOURCE


def test_a_changed_byte_is_refused_and_nothing_is_kept_or_run(repository, cache):
    pinned = dataclasses.replace(repository(SOURCE), sha256="0" * 64)
    with pytest.raises(ModelError, match=r"has SHA-256 .* not the pinned 0000"):
        fetch(pinned, cache=cache)
    assert not list(cache.rglob("*.py"))
    with pytest.raises(ModelError, match="harness models fetch"):
        load_module(pinned, cache=cache)
    assert os.environ["CANARY"] == "silent"


@pytest.fixture
def mine(tmp_path):
    """A repository of the person at the keyboard, with an origin and a commit."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "file").write_text("mine")
    settings = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
    for words in (
        ["init", "--quiet"],
        ["remote", "add", "origin", "https://example.org/mine"],
        ["add", "."],
        ["commit", "--quiet", "-m", "mine"],
    ):
        subprocess.run(["git", "-C", str(folder), *settings, *words], check=True, capture_output=True)
    return folder


BOUND = {
    "GIT_DIR": ".git",
    "GIT_WORK_TREE": ".",
    "GIT_COMMON_DIR": ".git",
    "GIT_INDEX_FILE": ".git/index",
    "GIT_OBJECT_DIRECTORY": ".git/objects",
    "GIT_CONFIG": ".git/config",
}
"""Variable of git -> what it names in a repository, as for hooks, worktrees and folders of settings."""


@pytest.mark.parametrize("names", [*([name] for name in BOUND), list(BOUND)], ids="+".join)
def test_a_repository_that_git_is_bound_to_stays_as_it_is(repository, cache, mine, monkeypatch, names):
    pinned = repository(SOURCE)
    before = {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()}
    for name in names:
        monkeypatch.setenv(name, str(mine / BOUND[name]))
    assert fetch(pinned, cache=cache).read_bytes() == SOURCE
    assert {path: path.read_bytes() for path in mine.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"commit": "0" * 40}, "git fetch failed"),
        ({"repository": "/nowhere/nets"}, "git fetch failed"),
        ({"repository": "--upload-pack=touch"}, "git fetch failed"),
        ({"path": "models/absent.py"}, "git cat-file failed"),
    ],
)
def test_what_cannot_be_had_is_named_in_one_line(repository, cache, change, message):
    pinned = dataclasses.replace(repository(SOURCE), **change)
    with pytest.raises(ModelError, match=message) as caught:
        fetch(pinned, cache=cache)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("commit", ["main", "d5489e8", "D" * 40, "--all"])
def test_a_commit_must_be_named_in_full(commit):
    with pytest.raises(ModelError, match="40 hexadecimal digits"):
        UpstreamFile(repository="https://example.org/a/b", commit=commit, path="a.py", sha256="0" * 64)


def test_a_missing_git_is_said(repository, cache, monkeypatch):
    pinned = repository(SOURCE)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ModelError, match="git is not installed"):
        fetch(pinned, cache=cache)


@pytest.fixture
def place_in_clone(tmp_path, monkeypatch):
    """A function from a pinned file, a clone's folder and content to that file among the clones to be used.

    From then on there is no git.
    """

    def place(pinned, clone, content):
        file = tmp_path / "given" / clone / pinned.path
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        use_clones_in(tmp_path / "given")
        monkeypatch.setenv("PATH", "")
        return file

    return place


LAYOUTS = ["someone+nets", "someone/nets", "nets"]


@pytest.mark.parametrize("clone", LAYOUTS)
def test_a_clone_that_is_there_takes_the_place_of_git(repository, cache, place_in_clone, clone):
    pinned = repository(SOURCE)
    given = place_in_clone(pinned, clone, SOURCE)
    assert read(pinned, cache=cache) == SOURCE
    assert fetch(pinned, cache=cache) == given
    assert load_module(pinned, cache=cache).make("x").flag == "x"
    assert not cache.exists()


@pytest.mark.parametrize("clone", LAYOUTS)
@pytest.mark.parametrize("ask", [read, fetch, load_module])
def test_a_changed_file_in_a_clone_is_refused_and_neither_run_nor_overwritten(
    repository, cache, place_in_clone, clone, ask
):
    pinned = repository(SOURCE)
    fetch(pinned, cache=cache)
    given = place_in_clone(pinned, clone, SOURCE + b"#")
    with pytest.raises(ModelError, match="not the pinned") as caught:
        ask(pinned, cache=cache)
    assert str(given) in str(caught.value)
    assert given.read_bytes() == SOURCE + b"#"
    assert os.environ["CANARY"] == "silent"


def test_what_no_clone_has_comes_through_git_or_from_the_cache(repository, cache, tmp_path):
    pinned = repository(SOURCE)
    (tmp_path / "given" / "nets").mkdir(parents=True)
    use_clones_in(tmp_path / "given")
    assert fetch(pinned, cache=cache).is_relative_to(cache)
    assert read(pinned, cache=cache) == SOURCE


def test_a_folder_of_clones_is_known_to_later_processes_wherever_they_work(
    repository, cache, tmp_path, monkeypatch
):
    pinned = repository(SOURCE)
    monkeypatch.chdir(tmp_path)
    use_clones_in(Path())
    monkeypatch.chdir("someone")
    assert os.environ["HARNESS_UPSTREAM_DIR"] == str(tmp_path.resolve())
    assert fetch(pinned, cache=cache) == tmp_path.resolve() / "someone" / "nets" / "models" / "net.py"


@pytest.mark.parametrize("name", ["absent", "a_file"])
def test_a_folder_of_clones_that_is_not_there_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv("HARNESS_UPSTREAM_DIR", "")
    (tmp_path / "a_file").touch()
    with pytest.raises(UsageError, match=f"{name}: no such folder") as caught:
        use_clones_in(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert os.environ["HARNESS_UPSTREAM_DIR"] == ""


def test_modules_share_nothing_and_stay_out_of_the_process(repository, cache):
    pinned = repository(SOURCE)
    fetch(pinned, cache=cache)
    before = set(sys.modules)
    first, second = load_module(pinned, cache=cache), load_module(pinned, cache=cache)
    first.make("changed")
    assert (first.Net.flag, second.Net.flag) == ("changed", "as written")
    assert set(sys.modules) - before == set()


def test_a_module_that_looks_itself_up_while_it_runs_finds_itself(repository, cache):
    pinned = repository(b"import sys\nthis = sys.modules[__name__]\nsetattr(this, 'made', 7)\n")
    fetch(pinned, cache=cache)
    assert load_module(pinned, cache=cache).made == 7


def test_of_a_script_only_what_defines_is_executed(repository, cache):
    pinned = repository(SOURCE + b"\nraise SystemExit('trains here')\n")
    fetch(pinned, cache=cache)
    module = load_module(pinned, classes_only=True, cache=cache)
    assert module.make("x").flag == "x"
    assert not hasattr(module, "os")
    assert os.environ["CANARY"] == "silent"


@pytest.mark.parametrize("content", [b"def (", b"1 / 0", b"import absent_package", b"\x00"])
def test_code_that_fails_is_one_line_and_leaves_no_module(repository, cache, content):
    pinned = repository(content)
    fetch(pinned, cache=cache)
    before = set(sys.modules)
    with pytest.raises(ModelError, match="fails when it is loaded") as caught:
        load_module(pinned, cache=cache)
    assert "\n" not in str(caught.value)
    assert set(sys.modules) - before == set()
