"""The engines' quick executors against their plain references, bit for bit."""

import numpy as np
import pytest

from mcuq_lab.baselines import cmsis_nn, tinyengine
from mcuq_lab.graph import Shape, Window
from mcuq_lab.libraries import OFFICIAL
from mcuq_lab.policy import Policy
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import calibrate, quantize
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer
from tests.quantize.graphs import GRAPHS, images

ENGINES = pytest.mark.parametrize("engine", [cmsis_nn, tinyengine], ids=lambda e: e.ENGINE_NAME)


def quick_equals_plain(engine, graph, n, seed=0):
    inputs = random_inputs(graph, n, seed)
    expected = engine.run_reference(graph, inputs)
    got = engine.run_integers(graph, inputs)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


@ENGINES
@pytest.mark.parametrize("seed", range(60))
def test_random_networks(engine, seed):
    # More images than one batch and no multiple of it.
    quick_equals_plain(engine, random_graph(5000 + seed, bits=8, max_ops=8), 37, seed)


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_with_weights_of_4_bits(seed):
    graph = random_graph(5100 + seed, bits=8, max_ops=8, w_bits=cmsis_nn.WEIGHT_BITS)
    quick_equals_plain(cmsis_nn, graph, 37, seed)


@ENGINES
@pytest.mark.parametrize(
    ("kind", "shape", "oc", "window"),
    [
        (QConv2d, Shape(4, 4, 256), 3, Window.square(3, 1, 1)),  # sums beyond float32
        (QConv2d, Shape(6, 6, 8), 8, Window(2, 5, 1, 2, 0, 1, 2, 1)),
        (QConv2d, Shape(5, 5, 8), 4, Window(1, 1, 2, 2)),
        (QDepthwiseConv2d, Shape(6, 7, 9), 9, Window.square(3, 2, 1)),
        (QDepthwiseConv2d, Shape(6, 7, 3), 3, Window(5, 4, 1, 2, 2, 1, 0, 3)),
        (QFullyConnected, Shape(1, 1, 23), 5, None),
    ],
)
@pytest.mark.parametrize("weights", ["random", "lowest", "highest", "ends"])
@pytest.mark.parametrize("zero_point", [0, 3, 255])
def test_single_layers(engine, kind, shape, oc, window, weights, zero_point):
    graph = single_layer(
        kind, shape, oc, window, zero_point=zero_point, out_zero_point=17, weights=weights
    )
    quick_equals_plain(engine, graph, 5)


@pytest.mark.parametrize(
    ("engine", "w_bits"),
    [(cmsis_nn, 8), (cmsis_nn, 4), (tinyengine, 8)],
    ids=lambda value: getattr(value, "ENGINE_NAME", value),
)
@pytest.mark.parametrize("name", GRAPHS)
def test_quantized_networks(engine, w_bits, name):
    graph = GRAPHS[name]()
    policy = Policy.uniform(len(graph.layers), w_bits, 8)
    quick_equals_plain(engine, quantize(graph, policy, calibrate(graph, images(64))), 33)


@ENGINES
def test_no_images_give_no_outputs(engine):
    graph = random_graph(1, bits=8)
    out = graph.output.shape
    inputs = random_inputs(graph, 1)[:0]
    assert engine.run_integers(graph, inputs).shape == (0, out.h, out.w, out.c)


def official_cmix_nn_is_exact(graph, n):
    official, inputs = OFFICIAL["cmix_nn_official"], random_inputs(graph, n)
    got = official.run(graph, inputs)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, official.reference(graph, inputs))


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("seed", range(20))
def test_official_cmix_nn_on_random_networks(seed, bits):
    official_cmix_nn_is_exact(random_graph(7000 + seed, bits=bits, max_ops=8), 5)


@pytest.mark.parametrize(("w_bits", "a_bits"), [(8, 8), (4, 8), (8, 4), (4, 2), (2, 2)])
@pytest.mark.parametrize("kind", [QConv2d, QDepthwiseConv2d])
@pytest.mark.parametrize("weights", ["random", "lowest", "highest", "ends"])
def test_official_cmix_nn_on_single_layers(kind, weights, w_bits, a_bits):
    # Channels in whole words, so that the library's own requantization is at work.
    widths = {"w_bits": w_bits, "a_bits": a_bits, "out_bits": a_bits, "weights": weights}
    for zero_point in (0, 1) if kind is QConv2d else (0,):
        graph = single_layer(
            kind, Shape(6, 6, 16), 16, Window.square(3, 1, 1), zero_point=zero_point, **widths
        )
        official_cmix_nn_is_exact(graph, 9)
