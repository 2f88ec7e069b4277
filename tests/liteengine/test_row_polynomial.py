"""The row polynomial equals the integer reference, in C under sanitizers and in assembly."""

from __future__ import annotations

import itertools
import random

import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels.row_polynomial import (
    lower_depthwise_row,
    lower_row_polynomial,
)
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QuantGraph
from mcuq_lab.quantize import single_layer
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.networks import chain
from tests.support.simulated_core import has_toolchain

FAMILIES = (lower_row_polynomial, lower_depthwise_row)
KINDS = (QConv2d, QDepthwiseConv2d)
ALL_PAIRS = list(itertools.product(range(2, 9), repeat=2))
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def check(graph: QuantGraph, *, on_core: bool) -> int:
    return check_exact(graph, FAMILIES, on_core=on_core)


def odd_layer(kind, seed: int) -> QuantGraph:
    """A layer with random widths, shapes, padding, zero points and kinds of weights."""
    rng = random.Random(seed)
    w_bits, a_bits = ALL_PAIRS[seed * 17 % len(ALL_PAIRS)]
    window = Window(3, 3, 1, 1, *(rng.randint(0, 1) for _ in range(4)))
    if rng.random() < 0.3:  # the usual case, and the one that may run in place
        window = Window.square(3, 1, 1)
    shape = Shape(rng.randint(3, 10), rng.randint(3, 14), rng.choice((1, 2, 3, 5, 8, 9, 16, 33)))
    return with_odd_values(
        kind,
        shape,
        rng.randint(1, 9) if kind is QConv2d else shape.c,
        window,
        (w_bits, a_bits),
        rng.choice((a_bits, rng.randint(2, 8))),
        rng,
        seed,
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_some_widths_on_the_host(kind):
    check(chain(kind, ALL_PAIRS[::8]), on_core=False)


@pytest.mark.nightly
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(3))
def test_all_widths_on_the_host(part, kind):
    check(chain(kind, ALL_PAIRS[part::3], seed=part), on_core=False)


@needs_toolchain
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", range(3))
def test_all_widths_on_the_core(part, kind):
    check(chain(kind, ALL_PAIRS[part::3], seed=part), on_core=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_odd_layers_on_the_host(seed, kind):
    check(odd_layer(kind, seed), on_core=False)


@needs_toolchain
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3, 9))
def test_odd_layers_on_the_core(seed, kind):
    check(odd_layer(kind, seed), on_core=True)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_odd_layers(seed, kind, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check(odd_layer(kind, seed), on_core=on_core)


@needs_toolchain
@pytest.mark.parametrize(
    ("w_bits", "a_bits", "width", "channels"),
    [(4, 4, 16, 40), (8, 8, 9, 64)],
)
def test_segments_of_several_rows_in_one_call(w_bits, a_bits, width, channels):
    """Ten rows are more than a band; the last tile of a row is whole, or goes through the line."""
    graph = single_layer(
        QConv2d,
        Shape(10, width, channels),
        4,
        Window.square(3, 1, 1),
        w_bits=w_bits,
        a_bits=a_bits,
        out_bits=a_bits,
    )
    way = lower_row_polynomial(graph.ops[0], graph.tensors)[0]
    assert "segments" in way.packing
    check(graph, on_core=False)
    check(graph, on_core=True)


@needs_toolchain
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("a_bits", "channels"),
    [(8, 1), (8, 2), (8, 3), (3, 3), (4, 5), (4, 7), (2, 3), (2, 10), (2, 15)],
)
def test_few_channels_are_packed_at_once(a_bits, channels, stride):
    """Pixels of one to four bytes, the last of which ends with the tensor."""
    graph = single_layer(
        QConv2d,
        Shape(5, 9, channels),
        3,
        Window.square(3, stride, 1),
        w_bits=3,
        a_bits=a_bits,
        out_bits=a_bits,
        zero_point=1,
        seed=channels,
    )
    ways = lower_row_polynomial(graph.ops[0], graph.tensors)
    assert any(way.kernel.endswith(f"_c{channels}") for way in ways)

    def few(op, tensors, target):
        return tuple(way for way in ways if way.kernel.endswith(f"_c{channels}"))[:1]

    check_exact(graph, (few,), on_core=False)
    check_exact(graph, (few,), on_core=True)


def test_outputs_may_take_the_inputs_place_where_rows_are_packed_before():
    for out_channels, in_place in ((8, True), (4, True), (16, False)):
        graph = single_layer(
            QConv2d,
            Shape(20, 8, 8),
            out_channels,
            Window.square(3, 1, 1),
            w_bits=4,
            a_bits=4,
            out_bits=4,
        )
        for way in lower_row_polynomial(graph.ops[0], graph.tensors):
            assert (way.ahead[0].lead_bytes <= 0) == in_place, way.kernel


def test_what_it_does_not_take():
    for window in (Window(3, 3, 2, 1), Window.square(1), Window(3, 3, 1, 1, 2, 2, 2, 2)):
        for kind in KINDS:
            graph = single_layer(kind, Shape(6, 6, 4), 4, window)
            assert all(family(graph.ops[0], graph.tensors) == () for family in FAMILIES)


def test_layers_that_differ_in_shape_share_kernels():
    """Size and weights are data; the C of a kernel is the same for both layers."""
    kernels = []
    for height in (16, 22):
        graph = single_layer(
            QConv2d, Shape(height, 20, 8), 8, Window.square(3, 1, 1), w_bits=4, a_bits=4, out_bits=4
        )
        kernels.append(lower_row_polynomial(graph.ops[0], graph.tensors)[0])
    assert kernels[0].kernel == kernels[1].kernel
    assert kernels[0].files == kernels[1].files
