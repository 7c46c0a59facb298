"""Runs that are recorded, but not trained; in a module of its own, since worker processes import it."""

from types import SimpleNamespace

import numpy as np

from harness.execution import worker
from harness.training import loop

NUM_IMAGES, NUM_CLASSES = 10, 10
IMAGES = SimpleNamespace(num_test=NUM_IMAGES, test_labels=np.zeros(NUM_IMAGES, np.uint8), sha256="0" * 64)


def train_in_turns(spec, images, device, policy, *, listener, eager, concurrent):
    """In place of `harness.training.loop.train_in_turns`: says all that a run says, and does nothing."""
    listener.started(0, spec.iterations)
    yield
    epoch = {
        "epoch": 1,
        "iteration": spec.iterations,
        "learning_rate": 0.1,
        "train_loss": 2.3,
        "train_error": 0.9,
        "test_loss": 2.3,
        "test_error": 0.9,
        "seconds": 0.1,
        "images_per_second": None,
        "losses": [2.3] * spec.iterations,
        "weights_sha256": "0" * 64,
        "state_sha256": "0" * 64,
        "trajectory_sha256": "0" * 64,
    }
    listener.epoch_ended(epoch)
    return loop.Outcome(
        status="completed",
        reason=None,
        epochs=[epoch],
        logits=np.zeros((NUM_IMAGES, NUM_CLASSES), np.float32),
        seconds=0.1,
        images_per_second=None,
        num_parameters=1,
        num_macs=1,
        layer_responses=[],
        initial_weights_sha256="0" * 64,
        weights_sha256="0" * 64,
        trajectory_sha256="0" * 64,
        resumed_at=[],
        resumed_from=[],
        engine="eager",
        engine_note=None,
    )


def images_of(shared, job):
    """In place of `harness.execution.worker._SharedByRuns.images`."""
    return IMAGES, None


def work(jobs, connection, variables):
    """In place of `harness.execution.worker.work`, in a process that is made for these jobs alone."""
    loop.train_in_turns = train_in_turns
    worker._SharedByRuns.images = images_of
    worker.work(jobs, connection, variables)
