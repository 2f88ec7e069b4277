"""Training learns, is repeatable, and goes on after an interruption as if there had been none."""

import dataclasses

import numpy as np
import pytest
import torch

from mcuq_lab.errors import ConfigError
from mcuq_lab.models import TrainingConfig, accuracy, build_model, load_dataset, train_model
from mcuq_lab.models.augment import pad_images, random_crop_flip, to_input
from mcuq_lab.models.muon import Muon, orthogonalise

CONFIG = TrainingConfig(
    model="squeezenet_tiny", epochs=3, batch_size=32, crop_margin_px=2, ema_decay=0.9, threads=1
)


@pytest.fixture(scope="module")
def digits():
    """A quarter of the digits: enough to see learning, little to compute."""
    full = load_dataset("digits")
    return dataclasses.replace(
        full, train_images=full.train_images[:320], train_labels=full.train_labels[:320]
    )


def states_equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_learns_is_repeatable_and_resumes_to_the_bit(digits, tmp_path):
    reports = []
    whole = train_model(
        CONFIG, dataset=digits, progress=False, on_epoch=lambda report, net: reports.append(report)
    )
    checkpoint = tmp_path / "deep" / "run.pt"
    first = train_model(
        CONFIG, dataset=digits, checkpoint=checkpoint, stop_after_epoch=1, progress=False
    )
    resumed_reports = []
    resumed = train_model(
        CONFIG,
        dataset=digits,
        checkpoint=checkpoint,
        progress=False,
        on_epoch=lambda report, net: resumed_reports.append(report),
    )
    assert [r.epoch for r in reports] == [1, 2, 3]
    assert reports[-1].train_loss < 0.7 * reports[0].train_loss
    assert resumed_reports == reports[1:]
    assert states_equal(whole, resumed)
    assert not states_equal(whole, first)
    assert not whole.training
    assert list(checkpoint.parent.iterdir()) == [checkpoint]
    # Nothing is left to do: the finished checkpoint is the result.
    assert states_equal(train_model(CONFIG, dataset=digits, checkpoint=checkpoint), whole)


def test_another_seed_gives_another_net(digits):
    config = dataclasses.replace(CONFIG, epochs=1)
    one = train_model(config, dataset=digits, progress=False)
    two = train_model(dataclasses.replace(config, seed=2), dataset=digits, progress=False)
    assert not states_equal(one, two)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[: len(b) // 2], lambda b: b"x" * 99])
def test_corrupt_checkpoint(digits, tmp_path, damage):
    checkpoint = tmp_path / "run.pt"
    config = dataclasses.replace(CONFIG, epochs=1)
    train_model(config, dataset=digits, checkpoint=checkpoint, progress=False)
    checkpoint.write_bytes(damage(checkpoint.read_bytes()))
    with pytest.raises(ConfigError, match=r"run\.pt cannot be read.*delete it"):
        train_model(config, dataset=digits, checkpoint=checkpoint, progress=False)


def test_checkpoint_of_another_configuration(digits, tmp_path):
    checkpoint = tmp_path / "run.pt"
    train_model(CONFIG, dataset=digits, checkpoint=checkpoint, stop_after_epoch=1, progress=False)
    other = dataclasses.replace(CONFIG, filter_lr=0.5)
    with pytest.raises(ConfigError, match=r"filter_lr 0\.03 there, 0\.5 here"):
        train_model(other, dataset=digits, checkpoint=checkpoint, progress=False)


def test_batch_larger_than_the_data(digits):
    with pytest.raises(ConfigError, match=r"batch_size 999 exceeds the 320"):
        train_model(dataclasses.replace(CONFIG, batch_size=999), dataset=digits, progress=False)


def test_accuracy_counts_every_image():
    class Brightest(torch.nn.Module):
        """Says class 1 for bright images, 0 for dark ones."""

        def forward(self, x):
            bright = x.mean((1, 2, 3)) - 0.5
            return torch.stack([-bright, bright], 1)

    images = np.zeros((7, 32, 32, 3), np.uint8)
    images[:3] = 255
    labels = np.array([1, 1, 0, 0, 0, 0, 1], np.uint8)
    assert accuracy(Brightest(), images, labels, batch_size=3) == 5 / 7


def test_input_is_pixel_over_255_channels_last():
    images = torch.arange(2 * 32 * 32 * 3, dtype=torch.int64).remainder(256).to(torch.uint8)
    images = images.reshape(2, 32, 32, 3)
    x = to_input(images)
    assert x.shape == (2, 3, 32, 32)
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x[1, 2, 5, 7], images[1, 5, 7, 2] / 255)


def test_crops_are_windows_of_the_padded_image_mirrored_at_most():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (3, 8, 9, 3), generator=generator, dtype=torch.uint8)
    padded = pad_images(images, 2)
    assert torch.equal(padded[:, 2:-2, 2:-2], images)
    rows = torch.tensor([2, 0, 1, 1, 2, 0] * 4)
    crops = random_crop_flip(padded, rows, (8, 9), flip=True, generator=generator)
    seen = set()
    for crop, row in zip(crops, rows, strict=True):
        places = [
            (dy, dx, flipped)
            for dy in range(5)
            for dx in range(5)
            for flipped in (False, True)
            if torch.equal(crop.flip(1) if flipped else crop, padded[row, dy : dy + 8, dx : dx + 9])
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 10
    assert {flipped for *_, flipped in seen} == {False, True}


@pytest.mark.parametrize("shape", [(16, 144), (64, 10), (10, 64), (32, 32)])
def test_orthogonalise(shape):
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    result = orthogonalise(matrix)
    singular = torch.linalg.svdvals(result)
    # The range the coefficients were made for; random square matrices have one tiny value.
    assert singular.max() < 1.3
    assert singular.median() > 0.65
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    assert torch.trace(u.T @ result @ vt.T) > 0.8 * min(shape) * 0.85


def test_muon_treats_depthwise_filters_as_vectors():
    options = {"peak_lr": 1.0, "decay": 0.0}
    optimizer = Muon(build_model("mobilenet_v1"), options, options, momentum=0.9)
    matrices, others = (group["params"] for group in optimizer.param_groups)
    assert {p.ndim for p in matrices} == {2, 4}
    assert all(p.ndim == 2 or p.shape[1] > 1 for p in matrices)
    assert sum(p.ndim == 4 for p in others) == 13
