"""Quantization-aware training: the long form of fine-tuning, for the policies that are kept."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Graph
from mcuq_lab.models.augment import pad_images, random_crop_flip
from mcuq_lab.quantize.finetuning import (
    STATISTICS_IMAGES,
    Descent,
    FinetuneConfig,
    Progress,
    Trained,
)
from mcuq_lab.quantize.network import float_logits, graph_parameters, real_images
from mcuq_lab.quantize.normalized import NormalizedFakeQuantized
from mcuq_lab.quantize.state import QuantState


@dataclass(frozen=True)
class QatConfig:
    """One quantization-aware training."""

    epochs: int = 10
    """Passes over the training images; learning rates reach zero at the end of the last."""

    batch_size: int = 128
    """Images in a batch; an incomplete last batch is dropped."""

    weight_lr: float = 0.03
    """Peak learning rate of weights and biases: SGD with momentum, cosine decay to zero."""

    gradient_norm: float = 5.0
    """The weights' gradient is shortened to this length."""

    step_lr: float = 0.003
    """Peak movement, in one batch, of the largest value a tensor can store, in steps (Adam)."""

    momentum: float = 0.9
    """Momentum of the weights' SGD."""

    crop_margin_px: int = 4
    """Images are padded by this much on each side and cropped at random; 0 turns it off."""

    mirror: bool = True
    """Whether half of the images are mirrored; not for classes that depend on left and right."""

    seed: int = 0
    """Decides order, crops and mirrors, epoch by epoch."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.crop_margin_px < 0:
            raise ConfigError(
                "Training needs epochs >= 1, batch_size >= 1 and crop_margin_px >= 0."
            )

    @property
    def descent(self) -> FinetuneConfig:
        """The part that concerns the optimizers."""
        return FinetuneConfig(
            Trained.WEIGHTS_AND_STEPS,
            weight_lr=self.weight_lr,
            gradient_norm=self.gradient_norm,
            step_lr=self.step_lr,
            momentum=self.momentum,
        )


def quantization_aware_training(
    graph: Graph,
    state: QuantState,
    images: np.ndarray,
    config: QatConfig | None = None,
    *,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    stop_after_epoch: int | None = None,
) -> QuantState:
    """Trains weights and steps towards the float network's answers on augmented images.

    Args:
        graph: the float network, the teacher.
        state: where to begin.
        images: all training images, uint8 NHWC, square.
        config: how long and how fast; None is the default configuration.
        checkpoint: a file that is rewritten atomically after each epoch and, if it exists, resumed
            from: the result is that of an uninterrupted training.
        progress: called after each batch with batches done, batches in all, and the loss.
        stop_after_epoch: leave after this many epochs, as an interruption would.

    Raises:
        ConfigError: fewer images than a batch, or a checkpoint that is damaged or belongs to
            another training.
        NumericsError: the loss is no longer finite.
    """
    config = QatConfig() if config is None else config
    per_epoch = len(images) // config.batch_size
    if per_epoch == 0:
        raise ConfigError(
            f"{len(images)} training images do not fill a batch of {config.batch_size}."
        )
    total = config.epochs * per_epoch
    network = NormalizedFakeQuantized(graph, state, images[:STATISTICS_IMAGES])
    descent = Descent(network, config.descent, total)
    identity = {
        "graph": graph.digest,
        "policy": str(state.policy),
        "images": len(images),
        "config": asdict(config),
    }
    first = _restore(checkpoint, network, descent, identity) if checkpoint else 0
    parameters = graph_parameters(graph)
    padded = pad_images(torch.from_numpy(images), config.crop_margin_px)
    for epoch in range(first, min(config.epochs, stop_after_epoch or config.epochs)):
        for i, batch in enumerate(_epoch(padded, images.shape[1], config, epoch), start=1):
            with torch.no_grad():
                answers = float_logits(graph, parameters, real_images(graph, batch.numpy()))
            loss = descent.step(batch, answers)
            if progress is not None:
                progress(epoch * per_epoch + i, total, loss)
        if checkpoint is not None:
            _save(checkpoint, network, descent, identity, epoch + 1)
    return network.state()


def _epoch(padded: Tensor, size_px: int, config: QatConfig, epoch: int) -> Iterator[Tensor]:
    """Augmented batches; drawn from (seed, epoch) alone, so resuming needs no generator's state."""
    generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
    order = torch.randperm(len(padded), generator=generator)
    for first in range(0, len(order) - config.batch_size + 1, config.batch_size):
        rows = order[first : first + config.batch_size]
        yield random_crop_flip(padded, rows, size_px, flip=config.mirror, generator=generator)


def _save(
    path: Path, network: NormalizedFakeQuantized, descent: Descent, identity: dict, epochs: int
) -> None:
    content = {
        "identity": identity,
        "epochs": epochs,
        "network": network.state_dict(),
        "descent": descent.state_dict(),
    }
    scratch = path.with_name(path.name + ".part")
    torch.save(content, scratch)
    os.replace(scratch, path)


def _restore(path: Path, network: NormalizedFakeQuantized, descent: Descent, identity: dict) -> int:
    """Loads a checkpoint, if there is one; returns the epochs already done."""
    if not path.exists():
        return 0
    try:
        content = torch.load(path, weights_only=True)
        found = content["identity"]
        if found == identity:
            network.load_state_dict(content["network"])
            descent.load_state_dict(content["descent"])
            return content["epochs"]
    except Exception as error:
        raise ConfigError(
            f"Checkpoint '{path}' cannot be read ({error}); delete it to begin anew."
        ) from error
    differing = [key for key in identity if found.get(key) != identity[key]]
    raise ConfigError(
        f"Checkpoint '{path}' belongs to another training (other {', '.join(differing)}); "
        "choose another file, or delete it."
    )
