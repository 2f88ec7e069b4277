"""Strided rows of few bits, two channels in the halves of a word: exact packings, exact kernels."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels.row_polynomial import lower_row_polynomial
from mcuq_lab.liteengine.packing.lanes import (
    LANES,
    fold_lanes,
    in_lane_order,
    lane_packings,
    lane_sums_fit,
    lanes_fit,
)
from mcuq_lab.liteengine.packing.row import (
    RowPacking,
    Segment,
    Slice,
    column_sums,
    segment_weights,
    start_values,
    weight_words,
)
from mcuq_lab.quantgraph import QConv2d, QuantGraph
from mcuq_lab.quantize import single_layer
from mcuq_lab.target import DEFAULT_TARGET
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.simulated_core import has_toolchain

PAIRS = list(itertools.product(range(2, 9), range(2, 5)))
SAME, VALID = Window.square(3, 2, 1), Window.square(3, 2)
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def only_lanes(op, tensors, target):
    """The family's ways with two lanes."""
    ways = lower_row_polynomial(op, tensors, target)
    return tuple(way for way in ways if f"{LANES} lanes" in way.packing)


def dealt(rows: np.ndarray, fields: int) -> np.ndarray:
    """Activations (3, w, ic) by phase, (3, w / 2, channels), in the order of `fold_lanes`."""
    ordered = in_lane_order(rows, fields)
    pairs = ordered.reshape(3, rows.shape[1] // 2, 2, -1, LANES)  # (ky, pixel, phase, pair, lane)
    return pairs.transpose(0, 1, 3, 2, 4).reshape(3, rows.shape[1] // 2, -1)


def lane_sums(
    packing: RowPacking, weight: np.ndarray, a_bits: int, pixels: np.ndarray
) -> np.ndarray:
    """acc + start as SMLAD computes it, of the outputs that no padding touches: weights of
    `fold_lanes`, pixels (3, even width, channels); int64 (width - 1, oc)."""
    s = packing.field_bits
    starts, _ = start_values(packing, weight, a_bits)
    totals = np.zeros((pixels.shape[1], len(weight)), np.int64)
    for segment, start in zip(packing.segments, starts, strict=True):
        part = segment_weights(segment, weight)
        words = weight_words(part, s, 1)[..., 0]
        assert (words == words.astype(np.int16)).all()
        upper = segment.a_slice.amax * np.maximum(-part[:, :, 0], 0).sum(axis=(1, 2))
        chosen = pixels[..., segment.first : segment.first + segment.count].astype(np.int64)
        carried = upper
        for x in range(0, pixels.shape[1], 2):
            a = chosen[:, x] + (chosen[:, x + 1] << s)
            assert (a == a.astype(np.int16)).all()
            sums = carried + (start - upper) + (start << s) + (upper << 2 * s)
            sums = (sums + np.einsum("okc,kc->o", words, a)) % (1 << 32)
            totals[x] += sums & ((1 << s) - 1)
            totals[x + 1] += (sums >> s) & ((1 << s) - 1)
            carried = sums >> 2 * s
    return totals[1:]


def exact_sums(weight: np.ndarray, a_bits: int, pixels: np.ndarray) -> np.ndarray:
    """The same by the filters' two taps."""
    weight, pixels = weight.astype(np.int64), pixels.astype(np.int64)
    taps = np.stack([pixels[:, :-1], pixels[:, 1:]], axis=1)  # (ky, tap, x, channel)
    start = ((1 << a_bits) - 1) * np.maximum(-weight, 0).sum(axis=(1, 2, 3))
    return np.einsum("ktxc,oktc->xo", taps, weight) + start


@pytest.mark.parametrize("window", [SAME, VALID], ids=["padded", "unpadded"])
@pytest.mark.parametrize(("w_bits", "a_bits"), PAIRS)
def test_every_packing_is_exact(w_bits, a_bits, window):
    """On random and on extreme operands, in one segment and in several."""
    rng = np.random.default_rng(w_bits * 10 + a_bits)
    low, high, amax = -(1 << (w_bits - 1)), (1 << (w_bits - 1)) - 1, (1 << a_bits) - 1
    shape, fields = (2, 3, 3, 11), 8
    found = 0
    for weight, rows in (
        (rng.integers(low, high + 1, shape), rng.integers(0, amax + 1, (3, 20, 11))),
        (rng.choice([low, high], shape), rng.choice([0, amax], (3, 20, 11))),
        (np.full(shape, low), np.full((3, 20, 11), amax)),
        (np.full(shape, high), np.full((3, 20, 11), amax)),
        (rng.integers(-1, 2, shape), rng.integers(0, amax + 1, (3, 20, 11))),
    ):
        folded, pixels = fold_lanes(weight, window, fields), dealt(rows, fields)
        for packing in lane_packings(folded, w_bits, a_bits, LANES, 24):
            found += 1
            np.testing.assert_array_equal(
                lane_sums(packing, folded, a_bits, pixels), exact_sums(folded, a_bits, pixels)
            )
    assert found or (w_bits, a_bits) == (8, 4)


@pytest.mark.parametrize("window", [SAME, VALID], ids=["padded", "unpadded"])
def test_order_of_lanes_is_that_of_the_convolution(window):
    """The folded filters on the dealt pixels are the strided convolution."""
    rng = np.random.default_rng(1)
    weight, rows = rng.integers(-8, 8, (3, 3, 3, 21)), rng.integers(0, 16, (3, 24, 21))
    sums = exact_sums(fold_lanes(weight, window, 8), 4, dealt(rows, 8))
    windows = np.lib.stride_tricks.sliding_window_view(rows, 3, axis=1)[:, window.pad_left :: 2]
    expected = np.einsum("kxcj,okjc->xo", windows, weight)
    expected += 15 * np.maximum(-weight, 0).sum(axis=(1, 2, 3))
    np.testing.assert_array_equal(sums[: len(expected)], expected)


def test_limits_are_tight():
    weight = np.zeros((1, 3, 2, 2), np.int64)
    assert lanes_fit(weight, 11, 4)
    assert not lanes_fit(weight, 12, 4)  # a pixel would reach the sign
    assert not lanes_fit(weight, 3, 4)  # pixels would overlap
    weight[0, 0, 0, 1] = -8
    assert lanes_fit(weight, 12, 3)
    weight[0, 0, 1, 1] = -1
    assert not lanes_fit(weight, 12, 3)
    columns = column_sums(weight)  # upper 8, lower 1
    assert lane_sums_fit(columns, 7, 6)  # 63 = 2**6 - 1
    assert not lane_sums_fit(columns, 8, 6)
    assert lane_sums_fit(np.array([[63, 0]]), 1, 13)  # 2**(32 - 26) - 1
    assert not lane_sums_fit(np.array([[64, 0]]), 1, 13)


def test_exhaustive_at_two_bits():
    """All filter rows on all sequences of four pixels, the other lane at its extremes."""
    row = np.array(list(itertools.product(range(4), repeat=4))).reshape(-1)
    for taps, other in itertools.product(itertools.product((-2, -1, 0, 1), repeat=3), (-2, 1)):
        weight = np.full((1, 3, 3, 2), other)
        weight[0, 1, :, 0] = taps
        rows = np.full((3, row.size, 2), 3)
        rows[1, :, 0] = row
        folded, pixels = fold_lanes(weight, SAME, 16), dealt(rows, 16)
        columns = column_sums(folded)
        narrowest = next(s for s in range(2, 14) if lane_sums_fit(columns, 3, s))
        assert lanes_fit(folded, narrowest, 2)
        whole = Segment(0, 4, Slice(0, 2, 2), Slice(0, 2, 2))
        packing = RowPacking(4, narrowest, 1, False, (whole,), 2, LANES)
        np.testing.assert_array_equal(
            lane_sums(packing, folded, 2, pixels), exact_sums(folded, 2, pixels)
        )


def odd_layer(seed: int) -> QuantGraph:
    """A layer with random widths, shapes, padding, zero points and kinds of weights."""
    rng = random.Random(seed)
    w_bits, a_bits = rng.choice(PAIRS[:12])
    return with_odd_values(
        QConv2d,
        Shape(rng.randint(3, 19), rng.randint(3, 27), rng.choice((1, 2, 3, 5, 8, 9, 16, 33))),
        rng.randint(1, 9),
        Window(3, 3, 2, 2, *(rng.randint(0, 1) for _ in range(4))),
        (w_bits, a_bits),
        rng.choice((a_bits, rng.randint(2, 8))),
        rng,
        seed,
    )


def check(seed: int, *, on_core: bool) -> None:
    """Compares the kernel with the reference; layers without a packing are none of this test's."""
    graph = odd_layer(seed)
    op = graph.ops[0]
    weight = fold_lanes(op.weight, op.window, 32 // graph.input.storage_bits)
    if not any(lane_packings(weight, op.w_bits, graph.input.bits, 2 * LANES)):
        pytest.skip("the weights' sums are too large for lanes")
    check_exact(graph, (only_lanes,), on_core=on_core)


@pytest.mark.parametrize("seed", range(2))
def test_odd_layers_on_the_host(seed):
    check(seed, on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(2, 12))
def test_odd_layers_on_the_core(seed):
    check(seed, on_core=True)


@needs_toolchain
@pytest.mark.parametrize(
    ("bits", "shape", "window", "out_bits"),
    [
        ((4, 4), Shape(17, 16, 17), SAME, 4),
        ((4, 4), Shape(9, 14, 24), Window(3, 3, 2, 2, 1, 1, 0, 1), 8),
        ((4, 4), Shape(12, 16, 16), Window(3, 3, 2, 2, 0, 1, 0, 1), 2),
        ((3, 4), Shape(9, 17, 33), SAME, 2),
        ((4, 3), Shape(7, 9, 48), VALID, 8),
        ((2, 4), Shape(8, 8, 64), Window(3, 3, 2, 2, 0, 1, 0, 1), 5),
    ],
)
@pytest.mark.parametrize("zero_point", [0, 3])
def test_a_tile_runs_all_segments(bits, shape, window, out_bits, zero_point):
    """One round a segment and several, whole and cut rows, last columns that are flushed."""
    graph = single_layer(
        QConv2d,
        shape,
        5,
        window,
        w_bits=bits[0],
        a_bits=bits[1],
        out_bits=out_bits,
        zero_point=zero_point,
    )
    (way, *_) = only_lanes(graph.ops[0], graph.tensors, DEFAULT_TARGET)
    assert "segments" in way.packing
    check_exact(graph, (only_lanes,), on_core=False)
    check_exact(graph, (only_lanes,), on_core=True)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(100, 260))
def test_many_odd_layers(seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check(seed, on_core=on_core)
