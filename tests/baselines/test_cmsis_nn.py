"""The CMSIS-NN baseline: its C equals its specification, and its arithmetic the published one."""

import numpy as np
import pytest

from mcuq_lab.baselines import cmsis_nn
from mcuq_lab.baselines.cmsis_nn.layout import stored_weights
from mcuq_lab.baselines.cmsis_nn.reference import requantize
from mcuq_lab.baselines.cmsis_nn.tflite import multiplier_of, to_tflite
from mcuq_lab.baselines.tensor_arena import Buffer, plan_greedily
from mcuq_lab.bench import run_on_host
from mcuq_lab.errors import ModelError, NumericsError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QFullyConnected
from mcuq_lab.quantize import run_reference
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer


def c_equals_reference(graph, n=4):
    inputs = random_inputs(graph, n)
    expected = cmsis_nn.run_reference(graph, inputs)
    stored = (inputs ^ 0x80).reshape(n, -1)
    outputs = run_on_host(cmsis_nn.generate(graph), stored) ^ 0x80
    np.testing.assert_array_equal(outputs, expected.reshape(n, -1))
    return expected, inputs


@pytest.mark.parametrize("seed", range(25))
def test_random_networks(seed):
    c_equals_reference(random_graph(1000 + seed, bits=8))


@pytest.mark.parametrize("seed", range(15))
def test_random_networks_with_weights_of_4_bits(seed):
    # Some of them have layers of both widths.
    c_equals_reference(random_graph(3000 + seed, bits=8, w_bits=(4,) if seed % 3 else (4, 8)))


LAYERS = [
    (QConv2d, Shape(7, 5, 4), 6, Window.square(3, 1, 1)),
    (QConv2d, Shape(7, 5, 3), 5, Window.square(3, 2, 1)),
    (QConv2d, Shape(6, 6, 8), 8, Window(2, 5, 1, 2, 0, 1, 2, 1)),
    (QConv2d, Shape(3, 3, 6), 7, Window(1, 1)),
    (QConv2d, Shape(5, 5, 8), 4, Window(1, 1, 2, 2)),
    (QDepthwiseConv2d, Shape(6, 7, 9), 9, Window.square(3, 1, 1)),
    (QDepthwiseConv2d, Shape(6, 7, 8), 8, Window.square(3, 2, 1)),
    (QDepthwiseConv2d, Shape(6, 7, 3), 3, Window.square(5, 1, 2)),
    (QFullyConnected, Shape(1, 1, 23), 5, None),
]
ODD_LAYERS = [
    (QConv2d, Shape(5, 5, 3), 11, Window.square(3, 1, 1)),
    (QConv2d, Shape(3, 3, 21), 11, Window(1, 1)),
    (QConv2d, Shape(5, 5, 19), 7, Window(1, 1, 2, 2)),
    (QDepthwiseConv2d, Shape(6, 7, 11), 11, Window.square(3, 1, 1)),
    (QDepthwiseConv2d, Shape(6, 7, 7), 7, Window(2, 3, 1, 1, 1, 1, 0, 1)),
    (QDepthwiseConv2d, Shape(6, 7, 10), 10, Window.square(3, 2, 1)),
    (QFullyConnected, Shape(1, 1, 22), 3, None),
    (QFullyConnected, Shape(1, 1, 17), 11, None),
]
"""Rows of 4-bit weights that start or end in the middle of a byte, and what is left of fours."""


@pytest.mark.parametrize(("kind", "shape", "oc", "window"), LAYERS)
@pytest.mark.parametrize("weights", ["random", "lowest", "highest"])
def test_single_layers(kind, shape, oc, window, weights):
    equal_and_near_ours(
        single_layer(kind, shape, oc, window, zero_point=3, out_zero_point=17, weights=weights)
    )


@pytest.mark.parametrize(("kind", "shape", "oc", "window"), [*LAYERS, *ODD_LAYERS])
@pytest.mark.parametrize("weights", ["random", "lowest"])
def test_single_layers_with_weights_of_4_bits(kind, shape, oc, window, weights):
    zero_points = {"zero_point": 3, "out_zero_point": 17}
    equal_and_near_ours(
        single_layer(kind, shape, oc, window, w_bits=4, weights=weights, **zero_points)
    )


def equal_and_near_ours(graph):
    expected, inputs = c_equals_reference(graph)
    # The two engines round otherwise, never by more than one step of the output.
    ours = run_reference(graph, inputs).astype(int)
    assert np.abs(ours - expected).max() <= 1


def test_requantize_is_the_published_double_rounding():
    rng = np.random.default_rng(0)
    value = rng.integers(-(2**24), 2**24, 5000)
    factor = multiplier_of(0.0123)
    got = requantize(value, np.int64(factor.multiplier), np.int64(factor.shift))
    assert np.abs(got - value * 0.0123).max() < 1.0 + 1e-3
    halves = requantize(np.array([-3, -1, 1, 3]), np.int64(1 << 30), np.int64(0))
    np.testing.assert_array_equal(halves, [-1, 0, 1, 2])  # 64-bit half up, as SQRDMULH


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_factors_are_refused(factor):
    with pytest.raises(NumericsError):
        multiplier_of(factor)


def test_other_widths_are_refused_by_name():
    graph = single_layer(QConv2d, Shape(4, 4, 2), 3, Window(1, 1), a_bits=4)
    with pytest.raises(ModelError, match="'input' has 4"):
        to_tflite(graph)
    graph = single_layer(QConv2d, Shape(4, 4, 2), 3, Window(1, 1), w_bits=2)
    with pytest.raises(ModelError, match=r"8 or 4 bits.*policy w8a8 or w4a8"):
        to_tflite(graph)


def test_two_weights_of_4_bits_share_a_byte():
    graph = single_layer(QConv2d, Shape(4, 4, 3), 3, Window(1, 1), w_bits=4)
    (layer,) = to_tflite(graph).layers.values()
    stored = stored_weights(layer)
    assert stored.size == 5  # nine weights
    nibbles = np.stack([stored << 4, stored], 1) >> 4  # sign-extended, the low one first
    np.testing.assert_array_equal(nibbles.ravel()[:9], layer.weight.ravel())
    assert nibbles.ravel()[9] == 0


def test_arena_never_overlaps_what_lives_together():
    rng = np.random.default_rng(3)
    for _ in range(50):
        buffers = []
        for i in range(12):
            first = int(rng.integers(0, 10))
            size, last = int(rng.integers(1, 500)), first + int(rng.integers(0, 5))
            buffers.append(Buffer(str(i), size, first, last))
        arena = plan_greedily(buffers)
        for a in buffers:
            assert arena.offsets[a.name] + a.size_bytes <= arena.total_bytes
            for b in buffers:
                if a.name < b.name and a.first <= b.last and b.first <= a.last:
                    apart = sorted(
                        [
                            (arena.offsets[a.name], a.size_bytes),
                            (arena.offsets[b.name], b.size_bytes),
                        ]
                    )
                    assert apart[0][0] + apart[0][1] <= apart[1][0]
