import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn

from harness.config import Sgd
from harness.errors import CheckpointError
from harness.training.checkpoint import Checkpoint, capture, iterations_done, restore
from harness.training.optimizer import make_optimizer

PROGRESS = {"iteration": 7, "seconds": 0.1, "epochs": [{"train_loss": 0.1 + 0.2, "epoch": 0}], "note": "ä"}


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
    Checkpoint("run-1", PROGRESS, capture(*training())).write(path)
    return path


def test_what_is_written_is_read(path):
    tensors = {
        "a": torch.tensor([1.0, float("nan"), -0.0]),
        "b": torch.tensor([[1, 2]], dtype=torch.int32),
        "c": torch.tensor([1.5], dtype=torch.bfloat16),
        "empty": torch.zeros(0),
    }
    Checkpoint("run-1", PROGRESS, tensors).write(path)
    stored = Checkpoint.read(path, "run-1")
    assert (stored.run_id, stored.progress) == ("run-1", PROGRESS)
    assert stored.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert stored.tensors[name].dtype == tensor.dtype
        assert stored.tensors[name].shape == tensor.shape
    assert stored.tensors["a"].view(torch.int32).tolist() == tensors["a"].view(torch.int32).tolist()
    assert iterations_done(path) == 7


def test_writing_replaces_the_file_and_leaves_nothing_else(written):
    Checkpoint("run-1", PROGRESS | {"iteration": 8}, {}).write(written)
    assert iterations_done(written) == 8
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
    for header in ({"format": "0", "run_id": "run-1", "progress": "{}"}, None):
        path.write_bytes(save({"a": torch.zeros(1)}, metadata=header))
        with pytest.raises(CheckpointError, match="another version of the harness; remove it"):
            Checkpoint.read(path, "run-1")


def refused_as_broken(path):
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.read(path, "run-1")
    assert str(path) in str(caught.value)
    assert "remove it to start the run afresh" in str(caught.value)
    assert iterations_done(path) == 0


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 100, 900, -1000, -1])
def test_truncated_file_is_refused(written, length):
    content = written.read_bytes()
    written.write_bytes(content[:length])
    with pytest.raises(CheckpointError, match=r"broken .* remove it"):
        Checkpoint.read(written, "run-1")


@pytest.mark.parametrize("position", range(9))
@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_file_with_a_damaged_frame_is_refused(written, position, mask):
    # 8 bytes say how long the header is, and "{" opens it
    content = bytearray(written.read_bytes())
    content[position] ^= mask
    written.write_bytes(content)
    refused_as_broken(written)


def test_file_with_a_damaged_header_is_refused_or_read_but_never_crashes(written):
    content = written.read_bytes()
    positions = range(8, 8 + int.from_bytes(content[:8], "little"), 8)
    num_refused = 0
    for position in positions:
        for mask in (0x01, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= mask
            written.write_bytes(damaged)
            iterations_done(written)
            try:
                Checkpoint.read(written, "run-1")
            except CheckpointError:
                num_refused += 1
    # with its highest bit turned, a byte of this header is no UTF-8 any more
    assert num_refused >= len(positions)


def test_file_with_a_damaged_tensor_is_refused(written):
    content = bytearray(written.read_bytes())
    content[-100] ^= 0x01
    written.write_bytes(content)
    with pytest.raises(CheckpointError):
        Checkpoint.read(written, "run-1")


@pytest.mark.parametrize(
    "content",
    [b"not a checkpoint at all", b"\x00" * 64, b"\xff" * 64, b"PK\x03\x04" + b"\x00" * 100, b"PAR1" * 20],
)
def test_file_of_another_kind_is_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    refused_as_broken(path)


@pytest.mark.parametrize(
    "header",
    [
        {"format": "1", "progress": "{}"},
        {"format": "1", "run_id": "run-1"},
        {"format": "1", "run_id": "run-1", "progress": "{"},
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


def test_absent_checkpoint_has_done_nothing(path):
    assert iterations_done(path) == 0


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
