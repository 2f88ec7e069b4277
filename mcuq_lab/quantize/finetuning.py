"""The lower level of the search: gradient descent on steps, or on weights and steps.

The quantized network learns to answer as the float network does (Kullback-Leibler divergence of
their class probabilities), which needs no labels and overfits less than they do in some dozens of
batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
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
from mcuq_lab.quantize.state import QuantState

Progress = Callable[[int, int, float], None]
"""Called after each batch with batches done, batches in all, and the loss."""


class Trained(StrEnum):
    """What fine-tuning changes."""

    STEPS = "steps"
    WEIGHTS_AND_STEPS = "weights_and_steps"


@dataclass(frozen=True)
class FinetuneConfig:
    """One short fine-tuning, as every episode of a search runs it."""

    trained: Trained = Trained.WEIGHTS_AND_STEPS
    """Steps only (the weights stay those of the float network), or weights and biases, too."""

    batches: int = 40
    """Number of batches."""

    batch_size: int = 64
    """Images in a batch."""

    weight_lr: float = 0.02
    """Peak learning rate of weights and biases: SGD with momentum, cosine decay to zero."""

    step_lr: float = 0.02
    """Peak relative change of a step in one batch: Adam on its logarithm, cosine decay to zero."""

    momentum: float = 0.9
    """Momentum of the weights' SGD."""

    seed: int = 0
    """Decides which images come in which order."""

    def __post_init__(self) -> None:
        if self.batches < 0 or self.batch_size < 1:
            raise ConfigError("Fine-tuning needs batches >= 0 and batch_size >= 1.")
        if self.weight_lr < 0 or self.step_lr < 0:
            raise ConfigError("Learning rates of fine-tuning must not be negative.")


@dataclass(frozen=True, eq=False)
class Lessons:
    """Training images and what the float network says of them.

    `images` are uint8 (N, h, w, c), `logits` float32 (N, classes).
    """

    images: np.ndarray
    logits: np.ndarray


@torch.no_grad()
def teach(graph: Graph, images: np.ndarray, batch: int = 256) -> Lessons:
    """Runs the float network once on uint8 NHWC training images, `batch` at a time."""
    parameters = graph_parameters(graph)
    logits = [
        float_logits(graph, parameters, real_images(graph, images[first : first + batch]))
        for first in range(0, len(images), batch)
    ]
    return Lessons(images, torch.cat(logits).numpy())


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
        progress: called after each batch.

    Raises:
        ConfigError: no lessons.
        NumericsError: the loss is no longer finite.
    """
    config = FinetuneConfig() if config is None else config
    if len(lessons.images) == 0:
        raise ConfigError("Fine-tuning needs images; give some thousands of the training part.")
    network = FakeQuantized(graph, state)
    descent = Descent(network, config, config.batches)
    images, logits = torch.from_numpy(lessons.images), torch.from_numpy(lessons.logits)
    for done, chosen in enumerate(_batches(len(images), config), start=1):
        loss = descent.step(images[chosen], logits[chosen])
        if progress is not None:
            progress(done, config.batches, loss)
    return network.state()


def divergence(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean Kullback-Leibler divergence of the class probabilities from the teacher's, in nats."""
    return F.kl_div(
        F.log_softmax(logits, 1),
        F.log_softmax(teacher_logits, 1),
        reduction="batchmean",
        log_target=True,
    )


class Descent:
    """Optimizers of a `FakeQuantized` network over a known number of batches."""

    def __init__(self, network: FakeQuantized, config: FinetuneConfig, batches: int) -> None:
        self._network = network
        self._batches = batches
        self._done = 0
        steps = [*network.log_weight_step, *network.log_step]
        steps = [step for step in steps if step.requires_grad]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(steps, config.step_lr)]
        weights = [*network.weight, *network.bias]
        if config.trained is Trained.WEIGHTS_AND_STEPS:
            self.optimizers.append(torch.optim.SGD(weights, config.weight_lr, config.momentum))
        else:
            for weight in weights:
                weight.requires_grad_(False)
        self._peaks = [optimizer.param_groups[0]["lr"] for optimizer in self.optimizers]

    def step(self, images: Tensor, teacher_logits: Tensor) -> float:
        """One batch; returns its loss. Raises NumericsError if that is not finite."""
        decay = (1 + math.cos(math.pi * self._done / self._batches)) / 2
        for optimizer, peak in zip(self.optimizers, self._peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * decay
            optimizer.zero_grad()
        loss = divergence(self._network(images), teacher_logits)
        if not torch.isfinite(loss):
            raise NumericsError(
                f"Training of '{self._network.graph.name}' diverged at batch {self._done}; "
                "lower weight_lr or step_lr."
            )
        loss.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self._network.project()
        self._done += 1
        return loss.item()


def _batches(images: int, config: FinetuneConfig) -> Iterator[np.ndarray]:
    """Indices of each batch: every image once before any comes again."""
    rng = np.random.default_rng(config.seed)
    queue = np.empty(0, np.int64)
    for _ in range(config.batches):
        while len(queue) < config.batch_size:
            queue = np.concatenate([queue, rng.permutation(images)])
        yield queue[: config.batch_size]
        queue = queue[config.batch_size :]
