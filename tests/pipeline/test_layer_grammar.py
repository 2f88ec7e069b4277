"""Layers by name: what the grammar yields, and that their integers are worth computing."""

import numpy as np
import pytest

from mcuq_lab.errors import ConfigError
from mcuq_lab.graph import Shape
from mcuq_lab.layer_grammar import layer_network
from mcuq_lab.policy import LayerBits
from mcuq_lab.quantize import run_reference


@pytest.mark.parametrize(
    ("name", "macs", "output"),
    [
        ("c3_32x16_16", 2_359_296, Shape(32, 32, 16)),
        ("c3s2_32x16_32", 1_179_648, Shape(16, 16, 32)),
        ("c1_12x64_128", 1_179_648, Shape(12, 12, 128)),
        ("c1s2_16x32_64", 131_072, Shape(8, 8, 64)),
        ("c3_20x24_40", 3_456_000, Shape(20, 20, 40)),
        ("dw_24x32", 165_888, Shape(24, 24, 32)),
        ("dw5s2_9x3", 25 * 25 * 3, Shape(5, 5, 3)),
        ("fc_64_10", 640, Shape(1, 1, 10)),
    ],
)
def test_names_give_the_layers_they_say(name, macs, output):
    network = layer_network(name, LayerBits(4, 4))
    assert network.macs(network.ops[0]) == macs
    assert network.output.shape == output


@pytest.mark.parametrize("bits", [(8, 8), (4, 4), (2, 2), (3, 5), (2, 8), (8, 2)])
@pytest.mark.parametrize("name", ["c3_8x16_16", "c1s2_8x16_32", "dw_8x32", "fc_64_10"])
def test_outputs_use_their_range(name, bits):
    network = layer_network(name, LayerBits(*bits))
    shape = network.input.shape
    rng = np.random.default_rng(0)
    x = rng.integers(0, network.input.qmax + 1, (8, shape.h, shape.w, shape.c))
    y = run_reference(network, x)
    assert (y == 0).mean() < 0.5
    assert (y == network.output.qmax).mean() < 0.5
    assert len(np.unique(y)) > 0.6 * min(network.output.qmax + 1, y.size)


def test_a_seed_repeats_and_another_differs():
    first, again, other = (
        layer_network("c3_8x4_4", LayerBits(4, 4), seed).ops[0].weight for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(
    "name", ["conv", "c3_32x16", "c3s0_8x4_4", "c0_8x4_4", "fc_0_4", "c9_2x4_4x"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ConfigError):
        layer_network(name, LayerBits(8, 8))
