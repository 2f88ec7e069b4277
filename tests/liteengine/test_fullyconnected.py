"""Fully connected layers: every tile and width, rows that end anywhere, on host and core."""

from __future__ import annotations

import numpy as np
import pytest

from mcuq_lab.bench.host import run_on_host
from mcuq_lab.graph import Shape
from mcuq_lab.liteengine import generate
from mcuq_lab.liteengine.kernels.fullyconnected import (
    lower_fullyconnected_bytes,
    lower_fullyconnected_lanes,
    lower_fullyconnected_signed,
)
from mcuq_lab.liteengine.kernels.fullyconnected_halves import (
    halves_shapes,
    halves_way,
    lower_fullyconnected_halves,
)
from mcuq_lab.liteengine.schedule import candidates
from mcuq_lab.quantgraph import QFullyConnected
from mcuq_lab.quantize import random_inputs, run_reference, single_layer
from mcuq_lab.storage import pack_batch, unpack_batch
from mcuq_lab.target import Target
from tests.support.simulated_core import has_toolchain, run_on_core

FAMILIES = (
    lower_fullyconnected_bytes,
    lower_fullyconnected_lanes,
    lower_fullyconnected_signed,
    lower_fullyconnected_halves,
)


def ways(graph):
    """The network by each way to compute its layer."""
    for way in candidates(graph.ops[0], graph.tensors, FAMILIES):
        yield generate(graph, (lambda op, tensors, target, way=way: (way,),))


def layer(ic: int, oc: int, w_bits: int, a_bits: int, out_bits: int, **options):
    shape, bits = Shape(1, 1, ic), {"w_bits": w_bits, "a_bits": a_bits, "out_bits": out_bits}
    return single_layer(QFullyConnected, shape, oc, None, **bits, **options)


@pytest.mark.parametrize("w_bits", range(2, 9))
@pytest.mark.parametrize("a_bits", [3, 8])
def test_odd_sizes_equal_the_reference_on_the_host(w_bits, a_bits):
    rng = np.random.default_rng(10 * w_bits + a_bits)
    ic, oc = (int(count) for count in rng.integers(1, 80, 2))
    graph = layer(ic, oc, w_bits, a_bits, int(rng.integers(2, 9)))
    inputs = random_inputs(graph, 3)
    expected = run_reference(graph, inputs)
    for sources in ways(graph):
        stored = run_on_host(sources, pack_batch(inputs, graph.input))
        np.testing.assert_array_equal(unpack_batch(stored, graph.output), expected)


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("oc", [1, 2, 3, 5, 6, 8])
def test_all_numbers_of_outputs_equal_the_reference_on_the_core(oc):
    w_bits, a_bits = (8, 8) if oc % 2 else (3 + oc % 5, 2 + oc % 7)
    graph = layer(37, oc, w_bits, a_bits, a_bits)
    inputs = random_inputs(graph, 2)
    for sources in ways(graph):
        stored = run_on_core(sources, pack_batch(inputs, graph.input)).outputs
        expected = run_reference(graph, inputs)
        np.testing.assert_array_equal(unpack_batch(stored, graph.output), expected)


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("oc", [1, 2, 3, 6, 7, 9, 10, 13, 16])
def test_all_tiles_of_byte_pairs_equal_the_reference(oc):
    shapes = ((1, 8), (8, 4), (9 + oc, 8), (40 - oc, 3))
    for place, (ic, out_bits) in enumerate(shapes):
        weights = ("random", "ends", "lowest")[(oc + place) % 3]
        graph = layer(ic, oc, 8, 8, out_bits, weights=weights, seed=oc, zero_point=17 * place)
        core = ("cortex-m4", "cortex-m7")[(oc + place) // 2 % 2]
        sources = generate(graph, (lower_fullyconnected_bytes,), target=Target(core=core))
        inputs = random_inputs(graph, 4)
        expected = run_reference(graph, inputs)
        stored = pack_batch(inputs, graph.input)
        for run in (run_on_host(sources, stored), run_on_core(sources, stored, core).outputs):
            np.testing.assert_array_equal(unpack_batch(run, graph.output), expected)


def halves_ways(graph, core: str = "cortex-m4"):
    """The network by the tiles of halves that can compute its layer, of many by every other one."""
    (op,) = graph.ops
    shapes = halves_shapes(op, graph.tensors)
    for shape in shapes[len(op.weight) % 2 :: 2] if len(shapes) > 6 else shapes:
        family = (lambda op, tensors, target, shape=shape: (halves_way(op, shape),),)
        yield generate(graph, family, target=Target(core=core))


SHAPES = ((1, 2, 2), (16, 5, 3), (41, 4, 4), (83, 3, 2), (56, 2, 8), (97, 6, 4), (30, 8, 8))


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("out_bits", [2, 3, 8])
@pytest.mark.parametrize("oc", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 16, 24])
def test_all_tiles_of_halves_equal_the_reference(oc, out_bits):
    """Every group and number of channels in the last tile; one segment, several, short ones."""
    place = (oc + out_bits) % len(SHAPES)
    ic, w_bits, a_bits = SHAPES[place]
    graph = layer(
        ic, oc, w_bits, a_bits, out_bits, weights=("random", "ends", "lowest")[oc % 3], seed=oc,
        zero_point=place * ((1 << a_bits) - 1) // 6,
    )  # fmt: skip
    core = ("cortex-m4", "cortex-m7")[oc // 2 % 2]
    inputs = random_inputs(graph, 4)
    expected = run_reference(graph, inputs)
    stored = pack_batch(inputs, graph.input)
    for sources in halves_ways(graph, core):
        for run in (run_on_host(sources, stored), run_on_core(sources, stored, core).outputs):
            np.testing.assert_array_equal(unpack_batch(run, graph.output), expected)


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize(("w_bits", "a_bits"), [(4, 4), (2, 2), (2, 8), (5, 8), (8, 8)])
def test_estimates_of_halves_are_near_what_the_core_takes(w_bits, a_bits):
    for ic, oc in ((16, 4), (64, 10), (250, 12)):
        graph = layer(ic, oc, w_bits, a_bits, 8)
        for way in lower_fullyconnected_halves(graph.ops[0], graph.tensors):
            sources = generate(graph, (lambda op, tensors, target, way=way: (way,),))
            (cycles,) = run_on_core(sources, np.zeros((1, ic), np.uint8)).layer_cycles
            assert 0.9 < way.predicted_cycles / cycles < 1.1, (way.kernel, ic, oc)


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m7"])
def test_fewer_bits_are_never_slower(core):
    """Of weights at any width of activations, and of activations at any width of weights."""
    cycles = np.zeros((4, 3), int)
    for row, w_bits in enumerate((8, 6, 4, 2)):
        for column, a_bits in enumerate((8, 4, 2)):
            graph = layer(64, 10, w_bits, a_bits, 8)
            sources = generate(graph, target=Target(core=core))
            (taken,) = run_on_core(sources, np.zeros((1, 64), np.uint8), core).layer_cycles
            cycles[row, column] = taken
    assert (np.diff(cycles, axis=0) <= 0.02 * cycles[1:]).all(), cycles
    assert (np.diff(cycles, axis=1) <= 0.02 * cycles[:, 1:]).all(), cycles


@pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")
@pytest.mark.parametrize("ic", [8, 48, 250])
def test_estimates_of_byte_pairs_are_near_what_the_core_takes(ic):
    for oc in (2, 4, 9, 10, 12):
        graph = layer(ic, oc, 8, 8, 8)
        (way,) = lower_fullyconnected_bytes(graph.ops[0], graph.tensors)
        sources = generate(graph, (lambda op, tensors, target, way=way: (way,),))
        (cycles,) = run_on_core(sources, np.zeros((1, ic), np.uint8)).layer_cycles
        assert 0.9 < way.predicted_cycles / cycles < 1.1, (ic, oc)


@pytest.mark.parametrize("a_bits", [2, 3, 8])
def test_few_outputs_equal_the_reference_on_the_host(a_bits):
    for w_bits, ic, oc in ((2, 1, 1), (4, 8, 2), (5, 67, 1), (8, 90, 3), (3, 33, 5)):
        graph = layer(ic, oc, w_bits, a_bits, 10 - a_bits)
        (way,) = lower_fullyconnected_signed(graph.ops[0], graph.tensors)
        sources = generate(graph, (lambda op, tensors, target, way=way: (way,),))
        inputs = random_inputs(graph, 3)
        expected = run_reference(graph, inputs)
        stored = run_on_host(sources, pack_batch(inputs, graph.input))
        np.testing.assert_array_equal(unpack_batch(stored, graph.output), expected)


def test_sums_beyond_24_bits_are_left_to_the_lanes():
    graph = layer(1200, 2, 8, 8, 8)
    op, source = graph.ops[0], graph.tensors[graph.ops[0].inputs[0]]
    heaviest = np.abs(op.weight.astype(int)).sum(1).max() * source.qmax
    assert heaviest >= 1 << 24
    assert lower_fullyconnected_bytes(op, graph.tensors) == ()
    assert lower_fullyconnected_lanes(op, graph.tensors)
