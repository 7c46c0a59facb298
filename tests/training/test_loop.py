import math
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from harness.config import (
    Adam,
    Augmentation,
    CosineSchedule,
    Normalization,
    Precision,
    RunSpec,
    Sgd,
    StepSchedule,
    Warmup,
)
from harness.data import synthetic
from harness.errors import CheckpointError, InterruptedRunError, StorageError, UsageError
from harness.models import find
from harness.training.checkpoint import Checkpoint
from harness.training.device import configure
from harness.training.digest import extend_trajectory
from harness.training.initialization import build_model
from harness.training.loop import Adopted, CheckpointPolicy, train
from harness.training.seeding import image_stream

NOT_TIMES = ("seconds", "images_per_second")
PLACE = {"torch": "2.9.0", "threads": "1"}
CONSTANT = StepSchedule(kind="steps", milestones=(), factor=0.1)


class Trainer:
    """Trains, or goes on with, runs whose one checkpoint lies at ``checkpoint``."""

    def __init__(self, images, checkpoint, outcomes, ear):
        self.images, self.checkpoint, self.outcomes, self.ear = images, checkpoint, outcomes, ear

    def __call__(self, spec, listener=None, *, images=None, checkpoint_seconds=math.inf, run_id="run-1"):
        """Train to the end."""
        device = torch.device("cpu")
        configure(device, spec.precision, num_threads=1)
        return train(
            spec,
            images or self.images,
            device,
            CheckpointPolicy(
                run_id=run_id, place=PLACE, checkpoint=self.checkpoint, seconds=checkpoint_seconds
            ),
            listener=listener or self.ear(),
        )

    def once(self, spec):
        """Train without interruption, but only the first time this is asked."""
        if spec.sha256 not in self.outcomes:
            assert not self.checkpoint.exists()
            self.outcomes[spec.sha256] = self(spec)
        return self.outcomes[spec.sha256]

    def interrupt(self, spec, iteration):
        """Train until an iteration is done; the checkpoint that this leaves."""
        with pytest.raises(InterruptedRunError, match=f"stopped after iteration {iteration}$"):
            self(spec, self.ear(stop_at=iteration))
        return Checkpoint.read(self.checkpoint, "run-1")


@pytest.fixture(scope="module")
def outcomes():
    """Outcomes of runs by digest of what was asked."""
    return {}


@pytest.fixture
def run(small_set, tmp_path, outcomes, ear):
    return Trainer(small_set, tmp_path / "run-1.safetensors", outcomes, ear)


def without_times(rows):
    return [{name: value for name, value in row.items() if name not in NOT_TIMES} for row in rows]


def assert_same_bits(actual, expected):
    assert actual.status == expected.status
    assert actual.initial_weights_sha256 == expected.initial_weights_sha256
    assert actual.weights_sha256 == expected.weights_sha256
    assert actual.trajectory_sha256 == expected.trajectory_sha256
    assert without_times(actual.epochs) == without_times(expected.epochs)
    assert np.array_equal(actual.logits, expected.logits)


PRECISIONS = [Precision.FP32, Precision.BF16]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_same_seed_gives_same_bits_and_another_seed_others(run, make_spec, precision):
    first = run.once(make_spec(precision=precision))
    assert_same_bits(run(make_spec(precision=precision)), first)
    other = run(make_spec(precision=precision, seed=4))
    assert other.initial_weights_sha256 != first.initial_weights_sha256
    assert other.weights_sha256 != first.weights_sha256
    assert other.trajectory_sha256 != first.trajectory_sha256


def test_bits_do_not_depend_on_torchs_own_generator(run, make_spec):
    first = run.once(make_spec())
    torch.manual_seed(1)
    torch.rand(5)
    assert_same_bits(run(make_spec()), first)


def test_precision_changes_the_bits_but_not_the_start(run, make_spec):
    full, half = (run.once(make_spec(precision=precision)) for precision in PRECISIONS)
    assert half.initial_weights_sha256 == full.initial_weights_sha256
    assert half.weights_sha256 != full.weights_sha256


# With 60 images and mini-batches of 16, epochs end after iterations 4, 8 and 10 (the last is cut short).
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "iteration",
    [
        pytest.param(1, id="after the first"),
        pytest.param(3, id="before the last of an epoch"),
        pytest.param(4, id="after an epoch"),
        pytest.param(6, id="in the middle of an epoch"),
        pytest.param(9, id="before the last of all"),
    ],
)
def test_run_that_was_interrupted_ends_with_the_same_bits(run, make_spec, precision, iteration, ear):
    spec = make_spec(precision=precision)
    whole = run.once(spec)
    run.interrupt(spec, iteration)
    listener = ear()
    resumed = run(spec, listener)
    assert_same_bits(resumed, whole)
    assert listener.starts == [(iteration, 10)]
    assert listener.iterations == list(range(iteration + 1, 11))
    assert without_times(listener.rows) == without_times(whole.epochs[-len(listener.rows) :])
    assert (whole.resumed_at, resumed.resumed_at) == ([], [iteration])
    assert whole.resumed_from == resumed.resumed_from == []


def test_run_that_was_interrupted_again_and_again_ends_with_the_same_bits(run, make_spec):
    spec = make_spec()
    whole = run.once(spec)
    for iteration in (2, 3, 4, 7, 8):
        run.interrupt(spec, iteration)
    resumed = run(spec)
    assert_same_bits(resumed, whole)
    assert resumed.resumed_at == [2, 3, 4, 7, 8]


def test_momentum_and_weight_decay_go_on_under_nesterov(run, make_spec):
    optimizer = Sgd(learning_rate=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    spec = make_spec(recipe={"optimizer": optimizer})
    whole = run(spec)
    run.interrupt(spec, 5)
    assert_same_bits(run(spec), whole)


DRAWING = """\
from torch import nn

def net(share=0.5):
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 8), nn.Dropout(share), nn.Linear(8, 10))

def idle():
    return net(0.0)
"""


def test_what_a_network_draws_goes_on_and_is_part_of_the_trajectory(run, make_spec, write_module):
    write_module(DRAWING)
    spec = make_spec(model="mynet:net")
    whole = run(spec)
    run.interrupt(spec, 5)
    assert_same_bits(run(spec), whole)
    run.checkpoint.unlink(missing_ok=True)
    # without momentum there is no state but the generator's
    recipe = {"optimizer": Sgd(learning_rate=0.05, momentum=0.0)}
    drawing, idle = (run(make_spec(model=f"mynet:{name}", recipe=recipe)) for name in ("net", "idle"))
    assert len({row["state_sha256"] for row in drawing.epochs}) == 3
    assert len({row["state_sha256"] for row in idle.epochs}) == 1


@pytest.mark.parametrize("iteration", [2, 5, 9])
def test_run_that_died_goes_on_from_its_last_checkpoint(run, make_spec, iteration, ear):
    spec = make_spec()
    whole = run.once(spec)
    with pytest.raises(KeyboardInterrupt):
        run(spec, ear(die_at=iteration), checkpoint_seconds=0.0)
    resumed = run(spec)
    assert_same_bits(resumed, whole)
    assert resumed.resumed_at == [iteration - 1]


def test_checkpoints_change_no_bits(run, make_spec):
    whole = run.once(make_spec())
    assert not run.checkpoint.exists()
    often = run(make_spec(), checkpoint_seconds=0.0)
    assert run.checkpoint.exists()
    assert_same_bits(often, whole)


def test_told_to_stop_after_the_last_iteration_the_run_is_completed(run, make_spec, ear):
    assert run(make_spec(), ear(stop_at=10)).status == "completed"


def test_epoch_that_has_ended_is_reported_before_the_run_stops(run, make_spec, ear):
    listener = ear(stop_at=4)
    with pytest.raises(InterruptedRunError):
        run(make_spec(), listener)
    assert [row["iteration"] for row in listener.rows] == [4]


def test_checkpoint_says_what_was_asked_and_where(run, make_spec):
    spec = make_spec()
    header = run.interrupt(spec, 3).header
    assert (header.run_id, header.place, header.progress["iteration"]) == ("run-1", PLACE, 3)
    assert RunSpec.model_validate_json(header.spec) == spec


def test_what_a_checkpoint_says_of_runs_before_comes_into_the_outcome(run, make_spec):
    spec, note = make_spec(), Adopted(run_id="run-0", iteration=2, differences={"threads": ["2", "1"]})
    stored = run.interrupt(spec, 3)
    header = replace(stored.header, progress=stored.header.progress | {"resumed_from": [asdict(note)]})
    Checkpoint(header, stored.tensors).write(run.checkpoint)
    run.interrupt(spec, 5)
    outcome = run(spec)
    assert (outcome.resumed_from, outcome.resumed_at) == ([note], [3, 5])


@pytest.mark.parametrize(
    "changes",
    [
        {"resumed_from": [{"run_id": "../../precious", "iteration": 1, "differences": {}}]},
        {"epochs": 3},
        {"seconds": "long"},
    ],
)
def test_a_checkpoint_whose_progress_is_none_is_refused(run, make_spec, changes):
    spec = make_spec()
    stored = run.interrupt(spec, 3)
    header = replace(stored.header, progress=stored.header.progress | changes)
    Checkpoint(header, stored.tensors).write(run.checkpoint)
    with pytest.raises(CheckpointError, match=r"1 values of wrong types\); remove it"):
        run(spec)


def test_run_whose_checkpoint_cannot_be_written_says_so(run, make_spec, ear):
    run.checkpoint.parent.joinpath("folder").mkdir()
    run.checkpoint = run.checkpoint.parent / "folder"
    with pytest.raises(CheckpointError, match="broken"):
        run(make_spec())
    run.checkpoint = run.checkpoint.with_name("file") / "below"
    run.checkpoint.parent.write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match="cannot write"):
        run(make_spec(), ear(stop_at=2))


def test_checkpoint_of_another_run_is_not_taken_up(run, make_spec):
    run.interrupt(make_spec(), 2)
    with pytest.raises(CheckpointError, match="belongs to run run-1, not to run-2"):
        run(make_spec(seed=1), run_id="run-2")


def test_epochs_are_passes_over_the_training_set_and_the_last_may_be_cut_short(run, make_spec, ear):
    listener = ear()
    outcome = run(make_spec(), listener)
    assert [(row["epoch"], row["iteration"]) for row in outcome.epochs] == [(0, 4), (1, 8), (2, 10)]
    assert [row["learning_rate"] for row in outcome.epochs] == pytest.approx([0.05, 0.005, 0.005])
    assert listener.rows == outcome.epochs
    assert listener.starts == [(0, 10)]
    assert listener.iterations == list(range(1, 11))


def test_losses_of_all_mini_batches_are_in_the_epochs(run, make_spec):
    outcome = run.once(make_spec())
    assert [len(row["losses"]) for row in outcome.epochs] == [4, 4, 2]
    for row in outcome.epochs:
        assert row["train_loss"] == pytest.approx(np.mean(row["losses"]))
        assert all(np.float32(loss) == loss for loss in row["losses"])


def test_digests_of_epochs_make_up_the_trajectory(run, make_spec):
    outcome = run.once(make_spec())
    link = outcome.initial_weights_sha256
    for row in outcome.epochs:
        losses = torch.tensor(row["losses"])
        link = extend_trajectory(link, losses, row["weights_sha256"], row["state_sha256"])
        assert row["trajectory_sha256"] == link
    assert (outcome.epochs[-1]["weights_sha256"], link) == (outcome.weights_sha256, outcome.trajectory_sha256)


def test_the_optimizers_state_is_part_of_the_trajectory(run, make_spec):
    def with_momentum(momentum):
        optimizer = Sgd(learning_rate=0.05, momentum=momentum)
        return run(make_spec(recipe={"optimizer": optimizer, "iterations": 1}))

    # after one update the momentum has not acted, but what it will act on is there
    with_it, without = with_momentum(0.9), with_momentum(0.0)
    assert with_it.weights_sha256 == without.weights_sha256
    assert with_it.epochs[0]["state_sha256"] != without.epochs[0]["state_sha256"]
    assert with_it.trajectory_sha256 != without.trajectory_sha256


@pytest.mark.parametrize(
    ("batch_size", "iterations", "expected"),
    [
        (60, 3, [1, 2, 3]),  # a mini-batch is the whole set
        (20, 6, [3, 6]),
        (20, 2, [2]),  # less than an epoch
        (35, 4, [2, 4]),  # they begin at images 0, 35, 70, 105, of passes 0, 0, 1, 1
        (45, 5, [2, 3, 4, 5]),  # they begin at images 0, 45, 90, 135, 180, of passes 0, 0, 1, 2, 3
    ],
)
def test_epochs_end_with_the_mini_batch_that_began_in_them(run, make_spec, batch_size, iterations, expected):
    outcome = run(make_spec(recipe={"batch_size": batch_size, "iterations": iterations}))
    assert [row["iteration"] for row in outcome.epochs] == expected


def test_final_error_is_that_of_the_logits(run, make_spec, small_set):
    outcome = run.once(make_spec())
    assert outcome.logits.shape == (40, 10)
    assert outcome.logits.dtype == np.float32
    wrong = outcome.logits.argmax(axis=1) != small_set.test_labels
    assert outcome.epochs[-1]["test_error"] == pytest.approx(wrong.mean())
    shifted = outcome.logits.astype(np.float64) - outcome.logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -log_probabilities[np.arange(40), small_set.test_labels].mean()
    assert outcome.epochs[-1]["test_loss"] == pytest.approx(loss, rel=1e-5)


def test_outcome_says_what_the_network_costs(run, make_spec):
    outcome = run(make_spec(model="resnet20-b", recipe={"iterations": 1}))
    assert (outcome.num_parameters, outcome.num_macs) == (272_474, 40_813_184)


def test_outcome_holds_the_layer_responses_after_the_last_iteration(run, make_spec):
    short, longer = (run(make_spec(recipe={"iterations": number})) for number in (1, 2))
    assert len(short.layer_responses) == len(longer.layer_responses) == 19
    assert [response.layer for response in short.layer_responses] == [
        response.layer for response in longer.layer_responses
    ]
    assert short.layer_responses != longer.layer_responses


def test_initial_weights_are_those_of_the_seed(run, make_spec):
    short = {"iterations": 1}
    residual = run(make_spec(recipe=short))
    plain = run(make_spec(recipe=short, model="plain20"))
    assert residual.initial_weights_sha256 == plain.initial_weights_sha256
    assert residual.weights_sha256 != plain.weights_sha256


def test_throughput_needs_more_than_the_warm_up(run, make_spec):
    # 10 iterations after each start do not count
    assert run(make_spec()).images_per_second is None
    longer = run(make_spec(recipe={"iterations": 12}))
    assert longer.images_per_second > 0
    assert [row["images_per_second"] is None for row in longer.epochs] == [True, True, False]
    assert 0 < longer.epochs[0]["seconds"] < longer.epochs[1]["seconds"] <= longer.seconds


@pytest.mark.parametrize(("model", "precision"), [("resnet20", Precision.FP32), ("plain20", Precision.BF16)])
def test_networks_learn(run, make_spec, precision, model):
    spec = make_spec(
        recipe={"batch_size": 32, "iterations": 40, "schedule": CONSTANT}, precision=precision, model=model
    )
    outcome = run(spec, images=synthetic(256, 64))
    first, last = outcome.epochs[0], outcome.epochs[-1]
    assert len(outcome.epochs) == 5
    # guessing among ten classes has a loss of ln 10, and is wrong nine times in ten
    assert first["train_loss"] > 2
    assert last["train_loss"] < 0.75 * math.log(10)
    assert last["train_error"] < 0.65


def is_finite(row):
    return math.isfinite(row["train_loss"]) and math.isfinite(row["test_loss"])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("rate", [pytest.param(1e20, id="at once"), pytest.param(1e6, id="in the end")])
def test_run_whose_loss_is_not_finite_has_diverged(run, make_spec, precision, rate, ear):
    optimizer = Sgd(learning_rate=rate, momentum=0.9, weight_decay=1e-4)
    recipe = {"optimizer": optimizer, "schedule": CONSTANT, "iterations": 20}
    listener = ear()
    outcome = run(make_spec(recipe=recipe, precision=precision), listener)
    assert outcome.status == "diverged"
    assert outcome.logits is None
    # it ends with the epoch in which that was seen, and every epoch until then is there
    last = len(outcome.epochs) - 1
    assert not is_finite(outcome.epochs[-1])
    assert all(math.isfinite(row["train_loss"]) for row in outcome.epochs[:-1])
    assert [row["epoch"] for row in outcome.epochs] == list(range(last + 1))
    assert outcome.epochs[-1]["iteration"] < 20
    assert listener.rows == outcome.epochs
    assert re.search(f"not finite .*epoch {last}$", outcome.reason)


def test_run_whose_last_update_ruins_the_weights_has_diverged(run, make_spec):
    recipe = {"optimizer": Sgd(learning_rate=1e30), "schedule": CONSTANT, "iterations": 1}
    outcome = run(make_spec(recipe=recipe))
    assert math.isfinite(outcome.epochs[0]["train_loss"])
    assert not math.isfinite(outcome.epochs[0]["test_loss"])
    assert outcome.status == "diverged"


def test_mini_batch_larger_than_the_training_set_is_refused(run, make_spec):
    recipe = {"batch_size": 61, "iterations": 1}
    with pytest.raises(UsageError, match="batch_size 61 is more than the 60 training images of synthetic"):
        run(make_spec(recipe=recipe))


def slow_batch(images, numbers, views, pad):
    """Images in their views the slow way, after subtraction of the mean image."""
    pixels = images.train_images.astype(np.float64) / 255
    pixels -= pixels.mean(axis=0)
    span = 2 * pad + 1
    batch = []
    for number, view in zip(numbers, views, strict=True):
        padded = np.pad(pixels[number], ((0, 0), (pad, pad), (pad, pad)))
        mirrored, corner = divmod(int(view), span * span)
        row, column = divmod(corner, span)
        crop = padded[:, row : row + 32, column : column + 32]
        batch.append(crop[:, :, ::-1] if mirrored else crop)
    return torch.from_numpy(np.stack(batch).astype(np.float32))


def independent_training(spec, images, learning_rates):
    """The same training with torch's plain optimiser, NCHW layout and slow batches."""
    recipe = spec.recipe
    model = build_model(find(spec.model), seed=spec.seed, initialization="he")
    options = recipe.optimizer
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=1.0,
        momentum=options.momentum,
        nesterov=options.nesterov,
        weight_decay=options.weight_decay,
        fused=False,
        foreach=False,
    )
    losses, num_correct = [], []
    for step, rate in enumerate(learning_rates):
        bounds = step * recipe.batch_size, (step + 1) * recipe.batch_size
        numbers, views = image_stream(spec.seed, *bounds, images.num_train, 162)
        logits = model(slow_batch(images, numbers, views, pad=4))
        labels = torch.from_numpy(images.train_labels[numbers].astype(np.int64))
        loss = F.cross_entropy(logits, labels)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        num_correct.append(sum(logits.detach().argmax(dim=1) == labels).item())
    return model, losses, num_correct


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("model", ["resnet20", "resnet20-b"])
def test_training_is_what_plain_torch_does(run, make_spec, small_set, model, nesterov):
    # a quarter of 8 is 2, so the third update has a tenth of the rate; and decay is strong enough to matter
    recipe = {
        "iterations": 8,
        "optimizer": Sgd(learning_rate=0.001, momentum=0.9, nesterov=nesterov, weight_decay=1.0),
        "schedule": StepSchedule(kind="steps", milestones=(0.25,), factor=0.1),
        "augmentation": Augmentation(pad=4, flip=True),
        "normalization": Normalization(kind="per-pixel-mean"),
    }
    spec = make_spec(recipe=recipe, model=model, seed=5)
    reference, losses, num_correct = independent_training(spec, small_set, [0.001, 0.001, 0.0001])
    stored = run.interrupt(spec, 3).tensors
    assert stored["losses"][0].item() == pytest.approx(losses[0], abs=1e-5)
    assert stored["losses"][:3].tolist() == pytest.approx(losses, abs=1e-4)
    assert stored["num_correct"][:3].tolist() == num_correct
    # Layouts round differently, and where that turns the sign of an activation its gradient comes or goes:
    # movements agree within 2 % here; without momentum, decay or Nesterov's step they are 10 % or more apart.
    initial = build_model(find(model), seed=5, initialization="he").state_dict()
    parameters = dict(reference.named_parameters())
    for name, expected in reference.state_dict().items():
        difference = (stored[f"model/{name}"] - expected).double().norm()
        movement = (expected - initial[name]).double().norm()
        assert difference <= (0.05 if name in parameters else 1e-3) * movement, name


def test_training_loss_and_error_are_those_of_the_mini_batches(run, make_spec, small_set):
    spec = make_spec(recipe={"optimizer": Sgd(learning_rate=0.001), "schedule": CONSTANT})
    _, losses, num_correct = independent_training(spec, small_set, [0.001] * 4)
    [row] = run.interrupt(spec, 4).header.progress["epochs"]
    assert row["train_loss"] == pytest.approx(sum(losses) / 4, abs=1e-4)
    assert row["train_error"] == 1 - sum(num_correct) / 64


def test_deep_networks_are_warmed_up(run, make_spec):
    warmup = Warmup(learning_rate=0.007, iterations=4, min_depth=20)
    outcome = run(make_spec(recipe={"warmup": warmup}))
    assert [row["learning_rate"] for row in outcome.epochs] == pytest.approx([0.007, 0.005, 0.005])


def test_training_reads_nothing_from_the_checkpoint_folder_but_its_own(run, make_spec):
    run.checkpoint.with_name(f".{run.checkpoint.name}.1.tmp").write_text("left over", encoding="utf-8")
    assert run(make_spec()).resumed_at == []


@pytest.mark.parametrize(
    "optimizer", [Adam(kind="adam", learning_rate=1e-3), Sgd(learning_rate=0.05)], ids=repr
)
@pytest.mark.parametrize("iteration", [1, 4, 6])
def test_every_optimizer_goes_on_with_the_same_bits(run, make_spec, optimizer, iteration):
    spec = make_spec(recipe={"optimizer": optimizer})
    whole = run.once(spec)
    run.interrupt(spec, iteration)
    assert_same_bits(run(spec), whole)


@pytest.mark.parametrize("iteration", [2, 4, 5])
def test_kept_batches_end_passes_and_resume_with_the_same_bits(run, make_spec, iteration):
    spec = make_spec(recipe={"last_batch": "keep"})  # 60 images: batches of 16, 16, 16 and 12
    whole = run.once(spec)
    assert [row["iteration"] for row in whole.epochs] == [4, 8, 10]
    run.interrupt(spec, iteration)
    assert_same_bits(run(spec), whole)


def test_cosine_schedule_per_epoch_is_recorded_at_the_start_of_each_epoch(run, make_spec):
    spec = make_spec(recipe={"last_batch": "keep", "schedule": CosineSchedule(kind="cosine", per="epoch")})
    rates = [row["learning_rate"] for row in run(spec).epochs]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * moved / 10)) / 2 for moved in (0, 4, 8)])
