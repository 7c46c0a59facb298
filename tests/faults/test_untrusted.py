"""Files and words of strangers: nothing in them is executed, nothing is written where they say, each refusal is a line."""

from __future__ import annotations

import bz2
import contextlib
import copy
import ctypes
import dataclasses
import gzip
import hashlib
import io
import json
import math
import os
import pickle
import re
import shutil
import signal
import stat
import struct
import sys
import tarfile
import tomllib
import zipfile
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from harness import cli, environment
from harness.audit import audit, find_checkpoint
from harness.data import Cache, load
from harness.data.digests import BatchDigest, DigestTable
from harness.data.parquet import PARQUET_FILES
from harness.errors import DataError, HarnessError, ModelError, UsageError
from harness.execution.resumption import find_interrupted, list_checkpoints
from harness.execution.session import Request, resolve
from harness.models import catalogue, find
from harness.models.resnet import CifarResNet
from harness.models.upstream import UpstreamFile
from harness.records import KINDS, Store
from harness.records.schema import ENVIRONMENT_COLUMNS
from harness.training.checkpoint import FORMAT, Checkpoint, CheckpointHeader

MEBI = 2**20
CPU = torch.device("cpu")
LONGEST_LINE = 12_000
"""Characters; what a stranger wrote, if it has 5,000, may stand in it twice."""


def is_clear(message):
    """Whether it is one line, of things that can be seen."""
    shown = message.encode("utf-8", "backslashreplace").decode()  # as standard error shows it
    return (
        bool(shown.strip())
        and shown.isprintable()
        and len(shown) <= LONGEST_LINE
        and "Traceback" not in shown
    )


class TooLongError(BaseException):
    """No reader turns it into a refusal."""


@contextlib.contextmanager
def at_most(seconds):
    """Within it, what takes longer, or waits for ever, ends with `TooLongError`."""

    def ring(_number, _frame):
        raise TooLongError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def resident_bytes(name):
    """``VmRSS``: now; ``VmHWM``: the most since `forget_peak`."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return 1024 * int(line.split()[1])


def forget_peak():
    """From now on, and of what was freed and kept so far nothing is used again."""
    ctypes.CDLL(None).malloc_trim(0)
    pa.default_memory_pool().release_unused()
    Path("/proc/self/clear_refs").write_text("5")


class Outcome(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def stream(errors):
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors, write_through=True)


@pytest.fixture
def harness(monkeypatch, torch_settings):
    """A function that calls the command line in this process, and lets no exception pass but its own."""

    def call(*arguments):
        out, err = stream("strict"), stream("backslashreplace")  # as Python opens them
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["harness", *map(str, arguments)])
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as left:
                cli.main()
        return Outcome(left.value.code or 0, *(each.buffer.getvalue().decode() for each in (out, err)))

    return call


@pytest.fixture
def images():
    return load("synthetic")


@pytest.fixture
def here():
    return environment.capture(CPU, num_threads=1, allocator="default")


NAMES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")
BATCH_SIZE = 20


@pytest.fixture
def batches():
    """Name -> the pickle of a made-up batch of 20 images."""
    generator = np.random.default_rng(0)
    return {
        name: pickle.dumps(
            {
                "labels": generator.integers(0, 10, BATCH_SIZE).tolist(),
                "data": generator.integers(0, 256, (BATCH_SIZE, 3072), np.uint8),
            },
            2,
        )
        for name in NAMES
    }


@pytest.fixture
def fetch(batches, tmp_path, monkeypatch):
    """A function that does what ``harness data fetch --source PATH`` does; the made-up batches are CIFAR-10."""
    unpickled = {name: pickle.loads(content) for name, content in batches.items()}
    digests = (
        BatchDigest(
            name=name,
            pixels=hashlib.sha256(batch["data"].tobytes()).hexdigest(),
            labels=hashlib.sha256(bytes(batch["labels"])).hexdigest(),
        )
        for name, batch in unpickled.items()
    )
    table = DigestTable(BATCH_SIZE, tuple(digests))
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.data.loading.Cache", partial(Cache, table=table))
    return lambda path: load("cifar10", source=path)


def value_of(kind):
    """Some value of a type of arrow's."""
    if pa.types.is_timestamp(kind):
        return datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
    if pa.types.is_fixed_size_list(kind):
        return [value_of(kind.value_type)] * kind.list_size
    if pa.types.is_list(kind):
        return [value_of(kind.value_type)] * 2
    if pa.types.is_struct(kind):
        return {field.name: value_of(field.type) for field in kind}
    if pa.types.is_floating(kind):
        return 0.5
    return {pa.string(): "text", pa.bool_(): True}.get(kind, 7)


def record_of(kind, **values):
    """A table of a row, or of three, with no column null, of the run ``run-1``."""
    rows = [
        {field.name: value_of(field.type) for field in KINDS[kind]} | {"run_id": "run-1"} for _ in range(3)
    ]
    return pa.Table.from_pylist(
        [row | values for row in rows][: 1 if kind == "runs" else 3], schema=KINDS[kind]
    )


def of_version_4(table, kind, **options):
    """The file that a harness before the digests would have written."""
    marks = {b"harness.kind": kind.encode(), b"harness.schema_version": b"4", **options.pop("marks", {})}
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(marks), buffer, **options)
    return buffer.getvalue()


def with_column(table, name, values):
    index = table.column_names.index(name)
    return table.set_column(index, pa.field(name, values.type), values)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        """What unpickling calls."""
        return os.mkdir, (self.canary,)


def saved(content, **options):
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def loaded(content):
    """What ``torch.load`` does without its guard."""
    return torch.load(io.BytesIO(content), weights_only=False)


def tar(*members):
    """An archive of pairs of a header, or a name, and content; headers are taken at their word."""
    parts = []
    for header, content in members:
        parts += [
            header_of(header, len(content)).tobuf(tarfile.PAX_FORMAT),
            content,
            bytes(-len(content) % 512),
        ]
    return b"".join([*parts, bytes(1024)])


def header_of(name, size=0, **fields):
    if isinstance(name, tarfile.TarInfo):
        return name
    header = tarfile.TarInfo(name)
    header.size = size
    for field, value in fields.items():
        setattr(header, field, value)
    return header


def put(path, content):
    """Write a file, with its folders; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def as_data_batches(canary, folder):
    """Pickles that blow up where a data set holds pickles, and where it holds none."""
    array = np.zeros((BATCH_SIZE, 3072), np.uint8)
    path = str(canary).encode()
    contents = {
        "INST": b"(S'" + path + b"'\niposix\nmkdir\n.",
        "OBJ": b"(cposix\nmkdir\nS'" + path + b"'\no.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x05posix\x8c\x05mkdir\x93X"
        + struct.pack("<I", len(path))
        + path
        + b"\x85R.",
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        contents |= {
            f"protocol {protocol}, whole": pickle.dumps(Bomb(canary), protocol),
            f"protocol {protocol}, data": pickle.dumps({"labels": [1], "data": Bomb(canary)}, protocol),
            f"protocol {protocol}, labels": pickle.dumps({"labels": Bomb(canary), "data": array}, protocol),
            f"protocol {protocol}, a label": pickle.dumps(
                {"labels": [Bomb(canary)], "data": array}, protocol
            ),
        }
    for number, (what, content) in enumerate(contents.items()):
        place, prove = folder / str(number), partial(pickle.loads, content)
        named = ("cifar-10-batches-py/data_batch_1", content)
        yield f"folder, {what}", prove, put(place / "a" / "data_batch_1", content).parent
        yield f"folder in a folder, {what}", prove, put(place / "b" / named[0], content).parents[1]
        yield f"tar, {what}", prove, put(place / "c.tar", tar(named))
        yield f"tar.gz, {what}", prove, put(place / "d", gzip.compress(tar(named)))
    content = contents["protocol 4, whole"]
    for name in ("data_batch_1.png", "train_lables.json"):
        yield f"npm, {name}", partial(pickle.loads, content), put(folder / name / name, content).parent
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": content}
    image = pa.array([{"bytes": content}] * BATCH_SIZE)
    for what, field in (
        ("cell", pa.field("img", image.type)),
        ("type", pa.field("img", image.type, metadata=extension)),
    ):
        columns = pa.schema(
            [field, ("label", pa.int64())], metadata={b"pandas": content, b"huggingface": content}
        )
        table = pa.table({"img": image, "label": [0] * BATCH_SIZE}, schema=columns)
        place = folder / f"parquet {what}"
        place.mkdir()
        for file in PARQUET_FILES:
            pq.write_table(table, place / file)
        yield f"Hugging Face, {what}", partial(pickle.loads, content), place


def as_checkpoints(canary):
    """Pickles in place of what a run left."""
    text = pickle.dumps(Bomb(canary), 0).decode("ascii")
    header = {"format": FORMAT, "run_id": "run-1", "spec": "{}", "place": "{}", "progress": "{}"}
    for protocol in (0, 2, 4):
        content = pickle.dumps(Bomb(canary), protocol)
        yield f"protocol {protocol}", partial(pickle.loads, content), content
    for is_new in (True, False):
        content = saved({"model": Bomb(canary)}, _use_new_zipfile_serialization=is_new)
        yield f"torch.save, zip {is_new}", partial(loaded, content), content
    for name in ("run_id", "spec", "place", "progress", "sha256"):
        content = save({"weights": torch.zeros(1)}, metadata=header | {name: text})
        yield f"in the header, {name}", partial(pickle.loads, text.encode()), content


def as_published(canary):
    for protocol in (2, 4):
        content = pickle.dumps({"state_dict": Bomb(canary)}, protocol)
        yield f"protocol {protocol}", partial(pickle.loads, content), content
    for is_new in (True, False):
        for state in ({"state_dict": {"conv1.weight": Bomb(canary)}}, Bomb(canary)):
            content = saved(state, _use_new_zipfile_serialization=is_new)
            yield f"torch.save, zip {is_new}, {type(state).__name__}", partial(loaded, content), content


def as_records(canary):
    content, text = pickle.dumps(Bomb(canary), 4), pickle.dumps(Bomb(canary), 0)
    table = record_of("runs")
    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": content}
    of_extension = pa.field("reason", pa.binary(), metadata=extension)
    index = table.column_names.index("reason")
    yield "text cell", text, of_version_4(with_column(table, "reason", pa.array([text.decode()])), "runs")
    yield "binary cell", content, of_version_4(with_column(table, "reason", pa.array([content])), "runs")
    yield "type", content, of_version_4(table.set_column(index, of_extension, pa.array([content])), "runs")
    yield "pandas", content, of_version_4(table, "runs", marks={b"pandas": content})
    yield "kind", content, of_version_4(table, "runs", marks={b"harness.kind": content})
    yield "version", content, of_version_4(table, "runs", marks={b"harness.schema_version": content})
    yield "file", content, content


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """A function from the bytes of a file to the published checkpoint that they are, of a network that is ours."""
    clone = tmp_path / "clones" / "someone" / "nets"
    monkeypatch.setenv("HARNESS_UPSTREAM_DIR", str(tmp_path / "clones"))
    checkpoint = find_checkpoint("akamaster-resnet20")
    entry = catalogue._CATALOGUE[checkpoint.model]
    ours = dataclasses.replace(entry, build=lambda: CifarResNet(20))
    monkeypatch.setitem(catalogue._CATALOGUE, entry.key, ours)

    def make(content):
        put(clone / "net.th", content)
        file = UpstreamFile(
            repository="https://example.org/someone/nets",
            commit="0" * 40,
            path="net.th",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        return dataclasses.replace(checkpoint, file=file)

    return make


def test_no_pickle_is_executed(tmp_path, fetch, publish, images, here, make_spec, one_thread, figure):
    canary, executed, unclear = tmp_path / "canary", [], []

    def try_out(name, prove, *ways):
        prove()
        assert canary.is_dir(), f"{name}: the bomb works"
        canary.rmdir()
        for way in ways:
            try:
                way()
            except HarnessError as error:
                if not is_clear(str(error)):
                    unclear.append((name, str(error)))
            if canary.is_dir():
                executed.append(name)
                canary.rmdir()

    num_bombs = 0
    for name, prove, source in as_data_batches(canary, tmp_path / "sources"):
        with pytest.raises(DataError):
            fetch(source)
        try_out(f"data batch: {name}", prove, partial(fetch, source))
        num_bombs += 1
    store = Store(tmp_path / "results")
    path = store.checkpoint("run-1")
    for name, prove, content in as_checkpoints(canary):
        put(path, content)
        ways = (
            partial(CheckpointHeader.read, path),
            partial(Checkpoint.read, path, "run-1"),
            partial(find_interrupted, "run-2", make_spec(), {}, store, list_checkpoints(store)),
        )
        try_out(f"checkpoint: {name}", prove, *ways)
        num_bombs += 1
    path.unlink()
    for name, prove, content in as_published(canary):
        try_out(f"published: {name}", prove, partial(audit, publish(content), images, CPU, here))
        num_bombs += 1
    path = store.root / "runs" / "run-1.parquet"
    for name, payload, content in as_records(canary):
        put(path, content)
        try_out(f"record: {name}", partial(pickle.loads, payload), partial(read_all, store))
        num_bombs += 1
    cached = tmp_path / "cache" / "cifar10" / "train_labels.npy"
    cached.parent.mkdir(parents=True)
    np.save(cached, np.array([Bomb(canary)], object), allow_pickle=True)
    prove = partial(np.load, cached, allow_pickle=True)
    try_out("cached copy", prove, Cache(tmp_path / "cache").verify, partial(fetch, tmp_path / "absent"))
    figure(
        "pickle bombs as checkpoint, data batch, parquet cell",
        "0 executed",
        f"{len(executed)} of {num_bombs + 1} executed",
    )
    assert executed == []
    assert unclear == []


def zipped(*members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def of_type(name, kind, target=""):
    """A member that is no file."""
    return header_of(name, type=kind, linkname=str(target), devmajor=1, devminor=5), b""


def bad_tars(good, folder):
    """Name -> archive; each lacks a batch, or has something else in its place, so that none can be taken for whole."""
    outside = folder / "outside"
    inside = [(f"cifar-10-batches-py/{name}", content) for name, content in good.items()]
    four = [(name, content) for name, content in inside if not name.endswith("data_batch_3")]
    slot = "cifar-10-batches-py/data_batch_3"
    other = pickle.dumps({"labels": [1] * BATCH_SIZE, "data": np.zeros((BATCH_SIZE, 3072), np.uint8)}, 2)
    whole = tar(*inside)
    zeros = gzip.compress(bytes(60 * MEBI), 1)
    sparse = {"GNU.sparse.map": "0,512", "GNU.sparse.size": str(2**40)}

    def bomb(header):
        """A header and 1,200 MiB, which gzip makes small."""
        return gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + 20 * zeros

    return {
        "parent": tar(*four, ("../../../outside/data_batch_3", other)),
        "parent within": tar(*four, ("cifar-10-batches-py/../../../outside/data_batch_3", other)),
        "absolute": tar(*four, (str(outside / "data_batch_3"), other)),
        "home": tar(*four, ("~/data_batch_3", other)),
        "symlink out": tar(*four, of_type(slot, tarfile.SYMTYPE, outside / "secret")),
        "symlink to a folder, then a file in it": tar(
            *four,
            of_type("cifar-10-batches-py/link", tarfile.SYMTYPE, outside),
            ("cifar-10-batches-py/link/new", b"x"),
        ),
        "symlink to a good batch": tar(*four, of_type(slot, tarfile.SYMTYPE, "data_batch_1")),
        "hard link out": tar(*four, of_type(slot, tarfile.LNKTYPE, outside / "secret")),
        "hard link to a good batch": tar(
            *four, of_type(slot, tarfile.LNKTYPE, "cifar-10-batches-py/data_batch_1")
        ),
        "character device": tar(*four, of_type(slot, tarfile.CHRTYPE)),
        "block device": tar(*four, of_type(slot, tarfile.BLKTYPE)),
        "fifo": tar(*four, of_type(slot, tarfile.FIFOTYPE)),
        "folder": tar(*four, of_type(slot, tarfile.DIRTYPE)),
        "twice, and different": tar(*inside, (slot, other)),
        "wrong names": tar(*((f"{name}.bak", content) for name, content in inside)),
        "a batch is lacking": tar(*four),
        "very many members": tar(*((str(number), b"") for number in range(1500))),
        "a size of 8 EB": tar(*four, (header_of(slot, 2**63 - 1), b"")),
        "a negative size": tar(*four, (header_of(slot, pax_headers={"size": "-1024"}), b"")),
        "a size that is none": tar(*four, (header_of(slot, pax_headers={"size": "much"}), b"")),
        "sparse, 1 TB": tar(*four, (header_of(slot, 512, pax_headers=sparse), bytes(512))),
        "sparse, nonsense": tar(*four, (header_of(slot, pax_headers=sparse | {"GNU.sparse.map": "x"}), b"")),
        "sparse, nonsense in the file": tar(
            *four,
            (
                header_of(slot, 512, pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
                b"9" * 512,
            ),
        ),
        "headers upon headers": gzip.compress(header_of("x", type=tarfile.XHDTYPE).tobuf() * 20_000),
        "a name that clears the screen": tar(*four, (header_of("\n\x1b[2J\r", 2**31), b"")),
        "bomb, one member": bomb(header_of("readme.html", 1200 * MEBI)),
        "bomb, many members": 20
        * gzip.compress(header_of("readme.html", 60 * MEBI).tobuf() + bytes(60 * MEBI), 1),
        "bomb, long name": bomb(header_of("x", 1200 * MEBI, type=tarfile.GNUTYPE_LONGNAME)),
        "bomb, extended header": bomb(header_of("x", 1200 * MEBI, type=tarfile.XHDTYPE)),
        "bomb, labels": gzip.compress(
            header_of("package/train_lables.json", 60 * MEBI).tobuf()
            + b"["
            + b"[]," * (20 * MEBI - 1)
            + b"[]",
            1,
        ),
        "gzip in gzip": gzip.compress(gzip.compress(whole)),
        "gzip, cut short": gzip.compress(whole)[:-2000],
        "gzip, of nothing": gzip.compress(b""),
        "gzip, another checksum": gzip.compress(whole)[:-8] + bytes(8),
        "gzip, nonsense": b"\x1f\x8b" + bytes(range(256)) * 4,
        "tar, cut short": whole[: len(whole) // 2],
        "tar, cut in a header": whole[:700],
    }


def bad_zips(good):
    """Name -> archive; the data set does not come in zips, so none is ever opened."""
    inside = [(f"cifar-10-batches-py/{name}", content) for name, content in good.items()]
    link = zipfile.ZipInfo("cifar-10-batches-py/data_batch_1")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(*inside, inside[0])
    plain = zipped(*inside)
    encrypted = plain.replace(b"PK\x03\x04\x14\0\0\0", b"PK\x03\x04\x14\0\x01\0")
    encrypted = encrypted.replace(b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0")
    assert zipfile.ZipFile(io.BytesIO(encrypted)).infolist()[0].flag_bits == 1
    return {
        "zip, good batches": plain,
        "zip, parent": zipped(("../../../outside/data_batch_1", b"x")),
        "zip, absolute": zipped(("/outside/data_batch_1", b"x")),
        "zip, symlink": zipped((link, "../../../outside/secret")),
        "zip, bomb": zipped(("data_batch_1", bytes(60 * MEBI))),
        "zip, twice": twice,
        "zip, encrypted": encrypted,
        "zip, cut short": plain[: len(plain) // 2],
    }


def small_pickles_that_ask_for_much():
    """Name -> a batch of a few bytes, or few megabytes, that a reader of pickles makes more than a gigabyte of."""
    text = b"X" + struct.pack("<I", 16 * MEBI) + b"o" * (16 * MEBI)
    array = pickle.dumps({"data": np.zeros((BATCH_SIZE, 3072), np.uint8)}, 2)[:-2]  # without SETITEM and STOP

    def labels(opcodes):
        return array + b"sX\x06\0\0\0labels" + opcodes + b"s."

    doubled = b"]q\x64" + b"0](h\x64h\x64eq\x64" * 26 + b"0]h\x64a"
    return {
        "memo": b"\x80\x02Nr" + struct.pack("<I", 0x03FFFFFF) + b".",
        "text, encoded again and again": b"\x80\x02c_codecs\nencode\nq\x02"
        + text
        + b"q\x01X\x06\0\0\0latin1q\x03]("
        + 80 * b"h\x02h\x01h\x03\x86R"
        + b"e.",
        "empty lists": b"\x80\x02](" + b"]" * (20 * MEBI) + b"e.",
        "label of labels of labels": labels(doubled),
        "label within labels": labels(100_001 * b"]" + 100_000 * b"a"),
        "shape within shapes": array.replace(b"K\x14M\x00\x0c\x86", 50_001 * b"]" + 50_000 * b"a")
        + b"sX\x06\0\0\0labels]s.",
        "name of a megabyte": b"\x80\x02c" + b"o" * MEBI + b"\nsystem\n.",
        "name that clears the screen": b"\x80\x04\x8c\x08os\n\x1b[2J\n\x8c\x06system\x93.",
        "attribute that clears the screen": b"\x80\x02cnumpy\ndtype\nN}X\x05\0\0\0\n\x1b[2JK\x01s\x86b.",
        "persistent id": b"Pa\x1b[2J\n.",
    }


def bad_files(good, folder):
    """Name -> path of what is no archive at all."""
    cell = pa.array([bytes(10 * MEBI)])
    images = pa.StructArray.from_arrays(
        [pa.DictionaryArray.from_arrays(pa.array([0] * BATCH_SIZE, pa.int32()), cell)], names=["bytes"]
    )
    bomb = folder / "bomb.parquet"
    table = pa.table({"img": images, "label": [0] * BATCH_SIZE})
    with pq.ParquetWriter(
        bomb, table.schema, store_schema=False, dictionary_pagesize_limit=64 * MEBI, compression="zstd"
    ) as writer:
        for _ in NAMES:
            writer.write_table(table)
    assert bomb.stat().st_size < MEBI
    os.mkfifo(folder / "fifo")
    for place in ("of a fifo", "of links", "of devices"):
        (folder / place).mkdir()
    os.mkfifo(folder / "of a fifo" / "data_batch_1")
    (folder / "of links" / "data_batch_1").symlink_to(folder / "secret")
    (folder / "of devices" / "data_batch_1").symlink_to("/dev/zero")
    return {
        "parquet, bomb": bomb,
        "parquet, cut short": put(folder / "cut.parquet", bomb.read_bytes()[:-20]),
        "fifo": folder / "fifo",
        "device": Path("/dev/zero"),
        "folder with a fifo": folder / "of a fifo",
        "folder with a link": folder / "of links",
        "folder with a device": folder / "of devices",
        "text": put(folder / "page.html", b"<html>please log in</html>"),
        "nothing": put(folder / "nothing", b""),
        "bzip2": put(folder / "batches.tar.bz2", bz2.compress(tar(*good.items()))),
        "its own name clears the screen": put(folder / "a\n\x1b[2J", b"nothing"),
        "its own name is not UTF-8": put(folder / "a\udcff", b"nothing"),
    }


def listing(folder, *, without):
    """What lies below a folder: names, types and contents."""
    paths = [path for path in folder.rglob("*") if not path.is_relative_to(without)]
    return {
        path: (path.lstat().st_mode, hashlib.sha256(path.read_bytes()).digest() if path.is_file() else None)
        for path in paths
        if not path.is_symlink()
    } | {path: path.readlink() for path in paths if path.is_symlink()}


MOST_SECONDS = 6
MOST_BYTES = 256 * MEBI
"""A batch has 31 MB, and is there a few times while it is read."""


def test_every_bad_archive_is_refused_in_a_line_and_leaves_nothing(
    batches, fetch, tmp_path, monkeypatch, figure
):
    sandbox = tmp_path / "a" / "b" / "c"
    sandbox.mkdir(parents=True)
    monkeypatch.chdir(sandbox)
    monkeypatch.setenv("HOME", str(tmp_path))
    put(sandbox / "secret", batches["data_batch_3"])
    put(tmp_path / "a" / "outside" / "secret", batches["data_batch_3"])
    sources = {
        name: put(sandbox / "tars" / name, content)
        for name, content in bad_tars(batches, tmp_path / "a").items()
    }
    sources |= {name: put(sandbox / "zips" / name, content) for name, content in bad_zips(batches).items()}
    for name, content in small_pickles_that_ask_for_much().items():
        sources[f"pickle: {name}"] = put(sandbox / "pickles" / name / "data_batch_1", content).parent
    sources |= bad_files(batches, put(sandbox / "files" / "secret", batches["data_batch_3"]).parent)
    cache = tmp_path / "cache"
    before = listing(tmp_path, without=cache)
    taken = {}
    for name, path in sources.items():
        forget_peak()
        resident = resident_bytes("VmRSS")
        try:
            with at_most(MOST_SECONDS):
                fetch(path)
        except DataError as error:
            if not is_clear(str(error)):
                taken[name] = f"not a clear line: {str(error)[:200]!r}"
        except TooLongError:
            taken[name] = f"not refused within {MOST_SECONDS} s"
        except Exception as error:  # noqa: BLE001 - anything else is a traceback
            taken[name] = f"{type(error).__name__}: {str(error)[:200]!r}"
        else:
            taken[name] = "not refused"
        growth = resident_bytes("VmHWM") - resident
        if growth > MOST_BYTES:
            taken[name] = f"{taken.get(name, 'refused')}, after {growth // MEBI} MiB"
        assert {path.name for path in cache.iterdir()} <= {"cifar10.lock"}, name
    figure(
        "tar slips, symlinks, zip bombs among archives",
        "20 of 20 refused",
        f"{len(sources) - len(taken)} of {len(sources)} refused",
    )
    assert listing(tmp_path, without=cache) == before
    assert not taken, "\n" + "\n".join(f"{name}: {what}" for name, what in taken.items())
    good = put(tmp_path / "good", gzip.compress(tar(*batches.items())))
    assert len(fetch(good).test_labels) == BATCH_SIZE, "what is good is taken on the same way"


def test_what_lies_beside_good_batches_is_not_unpacked(batches, fetch, tmp_path, monkeypatch):
    sandbox = tmp_path / "a" / "b" / "c"
    sandbox.mkdir(parents=True)
    monkeypatch.chdir(sandbox)
    slips = [
        ("../../slipped", b"x"),
        (str(tmp_path / "slipped"), b"x"),
        of_type("link", tarfile.SYMTYPE, tmp_path),
        ("link/slipped", b"x"),
        of_type("fifo", tarfile.FIFOTYPE),
    ]
    path = put(sandbox / "archive", gzip.compress(tar(*slips, *batches.items(), *slips)))
    before = listing(tmp_path, without=tmp_path / "cache")
    assert len(fetch(path).train_labels) == 5 * BATCH_SIZE
    assert listing(tmp_path, without=tmp_path / "cache") == before


@pytest.mark.parametrize(
    "name", ["parent", "sparse, 1 TB", "headers upon headers", "a name that clears the screen"]
)
def test_the_command_says_in_a_line_why_it_takes_no_archive(batches, fetch, harness, tmp_path, name):
    path = put(tmp_path / "archive", bad_tars(batches, tmp_path)[name])
    code, out, err = harness("data", "fetch", "--source", path)
    assert (code, out) == (1, "")
    *reports, complaint = err.splitlines()
    assert is_clear(complaint)
    assert complaint.startswith(f"harness: {path}: ")
    assert [line for line in reports if not line.startswith(f"{path}: reading and verifying: ")] == []


def to_toml(value):
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_key(key)} = {to_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def to_key(text):
    return text if re.fullmatch("[A-Za-z0-9_-]+", text) else to_toml(text)


def document(content):
    return "\n".join(f"{to_key(key)} = {to_toml(value)}" for key, value in content.items())


_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_scalars = st.one_of(
    st.integers(),
    st.integers(min_value=10**300, max_value=10**400),
    st.floats(),
    st.booleans(),
    _texts,
    st.datetimes(),
    st.sampled_from(["sgd", "adam", "cosine", "linear", "channel", "epoch"]),
)
_values = st.recursive(
    _scalars,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(_texts, parts, max_size=4),
    max_leaves=6,
)


def like(value):
    """Values of the type of another, which is what a reader looks at last."""
    if isinstance(value, bool):
        return st.booleans()
    if isinstance(value, int):
        return st.integers() | st.integers(min_value=2**62, max_value=2**65) | st.just(10**400)
    if isinstance(value, float):
        return st.floats() | st.sampled_from([1e308, 5e-324, 0.0, 1.0])
    if isinstance(value, str):
        return _texts | st.sampled_from(
            ["", ".toml", "a\0b.toml", "../x.toml", "[/bold]", "\x1b[2J", "a" * 5000]
        )
    return _values


def tables_of(content):
    """All tables and arrays in a document, itself first."""
    yield content
    for part in content.values() if isinstance(content, dict) else content:
        if isinstance(part, dict | list):
            yield from tables_of(part)


@st.composite
def changed(draw, sound):
    """A document with keys and elements that are replaced, removed or added."""
    content = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        table = draw(st.sampled_from([table for table in tables_of(content) if table]))
        keys = list(table) if isinstance(table, dict) else list(range(len(table)))
        key, how = draw(st.sampled_from(keys)), draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "replace":
            table[key] = draw(like(table[key]) | like(table[key]) | _values)
        elif how == "remove" and len(content) > 1:
            del table[key]
        elif isinstance(table, dict):
            table[draw(_texts)] = draw(_values)
        else:
            table.append(draw(_values))
    return document(content).encode()


def malformed(sound):
    """Bytes in place of a TOML file: any, any text, a changed document, and one that is cut, filled up or spliced."""
    text = document(sound).encode()
    cuts = st.integers(0, len(text))
    spliced = st.builds(
        lambda end, middle, start: text[:end] + middle + text[start:], cuts, st.binary(max_size=30), cuts
    )
    return st.one_of(
        st.binary(max_size=200),
        _texts.map(str.encode),
        spliced,
        changed(sound),
        changed(sound),
        changed(sound),
    )


def shipped(kind, name):
    return tomllib.loads(
        resources.files("harness").joinpath(kind, f"{name}.toml").read_text(encoding="utf-8")
    )


def read_all(store):
    """All that the commands read of a store; the reasons why files are passed over."""
    broken = store.check()[1]
    for kind in ("runs", "epochs", "predictions"):
        table, of_kind = store.read(kind)
        table.to_pylist()
        broken += of_kind
    store.local_run("run-1")
    return [file.reason for file in broken]


@st.composite
def malformed_records(draw, sealed, unsealed):
    """A kind and the bytes of a file: any, cut or spliced ones, and ones without a digest whose bytes are changed."""
    kind = draw(st.sampled_from(sorted(sealed)))
    file = draw(st.sampled_from([sealed[kind], *unsealed[kind]]))
    how = draw(st.sampled_from(["any", "cut", "splice", "change", "change", "change"]))
    if how == "any":
        return kind, draw(st.binary(max_size=300)).join([b"PAR1", b"PAR1"])
    if how == "cut":
        return kind, file[: draw(st.integers(0, len(file)))]
    if how == "splice":
        other = draw(st.sampled_from([part for files in unsealed.values() for part in files]))
        return kind, file[: draw(st.integers(0, len(file)))] + other[draw(st.integers(0, len(other))) :]
    content = bytearray(draw(st.sampled_from(unsealed[kind])))
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for _ in range(draw(st.integers(1, 4))):
        first = draw(st.sampled_from([4, footer]))
        content[draw(st.integers(first, len(content) - 1))] = draw(st.integers(0, 255))
    return kind, bytes(content)


def of_recipe(path):
    """A group of an experiment."""
    return {"models": ["resnet20"], "recipe": path, "seeds": [0]}


def planning(folder, often):
    """Functions that plan malformed recipes, and malformed experiments, as ``harness plan`` does."""
    recipe_file, experiment_file = folder / "recipe.toml", folder / "experiment.toml"
    recipe = shipped("recipes", "paper") | {"name": "paper"}
    experiment = shipped("experiments", "precision") | {"name": "precision"}
    asks = Request(
        experiment=str(experiment_file),
        results=folder / "results",
        device="cpu",
        synthetic=True,
        num_threads=1,
    )

    def plan():
        try:
            session = resolve(asks)
        except UsageError as error:
            return str(error)
        for run in session.planned:
            assert Path(run.run_id).name == run.run_id
            assert 0 <= run.estimated_seconds < math.inf
        return None

    @often
    @given(malformed(recipe) | malformed(shipped("recipes", "short")))
    def plan_recipe(content):
        recipe_file.write_bytes(content)
        complaint = plan()
        assert complaint is None or is_clear(complaint)

    @often
    @given(malformed(experiment))
    def plan_experiment(content):
        experiment_file.write_bytes(content)
        complaint = plan()
        assert complaint is None or is_clear(complaint)

    def recipes():
        experiment_file.write_text(document(experiment | {"groups": [of_recipe("recipe.toml")]}))
        recipe_file.write_text(document(recipe))
        assert plan() is None, "what is sound is taken"
        plan_recipe()

    def experiments():
        experiment_file.write_text(document(experiment))
        assert plan() is None, "what is sound is taken"
        plan_experiment()

    return recipes, experiments


def reading(folder, often):
    """A function that reads malformed records, as ``harness results list`` and ``check`` do."""
    store, sealed, unsealed = Store(folder / "records"), {}, {}
    for kind in ("runs", "epochs", "predictions"):
        table = record_of(kind)
        store.write_table(kind, "run-1", table)
        sealed[kind] = (store.root / kind / "run-1.parquet").read_bytes()
        unsealed[kind] = [
            of_version_4(table, kind, compression="none", use_dictionary=False, write_statistics=False),
            of_version_4(table, kind, compression="zstd"),
        ]

    @often
    @given(malformed_records(sealed, unsealed))
    def read_record(drawn):
        kind, content = drawn
        path = put(store.root / kind / "run-1.parquet", content)
        try:
            reasons = read_all(store)
        finally:
            path.write_bytes(sealed[kind])
        assert [reason for reason in reasons if not is_clear(reason)] == []

    def records():
        assert read_all(store) == [], "what is sound is taken"
        read_record()

    return records


def test_malformed_recipes_experiments_and_records_are_named_in_a_line(
    tmp_path, size, figure, torch_settings
):
    num_examples, failures = size(1000, 60), []
    often = settings(max_examples=num_examples, deadline=None, database=None, derandomize=True)
    for check in (*planning(tmp_path, often), reading(tmp_path, often)):
        try:
            check()
        except Exception as error:  # noqa: BLE001 - the others are to be looked at as well
            error.add_note(f"malformed {check.__name__}")
            failures.append(error)
    figure(
        f"hypothesis: malformed recipes, experiments, records ({num_examples:,} each)",
        "no traceback, one clear line each",
        f"no traceback, one clear line each for {3 - len(failures)} of 3",
    )
    if failures:
        raise ExceptionGroup("malformed files", failures)


DEEP = "[" * 3000 + "]" * 3000
MEANT_TO_BREAK = {
    "an integer of 5,000 digits": ("batch_size = 128", f"batch_size = {'9' * 5000}"),
    "arrays within arrays": ("batch_size = 128", f"batch_size = {DEEP}"),
    "tables within tables": ("batch_size = 128", f"batch_size = {'{a = ' * 3000}1{'}' * 3000}"),
    "keys of keys": ("batch_size = 128", f"{'.'.join('a' * 3000)} = 1"),
    "a value of a megabyte": ("batch_size = 128", f"batch_size = '{'y' * MEBI}'"),
    "a key of a megabyte": ("batch_size = 128", f"{'y' * MEBI} = 1"),
    "more epochs than a float has": ("iterations = 64000", "epochs = 1e308"),
    "more iterations than a float has": ("iterations = 64000", f"iterations = {'9' * 400}"),
    "more iterations than a record has": ("iterations = 64000", f"iterations = {2**63}"),
    "twenty thousand milestones": ("milestones = [0.5, 0.75]", f"milestones = [{'0.5, ' * 20_000}]"),
}


@pytest.mark.parametrize(("old", "new"), MEANT_TO_BREAK.values(), ids=MEANT_TO_BREAK)
def test_a_recipe_that_is_meant_to_break_its_reader_is_wrong_usage(harness, empty_folder, old, new):
    text = document(shipped("recipes", "paper"))
    assert text.count(old) == 1
    experiment = write_of_others(empty_folder)
    put(empty_folder / "recipe.toml", text.replace(old, new).encode())
    with at_most(20):
        code, out, err = harness("plan", experiment, "--device", "cpu", "--data", "synthetic")
    assert (code, out) == (2, "")
    assert is_clear(err.removesuffix("\n"))


# no operating system lets a NUL into an argument or a variable; a file can hold one
HOSTILE = {
    "parent": "../../evil",
    "absolute": "/evil",
    "line break": "a\nb",
    "clears the screen": "\x1b[2J\x1b]0;evil\x07",
    "markup": "[/bold]",
    "very long": "a" * 5000,
    "not UTF-8": "a\udcff",
    "digits": "9" * 5000,
    "other digits": "\u00b2",
    "an option": "--evil",
}
PLACES = {
    "experiment": ("plan", "--", "X"),
    "experiment file": ("plan", "--", "X.toml"),
    "models": ("plan", "smoke", "--models=X"),
    "module": ("plan", "smoke", "--models=X:net"),
    "model": ("run", "--model=X", "--recipe", "short"),
    "recipe": ("run", "--model", "resnet20", "--recipe=X"),
    "recipe file": ("run", "--model", "resnet20", "--recipe=X.toml"),
    "seeds": ("plan", "smoke", "--seeds=X"),
    "device": ("plan", "smoke", "--device=X"),
    "precision": ("plan", "smoke", "--precision=X"),
    "data": ("plan", "smoke", "--data=X"),
    "upstream": ("plan", "smoke", "--upstream=X"),
    "source": ("data", "fetch", "--source=X"),
    "kind": ("results", "list", "--results", ".", "--kind=X"),
    "run": ("verify", "--results", ".", "--", "X"),
    "network": ("identify", "--", "X"),
    "checkpoint": ("audit", "--", "X"),
    "code": ("models", "fetch", "--", "X"),
    "profiled": ("profile", "--", "X"),
    "sizes": ("profile", "resnet20", "--batch-sizes=X"),
    "modes": ("profile", "resnet20", "--modes=X"),
    "session": ("profile", "resnet20", "--data", "synthetic", "--against=X"),
}


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """The working folder, with nothing in it; no data set and no code of others is there."""
    folder = tmp_path / "working"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HARNESS_UPSTREAM_DIR", "")
    return folder


def complaints(harness, words, codes, monkeypatch=None, variable=None):
    """What is not refused as it should be, by name of what was hostile."""
    wrong = {}
    for name, value in HOSTILE.items():
        if variable is not None:
            monkeypatch.setenv(variable, os.fsencode(value).decode("utf-8", "surrogateescape"))
        try:
            with at_most(20):
                code, out, err = harness(*(word.replace("X", value) for word in words))
        except (Exception, TooLongError) as error:  # noqa: BLE001 - the others are to be looked at as well
            wrong[name] = f"{type(error).__name__}: {str(error)[:100]!r}"
            continue
        complaint = err.removesuffix("\n")
        if code not in codes or out or not is_clear(complaint):
            wrong[name] = f"exit code {code}, out {out[:100]!r}, err {err[:300]!r}"
    return "".join(f"\n{name}: {what}" for name, what in wrong.items())


@pytest.mark.parametrize("words", PLACES.values(), ids=PLACES)
def test_a_hostile_word_is_wrong_usage_in_a_line_and_leaves_nothing(harness, empty_folder, words):
    assert complaints(harness, words, {2}) == ""
    cache = empty_folder.parent / "cache"
    assert {*empty_folder.parent.rglob("*")} - {cache, cache / "cifar10.lock"} == {empty_folder}


def test_a_very_long_name_of_a_network_is_planned_or_wrong_usage(harness, empty_folder):
    words = ("plan", "smoke", f"--models=numpy:{'a' * 5000}")
    code, _, err = harness(*words)
    assert code in {0, 2}
    assert code == 0 or is_clear(err.removesuffix("\n"))
    put(empty_folder / "results" / "runs" / "run-1.parquet", b"something is recorded already")
    assert harness(*words).code == code


VARIABLES = {
    "HARNESS_DATA_DIR": ("data", "verify"),
    "HARNESS_DATA_SOURCE": ("data", "fetch"),
    "HF_ENDPOINT": ("data", "fetch", "--source", "huggingface"),
}


@pytest.mark.parametrize(("variable", "words"), VARIABLES.items(), ids=VARIABLES)
def test_a_hostile_variable_is_named_in_a_line(harness, empty_folder, monkeypatch, variable, words):
    monkeypatch.setenv("NO_PROXY", "*")
    assert complaints(harness, words, {1, 2}, monkeypatch, variable) == ""
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("plan", "smoke"), ("results", "list"), ("results", "check")], ids=" ".join
)
def test_a_hostile_folder_of_results_is_no_traceback_and_is_not_made(harness, empty_folder, words):
    wrong = {}
    for name, value in HOSTILE.items():
        try:
            outcome = harness(*words, f"--results={value}")
        except Exception as error:  # noqa: BLE001 - the others are to be looked at as well
            wrong[name] = f"{type(error).__name__}: {str(error)[:100]!r}"
            continue
        if not set(outcome.out + outcome.err).isdisjoint("\x1b\x07") or "Traceback" in outcome.err:
            wrong[name] = repr(outcome.err[:300])
    assert wrong == {}
    assert list(empty_folder.parent.rglob("*")) == [empty_folder]


RECIPE_OF_OTHERS = """\
name = {name}
summary = "for tests"
source = "none"
batch_size = 16
iterations = 2
initialization = "he"
optimizer = {{kind = "sgd", learning_rate = 0.05}}
schedule = {{kind = "steps", milestones = [], factor = 0.1}}
normalization = {{kind = "none"}}
"""

EXPERIMENT_OF_OTHERS = """\
name = {name}
summary = {name}
precision = "fp32"
shows = {name}
shows_not = {name}
[[groups]]
models = ["resnet20"]
recipe = {recipe}
seeds = [0]
"""

CLEARING = "\x1b[2J\x1b]0;evil\x07"


def write_of_others(folder, name="mine", recipe="recipe.toml"):
    """A recipe and an experiment with such a name; returns the path of the experiment."""
    put(folder / "recipe.toml", RECIPE_OF_OTHERS.format(name=to_toml(name)).encode())
    text = EXPERIMENT_OF_OTHERS.format(name=to_toml(name), recipe=to_toml(recipe))
    return put(folder / "experiment.toml", text.encode())


@pytest.mark.parametrize("name", ["[/bold]", "[bold", "\\[/bold]", "[link=file:///etc/passwd]here[/link]"])
def test_markup_in_the_texts_of_others_is_text(harness, empty_folder, name):
    path = write_of_others(empty_folder, name)
    code, out, err = harness("plan", path, "--device", "cpu", "--data", "synthetic")
    assert (code, err) == (0, "")
    assert out.count(name) == 3  # the experiment's name and summary, and the recipe's name


def test_the_texts_of_others_do_nothing_to_the_terminal(harness, empty_folder):
    path = write_of_others(empty_folder, CLEARING)
    code, out, err = harness("plan", path, "--device", "cpu", "--data", "synthetic")
    assert set(out + err).isdisjoint("\x1b\x07")
    assert code in {0, 2}


@pytest.mark.parametrize(
    "recipe", ["a\0b.toml", "a\nb.toml", f"{CLEARING}.toml", "a" * 5000 + ".toml", "/dev/zero/a.toml"]
)
def test_a_hostile_path_in_an_experiment_is_wrong_usage_in_a_line(harness, empty_folder, recipe):
    path = write_of_others(empty_folder, recipe=recipe)
    code, out, err = harness("plan", path, "--device", "cpu", "--data", "synthetic")
    assert (code, out) == (2, "")
    assert is_clear(err.removesuffix("\n"))


NAMES_OF_RECIPES = ["../../../evil", "[/bold]", CLEARING, "a" * 5000, "/evil", "a\0b", "a\nb", "\u202e"]


def test_the_name_of_a_recipe_leads_to_no_other_folder(laboratory, size):
    results = laboratory.folder / "a" / "b" / "c" / "results"
    for name in NAMES_OF_RECIPES[: size(8, 2)]:
        path = write_of_others(laboratory.folder, name)
        before = set(listing(laboratory.folder, without=results))
        started = laboratory.reproduce(path, results)
        code, said = started.wait(), started.said()
        assert "Traceback" not in said, said
        assert code in {0, 2}, said
        assert set(said).isdisjoint("\x1b\x07"), name
        ids = Store(results).read("runs")[0].column("run_id").to_pylist()
        assert len(ids) == (code == 0)
        assert [each for each in ids if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{,200}", each)] == []
        assert Store(results).check() == (3 * len(ids), [])
        shutil.rmtree(results, ignore_errors=True)
        assert set(listing(laboratory.folder, without=results)) - before <= {started.output, *results.parents}


SHOWN = {
    "markup": {"status": "[/bold]", "device_name": "[/]"},
    "clears the screen": {"status": CLEARING, "device_name": f"a\n{CLEARING}"},
    "a time before all": {"finished_at": datetime.min.replace(tzinfo=UTC)},
}


@pytest.mark.parametrize("values", SHOWN.values(), ids=SHOWN)
def test_a_sound_record_of_others_is_listed_and_does_nothing(harness, tmp_path, values):
    Store(tmp_path).write_table("runs", "run-1", record_of("runs", **values))
    code, out, err = harness("results", "list", "--results", tmp_path)
    assert (code, err) == (0, "")
    assert "run-1" in out
    assert set(out).isdisjoint("\x1b\x07")


def in_cell(name, values, kind=None):
    """The records of a run, one of whose cells is such."""
    table = record_of("runs")
    return with_column(table, name, pa.array(values, kind) if kind else values)


UNREADABLE = {
    "a time beyond all": in_cell("finished_at", pa.array([2**62]).cast(pa.timestamp("us", "UTC"))),
    "text that is not UTF-8": in_cell("status", pa.array([b"\xff\xfe"]).view(pa.string())),
}


@pytest.mark.parametrize("table", UNREADABLE.values(), ids=UNREADABLE)
def test_a_record_that_cannot_be_shown_is_named(harness, tmp_path, table):
    path = put(tmp_path / "runs" / "run-1.parquet", of_version_4(table, "runs"))
    code, out, err = harness("results", "list", "--results", tmp_path)
    assert (code, out) == (0, "")
    assert err.startswith(f"passed over {path}: ")
    assert harness("results", "check", "--results", tmp_path).code == 1
    assert Store(tmp_path).local_run("run-1") is None


MARKS = {
    "version of 5,000 digits": {b"harness.schema_version": b"9" * 5000},
    "version that clears the screen": {b"harness.schema_version": CLEARING.encode() * 1000},
    "kind that is not UTF-8": {b"harness.kind": b"\xff"},
    "mark that is not UTF-8": {b"\xff": b"\xff"},
}


@pytest.mark.parametrize("marks", MARKS.values(), ids=MARKS)
def test_the_marks_of_a_record_are_believed_by_nobody(tmp_path, marks):
    put(tmp_path / "runs" / "run-1.parquet", of_version_4(record_of("runs"), "runs", marks=marks))
    assert [reason for reason in read_all(Store(tmp_path)) if not is_clear(reason)] == []


@pytest.mark.parametrize("spec", ["", "{}", "[]", "null", "[" * 100_000, '{"model": "resnet20"}', "\x1b[2J"])
def test_a_record_of_a_run_that_says_nothing_of_it_cannot_be_verified(harness, tmp_path, spec):
    store = Store(tmp_path)
    run = record_of("runs", status="completed", spec=spec, device="cpu", resumed_from=[], model="resnet20")
    for kind, table in (("epochs", record_of("epochs")), ("runs", run)):
        store.write_table(kind, "run-1", table)
    code, out, err = harness("verify", "run-1", "--results", tmp_path)
    assert code in {1, 2}
    assert out == ""
    assert is_clear(err.removesuffix("\n"))


def test_a_record_that_hides_whose_code_repeats_it_is_not_verified(
    harness, write_module, make_spec, tmp_path
):
    canary = tmp_path / "canary"
    write_module(f"import os\n\ndef make():\n    os.mkdir({str(canary)!r})\n", "evil.py")
    with pytest.raises(ModelError):
        find("evil:make").build()
    canary.rmdir()  # the network would be built
    spec = make_spec(model="evil:make").model_dump_json()
    store, values = Store(Path("results")), {"status": "completed", "device": "cpu", "resumed_from": []}
    store.write_table("epochs", "run-1", record_of("epochs"))
    store.write_table("runs", "run-1", record_of("runs", **values, model="resnet20", spec=spec))
    code, out, err = harness("verify", "run-1")
    assert not canary.exists()
    assert (code, out) == (1, "")
    assert is_clear(err.removesuffix("\n"))


HEADERS = {
    "place, arrays within arrays": {"place": "[" * 100_000},
    "spec, arrays within arrays": {"spec": "[" * 100_000},
    "spec, an array": {"spec": "[]"},
    "spec, a number": {"spec": "5"},
    "no iteration": {"progress": "{}"},
    "iteration, infinite": {"progress": '{"iteration": 1e999}'},
    "iteration, a text": {"progress": '{"iteration": "x"}'},
    "iteration, negative": {"progress": '{"iteration": -5}'},
    "iteration, of 5,000 digits": {"progress": '{"iteration": %s}' % ("9" * 5000)},
    "iteration, beyond the run": {"progress": '{"iteration": 1000000000}'},
    "name that leads out": {"run_id": "../../../evil"},
    "name that clears the screen": {"run_id": CLEARING, "place": json.dumps({CLEARING: CLEARING})},
}


@pytest.mark.parametrize("is_own", [True, False], ids=["of the run", "of another"])
@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_what_a_checkpoint_says_of_itself_stops_no_plan(harness, empty_folder, header, is_own):
    path = write_of_others(empty_folder)
    words = (path, "--device", "cpu", "--data", "synthetic", "--threads", 1)
    [planned] = json.loads(harness("plan", *words, "--json").out)["plan"]
    session = resolve(
        Request(experiment=str(path), results=Path("results"), device="cpu", synthetic=True, num_threads=1)
    )
    sound = {
        "format": FORMAT,
        "run_id": planned["run_id"] if is_own else "another",
        "spec": session.planned[0].spec.model_dump_json(),
        "place": "{}",
        "progress": '{"iteration": 1}',
    }
    name = planned["run_id"] if is_own else "another"
    content = save({"weights": torch.zeros(1)}, metadata=sound | header)
    put(Store(Path("results")).checkpoint(name), content)
    put(
        empty_folder.parent / "evil.lock", b"mine"
    )  # where a checkpoint of the name that leads out has its lock
    before = listing(empty_folder.parent, without=empty_folder / "none")
    code, out, err = harness("plan", *words)
    assert code in {0, 1, 2}
    assert "Traceback" not in err
    assert set(out + err).isdisjoint("\x1b\x07")
    assert code == 0 or is_clear(err.removesuffix("\n"))
    assert listing(empty_folder.parent, without=empty_folder / "none") == before


def test_a_checkpoint_does_not_say_which_files_are_removed(laboratory):
    results = laboratory.folder / "results"
    experiment, store = laboratory.experiment(iterations=300), Store(results)
    started = laboratory.reproduce(experiment, results, "--checkpoint-seconds", 0)
    while not list(store.checkpoints()):
        assert started.process.exitcode is None, started.said()
    started.kill_all()
    [path] = store.checkpoints()
    precious = [put(laboratory.folder / f"precious.{ending}", b"mine") for ending in ("safetensors", "lock")]
    stored = Checkpoint.read(path, path.stem)
    note = {"run_id": "../../precious", "iteration": 1, "differences": {}}
    stored.header.progress["resumed_from"] = [note]
    stored.write(path)
    again = laboratory.reproduce(experiment, results)
    assert again.wait() in {0, 4}, again.said()
    assert [path.read_bytes() for path in precious] == [b"mine", b"mine"]


def test_weights_under_names_that_are_no_texts_are_refused(publish, images, here, one_thread):
    for state in ({0: torch.zeros(1)}, {("conv1",): torch.zeros(1)}):
        with pytest.raises(ModelError, match=r"^net\.th: ") as caught:
            audit(publish(saved(state)), images, CPU, here)
        assert is_clear(str(caught.value))


def test_the_report_of_benchmarks_of_others_is_refused_in_a_line_or_recorded(harness, tmp_path):
    here = {
        field.name: value_of(field.type) for field in KINDS["benchmarks"] if field.name in ENVIRONMENT_COLUMNS
    }
    benchmark = {"group": "g", "name": "n", "params": None, "stats": {"data": [1.0]}, "extra_info": {}}
    machine = {"node": "x", "harness": here}
    sound = {"datetime": "2026-01-01T00:00:00+00:00", "machine_info": machine, "benchmarks": [benchmark]}
    reports = {
        "arrays within arrays": "[" * 100_000,
        "name of a machine that leads out": sound | {"machine_info": machine | {"node": "../../../evil"}},
        "name of a machine with NUL": sound | {"machine_info": machine | {"node": "a\0b"}},
        "long name of a machine": sound | {"machine_info": machine | {"node": "a" * 300}},
        "markup": sound | {"benchmarks": [benchmark | {"group": "[/bold]", "name": "[/bold]"}]},
        "clears the screen": sound | {"benchmarks": [benchmark | {"group": CLEARING, "name": CLEARING}]},
        "no rounds": sound | {"benchmarks": [benchmark | {"stats": {"data": []}}]},
        "no time": sound | {"benchmarks": [benchmark | {"stats": {"data": [0.0]}}]},
        "extra, an array": sound | {"benchmarks": [benchmark | {"extra_info": []}]},
    }
    wrong = {}
    for name, report in reports.items():
        folder = tmp_path / name / "a" / "b"
        path = put(
            folder / "report.json", (report if isinstance(report, str) else json.dumps(report)).encode()
        )
        before = listing(tmp_path, without=folder / "results")
        try:
            code, out, err = harness("results", "import-benchmarks", path, "--results", folder / "results")
        except Exception as error:  # noqa: BLE001 - the others are to be looked at as well
            wrong[name] = f"{type(error).__name__}: {str(error)[:100]!r}"
            continue
        if not (code == 0 or (code == 1 and is_clear(err.removesuffix("\n")))) or set(out) & set("\x1b\x07"):
            wrong[name] = f"exit code {code}, out {out[:200]!r}, err {err[:300]!r}"
        assert listing(tmp_path, without=folder / "results") == before
    assert not wrong, "".join(f"\n{name}: {what}" for name, what in wrong.items())
