"""What the harness adds to a bare loop of the same operations, and what evaluation costs; taken in turn."""

import math

import pytest
import torch
import torch.nn.functional as F

from harness import allocator, data
from harness.config import Precision, RunSpec, load_recipe
from harness.models import find
from harness.profiling.timing import in_turn
from harness.training.batches import DeviceImages
from harness.training.device import autocast, configure, has_native_bf16, memory_format
from harness.training.initialization import build_model
from harness.training.loop import CheckpointPolicy, train
from harness.training.seeding import image_stream
from harness.training.trainer import Trainer

from .clock import Clock

CPU = torch.device("cpu")
PRECISION = Precision.BF16 if has_native_bf16(CPU) else Precision.FP32
NUM_ITERATIONS, BATCH_SIZE = 20, 128
CLOCK = Clock()


def spec_of(num_iterations):
    recipe = load_recipe("short").model_copy(update={"epochs": 1000.0})
    return RunSpec(
        model="resnet20",
        recipe=recipe,
        iterations=num_iterations,
        seed=0,
        precision=PRECISION,
        data="cifar10",
    )


class Nobody:
    """Listens to nothing."""

    def noted(self, text):
        pass

    def should_stop(self):
        return False

    def started(self, iteration, num_iterations):
        pass

    def advanced(self, iteration):
        pass

    def epoch_ended(self, row):
        pass


@pytest.fixture(scope="module")
def seconds(tmp_path_factory):
    allocator.configure()  # as in every worker
    configure(CPU, PRECISION, torch.get_num_threads())
    images = data.load("cifar10")
    recipe = spec_of(1).recipe
    on_device = DeviceImages(images, recipe.augmentation, recipe.normalization, CPU)
    trainer = Trainer(spec_of(100_000), on_device, CPU)

    def bare():
        """Nothing but the operations: mini-batches are there, the learning rate stays."""
        model = build_model(find("resnet20"), seed=0, initialization="he").to(
            memory_format=memory_format(CPU)
        )
        optimizer = torch.optim.SGD(
            model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
        )
        for start in range(0, NUM_ITERATIONS * BATCH_SIZE, BATCH_SIZE):
            inputs, labels = trainer.images.train_batch(
                *(part[start : start + BATCH_SIZE] for part in stream)
            )
            with autocast(CPU, PRECISION):
                logits = model(inputs)
            loss = F.cross_entropy(logits.float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    stream = [
        torch.from_numpy(part)
        for part in image_stream(
            0, 0, NUM_ITERATIONS * BATCH_SIZE, trainer.images.num_train, trainer.images.num_views
        )
    ]

    def updates():
        for _ in Trainer(spec_of(NUM_ITERATIONS), on_device, CPU).updates(0, NUM_ITERATIONS):
            pass

    stream = [
        torch.from_numpy(part)
        for part in image_stream(
            0, 0, NUM_ITERATIONS * BATCH_SIZE, trainer.images.num_train, trainer.images.num_views
        )
    ]

    never = tmp_path_factory.getbasetemp() / "never.safetensors"
    policy = CheckpointPolicy(run_id="benchmark", place={}, checkpoint=never, seconds=math.inf)

    def whole():
        """A run as people have it: images, trainer, listener, evaluation, rows of epochs, digests."""
        train(
            spec_of(NUM_ITERATIONS),
            images,
            CPU,
            policy,
            listener=Nobody(),
        )

    def images_of_a_run():
        DeviceImages(images, recipe.augmentation, recipe.normalization, CPU)

    parts = {
        "its images": images_of_a_run,
        "its evaluation": lambda: trainer.evaluate().loss,
        "the whole": whole,
    }
    # the first two are what is compared: they need many rounds
    return in_turn({"bare loop": bare, "trainer": updates}, CPU, num_rounds=15) | in_turn(
        parts, CPU, num_rounds=3
    )


@pytest.mark.benchmark(group=f"{NUM_ITERATIONS} updates of ResNet-20, bare and by the trainer", timer=CLOCK)
@pytest.mark.parametrize("name", ["bare loop", "trainer"])
def test_trainer(benchmark, seconds, name):
    benchmark.extra_info["images"] = NUM_ITERATIONS * BATCH_SIZE
    CLOCK.tabulate(benchmark, seconds[name])


@pytest.mark.benchmark(group=f"a run of {NUM_ITERATIONS} updates, and its parts", timer=CLOCK)
@pytest.mark.parametrize("name", ["trainer", "its images", "its evaluation", "the whole"])
def test_run(benchmark, seconds, name):
    CLOCK.tabulate(benchmark, seconds[name])
