"""Quantization-aware training of a net of the zoo, from its name to the stored file."""

from __future__ import annotations

import shlex
import time
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch

from mcuq_lab.errors import ConfigError
from mcuq_lab.models.data import Dataset
from mcuq_lab.models.lookup import find_network
from mcuq_lab.models.trained import git_revision
from mcuq_lab.policy import Policy
from mcuq_lab.quantize.calibration import CALIBRATION_IMAGES, calibrate
from mcuq_lab.quantize.executor import evaluate
from mcuq_lab.quantize.export import to_integers
from mcuq_lab.quantize.finetuning import Progress
from mcuq_lab.quantize.post_training import initial_state
from mcuq_lab.quantize.qat import QatConfig, quantization_aware_training
from mcuq_lab.quantize.stored import CHECKPOINTS, QuantizedProvenance, save_quantized


def train_quantized(
    model: str,
    dataset: Dataset,
    policy: str,
    config: QatConfig,
    *,
    checkpoint: Path | None = None,
    output: Path = CHECKPOINTS,
    progress: Progress | None = None,
) -> QuantizedProvenance:
    """Trains `model` at `policy`, scores the integers on all test images, stores both.

    Args:
        model: a net of the zoo whose float training on this data set is stored.
        dataset: what it is trained and scored on.
        policy: as `Policy.parse` reads it.
        config: of the training; `mirror` is as the data set allows.
        checkpoint: rewritten after each epoch, and resumed from if it exists.
        output: folder of the stored net.
        progress: called after each batch.

    Raises:
        ConfigError: an unknown or untrained model, a wrong policy, a checkpoint of another training
            or a damaged one.
        NumericsError: the training diverges, or the result leaves the integers' range.
    """
    revision, start_s = git_revision(), time.monotonic()
    network = find_network(model, dataset.name)
    if network.test_accuracy is None:
        raise ConfigError(
            f"{model} has no float training on {dataset.name} to begin with; make one with "
            f"`python -m mcuq_lab.models.train --model {model} --data {dataset.name}`"
        )
    graph = network.graph
    config = replace(config, mirror=dataset.mirror_keeps_class)
    chosen = Policy.parse(policy, len(graph.layers))
    tables = calibrate(graph, dataset.train_images[:CALIBRATION_IMAGES])
    state = quantization_aware_training(
        graph,
        initial_state(graph, chosen, tables, correct=False),  # normalization does that, and more
        dataset.train_images,
        config,
        checkpoint=checkpoint,
        progress=progress,
    )
    integers = to_integers(graph, state)

    def score(images, labels) -> float:
        return evaluate(integers, images, labels, graph.input.low, graph.input.high)

    provenance = QuantizedProvenance(
        model=graph.name,
        data=dataset.name,
        policy=str(chosen),
        command=command_of(model, dataset.name, chosen, config),
        config=asdict(config),
        git_revision=revision,
        torch_version=torch.__version__,
        digest=integers.digest,
        test_accuracy=score(dataset.test_images, dataset.test_labels),
        test_images=len(dataset.test_labels),
        validation_accuracy=score(dataset.validation_images, dataset.validation_labels),
        validation_images=len(dataset.validation_labels),
        float_test_accuracy=network.test_accuracy,
        data_note=dataset.provenance,
        seconds=round(time.monotonic() - start_s, 1),
    )
    save_quantized(state, provenance, output)
    return provenance


def command_of(model: str, data: str, policy: Policy, config: QatConfig) -> str:
    """The command that repeats a training: its epochs, and options that are not the default."""
    words = ["mcuq", "qat", "--model", model, "--data", data, "--policy", str(policy)]
    for field in fields(QatConfig):
        value = getattr(config, field.name)
        if field.name == "augment":
            words += [] if value else ["--no-augment"]
        elif field.name == "epochs" or (field.name != "mirror" and value != field.default):
            words += ["--" + field.name.replace("_", "-"), str(value)]
    return shlex.join(words)
