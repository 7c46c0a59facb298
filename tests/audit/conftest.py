"""A published checkpoint of a small repository, made for the test."""

import dataclasses
import hashlib
import io

import pytest
import torch

from harness.audit import PublishedCheckpoint, find_checkpoint
from harness.models import catalogue, find
from harness.models.upstream import UpstreamFile

CODE = b"""
import torch.nn.functional as F
from torch import nn

from harness.models.resnet import CifarResNet


class Net(CifarResNet):
    def forward(self, x):
        x = self.stages(F.relu(self.bn1(self.conv1(x))))
        return self.fc(F.avg_pool2d(x, 8).flatten(1))


def resnet20():
    return Net(20)
"""


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    """For all tests here."""


def saved(content):
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder of clones with the one repository that akamaster-resnet20 is said to come from."""
    folder = tmp_path / "clones"
    repository = folder / "someone" / "nets"
    repository.mkdir(parents=True)
    (repository / "resnet.py").write_bytes(CODE)
    monkeypatch.setenv("HARNESS_UPSTREAM_DIR", str(folder))
    entry = find("akamaster-resnet20")
    file = UpstreamFile(
        repository="https://example.org/someone/nets",
        commit="0" * 40,
        path="resnet.py",
        sha256=hashlib.sha256(CODE).hexdigest(),
    )
    stand_in = dataclasses.replace(
        entry, upstream=file, build=catalogue._caller(file, "resnet20", {}, classes_only=False)
    )
    monkeypatch.setitem(catalogue._CATALOGUE, entry.key, stand_in)
    return repository


@pytest.fixture
def publish(clone):
    """A function from the bytes of a file to the checkpoint that they are."""

    def make(content, **changes) -> PublishedCheckpoint:
        (clone / "net.th").write_bytes(content)
        file = UpstreamFile(
            repository="https://example.org/someone/nets",
            commit="0" * 40,
            path="net.th",
            sha256=hashlib.sha256(content).hexdigest(),
        )
        return dataclasses.replace(find_checkpoint("akamaster-resnet20"), file=file, **changes)

    return make
