"""One network in training: mini-batches of the seed's stream, and an update of the weights for each.

Everything that changes from one update to the next is on the device, so that an update is always the same operations
on the same memory: which images come next, in which view, at which learning rate, and where losses and right answers
are noted. Nothing is read back before the end of an epoch. On CUDA an update is therefore captured once as a graph and
replayed; elsewhere its operations are launched one by one.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.config import RunSpec
from harness.errors import CheckpointError, UsageError
from harness.models import find
from harness.training import checkpoint
from harness.training.batches import DeviceImages
from harness.training.device import autocast, memory_format
from harness.training.digest import tensors_sha256
from harness.training.evaluation import Evaluation, evaluate
from harness.training.ghost import use_ghost_batches
from harness.training.graph import NotCapturableError, capture, draws
from harness.training.initialization import build_model
from harness.training.optimizer import make_optimizer
from harness.training.passes import Passes
from harness.training.schedule import learning_rate
from harness.training.seeding import image_stream, stream_key

__all__ = ["Engine", "Trainer"]

Engine = Literal["eager", "cuda graph"]


class Trainer:
    """A network, its optimiser and its images on a device.

    Args:
        spec: what to train.
        images: the data set it names, as its recipe wants to see it.
        device: where; `harness.training.device.configure` must have been called.
        channels_last: the memory layout of images and weights; by default the device's fastest. Only to find out what
            depends on it, as the next.
        compiled: the network by ``torch.compile``.

    Raises:
        UsageError: a mini-batch would be larger than the training set, or the network's batch normalisation is none that
            the recipe's ``ghost_batch_size`` can be applied to.
    """

    def __init__(
        self,
        spec: RunSpec,
        images: DeviceImages,
        device: torch.device,
        *,
        channels_last: bool | None = None,
        compiled: bool = False,
    ) -> None:
        recipe = spec.recipe
        if recipe.batch_size > images.num_train:
            raise UsageError(
                f"recipe {recipe.name!r}: batch_size {recipe.batch_size} is more than the {images.num_train} "
                f"training images of {spec.data}; use a smaller batch_size"
            )
        entry = find(spec.model)
        self.spec, self.device, self.images, self._depth = spec, device, images, entry.depth
        self.passes = Passes(
            num_images=images.num_train, batch_size=recipe.batch_size, last_batch=recipe.last_batch
        )
        model = build_model(entry, seed=spec.seed, initialization=recipe.initialization)
        if recipe.ghost_batch_size is not None:
            use_ghost_batches(model, recipe.ghost_batch_size)
        layout = memory_format(device)
        if channels_last is not None:
            layout = torch.channels_last if channels_last else torch.contiguous_format
        self._rearranged = channels_last is False  # the images come in channels-last
        self.model = model.to(device, memory_format=layout).train()  # type: ignore[call-overload]
        if compiled:
            self.model.compile()
        self.optimizer = make_optimizer(recipe.optimizer, list(self.model.parameters()))

        self.engine: Engine = "eager"
        self.engine_note: str | None = None
        """Why an update is not a CUDA graph although the device is CUDA."""
        self.draws = False
        """Whether an update was seen to draw random numbers of torch's own; known after `prepare` on CUDA."""
        self._updates: Mapping[int, Callable[[], None]] = {}
        self._loaded: int | None = None

        # of an epoch, by position in it
        longest = self.passes.longest_epoch
        self._numbers = torch.zeros(longest * recipe.batch_size, dtype=torch.int32, device=device)
        self._views = torch.zeros_like(self._numbers)
        self._learning_rates = torch.zeros(longest, device=device)
        self._losses = torch.zeros(longest, device=device)
        self._num_correct = torch.zeros(longest, dtype=torch.int32, device=device)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        # constants
        self._positions = torch.arange(longest, device=device)
        self._places = torch.arange(recipe.batch_size, device=device)

        self._learning_rate = torch.zeros(1, device=device)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate
        torch.manual_seed(stream_key(spec.seed, "network") % 2**63)  # for networks that draw, as dropout does
        self._generators_before = self._generators()

    def prepare(self, *, eager: bool = False) -> None:
        """Capture the update as a CUDA graph, where there is CUDA and the network allows it.

        Args:
            eager: do not. The bits of a run are the same.

        Raises:
            torch.OutOfMemoryError: the device has no memory left for it.
        """
        if self.device.type != "cuda":
            return
        self.draws = draws(functools.partial(self._update, max(self.passes.all_sizes)), self._changed())
        if eager:
            self.engine_note = "not wanted"
            return
        try:
            self._set_capturable(capturable=True)
            captured = {size: self._capture(size) for size in self.passes.all_sizes}
        except NotCapturableError as error:
            self._set_capturable(capturable=False)
            self.optimizer.zero_grad(set_to_none=True)  # a step that ended halfway may have left some
            self.engine_note = f"cannot be captured: {error}"
        else:
            self._updates, self.engine = captured, "cuda graph"

    def _capture(self, size: int) -> Callable[[], None]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
            return capture(functools.partial(self._update, size), self._changed())

    def _changed(self) -> list[Tensor]:
        """All tensors that outlive an update and that it changes."""
        return [
            *self.model.state_dict().values(),
            *(tensor for kept in self.optimizer.state.values() for tensor in kept.values()),
            *(self._losses, self._num_correct, self._position),
        ]

    def _set_capturable(self, *, capturable: bool) -> None:
        for group in self.optimizer.param_groups:
            if "capturable" in group:  # Adam has it, and refuses to be captured without
                group["capturable"] = capturable

    def epoch(self, iteration: int) -> tuple[int, int]:
        """First iteration of the epoch that an iteration is in, and first of the next or the end of the run."""
        first, end = self.passes.epoch(iteration)
        return first, min(end, self.spec.iterations)

    def updates(self, start: int, stop: int) -> Iterator[int]:
        """Make the updates from iteration ``start`` to the one before ``stop``, of one epoch.

        On CUDA an update is made some time after it is yielded.

        Yields:
            After each, the number of updates made since the beginning of the run.
        """
        self._load_epoch(start)
        for iteration, size in enumerate(self.passes.sizes(start, stop), start=start):
            if size in self._updates:
                self._updates[size]()
            else:
                self._update(size)
            yield iteration + 1

    def _load_epoch(self, start: int) -> None:
        """Bring to the device what is needed from iteration ``start`` to the end of its epoch."""
        first, end = self.epoch(start)
        self._generators_before = self._generators()
        if start == first:
            self._losses.zero_()
            self._num_correct.zero_()
        if self._loaded != first:
            bounds = self.passes.position(first), self.passes.position(end)
            stream = image_stream(self.spec.seed, *bounds, self.images.num_train, self.images.num_views)
            for buffer, drawn in zip((self._numbers, self._views), stream, strict=True):
                buffer[: len(drawn)].copy_(torch.from_numpy(drawn))
            rates = [self.learning_rate(iteration) for iteration in range(first, end)]
            self._learning_rates[: len(rates)].copy_(torch.tensor(rates))
            self._loaded = first
        self._position.fill_(start - first)

    def _update(self, size: int) -> None:
        """Make the update whose position in the epoch is on the device, with a mini-batch of that size."""
        places = self._position * self.spec.recipe.batch_size + self._places[:size]
        inputs, labels = self.images.train_batch(
            self._numbers.index_select(0, places), self._views.index_select(0, places)
        )
        self._learning_rate.copy_(self._learning_rates.index_select(0, self._position))
        if self._rearranged:
            inputs = inputs.contiguous()
        with autocast(self.device, self.spec.precision):
            logits = self.model(inputs)
        loss = F.cross_entropy(logits.float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        here = self._positions == self._position
        num_correct = (logits.detach().argmax(dim=1) == labels).sum(dtype=torch.int32)
        torch.where(here, loss.detach(), self._losses, out=self._losses)
        torch.where(here, num_correct, self._num_correct, out=self._num_correct)
        self._position += 1

    def losses(self, iteration: int) -> Tensor:
        """Of the mini-batches of the epoch that an iteration is in, float32, on the device; 0 for those to come."""
        first, end = self.epoch(iteration)
        return self._losses[: end - first]

    def num_correct(self, iteration: int) -> Tensor:
        """Right answers in the mini-batches of the epoch that an iteration is in, int32, on the device."""
        first, end = self.epoch(iteration)
        return self._num_correct[: end - first]

    def learning_rate(self, iteration: int) -> float:
        """Of the update after that many."""
        return learning_rate(
            self.spec.recipe,
            iteration,
            self.spec.iterations,
            self._depth,
            epoch_start=self.passes.epoch(iteration)[0],
        )

    def evaluate(self) -> Evaluation:
        """The network as it is, on the test set."""
        return evaluate(self.model, self.images, self.device, self.spec.precision)

    def state_sha256(self) -> str:
        """Digest of what training goes on from beside the weights and the number of the iteration.

        That is the optimiser's state, and torch's generators if the network has drawn from them since the last epoch;
        where images come from is a function of seed and iteration.
        """
        kept = [self.optimizer.state[parameter] for parameter in self.model.parameters()]
        tensors = [state[name] for state in kept for name in sorted(state) if state[name] is not None]
        now = self._generators()
        if any(not torch.equal(one, other) for one, other in zip(self._generators_before, now, strict=True)):
            tensors += now
        return tensors_sha256(tensors)

    def _generators(self) -> list[Tensor]:
        """The states of torch's generators that the network could draw from."""
        on_device = [torch.cuda.get_rng_state(self.device)] if self.device.type == "cuda" else []
        return [torch.get_rng_state(), *on_device]

    def state(self) -> dict[str, Tensor]:
        """All that training goes on from, beside the number of the iteration, on the CPU."""
        noted = {"losses": self._losses.cpu().clone(), "num_correct": self._num_correct.cpu().clone()}
        return checkpoint.capture(self.model, self.optimizer) | noted

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `state` gave; before `prepare`.

        Raises:
            CheckpointError: the tensors are not those of this network.
        """
        checkpoint.restore(tensors, self.model, self.optimizer)
        try:
            self._losses.copy_(tensors["losses"])
            self._num_correct.copy_(tensors["num_correct"])
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint does not fit the recipe: {error}") from error
