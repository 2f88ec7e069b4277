"""Strided rows in two phases: packings are exact, and the kernels equal the integer reference."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels.row_polynomial import lower_row_polynomial
from mcuq_lab.liteengine.packing.phases import fields_in_front, fold_phases
from mcuq_lab.liteengine.packing.row import (
    RowPacking,
    column_sums,
    row_packings,
    sums_fit,
    words_fit,
)
from mcuq_lab.quantgraph import QConv2d, QuantGraph
from mcuq_lab.quantize import single_layer
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.networks import chain
from tests.support.row_model import packed_sums
from tests.support.simulated_core import has_toolchain

FAMILIES = (lower_row_polynomial,)
ALL_PAIRS = list(itertools.product(range(2, 9), repeat=2))
PADDINGS = list(itertools.product((0, 1), repeat=4))
SAME, VALID = Window.square(3, 2, 1), Window.square(3, 2)
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def strided_sums(weight: np.ndarray, a_bits: int, rows: np.ndarray, pad_left: int) -> np.ndarray:
    """acc + start of the outputs that no padding touches: rows (3, w, ic), int64 (outputs, oc)."""
    windows = np.lib.stride_tricks.sliding_window_view(rows.astype(np.int64), 3, axis=1)
    chosen = windows[:, pad_left % 2 :: 2]
    sums = np.einsum("kxcj,okjc->xo", chosen, weight.astype(np.int64))
    return sums + ((1 << a_bits) - 1) * np.maximum(-weight.astype(np.int64), 0).sum((1, 2, 3))


def check_packing(
    packing: RowPacking, weight: np.ndarray, a_bits: int, rows: np.ndarray, window: Window
) -> None:
    """Compares what the words of both phases sum up with the strided convolution."""
    width = rows.shape[1] // (2 * packing.pixels) * 2 * packing.pixels
    planes = np.stack([rows[:, :width:2], rows[:, 1:width:2]], axis=-1)
    dealt = planes.reshape(3, width // 2, -1)
    sums = packed_sums(packing, fold_phases(weight, window), a_bits, dealt)
    expected = strided_sums(weight, a_bits, rows[:, :width], window.pad_left)
    np.testing.assert_array_equal(sums[: len(expected)], expected, str(packing))
    assert len(sums) - len(expected) in (0, 1)  # the model yields an output that the row's end cuts


@pytest.mark.parametrize("window", [SAME, VALID], ids=["padded", "unpadded"])
@pytest.mark.parametrize(("w_bits", "a_bits"), ALL_PAIRS)
def test_every_kind_of_packing_is_exact(w_bits, a_bits, window):
    """Of each geometry the narrowest and the widest fields, on random and on extreme operands."""
    rng = np.random.default_rng(w_bits * 10 + a_bits)
    low, high, amax = -(1 << (w_bits - 1)), (1 << (w_bits - 1)) - 1, (1 << a_bits) - 1
    for weight, rows in (
        (rng.integers(low, high + 1, (1, 3, 3, 2)), rng.integers(0, amax + 1, (3, 24, 2))),
        (rng.choice([low, high], (1, 3, 3, 2)), rng.choice([0, amax], (3, 24, 2))),
        (np.full((1, 3, 3, 2), low), np.full((3, 24, 2), amax)),
        (np.full((1, 3, 3, 2), high), np.full((3, 24, 2), amax)),
    ):
        found: dict[tuple, RowPacking] = {}
        for packing in row_packings(fold_phases(weight, window), w_bits, a_bits):
            assert packing.phases == 2
            assert packing.words == 1
            key = (packing.pixels, len(packing.a_slices), len(packing.w_slices))
            found.setdefault((*key, "narrow"), packing)
            found[(*key, "wide")] = packing
        assert found, "each pair of widths has a packing"
        for packing in found.values():
            check_packing(packing, weight, a_bits, rows, window)


@pytest.mark.parametrize("window", [SAME, VALID], ids=["padded", "unpadded"])
def test_exhaustive_at_two_bits(window):
    """All filter rows, 4**3, on all sequences of four pixels."""
    row = np.array(list(itertools.product(range(4), repeat=4))).reshape(-1)
    values = np.zeros((3, row.size, 1), np.int64)
    values[1, :, 0] = row
    for taps in itertools.product((-2, -1, 0, 1), repeat=3):
        weight = np.zeros((1, 3, 3, 1), np.int64)
        weight[0, 1, :, 0] = taps
        packings = {p.pixels: p for p in row_packings(fold_phases(weight, window), 2, 2)}
        check_packing(packings[2], weight, 2, values, window)


def test_word_and_field_limits_are_tight():
    """Eight bits at s = 23: W reaches bit 31 with -128 alone, not with a negative tap below it."""
    weight = np.zeros((1, 3, 3, 1), np.int64)
    weight[0, 0, 0, 0] = -128
    assert words_fit(fold_phases(weight, SAME), 24, 1)
    weight[0, 0, 2, 0] = -1
    assert not words_fit(fold_phases(weight, SAME), 24, 1)
    weight[0, 0, :, 0] = (1, 1, 1)
    columns = column_sums(fold_phases(weight, SAME))
    np.testing.assert_array_equal(columns, [[1, 2]])  # upper, lower
    assert sums_fit(columns, 5, 3, 4, 1)  # 15 = 2**4 - 1
    assert not sums_fit(columns, 6, 3, 4, 1)
    # m = 6, s = 10: field 6 has four bits for the upper taps
    assert sums_fit(columns, 15, 6, 10, 1)
    assert not sums_fit(columns * 2, 15, 6, 10, 1)


def test_phases_of_padded_and_unpadded_rows():
    weight = np.arange(1, 10).reshape(1, 3, 3, 1)
    # [upper, lower][even, odd]
    np.testing.assert_array_equal(fold_phases(weight, SAME)[0, 0], [[0, 1], [2, 3]])
    np.testing.assert_array_equal(fold_phases(weight, VALID)[0, 0], [[1, 2], [3, 0]])
    assert (fields_in_front(SAME), fields_in_front(VALID)) == (0, 1)


def odd_layer(seed: int) -> QuantGraph:
    """A layer with random widths, shapes, padding, zero points and kinds of weights."""
    rng = random.Random(seed)
    w_bits, a_bits = ALL_PAIRS[seed * 17 % len(ALL_PAIRS)]
    window = Window(3, 3, 2, 2, *PADDINGS[seed % len(PADDINGS)])
    return with_odd_values(
        QConv2d,
        Shape(rng.randint(3, 19), rng.randint(3, 27), rng.choice((1, 2, 3, 5, 8, 9, 16, 33))),
        rng.randint(1, 9),
        window,
        (w_bits, a_bits),
        rng.choice((a_bits, rng.randint(2, 8))),
        rng,
        seed,
    )


def strided_chain(part: int) -> QuantGraph:
    """Five layers with widths of their own, from 41x47 down to 2x2; ten of them have all pairs."""
    return chain(QConv2d, ALL_PAIRS[part::10], part, (41, 47), stride=2)


@pytest.mark.parametrize("part", [0])
def test_some_widths_on_the_host(part):
    check_exact(strided_chain(part), FAMILIES, on_core=False)


@needs_toolchain
@pytest.mark.parametrize("part", [1, 5])
def test_some_widths_on_the_core(part):
    check_exact(strided_chain(part), FAMILIES, on_core=True)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("part", range(10))
def test_all_widths(part, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check_exact(strided_chain(part), FAMILIES, on_core=on_core)


@pytest.mark.parametrize("seed", range(2))
def test_odd_layers_on_the_host(seed):
    check_exact(odd_layer(seed), FAMILIES, on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(2, 10))
def test_odd_layers_on_the_core(seed):
    check_exact(odd_layer(seed), FAMILIES, on_core=True)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(100, 260))
def test_many_odd_layers(seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check_exact(odd_layer(seed), FAMILIES, on_core=on_core)


def test_what_it_does_not_take():
    """Windows of other strides, and more channels than the C structures count bytes for."""
    for window, channels in ((Window.square(3, 3, 1), 4), (Window(3, 3, 2, 1), 4), (SAME, 1400)):
        graph = single_layer(QConv2d, Shape(6, 6, channels), 2, window, w_bits=2, a_bits=2)
        assert lower_row_polynomial(graph.ops[0], graph.tensors) == ()
