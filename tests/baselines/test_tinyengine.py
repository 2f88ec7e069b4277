"""The TinyEngine baseline: its C equals its specification, which stays near the network's."""

import numpy as np
import pytest

from mcuq_lab.baselines import tinyengine
from mcuq_lab.bench import run_on_host
from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import run_reference
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer


def c_equals_reference(graph, n=4):
    inputs = random_inputs(graph, n)
    expected = tinyengine.run_reference(graph, inputs)
    stored = (inputs ^ 0x80).reshape(n, -1)
    outputs = run_on_host(tinyengine.generate(graph), stored) ^ 0x80
    np.testing.assert_array_equal(outputs, expected.reshape(n, -1))
    return expected, inputs


@pytest.mark.parametrize("seed", range(20))
def test_random_networks(seed):
    c_equals_reference(random_graph(3000 + seed, bits=8))


@pytest.mark.parametrize(
    ("kind", "shape", "oc", "window"),
    [
        (QConv2d, Shape(7, 5, 4), 6, Window.square(3, 1, 1)),
        (QConv2d, Shape(7, 5, 3), 5, Window.square(3, 2, 1)),
        (QConv2d, Shape(6, 9, 3), 6, Window.square(3, 1, 1)),
        (QConv2d, Shape(8, 5, 3), 3, Window(3, 3, 1, 2, 0, 1, 2, 0)),
        (QConv2d, Shape(2, 2, 3), 4, Window.square(3, 1, 1)),
        (QConv2d, Shape(6, 7, 16), 3, Window(1, 1)),
        (QConv2d, Shape(5, 6, 24), 4, Window(1, 1, 2, 1)),
        (QConv2d, Shape(6, 6, 8), 8, Window(2, 5, 1, 2, 0, 1, 2, 1)),
        (QConv2d, Shape(3, 3, 6), 7, Window(1, 1)),
        (QConv2d, Shape(3, 5, 8), 7, Window(1, 1)),
        (QConv2d, Shape(5, 5, 20), 4, Window(1, 1, 2, 2)),
        (QDepthwiseConv2d, Shape(6, 7, 9), 9, Window.square(3, 1, 1)),
        (QDepthwiseConv2d, Shape(6, 7, 8), 8, Window.square(3, 2, 1)),
        (QDepthwiseConv2d, Shape(6, 7, 3), 3, Window(5, 4, 1, 2, 2, 1, 0, 3)),
        (QFullyConnected, Shape(1, 1, 23), 5, None),
        (QFullyConnected, Shape(1, 1, 24), 5, None),
    ],
)
@pytest.mark.parametrize("weights", ["random", "lowest", "highest"])
def test_single_layers(kind, shape, oc, window, weights):
    graph = single_layer(kind, shape, oc, window, zero_point=3, out_zero_point=17, weights=weights)
    expected, inputs = c_equals_reference(graph)
    # The two engines round otherwise, never by more than one step of the output.
    ours = run_reference(graph, inputs).astype(int)
    assert np.abs(ours - expected).max() <= 1


def test_depthwise_works_in_place():
    shape, window = Shape(8, 8, 16), Window.square(3, 1, 1)
    sources = tinyengine.generate(single_layer(QDepthwiseConv2d, shape, 16, window))
    plane = 10 * 10
    assert sources.scratch_bytes == plane
    assert sources.arena_bytes <= shape.size + plane + 16


def test_other_widths_are_refused():
    graph = single_layer(QConv2d, Shape(4, 4, 2), 3, Window(1, 1), a_bits=4)
    with pytest.raises(ModelError, match=r"TinyEngine .* widths \[4, 8\].* w8a8"):
        tinyengine.generate(graph)
