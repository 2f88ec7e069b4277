"""The packed families' own estimates against the simulated core: the schedule chooses by them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import trial_sources, trials
from mcuq_lab.liteengine.kernels import PACKED_FAMILIES
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import single_layer
from tests.support.simulated_core import has_toolchain, run_on_core

SAME, POINT, STRIDED = Window.square(3, 1, 1), Window.square(1), Window.square(3, 2, 1)
LAYERS = (
    (QConv2d, Shape(16, 16, 16), 16, SAME),
    (QConv2d, Shape(8, 8, 32), 32, SAME),
    (QConv2d, Shape(4, 4, 16), 16, SAME),
    (QConv2d, Shape(8, 8, 32), 64, POINT),
    (QConv2d, Shape(12, 12, 16), 16, STRIDED),
    (QDepthwiseConv2d, Shape(12, 12, 16), 16, SAME),
    (QDepthwiseConv2d, Shape(4, 4, 64), 64, SAME),
    (QDepthwiseConv2d, Shape(12, 12, 16), 16, STRIDED),
    (QDepthwiseConv2d, Shape(8, 8, 16), 16, Window.square(5, 1, 2)),
    (QFullyConnected, Shape(1, 1, 64), 8, None),
)


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("bits", [(8, 8), (4, 4), (2, 2)], ids=["w8a8", "w4a4", "w2a2"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer[0].__name__}-{layer[1]}")
def test_estimates_are_near_what_the_core_takes(layer, bits):
    kind, shape, channels, window = layer
    w_bits, a_bits = bits
    graph = single_layer(
        kind, shape, channels, window, w_bits=w_bits, a_bits=a_bits, out_bits=a_bits
    )
    found = trials(graph, {}, PACKED_FAMILIES, worth_trying=math.inf)
    assert found
    cycles = run_on_core(trial_sources(found), np.zeros((1, 8), np.uint8)).layer_cycles
    for trial, measured in zip(found, cycles, strict=True):
        assert 0.75 < trial.way.predicted_cycles / measured < 1.33, trial.way.kernel
