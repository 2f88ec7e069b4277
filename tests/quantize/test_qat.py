"""Quantization-aware training and its checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mcuq_lab.errors import ConfigError
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, initial_state, predict, to_integers
from mcuq_lab.quantize.finetuning import Teacher, divergence, teach
from mcuq_lab.quantize.qat import CroppedLessons, QatConfig, quantization_aware_training
from tests.quantize.graphs import images, residual_graph

GRAPH = residual_graph()
CONFIG = QatConfig(epochs=3, batch_size=32, crop_margin_px=1)
PICTURES = images(256)


@pytest.fixture(scope="module")
def start():
    tables = calibrate(GRAPH, PICTURES[:64])
    return initial_state(GRAPH, Policy.uniform(7, 2, 2), tables, correct=False)


def train(start, **options):
    return quantization_aware_training(GRAPH, start, PICTURES, CONFIG, **options)


def test_training_brings_the_integers_closer_to_the_float_network(start):
    fresh = teach(GRAPH, images(400, seed=7))

    def distance(state):
        logits = torch.from_numpy(predict(to_integers(GRAPH, state), fresh.images))
        return float(divergence(logits, torch.from_numpy(fresh.logits)))

    assert distance(train(start)) < 0.5 * distance(start)


@pytest.mark.parametrize("augment", [True, False])
def test_both_networks_see_the_same_image(augment):
    config = replace(CONFIG, augment=augment)
    teacher = Teacher(GRAPH)
    seen = 0
    for batch, answers in CroppedLessons(GRAPH, PICTURES, config).epoch(1):
        torch.testing.assert_close(answers, teacher.answer(batch), rtol=1e-4, atol=1e-4)
        original = (batch[:, None] == torch.from_numpy(PICTURES)[None]).flatten(2).all(2).any(1)
        seen += int(original.sum())
    assert seen == 256 if not augment else seen < 128


def test_an_interrupted_training_ends_as_an_uninterrupted_one(start, tmp_path):
    seen = []
    whole = train(start, progress=lambda done, total, loss: seen.append((done, total)))
    train(start, checkpoint=tmp_path / "qat.pt", stop_after_epoch=1)
    resumed = []
    parts = train(
        start,
        checkpoint=tmp_path / "qat.pt",
        progress=lambda done, total, loss: resumed.append((done, total)),
    )
    assert to_integers(GRAPH, parts).digest == to_integers(GRAPH, whole).digest
    assert seen == [(i, 24) for i in range(1, 25)]
    assert resumed == seen[8:]


def test_a_foreign_or_damaged_checkpoint_is_refused(start, tmp_path):
    path = tmp_path / "qat.pt"
    train(start, checkpoint=path, stop_after_epoch=1)
    with pytest.raises(ConfigError, match="config"):
        quantization_aware_training(
            GRAPH, start, PICTURES, replace(CONFIG, seed=5), checkpoint=path
        )
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match="delete it"):
        train(start, checkpoint=path)


def test_too_few_images_are_refused(start):
    with pytest.raises(ConfigError, match="do not fill"):
        quantization_aware_training(GRAPH, start, np.zeros((4, 8, 8, 3), np.uint8), CONFIG)
