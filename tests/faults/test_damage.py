"""Single bytes flipped in what the harness relies on: each is refused, or named, before anything of it is used."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import random
import shutil
import subprocess
import tarfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from harness.data import Cache
from harness.data.canonical import canonicalise
from harness.data.digests import BatchDigest, DigestTable
from harness.data.parquet import PARQUET_FILES
from harness.data.readers import read_blocks
from harness.data.sources import LocalSource
from harness.errors import CheckpointError, DataError, ModelError
from harness.models.upstream import UpstreamFile, fetch, load_module, read
from harness.records import Store
from harness.training.checkpoint import Checkpoint, CheckpointHeader

NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
BATCH_SIZE = 20


class Listener:
    """A progress that remembers what it was told."""

    def __init__(self):
        self.messages = []

    def message(self, text):
        self.messages.append(text)

    def advance(self, description, done, total):
        pass


def flipped(content, place, mask):
    """The content with one byte changed."""
    damaged = bytearray(content)
    damaged[place] ^= mask
    return bytes(damaged)


def flip_at_random(path, draw):
    """Change one byte of a file; returns what the file was, and what was done to it."""
    content = path.read_bytes()
    place, mask = draw.randrange(len(content)), draw.randrange(1, 256)
    path.write_bytes(flipped(content, place, mask))
    return content, f"{path.parent.name}/{path.name}, byte {place} ^ {mask:#04x}"


class Images:
    """A made-up data set of six batches with digests of its own, its cached copy, and files that it comes in."""

    def __init__(self, folder):
        generator = np.random.default_rng(0)
        self.folder = folder
        self.pixels = {name: generator.integers(0, 256, (BATCH_SIZE, 3072), np.uint8) for name in NAMES}
        self.labels = {name: generator.integers(0, 10, BATCH_SIZE, np.uint8) for name in NAMES}
        digests = (
            BatchDigest(
                name=name,
                pixels=hashlib.sha256(self.pixels[name].tobytes()).hexdigest(),
                labels=hashlib.sha256(self.labels[name].tobytes()).hexdigest(),
            )
            for name in NAMES
        )
        self.table = DigestTable(BATCH_SIZE, tuple(digests))
        self.cache = Cache(folder / "cache", self.table)

    def fill_cache(self):
        self.cache.load(lambda: [LocalSource(self.write_archive())], Listener())
        return sorted(self.cache.folder.iterdir())

    def notices(self, damaged):
        """Whether the cached copy, one of whose files is damaged, is named and not used; it is there again after."""
        kept = damaged.parent.with_name("kept")
        shutil.copytree(self.cache.folder, kept)
        listener = Listener()
        try:
            batches = [report.name for report in self.cache.verify() if not report.ok]
            self.cache.load(lambda: [LocalSource(self.folder / "absent")], listener)
        except DataError:
            [message] = listener.messages
            return bool(batches) and message.startswith(f"the CIFAR-10 in {self.cache.folder} is damaged (")
        else:
            return False
        finally:
            shutil.rmtree(self.cache.folder, ignore_errors=True)
            kept.rename(self.cache.folder)

    def read(self, path):
        blocks = read_blocks(path, self.table)
        return canonicalise(blocks, self.table, description="", progress=Listener())

    def write_archive(self):
        path = self.folder / "cifar-10-python.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in NAMES:
                content = pickle.dumps({"labels": self.labels[name].tolist(), "data": self.pixels[name]}, 2)
                member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return path

    def write_folder(self):
        folder = self.folder / "python"
        with tarfile.open(self.write_archive()) as archive:
            archive.extractall(folder, filter="data")
        return folder / "cifar-10-batches-py"

    def write_parquet(self):
        folder = self.folder / "parquet"
        folder.mkdir()
        for file, names in zip(PARQUET_FILES, (NAMES[:-1], NAMES[-1:]), strict=True):
            images = [{"bytes": png(row)} for name in names for row in self.pixels[name]]
            labels = [label for name in names for label in self.labels[name].tolist()]
            pq.write_table(pa.table({"img": images, "label": labels}), folder / file)
        return folder


def png(row):
    buffer = io.BytesIO()
    Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0).copy()).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    return Images(folder)


@pytest.fixture
def records(laboratory):
    """The files of a run that was trained and recorded: its epochs, its predictions, and itself."""
    results = laboratory.folder / "results"
    started = laboratory.reproduce(laboratory.experiment(), results)
    assert started.wait() == 0, started.said()
    assert Store(results).check() == (3, [])
    return sorted(results.rglob("*.parquet"))


@pytest.fixture
def checkpoint(laboratory):
    """What a run left that was killed."""
    results = laboratory.folder / "killed"
    experiment = laboratory.experiment(iterations=100_000, name="long")
    started = laboratory.reproduce(experiment, results, "--checkpoint-seconds", 0)
    deadline = time.monotonic() + 60
    while not list(Store(results).checkpoints()):
        assert started.process.exitcode is None, started.said()
        assert time.monotonic() < deadline, started.said()
    started.kill_all()
    [path] = Store(results).checkpoints()
    assert Checkpoint.read(path, path.stem).header.progress["iteration"] > 0
    return path


CODE = b"""\
import os

os.environ["CANARY"] = "sings"


def make():
    return "made"
"""


@pytest.fixture
def pinned(tmp_path, monkeypatch):
    """A file of a small git repository, pinned; and where it lies in the cache and in a clone."""
    repository, cache = tmp_path / "someone" / "nets", tmp_path / "upstream"
    repository.mkdir(parents=True)
    (repository / "net.py").write_bytes(CODE)
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HARNESS_UPSTREAM_DIR", "")
    monkeypatch.setenv("CANARY", "silent")
    settings = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]

    def git(*words):
        command = ["git", "-C", repository, *settings, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "a network")
    file = UpstreamFile(
        repository=str(repository),
        commit=git("rev-parse", "HEAD"),
        path="net.py",
        sha256=hashlib.sha256(CODE).hexdigest(),
    )
    cached = fetch(file, cache=cache)
    assert load_module(file, cache=cache).make() == "made"
    assert os.environ["CANARY"] == "sings"
    os.environ["CANARY"] = "silent"
    return file, cache, {"cache": cached, "clone": repository / "net.py"}


def code_is_refused(file, cache, damaged, monkeypatch):
    """Whether no way to the pinned code takes the damaged file, and nothing of it runs."""
    is_in_clone = not damaged.is_relative_to(cache)
    with monkeypatch.context() as patch:
        patch.setenv(
            "HARNESS_UPSTREAM_DIR", str(damaged.parents[2 if is_in_clone else 1]) if is_in_clone else ""
        )
        for ask in (read, load_module, *((fetch,) if is_in_clone else ())):
            try:
                ask(file, cache=cache)
            except ModelError as error:
                if "not the pinned" not in str(error) or str(damaged) not in str(error):
                    return False
            else:
                return False
    return os.environ["CANARY"] == "silent"


def record_is_named(damaged):
    """Whether the store names the file wherever it reads it, and gives nothing of it."""
    kind, store = damaged.parent.name, Store(damaged.parents[1])
    table, broken = store.read(kind)
    named = [[file.path for file in files] for files in (broken, store.check()[1])]
    return (
        len(table) == 0
        and all(damaged in paths for paths in named)
        and store.find(kind, damaged.stem) is None
    )


def checkpoint_is_refused(damaged, run_id):
    try:
        Checkpoint.read(damaged, run_id)
    except CheckpointError as error:
        return str(damaged) in str(error)
    return False


def test_a_flipped_byte_is_refused_or_named_before_it_is_used(
    images, checkpoint, pinned, records, size, figure, monkeypatch
):
    draw, num_each = random.Random(3), size(100, 12) // 4
    arrays = images.fill_cache()
    file, cache, copies = pinned
    kinds = {
        "data": (arrays, images.notices),
        "checkpoint": ([checkpoint], lambda path: checkpoint_is_refused(path, checkpoint.stem)),
        "upstream": ([*copies.values()], lambda path: code_is_refused(file, cache, path, monkeypatch)),
        "record": (records, record_is_named),
    }
    num_flips, passed_over = 0, []
    for kind, (paths, notices) in kinds.items():
        for number in range(num_each):
            path = paths[number % len(paths)]
            content, done = flip_at_random(path, draw)
            try:
                was_noticed = notices(path)
            except Exception as error:  # noqa: BLE001 - a traceback is neither a refusal nor a name
                was_noticed, done = False, f"{done}: {type(error).__name__}: {error}"
            path.write_bytes(content)
            num_flips += 1
            if not was_noticed:
                passed_over.append(f"{kind}: {done}")
    figure(
        f"one byte flipped at {num_flips} random offsets in data, checkpoint, upstream file, record",
        f"{num_flips} of {num_flips} refused or named before use",
        f"{num_flips - len(passed_over)} of {num_flips}",
    )
    assert passed_over == []
    assert all(report.ok for report in images.cache.verify()), "what is whole again is taken"
    assert Checkpoint.read(checkpoint, checkpoint.stem).tensors
    assert load_module(file, cache=cache).make() == "made"
    assert Store(records[0].parents[1]).check() == (3, [])


MASKS = (0x01, 0x80, 0xFF, ord(" ") ^ ord("\t"), ord(" ") ^ ord("\n"), ord(" ") ^ ord("B"))
"""The last three turn a space that fills up a header into what readers may pass over, or stumble upon."""


def test_every_byte_of_the_headers_of_the_cached_copy_is_looked_at(images, size):
    passed_over = []
    for path in images.fill_cache()[1 : size(5, 2)]:
        content = path.read_bytes()
        end_of_header = content.index(b"\n") + 1
        assert end_of_header == 128
        for place in range(0, end_of_header, size(1, 4)):
            for mask in MASKS:
                path.write_bytes(flipped(content, place, mask))
                try:
                    whole = all(report.ok for report in images.cache.verify())
                except Exception as error:  # noqa: BLE001 - a traceback is no name of what is damaged
                    passed_over.append((path.name, place, mask, type(error).__name__))
                else:
                    passed_over += [(path.name, place, mask, "taken for whole")] * whole
        path.write_bytes(content)
    assert passed_over == []


def test_every_byte_of_the_header_of_a_checkpoint_is_looked_at(tmp_path, size):
    passed_over, num_filled_up = [], 0
    for length in range(0, 8, size(2, 4)):  # the header is filled up to a multiple of eight
        path = tmp_path / "run.safetensors"
        header = CheckpointHeader(run_id="run" + length * "s", spec="{}", place={}, progress={"iteration": 1})
        Checkpoint(header, {"weights": torch.arange(5.0)}).write(path)
        content = path.read_bytes()
        end_of_header = 8 + int.from_bytes(content[:8], "little")
        num_filled_up += content[:end_of_header].endswith(b" ")
        for place in (*range(0, end_of_header - 8, size(1, 9)), *range(end_of_header - 8, end_of_header)):
            for mask in MASKS:
                path.write_bytes(flipped(content, place, mask))
                try:
                    Checkpoint.read(path, header.run_id)
                except CheckpointError:
                    continue
                except Exception as error:  # noqa: BLE001 - a traceback is no refusal
                    passed_over.append((length, place, mask, type(error).__name__))
                else:
                    passed_over.append((length, place, mask, "taken for whole"))
    assert num_filled_up > 0
    assert passed_over == []


@pytest.mark.parametrize("form", ["write_archive", "write_folder", "write_parquet"])
def test_a_flipped_byte_of_a_source_never_changes_an_image(images, size, form):
    # a byte that says when a file was packed may change; no image, no label and not their order may
    draw, source = random.Random(4), getattr(images, form)()
    files = [source] if source.is_file() else sorted(source.iterdir())
    whole, refused = images.read(source), []
    for number in range(size(100, 12)):
        path = files[number % len(files)]
        content, done = flip_at_random(path, draw)
        try:
            arrays = images.read(source)
        except DataError as error:
            refused.append(str(error))
        else:
            assert all((arrays[name] == whole[name]).all() for name in whole), done
        path.write_bytes(content)
    assert refused
    assert [message for message in refused if len(message.splitlines()) != 1] == []


def test_a_flipped_byte_of_what_git_keeps_never_reaches_the_cache(pinned, size):
    draw, (file, cache, copies) = random.Random(5), pinned
    kept = (copies["clone"].parent / ".git" / "objects").rglob("*")
    objects = sorted(path for path in kept if path.is_file())
    assert len(objects) == 3  # the file, its folder, the commit
    refused = []
    for number in range(size(24, 3)):
        shutil.rmtree(cache)
        path = objects[number % len(objects)]
        path.chmod(0o644)
        content, done = flip_at_random(path, draw)
        try:
            place = fetch(file, cache=cache)
        except ModelError as error:
            refused.append(str(error))
        else:
            assert place.read_bytes() == CODE, done
        cache.mkdir(exist_ok=True)
        path.write_bytes(content)
    assert refused
    assert [message for message in refused if len(message.splitlines()) != 1] == []
    assert fetch(file, cache=cache).read_bytes() == CODE
    assert os.environ["CANARY"] == "silent"
