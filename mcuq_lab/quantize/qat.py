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
from mcuq_lab.quantize.finetuning import Descent, Progress, Teacher, step_optimizer
from mcuq_lab.quantize.normalized import NormalizedFakeQuantized
from mcuq_lab.quantize.state import QuantState

_STATISTICS_IMAGES = 1024
"""Channel statistics are folded in for good, so more images than in a short fine-tuning."""


@dataclass(frozen=True)
class QatConfig:
    """One quantization-aware training.

    Learning rates count in steps, so that they mean the same for all layers and widths; they fall
    along a cosine to zero, which they reach at the end of the last epoch.
    """

    epochs: int = 4
    """Passes over the training images."""

    images: int = 0
    """Only so many of the training images, the first ones; 0: all."""

    batch_size: int = 64
    """Images in a batch; an incomplete last batch is dropped."""

    weight_lr: float = 0.01
    """Peak movement of weights and biases in one batch, in their steps (Adam). Three times as much
    costs half a point at 4 bits, and deep depthwise networks at 2 bits do not bear it."""

    step_lr: float = 0.01
    """Peak movement, in one batch, of the largest value a tensor can store, in steps (Adam)."""

    augment: bool = True
    """Whether images are cropped and mirrored at random. With many bits and few epochs, better not:
    the float network's answers to the plain images say most of what there is to learn."""

    crop_margin_px: int = 4
    """Images are padded by this much on each side and cropped at random."""

    mirror: bool = True
    """Whether half of them are mirrored, too; not for classes that depend on left and right."""

    seed: int = 0
    """Decides order, crops and mirrors, epoch by epoch."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.images < 0 or self.crop_margin_px < 0:
            raise ConfigError(
                "Training needs epochs >= 1, batch_size >= 1, images >= 0 and crop_margin_px >= 0."
            )
        if self.weight_lr < 0 or self.step_lr < 0:
            raise ConfigError("Training needs weight_lr >= 0 and step_lr >= 0.")


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
    """Trains weights and steps towards the float network's answers.

    Each crop or mirror image is put to both networks, and the quantized one is to say the same of
    it as the float one (function matching: Beyer et al., Knowledge distillation: a good teacher is
    patient and consistent, CVPR 2022). Without augmentation the float network answers each image
    once, before the training.

    Args:
        graph: the float network, the teacher.
        state: where to begin.
        images: all training images, uint8 NHWC.
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
    images = images[: config.images or None]
    per_epoch = len(images) // config.batch_size
    if per_epoch == 0:
        raise ConfigError(
            f"{len(images)} training images do not fill a batch of {config.batch_size}."
        )
    total = config.epochs * per_epoch
    network = NormalizedFakeQuantized(graph, state, images[:_STATISTICS_IMAGES], aim_at_float=True)
    network.count_in_steps()
    weights = [{"params": [p], "lr": config.weight_lr * u} for p, u in network.trained_units()]
    optimizers = [step_optimizer(network, config.step_lr), torch.optim.Adam(weights)]
    descent = Descent(network, optimizers, total)
    identity = {
        "graph": graph.digest,
        "policy": str(state.policy),
        "images": len(images),
        "config": asdict(config),
    }
    first = _restore(checkpoint, network, descent, identity) if checkpoint else 0
    last = min(config.epochs, stop_after_epoch or config.epochs)
    lesson = CroppedLessons(graph, images, config) if first < last else None
    for epoch in range(first, last):
        for i, (batch, answers) in enumerate(lesson.epoch(epoch), start=epoch * per_epoch + 1):
            loss = descent.step(batch, answers)
            if progress is not None:
                progress(i, total, loss)
        if checkpoint is not None:
            _save(checkpoint, network, descent, identity, epoch + 1)
    return network.state()


class CroppedLessons:
    """Batches of images with the float network's answers, epoch by epoch."""

    def __init__(self, graph: Graph, images: np.ndarray, config: QatConfig) -> None:
        self._config, self._size_px = config, images.shape[1:3]
        self._padded = pad_images(
            torch.from_numpy(images), config.crop_margin_px if config.augment else 0
        )
        self._teacher = Teacher(graph)
        self._answers = None if config.augment else self._teacher.answer_all(images)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (N, h, w, c) uint8 of each batch, cropped and mirrored if so configured, and
        answers (N, classes).

        Drawn from (seed, epoch) alone, so resuming needs no generator's state.
        """
        config = self._config
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        order = torch.randperm(len(self._padded), generator=generator)
        flip = config.augment and config.mirror
        for first in range(0, len(order) - config.batch_size + 1, config.batch_size):
            rows = order[first : first + config.batch_size]
            batch = random_crop_flip(
                self._padded, rows, self._size_px, flip=flip, generator=generator
            )
            known = self._answers is not None
            yield batch, self._answers[rows] if known else self._teacher.answer(batch)


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
