"""Generated C on the simulated Cortex-M4: the same bits, and cycles near what was predicted."""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import FAMILIES, GENERIC_FAMILIES, generate, plan
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import random_graph, random_inputs, run_reference, single_layer
from mcuq_lab.storage import pack_batch
from tests.support.networks import resnet8
from tests.support.simulated_core import has_toolchain, run_on_core

pytestmark = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def run(graph, families=GENERIC_FAMILIES):
    inputs = random_inputs(graph, 3)
    result = run_on_core(generate(graph, families), pack_batch(inputs, graph.input))
    expected = pack_batch(run_reference(graph, inputs), graph.output)
    np.testing.assert_array_equal(result.outputs, expected)
    return result


@pytest.mark.parametrize("seed", range(20, 26))
def test_random_network(seed):
    run(random_graph(seed))


@pytest.mark.slow
def test_resnet8_at_mixed_widths():
    graph = resnet8(None)
    result = run(graph, FAMILIES)
    assert max(result.cycles) - min(result.cycles) < 0.01 * min(result.cycles)
    assert sum(result.layer_cycles) < 1.01 * result.cycles[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "shape", "out_channels", "window"),
    [
        (QConv2d, Shape(16, 16, 16), 16, Window.square(3, 1, 1)),
        (QConv2d, Shape(12, 12, 32), 32, Window.square(1)),
        (QDepthwiseConv2d, Shape(12, 12, 32), 32, Window.square(3, 1, 1)),
        (QFullyConnected, Shape(1, 1, 128), 20, None),
    ],
)
@pytest.mark.parametrize("bits", [4, 8])
def test_predicted_cycles_of_generic_kernels(kind, shape, out_channels, window, bits):
    """Within a quarter: a schedule compares families by these."""
    graph = single_layer(kind, shape, out_channels, window, w_bits=bits, a_bits=bits, out_bits=bits)
    measured = run(graph).cycles[0]
    assert plan(graph, GENERIC_FAMILIES).predicted_cycles == pytest.approx(measured, rel=0.25)
