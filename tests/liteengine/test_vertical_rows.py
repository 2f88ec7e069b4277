"""Winograd's rows: exact sums from accumulators of 64 bits, exact kernels."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels.row_polynomial import lower_vertical
from mcuq_lab.liteengine.packing.row import RowPacking, start_values, weight_words
from mcuq_lab.liteengine.packing.vertical_rows import (
    accumulators_fit,
    balanced,
    begin_values,
    centre,
    combined_filters,
    in_order,
    vertical_packings,
)
from mcuq_lab.quantgraph import QConv2d, QuantGraph
from mcuq_lab.quantize import single_layer
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.networks import chain
from tests.support.simulated_core import has_toolchain

PAIRS = [(w, a) for w, a in itertools.product(range(2, 6), range(2, 6)) if w + a <= 8]
"""Wider ones do not fit, or fit some weights only."""
MODULUS = 1 << 64
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def packed_rows(pixels: np.ndarray, packing: RowPacking) -> np.ndarray:
    """Words A of rows (4, width, ic), as objects: (4, blocks, ic)."""
    m, s = packing.pixels, packing.field_bits
    blocks = pixels.reshape(4, -1, m, pixels.shape[2]).astype(object)
    return sum(blocks[:, :, i] * (1 << (i * s)) for i in range(m))


def winograd_sums(
    packing: RowPacking, weight: np.ndarray, a_bits: int, pixels: np.ndarray
) -> np.ndarray:
    """Both output rows, with start values, by the accumulators that the kernel has: int64 (2, oc,
    width); asserts that no operand and no T or V passes its register."""
    m, s = packing.pixels, packing.field_bits
    top, amax = (m + 1) * s, (1 << a_bits) - 1
    d = packed_rows(pixels, packing)
    rows = (d[1] + d[2], d[2] - d[1], d[0] - d[2], d[3] - d[1])
    assert all(-(1 << 31) <= word < 1 << 31 for row in rows for word in row.reshape(-1))
    totals = np.zeros((2, len(weight), pixels.shape[1]), np.int64)
    starts, _ = start_values(packing, weight, a_bits)
    for segment, start in zip(packing.segments, starts, strict=True):
        part = weight[..., segment.first : segment.first + segment.count]
        words = [
            weight_words(each, s, 1)[:, 0, :, 0].astype(object) for each in combined_filters(part)
        ]
        assert all(-(1 << 31) <= word < 1 << 31 for each in words for word in each.reshape(-1))
        chosen = slice(segment.first, segment.first + segment.count)
        upper = amax * np.maximum(-part[:, :, 0].astype(np.int64), 0).sum(axis=(1, 2))
        shift = centre(part, a_bits)
        for oc, begin in enumerate(begin_values(part, a_bits, m, s)):
            rest = (int(upper[oc]) + int(shift[oc])) << top
            before = int(start[oc]) + (int(upper[oc]) << s)
            carried = [before, before]
            for block in range(d.shape[1]):
                products = [
                    int((row[block, chosen] * each[oc]).sum())
                    for row, each in zip(rows, words, strict=True)
                ]
                t, v = begin + products[0], (1 << 63) + products[1]
                assert all(0 <= value < MODULUS for value in (t, v))
                assert (t + v) % 2 == 0
                half = (t + v) // 2
                sums = (half + products[2] + rest + (1 << 63), t - half + products[3] + rest)
                for row, total in enumerate(sums):
                    total = (total + carried[row]) % MODULUS
                    for i in range(m):
                        totals[row, oc, block * m + i] += (total >> (i * s)) & ((1 << s) - 1)
                    carried[row] = total >> (m * s)
    return totals


def direct_sums(weight: np.ndarray, a_bits: int, pixels: np.ndarray) -> np.ndarray:
    """The same by the convolution, but for the first two columns, which see what is not there."""
    windows = np.lib.stride_tricks.sliding_window_view(pixels.astype(np.int64), (3, 3), (0, 1))
    start = ((1 << a_bits) - 1) * np.maximum(-weight.astype(np.int64), 0).sum(axis=(1, 2, 3))
    sums = np.einsum("yxckj,okjc->yox", windows, weight.astype(np.int64))
    return sums + start[:, None]


@pytest.mark.parametrize(("w_bits", "a_bits"), PAIRS)
def test_every_packing_is_exact(w_bits, a_bits):
    """On random and on extreme operands, in one segment and in several."""
    rng = np.random.default_rng(w_bits * 10 + a_bits)
    low, high, amax = -(1 << (w_bits - 1)), (1 << (w_bits - 1)) - 1, (1 << a_bits) - 1
    shape, size, found = (3, 3, 3, 7), (4, 24, 7), 0
    extremes = rng.choice([0, amax], size)
    for weight, pixels in (
        (rng.integers(low, high + 1, shape), rng.integers(0, amax + 1, size)),
        (rng.choice([low, high], shape), extremes),
        (np.full(shape, low), np.full(size, amax)),
        (np.full(shape, high), extremes),
        (rng.integers(-1, 2, shape), rng.integers(0, amax + 1, size)),
    ):
        for packing in vertical_packings(weight, w_bits, a_bits, int):
            found += 1
            width = size[1] // packing.pixels * packing.pixels
            sums = winograd_sums(packing, weight, a_bits, pixels[:, :width])
            np.testing.assert_array_equal(
                sums[:, :, 2:], direct_sums(weight, a_bits, pixels[:, :width])
            )
    assert found


def test_bounds_of_accumulators_are_reached():
    """Where the condition fails, some activations leave the 64 bits; where it holds, none do."""
    pixels, field_bits, a_bits, met = 3, 13, 4, set()
    ones = sum(1 << (i * field_bits) for i in range(pixels))
    for count in range(1, 40):
        weight = np.full((1, 3, 3, count), 7)
        words = weight_words(combined_filters(weight)[0], field_bits, 1).reshape(-1)
        begin = begin_values(weight, a_bits, pixels, field_bits)[0]
        ends = (begin, begin + 30 * ones * int(words.sum()))
        fits = accumulators_fit(weight, a_bits, pixels, field_bits)
        assert fits == (ends[0] >= 0 and ends[1] < MODULUS)
        met.add(fits)
    assert met == {True, False}


def odd_layer(seed: int) -> QuantGraph:
    """A layer with random widths, shapes, padding, zero points and kinds of weights."""
    rng = random.Random(seed)
    w_bits, a_bits = PAIRS[seed * 17 % len(PAIRS)]
    window = Window(3, 3, 1, 1, *(rng.randint(0, 1) for _ in range(4)))
    if rng.random() < 0.3:
        window = Window.square(3, 1, 1)
    shape = Shape(rng.randint(3, 14), rng.randint(3, 14), rng.choice((1, 2, 3, 5, 8, 9, 16, 33)))
    out_bits = rng.choice((a_bits, rng.randint(2, 8)))
    bits = (w_bits, a_bits)
    return with_odd_values(QConv2d, shape, rng.randint(1, 9), window, bits, out_bits, rng, seed)


def check(graph: QuantGraph, *, on_core: bool) -> None:
    check_exact(graph, (lower_vertical,), on_core=on_core)


def test_constants_hold_no_plans_that_the_driver_does_not_read():
    bits = {"w_bits": 4, "a_bits": 4, "out_bits": 4}
    graph = single_layer(QConv2d, Shape(8, 8, 8), 8, Window.square(3, 1, 1), **bits)
    ways = lower_vertical(graph.ops[0], graph.tensors)
    assert ways
    for way in ways:
        assert ".plan_runs = {0, 0, 0}" in way.constants
        assert ".runs = 0" in way.constants


@needs_toolchain
@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_all_widths_on_the_core(part):
    check(chain(QConv2d, PAIRS[part::3], seed=part), on_core=True)


@pytest.mark.parametrize("seed", range(4))
def test_odd_layers_on_the_host(seed):
    check(odd_layer(seed), on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(4, 12))
def test_odd_layers_on_the_core(seed):
    check(odd_layer(seed), on_core=True)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(100, 250))
def test_many_odd_layers(seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check(odd_layer(seed), on_core=on_core)


@needs_toolchain
@pytest.mark.parametrize(
    ("w_bits", "a_bits", "width", "channels"), [(4, 4, 16, 40), (2, 2, 8, 36), (4, 2, 9, 7)]
)
def test_several_bands_segments_and_rounds(w_bits, a_bits, width, channels):
    """Ten rows are more than two groups, and not whole ones; the last column may be flushed."""
    window = Window.square(3, 1, 1)
    shape = Shape(10, width, channels)
    bits = {"w_bits": w_bits, "a_bits": a_bits, "out_bits": a_bits}
    graph = single_layer(QConv2d, shape, 4, window, **bits)
    check(graph, on_core=False)
    check(graph, on_core=True)


@needs_toolchain
@pytest.mark.parametrize(("bits", "channels", "seed"), [(4, 42, 1), (2, 35, 2)])
def test_another_order_of_channels_spares_a_segment(bits, channels, seed):
    """Channels behind the last whole word stay where they are."""
    window, widths = Window.square(3, 1, 1), {"w_bits": bits, "a_bits": bits, "out_bits": bits}
    graph = single_layer(QConv2d, Shape(5, 6, channels), 4, window, seed=seed, **widths)

    def ordered(op, tensors, target):
        ways = lower_vertical(op, tensors, target)
        return tuple(way for way in ways if "_order[" in way.constants)

    check_exact(graph, (ordered,), on_core=False)
    check_exact(graph, (ordered,), on_core=True)


def test_orders_are_balanced_where_segments_cannot_be():
    """Of six words, the first two are heavy: more segments than where they stand apart."""
    weight = np.ones((2, 3, 3, 48), np.int8)
    weight[..., :16] = 3
    packings = vertical_packings(weight, 4, 4, lambda count: count)
    natural = max(packings, key=lambda way: (way.pixels, way.field_bits))
    assert len(natural.segments) == 4
    order, fewer = balanced(weight, 4, natural, lambda count: count, 8)
    assert sorted(order) == list(range(6))
    assert len(fewer.segments) == 2
    moved = weight[..., in_order(order, 8, 48)]
    for segment in fewer.segments:
        part = moved[..., segment.first : segment.first + segment.count]
        assert 15 * int(np.abs(part).sum(axis=(1, 2, 3)).max()) < 1 << fewer.field_bits
    assert balanced(weight, 4, fewer, lambda count: count, 8) is None


def test_weights_of_nothing_have_no_better_order():
    weight = np.zeros((2, 3, 3, 48), np.int8)
    packing = next(vertical_packings(weight, 4, 4, lambda count: count))
    assert balanced(weight, 4, packing, lambda count: count, 8) is None


def test_what_it_does_not_take():
    for window in (Window(3, 3, 2, 2), Window.square(1), Window(3, 3, 1, 1, 2, 2, 2, 2)):
        graph = single_layer(QConv2d, Shape(6, 6, 4), 4, window, w_bits=4, a_bits=4)
        assert lower_vertical(graph.ops[0], graph.tensors) == ()
