"""The CMix-NN baseline: its C equals the network's specification at all nine pairs of widths."""

import numpy as np
import pytest

from mcuq_lab.baselines import cmix_nn
from mcuq_lab.baselines.cmix_nn.layout import column_order
from mcuq_lab.bench import run_on_host
from mcuq_lab.errors import ModelError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import run_reference
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer
from mcuq_lab.storage import pack_batch

PAIRS = [(w, a) for w in cmix_nn.WIDTHS for a in cmix_nn.WIDTHS]
LAYERS = [
    (QConv2d, Shape(5, 4, 16), 6, Window.square(3, 1, 1)),
    (QConv2d, Shape(5, 5, 3), 5, Window.square(3, 2, 1)),
    (QConv2d, Shape(4, 4, 11), 7, Window(2, 3, 1, 2, 0, 1, 2, 1)),
    (QConv2d, Shape(5, 5, 32), 4, Window(1, 1, 2, 2)),
    (QDepthwiseConv2d, Shape(5, 6, 9), 9, Window.square(3, 1, 1)),
    (QDepthwiseConv2d, Shape(6, 5, 8), 8, Window(2, 5, 2, 2, 1, 0, 2, 2)),
    (QFullyConnected, Shape(1, 1, 23), 5, None),
]


def c_equals_specification(graph, n=4):
    inputs = random_inputs(graph, n)
    expected = run_reference(graph, inputs)
    outputs = run_on_host(cmix_nn.generate(graph), pack_batch(inputs, graph.input))
    np.testing.assert_array_equal(outputs, pack_batch(expected, graph.output))


@pytest.mark.parametrize("bits", cmix_nn.WIDTHS)
@pytest.mark.parametrize("seed", range(8))
def test_random_networks(seed, bits):
    c_equals_specification(random_graph(2000 + 10 * seed + bits, bits=bits))


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: f"{layer[0].__name__}-{layer[1]}")
@pytest.mark.parametrize(("w_bits", "a_bits"), PAIRS)
def test_single_layers(layer, w_bits, a_bits):
    kind, shape, oc, window = layer
    weights = ("random", "lowest", "highest")[(w_bits // 2 + a_bits) % 3]
    graph = single_layer(
        kind,
        shape,
        oc,
        window,
        w_bits=w_bits,
        a_bits=a_bits,
        out_bits=a_bits,
        zero_point=1,
        out_zero_point=2,
        weights=weights,
    )
    c_equals_specification(graph)


@pytest.mark.parametrize(("a_bits", "out_bits"), [(8, 2), (2, 8), (4, 8), (8, 4), (4, 2), (2, 4)])
@pytest.mark.parametrize("kind", [QConv2d, QDepthwiseConv2d])
def test_output_of_another_width(kind, a_bits, out_bits):
    window = Window.square(3, 1, 1)
    graph = single_layer(kind, Shape(3, 3, 6), 6, window, a_bits=a_bits, out_bits=out_bits)
    c_equals_specification(graph)


def test_column_order_is_what_widening_gives():
    np.testing.assert_array_equal(column_order(1, 4, 8), [0, 2, 1, 3])
    np.testing.assert_array_equal(column_order(2, 5, 8), [0, 2, 1, 3, 4, 5, 7, 6, 8, 9])
    np.testing.assert_array_equal(column_order(1, 9, 4), [0, 4, 1, 5, 2, 6, 3, 7, 8])


@pytest.mark.parametrize(("w_bits", "a_bits"), [(3, 8), (8, 3), (4, 5)])
def test_other_widths_are_refused_by_name(w_bits, a_bits):
    window = Window(1, 1)
    graph = single_layer(QConv2d, Shape(4, 4, 2), 3, window, w_bits=w_bits, a_bits=a_bits)
    with pytest.raises(ModelError, match=r"CMix-NN computes .* 8, 4 or 2 bits; .* has [35]"):
        cmix_nn.generate(graph)
