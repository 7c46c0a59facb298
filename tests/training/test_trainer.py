"""An update is the same operations on the same memory each time, so that it can be captured and replayed."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from harness.config import Adam, Precision, Sgd
from harness.errors import CheckpointError, ModelError, UsageError
from harness.models import find
from harness.training.batches import DeviceImages
from harness.training.device import configure
from harness.training.trainer import Trainer

READING_BACK = {"_local_scalar_dense", "nonzero", "is_nonzero", "item", "_unique2", "masked_select"}
FROM_THE_HOST = {"lift_fresh", "lift_fresh_copy", "scalar_tensor"}


class Operations(TorchDispatchMode):
    """Names of the operations that are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def make_trainer(make_spec, small_set, cpu):
    """A function from changed fields of a run to its trainer."""

    def make(**changes):
        spec = make_spec(**changes)
        configure(cpu, spec.precision, num_threads=1)
        images = DeviceImages(small_set, spec.recipe.augmentation, spec.recipe.normalization, cpu)
        return Trainer(spec, images, cpu)

    return make


def advance(trainer, start, stop):
    for _ in trainer.updates(start, stop):
        pass


def weights(trainer):
    return [tensor.clone() for tensor in trainer.model.state_dict().values()]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


OPTIMIZERS = {
    "momentum": Sgd(learning_rate=0.05, momentum=0.9, weight_decay=1e-4),
    "nesterov": Sgd(learning_rate=0.05, momentum=0.9, nesterov=True),
    "plain": Sgd(learning_rate=0.05),
    "adam": Adam(kind="adam", learning_rate=0.001, weight_decay=1e-4),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.BF16])
def test_an_update_reads_nothing_back_and_takes_nothing_from_the_host(make_trainer, optimizer, precision):
    trainer = make_trainer(precision=precision, recipe={"optimizer": optimizer})
    updates = trainer.updates(0, 4)
    next(updates)
    with Operations() as operations:
        next(updates)
    assert "convolution" in operations.names
    assert not READING_BACK & set(operations.names)
    assert not FROM_THE_HOST & set(operations.names)


@pytest.mark.parametrize(
    "model", ["plain20", "resnet20-b", "torchvision-resnet20", "timm-resnet20", "pytorchcv-resnet20"]
)
def test_networks_of_packages_do_not_either(make_trainer, model):
    try:
        find(model).build()
    except ModelError as error:
        pytest.skip(str(error))
    updates = make_trainer(model=model).updates(0, 4)
    next(updates)
    with Operations() as operations:
        next(updates)
    assert not (READING_BACK | FROM_THE_HOST) & set(operations.names)


@pytest.mark.parametrize("last_batch", ["carry", "keep"])
def test_every_update_is_the_same_operations_on_the_same_memory(make_trainer, last_batch):
    trainer = make_trainer(recipe={"last_batch": last_batch})
    kept = [*trainer.model.state_dict().values(), trainer.losses(0), trainer.num_correct(0)]
    states = trainer.optimizer.state.values()
    before = [tensor.data_ptr() for tensor in kept]
    before += [tensor.data_ptr() for state in states for tensor in state.values()]
    seen = {}
    for start, stop in ((0, 4), (4, 8)):
        updates = trainer.updates(start, stop)
        for size in trainer.passes.sizes(start, stop):
            with Operations() as operations:
                next(updates)
            # before its first update an epoch is brought to the device
            update = operations.names[operations.names.index("mul") :]
            assert seen.setdefault(size, update) == update
    assert set(seen) == trainer.passes.all_sizes == ({16} if last_batch == "carry" else {16, 12})
    after = [tensor.data_ptr() for tensor in kept]
    after += [tensor.data_ptr() for state in states for tensor in state.values()]
    assert after == before


def test_gradients_do_not_outlive_an_update(make_trainer):
    trainer = make_trainer()
    advance(trainer, 0, 1)
    assert all(parameter.grad is None for parameter in trainer.model.parameters())


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("last_batch", ["carry", "keep"])
def test_an_epoch_made_in_pieces_is_the_same(make_trainer, last_batch, optimizer):
    recipe = {"last_batch": last_batch, "optimizer": optimizer}
    whole, pieces = make_trainer(recipe=recipe), make_trainer(recipe=recipe)
    advance(whole, 0, 4)
    for start, stop in ((0, 1), (1, 3), (3, 4)):
        advance(pieces, start, stop)
    assert equal(weights(whole), weights(pieces))
    assert torch.equal(whole.losses(0), pieces.losses(0))
    assert (whole.losses(0) > 0).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_what_is_restored_goes_on_bit_for_bit(make_trainer, optimizer):
    trainer, other = (make_trainer(recipe={"optimizer": optimizer}) for _ in range(2))
    advance(trainer, 0, 2)
    other.restore(trainer.state())
    for each in (trainer, other):
        advance(each, 2, 4)
    assert equal(weights(trainer), weights(other))
    assert torch.equal(trainer.losses(0), other.losses(0))
    assert torch.equal(trainer.num_correct(0), other.num_correct(0))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": "plain32"}, "does not fit the network"),
        ({"recipe": {"optimizer": OPTIMIZERS["adam"]}}, "does not fit the network"),
        ({"recipe": {"batch_size": 12}}, "does not fit the recipe"),
    ],
    ids=["network", "optimizer", "recipe"],
)
def test_what_is_of_another_training_is_not_restored(make_trainer, changes, complaint):
    with pytest.raises(CheckpointError, match=complaint):
        make_trainer().restore(make_trainer(**changes).state())


def test_losses_are_of_the_epoch_that_is_asked_for(make_trainer):
    # epochs end after iterations 4, 8 and 10
    trainer = make_trainer()
    assert [len(trainer.losses(iteration)) for iteration in (0, 3, 4, 8, 9)] == [4, 4, 4, 2, 2]


def test_learning_rates_are_those_of_the_schedule(make_trainer):
    trainer = make_trainer()  # a tenth from the fifth of ten on
    rates = []
    for start, stop in ((0, 4), (4, 8), (8, 10)):
        rates += [trainer.optimizer.param_groups[0]["lr"].item() for _ in trainer.updates(start, stop)]
    assert rates == pytest.approx([0.05] * 5 + [0.005] * 5)


def test_a_cpu_launches_operation_by_operation(make_trainer):
    trainer = make_trainer()
    trainer.prepare()
    assert (trainer.engine, trainer.engine_note, trainer.draws) == ("eager", None, False)


def test_mini_batch_larger_than_the_set_is_refused(make_trainer):
    with pytest.raises(UsageError, match="batch_size 61 is more than the 60 training images of synthetic"):
        make_trainer(recipe={"batch_size": 61})


def test_batch_normalisation_is_over_parts_where_the_recipe_says_so(make_trainer):
    ghostly, whole = make_trainer(recipe={"ghost_batch_size": 8}), make_trainer()
    assert ghostly.model.bn1.ghost_batch_size == 8
    for trainer in (ghostly, whole):
        advance(trainer, 0, 2)
    assert ghostly.model.state_dict().keys() == whole.model.state_dict().keys()
    assert not equal(weights(ghostly), weights(whole))
