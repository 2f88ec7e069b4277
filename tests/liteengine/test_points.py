"""Kernels for windows of single pixels: every width, odd channels and strides, host and core."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine import trial_sources, trials
from mcuq_lab.liteengine.kernels import lower_depthwise_points, lower_points
from mcuq_lab.liteengine.plan import plan
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QuantGraph
from mcuq_lab.quantize import single_layer
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.networks import chain
from tests.support.simulated_core import has_toolchain, run_on_core

ALL_PAIRS = list(itertools.product(range(2, 9), repeat=2))
FAMILIES = (lower_points, lower_depthwise_points)
KINDS = (QConv2d, QDepthwiseConv2d)
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def layer(kind, seed: int) -> QuantGraph:
    """A layer with random widths, channels, strides, zero points and kinds of weights."""
    rng = random.Random(seed)
    w_bits, a_bits = ALL_PAIRS[seed * 17 % len(ALL_PAIRS)]
    channels = rng.choice((1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 21, 30, 33, 64))
    outputs = rng.choice((1, 2, 3, 4, 5, 6, 9)) if kind is QConv2d else channels
    return with_odd_values(
        kind,
        Shape(rng.randint(1, 7), rng.randint(1, 7), channels),
        outputs,
        Window(1, 1, rng.randint(1, 3), rng.choice((1, 1, 2, 3))),
        (w_bits, a_bits),
        a_bits if rng.random() < 0.6 else rng.randint(2, 8),
        rng,
        seed,
    )


@pytest.mark.slow
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("kind", KINDS)
def test_all_widths(kind, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    pairs = ALL_PAIRS if on_core else ALL_PAIRS[::4]
    check_exact(chain(kind, pairs, size=(3, 3), kernel=1), FAMILIES, on_core=on_core)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_odd_layers_on_the_host(kind, seed):
    check_exact(layer(kind, seed), FAMILIES, on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(3, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_odd_layers_on_the_core(kind, seed):
    check_exact(layer(kind, seed), FAMILIES, on_core=True)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(2000, 2150))
def test_many_layers(kind, seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check_exact(layer(kind, seed), FAMILIES, on_core=on_core)


@pytest.mark.slow
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("storage", [2, 4, 8])
def test_every_rest_of_a_word(storage, on_core):
    """Fields behind whole words, and outputs that end on no byte: all numbers, some on the host."""
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    step = 1 if on_core else 3
    pairs = [(storage, storage)] * (32 // storage // step + 1)
    graph = chain(QConv2d, pairs, size=(3, 1), kernel=1, channels=1, more=(step,))
    check_exact(graph, FAMILIES, on_core=on_core)


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_lie_over_inputs_that_are_read_before(kind):
    """The plan lets both overlap; reference and sanitizers see what is overwritten too early."""
    for stride, channels, outputs in ((1, 9, 2), (1, 3, 7)):
        outputs = channels if kind is QDepthwiseConv2d else outputs
        graph = single_layer(
            kind, Shape(6, 5, channels), outputs, Window.square(1, stride), w_bits=4, a_bits=8,
            out_bits=8,
        )  # fmt: skip
        (op,) = graph.ops
        (way,) = (way for family in FAMILIES for way in family(op, graph.tensors))
        tensors = graph.tensors.values()
        separate = sum(-(-tensor.size_bytes // 8) * 8 for tensor in tensors) + way.scratch_bytes
        assert plan(graph, FAMILIES).arena.total_bytes < separate
        check_exact(graph, FAMILIES, on_core=False)


@pytest.mark.parametrize("kind", KINDS)
def test_what_they_do_not_take(kind):
    for window in (Window(1, 3), Window.square(3), Window(1, 1, 1, 1, 1, 0, 0, 0)):
        graph = single_layer(kind, Shape(8, 8, 4), 4, window)
        for family in FAMILIES:
            assert family(graph.ops[0], graph.tensors) == ()


@needs_toolchain
@pytest.mark.parametrize("bits", [(8, 8), (4, 4), (2, 2)], ids=["w8a8", "w4a4", "w2a2"])
@pytest.mark.parametrize("kind", KINDS)
def test_estimates_are_near_what_the_core_takes(kind, bits):
    w_bits, a_bits = bits
    sizes = ((3, 1), (16, 1), (33, 2), (9, 5)) if kind is QConv2d else ((1, 1), (7, 7), (16, 16))
    for channels, outputs in sizes:
        graph = single_layer(
            kind, Shape(8, 8, channels), outputs, Window.square(1), w_bits=w_bits, a_bits=a_bits,
            out_bits=a_bits,
        )  # fmt: skip
        (trial,) = trials(graph, {}, FAMILIES)
        (cycles,) = run_on_core(trial_sources((trial,)), np.zeros((1, 8), np.uint8)).layer_cycles
        assert 0.75 < trial.way.predicted_cycles / cycles < 1.33
