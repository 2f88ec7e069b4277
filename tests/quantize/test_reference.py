"""The numpy reference against the specification's text, element by element."""

from dataclasses import replace

import numpy as np
import pytest

from mcuq_lab.errors import NumericsError
from mcuq_lab.graph import Shape, Window
from mcuq_lab.quantgraph import QConv2d, QuantGraph
from mcuq_lab.quantize.random_graphs import random_graph, random_inputs, single_layer
from mcuq_lab.quantize.ranges import check_ranges
from mcuq_lab.quantize.reference import run_reference, run_reference_all
from tests.quantize import naive


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_equal_the_text_of_the_specification(seed):
    graph = random_graph(seed, max_ops=4, max_side=6, max_channels=5)
    inputs = random_inputs(graph, 3, seed)
    values = run_reference_all(graph, inputs)
    for i, image in enumerate(inputs):
        for name, expected in naive.run(graph, image).items():
            np.testing.assert_array_equal(values[name][i], expected, err_msg=name)


def test_random_networks_cover_all_operators_and_use_their_range():
    seen, spread = set(), []
    for seed in range(60):
        graph = random_graph(seed)
        seen.update(op.op for op in graph.ops)
        output = run_reference(graph, random_inputs(graph, 8, seed))
        spread.append(len(np.unique(output)) / (graph.output.qmax + 1))
    assert seen == {
        "Conv2d",
        "DepthwiseConv2d",
        "FullyConnected",
        "Add",
        "AveragePool",
        "MaxPool",
        "Flatten",
        "Concat",
    }
    assert np.mean(spread) > 0.3


def test_equal_seeds_give_equal_networks():
    assert random_graph(7).digest == random_graph(7).digest
    assert random_graph(7).digest != random_graph(8).digest


@pytest.mark.parametrize("weights", ["lowest", "highest", "ends"])
def test_sums_beyond_float32_are_exact(weights):
    graph = single_layer(QConv2d, Shape(3, 3, 256), 2, Window.square(3, 1, 1), weights=weights)
    inputs = random_inputs(graph, 3)
    np.testing.assert_array_equal(
        run_reference(graph, inputs)[2], naive.run(graph, inputs[2])[graph.output_name]
    )


def with_layer(graph: QuantGraph, **changes) -> QuantGraph:
    return replace(graph, ops=(replace(graph.ops[0], **changes),))


def with_constants(graph: QuantGraph, **changes) -> QuantGraph:
    return with_layer(graph, requantize=replace(graph.ops[0].requantize, **changes))


@pytest.fixture
def layer() -> QuantGraph:
    return single_layer(QConv2d, Shape(4, 4, 3), 2, Window.square(3, 1, 1), w_bits=4, a_bits=4)


def test_a_sound_layer_passes(layer):
    check_ranges(layer)


def test_a_weight_beyond_its_width_is_refused(layer):
    with pytest.raises(NumericsError, match=r"'conv2d_0'.*4 bits"):
        check_ranges(with_layer(layer, weight=np.full((2, 3, 3, 3), 8, np.int8)))


def test_a_wrong_start_value_is_refused(layer):
    start = layer.ops[0].requantize.start + 1
    with pytest.raises(NumericsError, match="start"):
        check_ranges(with_constants(layer, start=start))


def test_an_accumulator_shifted_out_of_31_bits_is_refused(layer):
    with pytest.raises(NumericsError, match=r"pre_shift"):
        check_ranges(with_constants(layer, pre_shift=24))


def test_an_offset_that_overflows_is_refused(layer):
    offset = np.full(2, 2**31 - 1, np.int32)
    with pytest.raises(NumericsError, match="32 bits"):
        check_ranges(with_constants(layer, offset=offset))


def test_a_negative_multiplier_is_refused(layer):
    with pytest.raises(NumericsError, match="multiplier"):
        check_ranges(with_constants(layer, multiplier=np.array([1, -1], np.int32)))


def test_outputs_of_another_width_are_refused(layer):
    with pytest.raises(NumericsError, match="5 bits"):
        check_ranges(with_constants(layer, bits=5))


def test_inputs_out_of_range_are_refused(layer):
    with pytest.raises(NumericsError, match=r"0\.\.15"):
        run_reference(layer, np.full((1, 4, 4, 3), 16))
    with pytest.raises(NumericsError, match=r"\(N, 4, 4, 3\)"):
        run_reference(layer, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(NumericsError, match="float64"):
        run_reference(layer, np.zeros((1, 4, 4, 3)))
