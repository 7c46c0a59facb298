"""Training on a GPU: captured, several at once, and the same bits however it is launched."""

import warnings

import numpy as np
import pytest
import torch

from harness.config import Adam, Precision, Sgd
from harness.errors import ModelError, NotConcurrentError
from harness.models import find
from harness.training.batches import DeviceImages
from harness.training.device import configure
from harness.training.loop import train
from harness.training.trainer import Trainer

PRECISIONS = [Precision.FP32, Precision.TF32, Precision.BF16]
NESTEROV = Sgd(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
ADAM = Adam(kind="adam", learning_rate=0.001, weight_decay=1e-4)
MODELS = [
    "resnet20",
    "plain20",
    "resnet20-b",
    "resnet56",
    "torchvision-resnet20",
    "timm-resnet20",
    "pytorchcv-resnet20",
    "bayesian-torch-resnet20",
    "torchdistill-resnet20",
]


def assert_same_bits(actual, expected):
    assert actual.weights_sha256 == expected.weights_sha256
    assert actual.trajectory_sha256 == expected.trajectory_sha256
    assert np.array_equal(actual.logits, expected.logits)


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_replayed_updates_have_the_bits_of_launched_ones(make_gpu_spec, trained, model, precision):
    try:
        find(model).build()
    except ModelError as error:
        pytest.skip(str(error))
    spec = make_gpu_spec(model=model, precision=precision)
    captured, weights = trained(spec, 20)
    assert (captured.engine, captured.engine_note, captured.draws) == ("cuda graph", None, False)
    launched, expected = trained(spec, 20, eager=True)
    assert (launched.engine, launched.engine_note) == ("eager", "not wanted")
    assert equal(weights, expected)


@pytest.mark.parametrize("last_batch", ["carry", "keep"])
@pytest.mark.parametrize(
    "optimizer", [NESTEROV, ADAM, Sgd(learning_rate=0.05)], ids=["nesterov", "adam", "plain"]
)
def test_smaller_mini_batches_and_other_optimizers_are_captured_too(
    make_gpu_spec, trained, last_batch, optimizer
):
    spec = make_gpu_spec(recipe={"last_batch": last_batch, "optimizer": optimizer})
    captured, weights = trained(spec, 35)
    assert captured.engine == "cuda graph"
    assert captured.passes.all_sizes == ({64} if last_batch == "carry" else {64, 40})
    assert equal(weights, trained(spec, 35, eager=True)[1])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_batch_normalisation_over_parts_is_captured_too(make_gpu_spec, trained, precision):
    spec = make_gpu_spec(precision=precision, recipe={"ghost_batch_size": 16, "last_batch": "keep"})
    captured, weights = trained(spec, 20)  # mini-batches of 64 and 40: the last part of these has 8
    assert captured.engine == "cuda graph"
    assert equal(weights, trained(spec, 20, eager=True)[1])


def test_preparing_leaves_no_trace(make_gpu_spec, on_gpu, gpu, run_turns):
    spec = make_gpu_spec()
    images = on_gpu(spec)

    def turns():
        trainer = Trainer(spec, images, gpu)
        before = {name: tensor.clone() for name, tensor in trainer.state().items()}
        trainer.prepare()
        yield
        return before, trainer.state()

    before, after = run_turns(turns)
    assert before.keys() == after.keys()
    assert equal(before.values(), after.values())


@pytest.mark.parametrize("model", ["resnet20", "plain20"])
@pytest.mark.parametrize("eager", [True, False])
def test_the_host_never_waits_within_an_epoch(make_gpu_spec, on_gpu, gpu, run_turns, model, eager):
    spec = make_gpu_spec(model=model)
    images = on_gpu(spec)

    def turns():
        trainer = Trainer(spec, images, gpu)
        trainer.prepare(eager=eager)
        updates = trainer.updates(0, trainer.epoch(0)[1])
        next(updates)  # brings the epoch to the device
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.cuda.set_sync_debug_mode("error")
        try:
            num_updates = 1 + len(list(updates))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        yield
        return num_updates, trainer.losses(0).cpu()

    num_updates, losses = run_turns(turns)
    assert num_updates == len(losses) == 16
    assert (losses > 0).all()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_same_seed_gives_the_same_bits_twice(make_gpu_spec, begin, in_turn, precision):
    spec = make_gpu_spec(precision=precision)
    [first] = in_turn(begin(spec))
    [again] = in_turn(begin(spec))
    assert first.status == "completed"
    assert_same_bits(again, first)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_runs_at_once_have_the_bits_that_they_have_alone(make_gpu_spec, begin, in_turn, precision):
    specs = [make_gpu_spec(seed=seed, precision=precision) for seed in range(5)]
    specs += [make_gpu_spec(model="plain20", precision=precision, iterations=25)]
    specs += [make_gpu_spec(seed=7, precision=precision, recipe={"last_batch": "keep"})]
    alone = [in_turn(begin(spec))[0] for spec in specs]
    together = in_turn(*(begin(spec, concurrent=True) for spec in specs))
    for outcome, expected in zip(together, alone, strict=True):
        assert outcome.engine == "cuda graph"
        assert_same_bits(outcome, expected)
    assert len({outcome.weights_sha256 for outcome in together}) == len(specs)


@pytest.mark.parametrize("iteration", [1, 8, 15, 16, 30])
def test_a_run_that_was_stopped_ends_with_the_same_bits(make_gpu_spec, begin, in_turn, ear, iteration):
    spec = make_gpu_spec()
    [whole] = in_turn(begin(spec))
    assert whole.resumed_at == []
    [stopped] = in_turn(begin(spec, ear(stop_at=iteration)))
    assert str(stopped).endswith(f"stopped after iteration {iteration}")
    [resumed] = in_turn(begin(spec))
    assert resumed.resumed_at == [iteration]
    assert_same_bits(resumed, whole)


WAITS = """\
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.Linear(256, 10)

    def forward(self, x):
        x = self.convolution(x)
        if x.mean().item() > 1e9:
            x = x / 2
        return self.linear(x.flatten(1))
"""


def test_a_network_that_waits_is_launched_with_a_word(make_gpu_spec, begin, in_turn, ear, write_module):
    write_module(WAITS)
    spec, listener = make_gpu_spec(model="mynet:Net"), ear()
    [outcome] = in_turn(begin(spec, listener))
    assert (outcome.status, outcome.engine) == ("completed", "eager")
    assert "synchroniz" in outcome.engine_note
    assert listener.notes == [f"its updates are no CUDA graph, and slower: {outcome.engine_note}"]
    [again] = in_turn(begin(spec))
    assert_same_bits(again, outcome)


def test_a_network_that_waits_can_be_trained_beside_one_that_does_not(
    make_gpu_spec, begin, in_turn, write_module
):
    write_module(WAITS)
    specs = [make_gpu_spec(), make_gpu_spec(model="mynet:Net")]
    together = in_turn(*(begin(spec, concurrent=True) for spec in specs))
    assert [outcome.engine for outcome in together] == ["cuda graph", "eager"]
    for outcome, spec in zip(together, specs, strict=True):
        assert_same_bits(outcome, in_turn(begin(spec))[0])


DRAWS = """\
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(256, 10))
"""


def test_a_network_that_draws_is_captured_alone_and_refused_company(
    make_gpu_spec, begin, in_turn, ear, write_module
):
    write_module(DRAWS)
    spec = make_gpu_spec(model="mynet:net")
    [refused] = in_turn(begin(spec, concurrent=True))
    assert isinstance(refused, NotConcurrentError)
    [refused] = in_turn(begin(spec, concurrent=True, eager=True))
    assert isinstance(refused, NotConcurrentError)
    [first] = in_turn(begin(spec))
    assert first.engine == "cuda graph"
    [again] = in_turn(begin(spec))
    assert_same_bits(again, first)
    [launched] = in_turn(begin(spec, eager=True))
    assert (launched.engine, launched.resumed_at) == ("eager", [])
    assert_same_bits(launched, first)
    in_turn(begin(spec, ear(stop_at=20)))
    [resumed] = in_turn(begin(spec))
    assert resumed.resumed_at == [20]
    assert_same_bits(resumed, first)


def test_mini_batches_are_those_of_the_cpu(make_gpu_spec, small_set, on_gpu):
    spec = make_gpu_spec()
    there = on_gpu(spec)
    here = DeviceImages(small_set, spec.recipe.augmentation, spec.recipe.normalization, torch.device("cpu"))
    numbers = torch.arange(0, 1000, 3, dtype=torch.int32)
    views = (torch.arange(len(numbers)) * 7 % here.num_views).int()
    images, labels = there.train_batch(numbers.cuda(), views.cuda())
    expected_images, expected_labels = here.train_batch(numbers, views)
    # multiplication and addition may be rounded once or twice
    torch.testing.assert_close(images.cpu(), expected_images, rtol=0, atol=1e-6)
    assert torch.equal(labels.cpu(), expected_labels)
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_training_is_that_of_the_cpu(make_gpu_spec, small_set, begin, in_turn, ear, keep):
    # by the end of the first epoch rounding has had little time to grow
    spec = make_gpu_spec(iterations=16, recipe={"optimizer": Sgd(learning_rate=0.001, momentum=0.9)})
    [there] = in_turn(begin(spec))
    cpu = torch.device("cpu")
    configure(cpu, spec.precision, num_threads=1)
    here = train(spec, small_set, cpu, keep("cpu"), listener=ear())
    assert there.initial_weights_sha256 == here.initial_weights_sha256
    assert there.epochs[0]["train_loss"] == pytest.approx(here.epochs[0]["train_loss"], rel=1e-3)
    assert there.epochs[0]["test_loss"] == pytest.approx(here.epochs[0]["test_loss"], rel=1e-2)


def test_precisions_differ_and_tf32_is_what_it_says(make_gpu_spec, begin, in_turn):
    outcomes = [in_turn(begin(make_gpu_spec(precision=precision)))[0] for precision in PRECISIONS]
    assert len({outcome.weights_sha256 for outcome in outcomes}) == 3
    assert len({outcome.initial_weights_sha256 for outcome in outcomes}) == 1
