"""Small fakes of every form the data set comes in, with digests of their own, and a host to fetch them from."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from harness.data.digests import BatchDigest, DigestTable

TRAIN_NAMES = tuple(f"data_batch_{number}" for number in range(1, 6))
NAMES = (*TRAIN_NAMES, "test_batch")
TAR_ORDER = ("data_batch_4", "test_batch", "data_batch_3", "data_batch_2", "data_batch_5", "data_batch_1")
"""The member order of the official archive, which Hugging Face's rows follow."""


@dataclass
class Fakes:
    """Six batches of `batch_size` random images, writable in every form."""

    pixels: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    table: DigestTable

    @classmethod
    def draw(cls, batch_size: int = 20) -> Fakes:
        rng = np.random.default_rng(0)
        pixels = {name: rng.integers(0, 256, (batch_size, 3072), np.uint8) for name in NAMES}
        labels = {name: rng.integers(0, 10, batch_size, np.uint8) for name in NAMES}
        batches = (
            BatchDigest(
                name=name,
                pixels=hashlib.sha256(pixels[name].tobytes()).hexdigest(),
                labels=hashlib.sha256(labels[name].tobytes()).hexdigest(),
            )
            for name in NAMES
        )
        return cls(pixels, labels, DigestTable(batch_size, tuple(batches)))

    @property
    def train_images(self) -> np.ndarray:
        return np.concatenate([self.pixels[name] for name in TRAIN_NAMES]).reshape(-1, 3, 32, 32)

    @property
    def train_labels(self) -> np.ndarray:
        return np.concatenate([self.labels[name] for name in TRAIN_NAMES])

    def pickled(self, name: str, protocol: int = 2) -> bytes:
        batch = {"batch_label": name, "labels": self.labels[name].tolist(), "data": self.pixels[name]}
        return pickle.dumps(batch, protocol)

    def png(self, name: str) -> bytes:
        """The npm package's form: one image per row of the PNG."""
        return _png(self.pixels[name].reshape(-1, 3, 1024).transpose(0, 2, 1))

    def npm_members(self) -> dict[str, bytes]:
        """In the order of the package, labels last."""
        train = [label for name in TRAIN_NAMES for label in self.labels[name].tolist()]
        return {
            **{f"{name}.png": self.png(name) for name in NAMES},
            "test_lables.json": json.dumps(self.labels["test_batch"].tolist()).encode(),
            "train_lables.json": json.dumps(train).encode(),
        }

    def write_python_folder(self, path: Path) -> Path:
        return _write_folder(path, {name: self.pickled(name) for name in NAMES})

    def write_nested_python_folder(self, path: Path) -> Path:
        self.write_python_folder(path / "cifar-10-batches-py")
        return path

    def write_tarball(self, path: Path) -> Path:
        members = {f"cifar-10-batches-py/{name}": self.pickled(name) for name in TAR_ORDER}
        return write_tar(path, {"cifar-10-batches-py/readme.html": b"hello", **members})

    def write_npm_folder(self, path: Path) -> Path:
        return _write_folder(path, self.npm_members())

    def write_nested_npm_folder(self, path: Path) -> Path:
        self.write_npm_folder(path / "package")
        return path

    def write_npm_archive(self, path: Path) -> Path:
        return write_tar(path, {f"package/{name}": content for name, content in self.npm_members().items()})

    def write_parquet(self, path: Path) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path.mkdir(parents=True)
        train = [name for name in TAR_ORDER if name != "test_batch"]
        for split, names in (("train", train), ("test", ["test_batch"])):
            images = [
                {"bytes": _png(row.reshape(3, 32, 32).transpose(1, 2, 0)), "path": None}
                for name in names
                for row in self.pixels[name]
            ]
            labels = [label for name in names for label in self.labels[name].tolist()]
            table = pa.table(
                {
                    "img": pa.array(images, pa.struct({"bytes": pa.binary(), "path": pa.string()})),
                    "label": pa.array(labels, pa.int64()),
                }
            )
            pq.write_table(table, path / f"{split}-00000-of-00001.parquet", row_group_size=30)
        return path

    def write_nested_parquet(self, path: Path) -> Path:
        self.write_parquet(path / "plain_text")
        return path

    def write_parquet_file(self, path: Path) -> Path:
        return self.write_parquet(path) / "test-00000-of-00001.parquet"


def _png(array: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, "PNG")
    return buffer.getvalue()


def _write_folder(path: Path, files: dict[str, bytes]) -> Path:
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


FORMS: dict[str, Callable[[Fakes, Path], Path]] = {
    "python_folder": Fakes.write_python_folder,
    "nested_python_folder": Fakes.write_nested_python_folder,
    "tarball": Fakes.write_tarball,
    "npm_folder": Fakes.write_npm_folder,
    "nested_npm_folder": Fakes.write_nested_npm_folder,
    "npm_archive": Fakes.write_npm_archive,
    "parquet": Fakes.write_parquet,
    "nested_parquet": Fakes.write_nested_parquet,
    "parquet_file": Fakes.write_parquet_file,
}


@pytest.fixture
def fakes() -> Fakes:
    return Fakes.draw()


@pytest.fixture(params=FORMS)
def write_form(request: pytest.FixtureRequest) -> Callable[[Fakes, Path], Path]:
    """Writes the fakes in one of the accepted forms, in turn, and gives the path to be read."""
    return FORMS[request.param]


@pytest.fixture(name="write_tar")
def write_tar_fixture() -> Callable[..., Path]:
    return write_tar


@dataclass
class Recorder:
    """A `Progress` that remembers; `on_message` lets a test act in the middle of things."""

    messages: list[str] = field(default_factory=list)
    advances: list[tuple[str, int, int | None]] = field(default_factory=list)
    on_message: Callable[[str], object] = lambda _: None

    def message(self, text: str) -> None:
        self.messages.append(text)
        self.on_message(text)

    def advance(self, description: str, done: int, total: int | None) -> None:
        self.advances.append((description, done, total))


@pytest.fixture
def progress() -> Recorder:
    return Recorder()


@pytest.fixture
def new_progress() -> type[Recorder]:
    return Recorder


@dataclass
class Host:
    """What the fake host serves and has been asked."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """Bytes after which each coming answer breaks off; once used up, answers are whole."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of every request."""

    @property
    def ranges_asked(self) -> list[str | None]:
        return [asked for _, asked in self.requests]

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range")
        self.requests.append((handler.path, asked))
        content = self.files.get(handler.path)
        if content is None:
            handler.send_error(404)
            return
        same = handler.headers.get("If-Range") in (None, self.etag)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges and same else 0
        if start >= len(content):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(content)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.etag:
            handler.send_header("ETag", self.etag)
        handler.end_headers()
        body = content[start:]
        handler.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                served.answer(self)
            except ConnectionError:
                self.close_connection = True  # the client has hung up, as a test of slow sources has it do

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served = Host(url=f"http://127.0.0.1:{server.server_port}")
    # the short poll makes shutdown quick
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_outside_wishes(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Keep the environment of whoever runs the tests out of them, save where the real data is the point."""
    if "real_data" not in request.keywords:
        for name in ("HARNESS_DATA_SOURCE", "HARNESS_DATA_DIR", "HF_ENDPOINT"):
            monkeypatch.delenv(name, raising=False)
