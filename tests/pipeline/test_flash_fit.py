"""Budgets of flash: measured images keep them, at few cycles, or say what is missing."""

from __future__ import annotations

import pytest

from mcuq_lab.bench import build, open_board
from mcuq_lab.board import load_board
from mcuq_lab.engines import ENGINES
from mcuq_lab.errors import FitError
from mcuq_lab.flash_fit import HARNESS_BYTES, built_within
from mcuq_lab.liteengine import plan
from mcuq_lab.models import find_dataset, find_network
from mcuq_lab.pipeline import measure_network
from mcuq_lab.policy import Policy
from mcuq_lab.quantize import calibrate, quantize, quantize_input
from mcuq_lab.target import Target
from tests.support.simulated_core import has_toolchain

pytestmark = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")

CMSIS_NN_BYTES = 93_520
"""Of ResNet-8's image of 8-bit weights on the engine to compare with."""


@pytest.fixture(scope="module")
def images():
    return find_dataset("digits").train_images[:256]


@pytest.fixture(scope="module")
def resnet8(images):
    graph = find_network("resnet8", "digits").graph
    policy = Policy.uniform(len(graph.layers), 4, 4)
    return quantize(graph, policy, calibrate(graph, images))


@pytest.mark.parametrize(
    ("budget_bytes", "most_cycles"), [(int(0.55 * CMSIS_NN_BYTES), 8_600_000), (65_000, 6_800_000)]
)
def test_resnet8_in_little_flash(resnet8, images, budget_bytes, most_cycles):
    with open_board(load_board(), simulated=True) as session:
        measurement = measure_network(
            resnet8,
            ENGINES["liteengine"],
            session,
            quantize_input(images[:1], resnet8.input),
            flash_bytes=budget_bytes,
        )
    assert measurement.bit_exact
    assert measurement.sizes.flash_total_bytes <= budget_bytes
    assert measurement.cycles <= most_cycles


@pytest.mark.parametrize("budget_bytes", range(50_000, 80_000, 3_700))
def test_images_keep_their_budget(resnet8, budget_bytes):
    target = Target(flash_bytes=budget_bytes)
    built = built_within(resnet8, ENGINES["liteengine"], load_board(), target)
    assert budget_bytes - 6_000 < built.firmware.sizes.flash_total_bytes <= budget_bytes


def test_less_flash_never_takes_fewer_cycles(resnet8):
    budgets = range(49_000, 80_000, 3_100)
    cycles = [plan(resnet8, target=Target(flash_bytes=size)).predicted_cycles for size in budgets]
    assert cycles == sorted(cycles, reverse=True)


def test_what_is_missing_is_said(resnet8):
    with pytest.raises(FitError, match="more than the budget of 40,000") as caught:
        built_within(resnet8, ENGINES["liteengine"], load_board(), Target(flash_bytes=40_000))
    assert caught.value.memory == "flash"
    enough = 40_000 + caught.value.overflow_bytes
    target = Target(flash_bytes=enough + 200)
    assert built_within(resnet8, ENGINES["liteengine"], load_board(), target)


def test_an_engine_without_budgets_says_what_is_missing(resnet8):
    with pytest.raises(FitError, match="more than the budget of 40,000") as caught:
        built_within(resnet8, ENGINES["cmix_nn"], load_board(), Target(flash_bytes=40_000))
    needed = 40_000 + caught.value.overflow_bytes
    firmware = build(ENGINES["cmix_nn"].generate(resnet8, Target()), load_board())
    assert firmware.sizes.flash_total_bytes == needed


def test_without_a_budget_nothing_is_asked(resnet8):
    built = built_within(resnet8, ENGINES["liteengine"], load_board(), Target())
    assert built.firmware.sizes.flash_total_bytes > 75_000 + HARNESS_BYTES
    assert built.seconds.keys() == {"generate", "build"}
