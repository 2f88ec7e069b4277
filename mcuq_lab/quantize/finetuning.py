"""The lower level of the search: gradient descent on steps, or on weights and steps.

The quantized network learns to answer as the float network does (Kullback-Leibler divergence of
their class probabilities), which needs no labels and overfits less than they do in some dozens of
batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mcuq_lab.errors import ConfigError, NumericsError
from mcuq_lab.graph import Graph
from mcuq_lab.quantize.fake import FakeQuantized
from mcuq_lab.quantize.network import float_logits, graph_parameters, real_images
from mcuq_lab.quantize.normalized import NormalizedFakeQuantized
from mcuq_lab.quantize.state import QuantState

Progress = Callable[[int, int, float], None]
"""Called after each batch with batches done, batches in all, and the loss."""


STATISTICS_IMAGES = 256
"""How many images channel statistics are measured on."""

LOSS_WINDOW = 4
"""Batches whose mean loss says how far a training has come."""


class Trained(StrEnum):
    """What fine-tuning changes."""

    STEPS = "steps"
    WEIGHTS_AND_STEPS = "weights_and_steps"


@dataclass(frozen=True)
class FinetuneConfig:
    """One short fine-tuning, as every episode of a search runs it."""

    trained: Trained = Trained.WEIGHTS_AND_STEPS
    """Steps only (weights change by one gain a channel at most), or weights and biases, too."""

    batches: int = 40
    """Number of batches."""

    batch_size: int = 64
    """Images in a batch."""

    weight_lr: float = 0.01
    """Peak learning rate of weights and biases: SGD with momentum, cosine decay to zero."""

    gradient_norm: float = 5.0
    """The weights' gradient is shortened to this length: without, few bits diverge."""

    step_lr: float = 0.01
    """Peak movement, in one batch, of the largest value a tensor can store, in steps: Adam on the
    steps' logarithms, cosine decay to zero. A step of few bits may thus change more."""

    momentum: float = 0.9
    """Momentum of the weights' SGD."""

    seed: int = 0
    """Decides which images come in which order."""

    hopeless_nats: float = math.inf
    """Training ends after a third of the batches if the mean loss of the last `LOSS_WINDOW` of them
    is larger: what is that far from the float network is not worth the rest."""

    def __post_init__(self) -> None:
        if self.batches < 0 or self.batch_size < 1:
            raise ConfigError("Fine-tuning needs batches >= 0 and batch_size >= 1.")
        if self.weight_lr < 0 or self.step_lr < 0 or self.gradient_norm <= 0:
            raise ConfigError(
                "Fine-tuning needs weight_lr >= 0, step_lr >= 0 and gradient_norm > 0."
            )
        if not self.hopeless_nats > 0:
            raise ConfigError("Fine-tuning needs hopeless_nats > 0.")

    def is_hopeless(self, losses: Sequence[float]) -> bool:
        """Whether training that had these losses, batch by batch, ends now."""
        if len(losses) != math.ceil(self.batches / 3):
            return False
        return math.fsum(losses[-LOSS_WINDOW:]) / len(losses[-LOSS_WINDOW:]) > self.hopeless_nats


@dataclass(frozen=True, eq=False)
class Lessons:
    """Training images and what the float network says of them.

    `images` are uint8 (N, h, w, c), `logits` float32 (N, classes).
    """

    images: np.ndarray
    logits: np.ndarray


class Teacher:
    """The float network, as the one whose answers are to be given."""

    def __init__(self, graph: Graph) -> None:
        self._graph, self._parameters = graph, graph_parameters(graph)

    @torch.no_grad()
    def answer(self, images: Tensor) -> Tensor:
        """Logits (N, classes) of uint8 images (N, h, w, c), all in one pass."""
        return float_logits(self._graph, self._parameters, real_images(self._graph, images.numpy()))

    def answer_all(self, images: np.ndarray, batch: int = 256) -> Tensor:
        """As `answer`, of as many images as there are, `batch` in a pass."""
        parts = range(0, len(images), batch)
        return torch.cat([self.answer(torch.from_numpy(images[i : i + batch])) for i in parts])


def teach(graph: Graph, images: np.ndarray) -> Lessons:
    """Runs the float network once on uint8 NHWC training images."""
    return Lessons(images, Teacher(graph).answer_all(images).numpy())


def finetune(
    graph: Graph,
    state: QuantState,
    lessons: Lessons,
    config: FinetuneConfig | None = None,
    progress: Progress | None = None,
) -> QuantState:
    """Improves the steps (and weights) of `state`; equal arguments give equal results.

    Args:
        graph: the float network.
        state: where to begin, for example `initial_state(graph, policy, tables)`.
        lessons: what to learn from, made once by `teach`.
        config: how long and how fast; None is the default configuration.
        progress: called after each batch, for the last time early if the training is hopeless.

    Raises:
        ConfigError: no lessons.
        NumericsError: the loss is no longer finite.
    """
    config = FinetuneConfig() if config is None else config
    if len(lessons.images) == 0:
        raise ConfigError("Fine-tuning needs images; give some thousands of the training part.")
    network = NormalizedFakeQuantized(graph, state, lessons.images[:STATISTICS_IMAGES])
    descent = Descent(network, _optimizers(network, config), config.batches, config.gradient_norm)
    images, logits = torch.from_numpy(lessons.images), torch.from_numpy(lessons.logits)
    losses: list[float] = []
    for chosen in _batches(len(images), config):
        losses.append(descent.step(images[chosen], logits[chosen]))
        if progress is not None:
            progress(len(losses), config.batches, losses[-1])
        if config.is_hopeless(losses):
            break
    return network.state()


def step_optimizer(network: FakeQuantized, lr: float) -> torch.optim.Adam:
    """Adam on the steps' logarithms; `lr` moves the largest value of a tensor by so many steps."""
    return torch.optim.Adam(
        {"params": [parameter], "lr": lr / levels} for parameter, levels in network.trained_steps()
    )


def _optimizers(network: FakeQuantized, config: FinetuneConfig) -> list[torch.optim.Optimizer]:
    steps, weights = step_optimizer(network, config.step_lr), network.trained_weights()
    if config.trained is Trained.WEIGHTS_AND_STEPS:
        return [steps, torch.optim.SGD(weights, config.weight_lr, config.momentum)]
    for weight in weights:
        weight.requires_grad_(False)
    return [steps]


def divergence(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of the class probabilities from the teacher's, in nats."""
    return F.kl_div(
        F.log_softmax(logits, 1),
        F.log_softmax(teacher_logits, 1),
        reduction="batchmean",
        log_target=True,
    )


class Descent:
    """Optimizers of a `FakeQuantized` network whose learning rates fall along a cosine to zero.

    Args:
        network: what is trained.
        optimizers: of its parameters, with their peak learning rates.
        batches: after how many the learning rates are zero.
        gradient_norm: the weights' gradient is shortened to this length; None: it is not.
    """

    def __init__(
        self,
        network: FakeQuantized,
        optimizers: list[torch.optim.Optimizer],
        batches: int,
        gradient_norm: float | None = None,
    ) -> None:
        self._network = network
        self._gradient_norm = gradient_norm
        self.optimizers = optimizers

        def decay(done: int) -> float:
            return (1 + math.cos(math.pi * done / max(batches, 1))) / 2

        self.schedules = [
            torch.optim.lr_scheduler.LambdaLR(optimizer, decay) for optimizer in self.optimizers
        ]

    def step(self, images: Tensor, teacher_logits: Tensor) -> float:
        """One batch; returns its loss. Raises NumericsError if that is not finite."""
        loss = divergence(self._network(images), teacher_logits)
        if not torch.isfinite(loss):
            raise NumericsError(
                f"Training of '{self._network.graph.name}' diverged; lower weight_lr or step_lr."
            )
        self._network.zero_grad(set_to_none=True)
        loss.backward()
        if self._gradient_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._network.trained_weights(), self._gradient_norm)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            schedule.step()
        self._network.project()
        return loss.item()

    def state_dict(self) -> dict:
        """All that the next step depends on, besides the network's parameters."""
        return {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedules": [schedule.state_dict() for schedule in self.schedules],
        }

    def load_state_dict(self, state: dict) -> None:
        """Takes up what `state_dict` gave."""
        for ours, theirs in zip(self.optimizers, state["optimizers"], strict=True):
            ours.load_state_dict(theirs)
        for ours, theirs in zip(self.schedules, state["schedules"], strict=True):
            ours.load_state_dict(theirs)


def _batches(images: int, config: FinetuneConfig) -> Iterator[np.ndarray]:
    """Indices of each batch: every image once before any comes again."""
    rng = np.random.default_rng(config.seed)
    queue = np.empty(0, np.int64)
    for _ in range(config.batches):
        while len(queue) < config.batch_size:
            queue = np.concatenate([queue, rng.permutation(images)])
        yield queue[: config.batch_size]
        queue = queue[config.batch_size :]
