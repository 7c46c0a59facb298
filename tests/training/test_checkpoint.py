import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from harness.config import Sgd
from harness.errors import CheckpointError
from harness.training.checkpoint import FORMAT, Checkpoint, CheckpointHeader, capture, restore
from harness.training.optimizer import make_optimizer

PROGRESS = {"iteration": 7, "seconds": 0.1, "epochs": [{"train_loss": 0.1 + 0.2, "epoch": 0}], "note": "ä"}
HEADER = CheckpointHeader(
    run_id="run-1",
    spec='{"model": "resnet20", "seed": 1}',
    place={"torch": "2.9.0", "device_name": "Some CPU, très rapide"},
    progress=PROGRESS,
)


READERS = (CheckpointHeader.read, lambda path: Checkpoint.read(path, "run-1"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints" / "run-1.safetensors"


@pytest.fixture
def training():
    """A function that makes a network and its optimiser, and trains them for some steps."""

    def make(num_steps=2, seed=0, momentum=0.9):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
        model = model.to(memory_format=torch.channels_last)
        optimizer = make_optimizer(Sgd(learning_rate=0.01, momentum=momentum), list(model.parameters()))
        step(model, optimizer, num_steps)
        return model, optimizer

    return make


def step(model, optimizer, num_steps):
    generator = torch.Generator().manual_seed(9)
    for _ in range(num_steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3, 8, 8, generator=generator)).square().mean().backward()
        optimizer.step()


def state_of(model, optimizer):
    momenta = [optimizer.state[parameter]["momentum_buffer"] for parameter in model.parameters()]
    return [*model.state_dict().values(), *momenta]


def equal(first, second):
    assert all(tensor.isfinite().all() for tensor in first)
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture
def written(path, training):
    """A sound checkpoint on disk."""
    Checkpoint(HEADER, capture(*training())).write(path)
    return path


def test_what_is_written_is_read(path):
    tensors = {
        "a": torch.tensor([1.0, float("nan"), -0.0]),
        "b": torch.tensor([[1, 2]], dtype=torch.int32),
        "c": torch.tensor([1.5], dtype=torch.bfloat16),
        "empty": torch.zeros(0),
    }
    Checkpoint(HEADER, tensors).write(path)
    stored = Checkpoint.read(path, "run-1")
    assert stored.header == HEADER == CheckpointHeader.read(path)
    assert stored.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert stored.tensors[name].dtype == tensor.dtype
        assert stored.tensors[name].shape == tensor.shape
    assert stored.tensors["a"].view(torch.int32).tolist() == tensors["a"].view(torch.int32).tolist()


def test_writing_replaces_the_file_and_leaves_nothing_else(written):
    later = replace(HEADER, progress=PROGRESS | {"iteration": 8})
    Checkpoint(later, {}).write(written)
    assert CheckpointHeader.read(written) == later
    assert list(written.parent.iterdir()) == [written]


def test_restored_training_goes_on_bit_for_bit(written, training):
    model, optimizer = training()
    other = training(num_steps=1, seed=1)
    restore(Checkpoint.read(written, "run-1").tensors, *other)
    assert equal(state_of(*other), state_of(model, optimizer))
    step(model, optimizer, 3)
    step(*other, 3)
    assert equal(state_of(*other), state_of(model, optimizer))


def test_momentum_is_restored_in_the_layout_of_its_parameter(written, training):
    model, optimizer = training(num_steps=0, seed=1)
    restore(Checkpoint.read(written, "run-1").tensors, model, optimizer)
    assert not model[0].weight.is_contiguous()
    for parameter in model.parameters():
        momentum = optimizer.state[parameter]["momentum_buffer"]
        assert momentum.stride() == parameter.stride()
        assert not momentum.requires_grad


def test_what_is_captured_does_not_follow_the_training(training):
    model, optimizer = training()
    tensors = capture(model, optimizer)
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    step(model, optimizer, 1)
    torch.rand(1)
    assert equal(tensors.values(), before.values())


def test_torchs_generator_goes_on_where_it_was(training):
    model, optimizer = training()
    tensors = capture(model, optimizer)
    expected = torch.rand(3)
    torch.manual_seed(77)
    restore(tensors, model, optimizer)
    assert torch.equal(torch.rand(3), expected)


def test_training_without_momentum_is_restored_without_momentum(training):
    model, optimizer = training(momentum=0.0)
    other = training(num_steps=0, seed=1, momentum=0.0)
    restore(capture(model, optimizer), *other)
    assert equal(other[0].state_dict().values(), model.state_dict().values())
    assert not any(state.get("momentum_buffer") is not None for state in other[1].state.values())


def test_checkpoint_of_another_network_is_refused(written):
    model = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="does not fit the network"):
        restore(Checkpoint.read(written, "run-1").tensors, model, torch.optim.SGD(model.parameters(), lr=0.1))


def test_checkpoint_of_another_run_is_refused(written):
    with pytest.raises(CheckpointError, match="belongs to run run-1, not to run-2; remove it"):
        Checkpoint.read(written, "run-2")


def test_checkpoint_of_another_version_is_refused(path):
    path.parent.mkdir()
    for header in ({"format": "0", "run_id": "run-1", "progress": "{}"}, {"run_id": "run-1"}):
        path.write_bytes(save({"a": torch.zeros(1)}, metadata=header))
        for read in READERS:
            with pytest.raises(CheckpointError, match="another version of the harness; remove it"):
                read(path)


def refused_as_broken(path):
    for read in READERS:
        with pytest.raises(CheckpointError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "remove it to start the run afresh" in str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 900, -1000, -1])
def test_truncated_file_is_refused(written, length):
    content = written.read_bytes()
    written.write_bytes(content[:length])
    with pytest.raises(CheckpointError, match=r"(broken|damaged).* remove it"):
        Checkpoint.read(written, "run-1")


@pytest.mark.parametrize("position", range(9))
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_file_with_a_damaged_frame_is_refused(written, position, mask):
    # 8 bytes say how long the header is, and "{" opens it
    content = bytearray(written.read_bytes())
    content[position] ^= mask
    written.write_bytes(content)
    refused_as_broken(written)


def test_file_with_a_damaged_header_is_refused(written):
    content = written.read_bytes()
    for position in range(8, 8 + int.from_bytes(content[:8], "little"), 3):
        for mask in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= mask
            written.write_bytes(damaged)
            with pytest.raises(CheckpointError):
                Checkpoint.read(written, "run-1")


@pytest.mark.parametrize(
    "change",
    [
        {"spec": HEADER.spec.replace("1", "2")},
        {"place": HEADER.place | {"torch": "2.10.0"}},
        {"progress": PROGRESS | {"iteration": 8}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_file_whose_header_says_something_else_is_refused(written, change):
    tensors = load_file(written)
    with safe_open(written, framework="pt") as file:
        stored = file.metadata()
    [(name, value)] = change.items()
    stored[name] = value if isinstance(value, str) else json.dumps(value)
    written.write_bytes(save(tensors, metadata=stored))
    assert CheckpointHeader.read(written) == replace(HEADER, **change)
    with pytest.raises(CheckpointError, match="damaged, its digest differs; remove it"):
        Checkpoint.read(written, "run-1")


def test_file_with_a_damaged_tensor_is_refused_but_says_whose_it_is(written):
    content = bytearray(written.read_bytes())
    content[-100] ^= 0x01
    written.write_bytes(content)
    assert CheckpointHeader.read(written) == HEADER
    with pytest.raises(CheckpointError, match="damaged, its digest differs; remove it"):
        Checkpoint.read(written, "run-1")


@pytest.mark.parametrize(
    "content",
    [
        save({"a": torch.zeros(1)}),
        b"not a checkpoint at all",
        b"\x00" * 64,
        b"\xff" * 64,
        b"PK\x03\x04" + b"\x00" * 100,
        b"PAR1" * 20,
    ],
)
def test_file_of_another_kind_is_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    refused_as_broken(path)


SOUND = {"format": FORMAT, "run_id": "run-1", "spec": "{}", "place": "{}", "progress": '{"iteration": 7}'}


@pytest.mark.parametrize(
    "header",
    [
        {name: text for name, text in SOUND.items() if name != "run_id"},
        {name: text for name, text in SOUND.items() if name != "spec"},
        {name: text for name, text in SOUND.items() if name != "place"},
        {name: text for name, text in SOUND.items() if name != "progress"},
        SOUND | {"progress": "{"},
        SOUND | {"progress": "[7]"},
        SOUND | {"place": "null"},
    ],
)
def test_header_that_lacks_something_is_refused(path, header):
    path.parent.mkdir()
    path.write_bytes(save({"a": torch.zeros(1)}, metadata=header))
    refused_as_broken(path)


def test_progress_is_json_in_the_header(written):
    # whoever has safetensors can read a checkpoint without the harness
    content = written.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert json.loads(header["__metadata__"]["progress"]) == PROGRESS
    assert "model/0.weight" in load_file(written)


def test_header_without_a_digest_is_refused(path):
    path.parent.mkdir()
    path.write_bytes(save({"a": torch.zeros(1)}, metadata=SOUND))
    assert CheckpointHeader.read(path).run_id == "run-1"
    with pytest.raises(CheckpointError, match=r"damaged, its digest differs; remove it"):
        Checkpoint.read(path, "run-1")


def test_absent_checkpoint_is_refused(path):
    refused_as_broken(path)


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        """What unpickling calls."""
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_pickle_in_place_of_a_checkpoint_is_not_executed(path, tmp_path, how):
    canary = tmp_path / "canary"
    path.parent.mkdir()
    if how == "pickle":
        path.write_bytes(pickle.dumps(Canary(canary)))
        pickle.loads(path.read_bytes())
    else:
        with path.open("wb") as file:
            torch.save({"model": Canary(canary)}, file)
        with path.open("rb") as file:
            torch.load(file, weights_only=False)
    assert canary.exists(), "the bait works"
    canary.unlink()
    refused_as_broken(path)
    assert not canary.exists()
