"""Updates in fine digests: what is digested, in which order, and that tracing changes nothing."""

from __future__ import annotations

import pytest
import torch

from harness.training.batches import DeviceImages
from harness.training.device import configure
from harness.training.digest import weights_sha256
from harness.training.trace import DIGEST_SIZE, Tracer
from harness.training.trainer import Trainer


@pytest.fixture
def begin(small_set, make_spec, torch_settings):
    """A function from options of a trainer to one of the tiny recipe."""

    def begin(**options):
        spec = make_spec(recipe=options.pop("recipe", {}))
        cpu = torch.device("cpu")
        configure(cpu, spec.precision, num_threads=1)
        images = DeviceImages(small_set, spec.recipe.augmentation, spec.recipe.normalization, cpu)
        return Trainer(spec, images, cpu, **options)

    return begin


def digests(update):
    _, text = update
    return [text[start : start + DIGEST_SIZE] for start in range(0, len(text), DIGEST_SIZE)]


def first_difference(tracer, one, other):
    pairs = zip(tracer.tensors, digests(one), digests(other), strict=True)
    return next(((tensor.kind, tensor.name) for tensor, a, b in pairs if a != b), None)


def test_tracing_changes_no_bit(begin):
    traced, plain = begin(), begin()
    assert [iteration for iteration, _ in Tracer(traced).updates(0, 4)] == [1, 2, 3, 4]
    assert list(plain.updates(0, 4)) == [1, 2, 3, 4]
    assert weights_sha256(traced.model) == weights_sha256(plain.model)
    assert traced.state_sha256() == plain.state_sha256()


def test_the_same_course_has_the_same_digests_and_every_update_others(begin):
    one, other = ([update for _, update in Tracer(begin()).updates(0, 3)] for _ in range(2))
    assert one == other
    assert len(set(one)) == 3


def test_tensors_come_in_the_order_of_an_update(begin):
    tensors = Tracer(begin()).tensors
    kinds = list(dict.fromkeys(tensor.kind for tensor in tensors))
    assert kinds == ["buffer", "loss", "gradient", "optimizer", "weight"]
    names = {kind: [tensor.name for tensor in tensors if tensor.kind == kind] for kind in kinds}
    assert names["buffer"][0] == "bn1.running_mean"
    for kind in ("gradient", "optimizer", "weight"):
        assert (names[kind][0], names[kind][-1]) == ("fc.bias", "conv1.weight")
    assert len(names["gradient"]) == len(list(begin().model.parameters()))


def test_an_optimizer_without_state_is_traced(begin):
    recipe = {"optimizer": {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.0}}
    tracer = Tracer(begin(recipe=recipe))
    assert "optimizer" not in {tensor.kind for tensor in tracer.tensors}
    [update] = tracer.updates(0, 1)
    assert len(digests(update)) == len(tracer.tensors)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fc.bias", ("loss", "")),
        ("stages.2.2.bn2.weight", ("loss", "")),
        ("stages.1.0.conv2.weight", ("buffer", "stages.1.0.bn2.running_mean")),
    ],
)
def test_a_changed_bit_is_found_where_it_first_shows(begin, name, expected):
    one, other = begin(), begin()
    with torch.no_grad():
        dict(other.model.named_parameters())[name][0] += 0.5
    tracers = Tracer(one), Tracer(other)
    updates = [next(tracer.updates(0, 1)) for tracer in tracers]
    assert first_difference(tracers[0], *updates) == expected


def test_a_change_in_the_optimizer_alone_is_found_there(begin):
    one, other = begin(), begin()
    other.optimizer.state[other.model.conv1.weight]["momentum_buffer"][0] += 1
    tracers = Tracer(one), Tracer(other)
    updates = [next(tracer.updates(0, 1)) for tracer in tracers]
    assert first_difference(tracers[0], *updates) == ("optimizer", "conv1.weight")


def test_the_layout_of_images_and_weights_can_be_chosen(begin):
    layouts = []
    for wanted in (True, False):
        trainer = begin(channels_last=wanted)
        trainer.model.stages[1].register_forward_hook(
            lambda _module, _inputs, output: layouts.append(
                output.is_contiguous(memory_format=torch.channels_last)
            )
        )
        assert list(trainer.updates(0, 1)) == [1]
    assert layouts == [True, False]
