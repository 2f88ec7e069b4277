"""Training of a float net: one readable loop, resumable to the bit at every epoch.

`train_model(config)` runs the whole of it. The order of the images and the augmentation of an epoch
are drawn from (seed, epoch) alone, so that a resumed run needs no generator's state and gives the
very weights of an uninterrupted one (with the same number of threads on the same machine).
"""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from mcuq_lab.errors import ConfigError
from mcuq_lab.models.augment import pad_images, random_crop_flip, to_input
from mcuq_lab.models.data import Dataset, load_dataset
from mcuq_lab.models.muon import Muon
from mcuq_lab.models.zoo import build_model


def setting(default: Any, sentence: str) -> Any:
    """A field of a configuration with a default and the sentence that explains it (--help)."""
    return field(default=default, metadata={"help": sentence})


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides what comes out of a training run."""

    model: str = setting("resnet8", "A name in models.ZOO.")
    data: str = setting("digits", "A name in models.DATASETS.")
    data_root: str | None = setting(
        None, "The folder with the files of the data set; digits needs none."
    )
    epochs: int = setting(
        60,
        "Passes over the training images; the learning rate reaches zero at the end of the last.",
    )
    batch_size: int = setting(
        128,
        "Images of one step; an incomplete last batch is dropped (its images differ each epoch).",
    )
    filter_lr: float = setting(
        0.03, "Peak learning rate of the orthogonalised steps of filter banks and matrices."
    )
    filter_decay: float = setting(
        0.03, "Their decoupled weight decay (per step: times the learning rate)."
    )
    other_lr: float = setting(
        0.2, "Peak learning rate of biases, batch norm and depthwise filters."
    )
    other_decay: float = setting(1e-4, "Their L2 decay.")
    momentum: float = setting(0.9, "Nesterov momentum of both.")
    warmup_fraction: float = setting(
        0.2,
        "Part of all steps over which the learning rates rise from zero; then they fall linearly.",
    )
    label_smoothing: float = setting(
        0.05, "Part of the target's mass spread evenly over all classes."
    )
    crop_margin_px: int = setting(
        4, "Images are padded by this much on each side and cropped at random; 0 turns it off."
    )
    bfloat16: bool = setting(
        False,
        "Convolutions in bfloat16 (weights stay float32): 1.6x faster on CPUs with "
        "AVX512-BF16, and many times slower on others.",
    )
    ema_decay: float = setting(
        0.998,
        "Decay per step of the running average of weights, which is what is evaluated and kept.",
    )
    seed: int = setting(1, "Decides initial weights, order and augmentation.")
    threads: int = setting(
        1,
        "CPU threads of torch. A second one gains little on nets this small, and loses much "
        "on a busy machine; another number changes the rounding, hence the last digits.",
    )


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave: mean training loss and accuracies as fractions of 1."""

    epoch: int
    train_loss: float
    validation_accuracy: float
    lr_ramp: float
    """The learning rates as a fraction of their peaks."""


def train_model(
    config: TrainingConfig,
    *,
    dataset: Dataset | None = None,
    checkpoint: Path | None = None,
    on_epoch: Callable[[EpochReport, nn.Module], None] | None = None,
    stop_after_epoch: int | None = None,
    progress: bool = True,
) -> nn.Module:
    """Train config.model and return it in eval mode with the averaged weights.

    dataset: overrides the loading of config.data. checkpoint: a file that is rewritten atomically
    after each epoch and, if it exists, resumed from. on_epoch: called with a report and the
    averaged net (eval mode). stop_after_epoch: leave early, as an interruption would.
    Raises ConfigError for unknown names, missing data, or a checkpoint that is corrupt or belongs
    to another configuration.
    """
    torch.set_num_threads(config.threads)
    dataset = dataset or load_dataset(config.data, config.data_root)
    run = _Run(config, dataset)
    first = 0
    if checkpoint is not None and checkpoint.exists():
        first = run.restore(checkpoint)
    for epoch in range(first, config.epochs):
        loss = run.epoch(epoch, progress)
        averaged = run.averaged.eval()
        if checkpoint is not None:
            run.save(checkpoint, epoch + 1)
        if on_epoch is not None:
            score = accuracy(averaged, dataset.validation_images, dataset.validation_labels)
            on_epoch(EpochReport(epoch + 1, loss, score, run.ramp), averaged)
        if stop_after_epoch == epoch + 1:
            break
    return run.averaged.eval()


@torch.no_grad()
def accuracy(module: nn.Module, images, labels, batch_size: int = 500) -> float:
    """Top-1 accuracy (fraction of 1) of an eval-mode net on uint8 NHWC images."""
    correct = 0
    for i in range(0, len(labels), batch_size):
        x = to_input(torch.from_numpy(images[i : i + batch_size]))
        predicted = module(x).argmax(1).numpy()
        correct += int((predicted == labels[i : i + batch_size]).sum())
    return correct / len(labels)


class _Run:
    """The state of one training: net, its average, optimizer, data as tensors."""

    def __init__(self, config: TrainingConfig, dataset: Dataset) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.net = _fresh(config, dataset)
        self.averaged = _fresh(config, dataset)
        self.averaged.load_state_dict(self.net.state_dict())
        self.optimizer = Muon(
            self.net,
            filters={"peak_lr": config.filter_lr, "decay": config.filter_decay},
            others={"peak_lr": config.other_lr, "decay": config.other_decay},
            momentum=config.momentum,
        )
        self.ramp = 0.0
        self.images = pad_images(torch.from_numpy(dataset.train_images), config.crop_margin_px)
        self.labels = torch.from_numpy(dataset.train_labels).long()
        self.size_px = dataset.train_images.shape[1:3]
        self.mirror = dataset.mirror_keeps_class
        self.steps_per_epoch = len(self.labels) // config.batch_size
        if self.steps_per_epoch == 0:
            raise ConfigError(
                f"batch_size {config.batch_size} exceeds the {len(self.labels)} training images of "
                f"{dataset.name}; choose a smaller batch_size"
            )

    def epoch(self, epoch: int, progress: bool) -> float:
        """One pass over the training images; returns the mean loss."""
        config = self.config
        generator = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        self.net.train()
        total = 0.0
        steps = tqdm(
            range(self.steps_per_epoch),
            desc=f"epoch {epoch + 1}/{config.epochs}",
            unit="batch",
            disable=not progress,
            mininterval=1.0,
        )
        for step in steps:
            self._set_lr(epoch * self.steps_per_epoch + step)
            rows = order[step * config.batch_size : (step + 1) * config.batch_size]
            crops = random_crop_flip(
                self.images, rows, self.size_px, flip=self.mirror, generator=generator
            )
            total += self._step(to_input(crops), self.labels[rows])
            self._average(epoch * self.steps_per_epoch + step)
        return total / self.steps_per_epoch

    def _step(self, x: Tensor, labels: Tensor) -> float:
        mixed = torch.autocast("cpu", torch.bfloat16) if self.config.bfloat16 else nullcontext()
        with mixed:
            logits = self.net(x)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.config.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def _average(self, step: int) -> None:
        # A short memory at first, so that the random initial weights are soon forgotten.
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        mean, now = _float_state(self.averaged), _float_state(self.net)
        torch._foreach_lerp_(mean, now, 1 - decay)

    def _set_lr(self, step: int) -> None:
        config = self.config
        progress = step / (config.epochs * self.steps_per_epoch)
        warmup = config.warmup_fraction
        rising = progress < warmup
        self.ramp = progress / warmup if rising else (1 - progress) / (1 - warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * self.ramp

    def save(self, path: Path, epochs_done: int) -> None:
        state = {
            "config": asdict(self.config),
            "epochs_done": epochs_done,
            "net": self.net.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        scratch = path.with_name(path.name + ".part")
        scratch.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, scratch)
        os.replace(scratch, path)

    def restore(self, path: Path) -> int:
        """Load a checkpoint; returns the number of epochs it has behind it."""
        try:
            state = torch.load(path, weights_only=True)
            config, epochs_done = TrainingConfig(**state["config"]), int(state["epochs_done"])
        except Exception as error:
            raise ConfigError(
                f"checkpoint {path} cannot be read ({type(error).__name__}: damaged, or none of a "
                "training); delete it to start from the beginning"
            ) from error
        if differing := _differences(config, self.config):
            raise ConfigError(
                f"checkpoint {path} belongs to another configuration ({differing}); give the same "
                "settings to go on with it, or another checkpoint file to start anew"
            )
        try:
            self.net.load_state_dict(state["net"])
            self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
        except Exception as error:
            raise ConfigError(
                f"checkpoint {path} does not fit {self.config.model} ({error}); "
                "delete it to start from the beginning"
            ) from error
        return epochs_done


def _fresh(config: TrainingConfig, dataset: Dataset) -> nn.Module:
    net = build_model(config.model, len(dataset.classes))
    return net.to(memory_format=torch.channels_last)


def _float_state(module: nn.Module) -> list[Tensor]:
    return [t for t in module.state_dict().values() if t.is_floating_point()]


def _differences(saved: TrainingConfig, wanted: TrainingConfig) -> str:
    """The settings that differ and matter, for people; the data's place and threads do not."""
    names = {f.name for f in fields(TrainingConfig)} - {"data_root", "threads"}
    return ", ".join(
        f"{n} {getattr(saved, n)!r} there, {getattr(wanted, n)!r} here"
        for n in sorted(names)
        if getattr(saved, n) != getattr(wanted, n)
    )
