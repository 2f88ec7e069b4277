"""Whatever the solver calls valid computes exact sums, and its limits are tight."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mcuq_lab.liteengine.packing.row import (
    RowPacking,
    Segment,
    Slice,
    column_sums,
    needs_toggle,
    row_packings,
    sums_fit,
    words_fit,
)
from mcuq_lab.liteengine.packing.row_cycles import tile_cycles
from tests.support.row_model import packed_sums

WIDTHS = tuple(itertools.product(range(2, 9), repeat=2))


def exact_sums(weight: np.ndarray, a_bits: int, rows: np.ndarray) -> np.ndarray:
    """acc + start, int64 (w - 2, oc)."""
    windows = np.lib.stride_tricks.sliding_window_view(rows.astype(np.int64), 3, axis=1)
    sums = np.einsum("kxcj,okjc->xo", windows, weight.astype(np.int64))
    return sums + ((1 << a_bits) - 1) * np.maximum(-weight.astype(np.int64), 0).sum((1, 2, 3))


def check(packing: RowPacking, weight: np.ndarray, a_bits: int, rows: np.ndarray) -> None:
    width = rows.shape[1] // packing.pixels * packing.pixels
    rows = rows[:, :width]
    expected = exact_sums(weight, a_bits, rows)
    np.testing.assert_array_equal(
        packed_sums(packing, weight, a_bits, rows), expected, str(packing)
    )


def weights(rng, kind: str, bits: int, shape) -> np.ndarray:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return {
        "random": lambda: rng.integers(low, high + 1, shape),
        "lowest": lambda: np.full(shape, low),
        "highest": lambda: np.full(shape, high),
        "ends": lambda: rng.choice([low, high], shape),
    }[kind]()


@pytest.mark.parametrize(("w_bits", "a_bits"), WIDTHS)
def test_every_kind_of_packing_is_exact(w_bits, a_bits):
    """Of each geometry the narrowest and the widest fields, on random and on extreme operands."""
    rng = np.random.default_rng(w_bits * 10 + a_bits)
    amax = (1 << a_bits) - 1
    for kind, rows in (
        ("random", rng.integers(0, amax + 1, (3, 12, 2))),
        ("ends", rng.choice([0, amax], (3, 12, 2))),
        ("lowest", np.full((3, 12, 2), amax)),
        ("highest", np.full((3, 12, 2), amax)),
    ):
        weight = weights(rng, kind, w_bits, (1, 3, 3, 2))
        found: dict[tuple, RowPacking] = {}
        for packing in row_packings(weight, w_bits, a_bits):
            cuts = (len(packing.a_slices), len(packing.w_slices))
            key = (packing.pixels, packing.words, *cuts)
            found.setdefault((*key, "narrow"), packing)
            found[(*key, "wide")] = packing
        assert found, "each pair of widths has a packing"
        for packing in found.values():
            check(packing, weight, a_bits, rows)


def test_exhaustive_at_two_bits():
    """All filter rows, 4**3, on all windows: every sequence of m + 1 pixels in every place."""
    for taps in itertools.product((-2, -1, 0, 1), repeat=3):
        weight = np.zeros((1, 3, 3, 1), np.int64)
        weight[0, 1, :, 0] = taps
        packings = {p.pixels: p for p in row_packings(weight, 2, 2)}
        for pixels, length in ((2, 3), (3, 3)):
            row = np.array(list(itertools.product(range(4), repeat=length))).reshape(-1)
            values = np.zeros((3, row.size, 1), np.int64)
            values[1, :, 0] = row
            check(packings[pixels], weight, 2, values)


def one_segment(weight, w_bits, a_bits, pixels, field_bits, words=1, toggle=False) -> RowPacking:
    whole = Segment(0, weight.shape[3], Slice(0, a_bits, a_bits), Slice(0, w_bits, w_bits))
    return RowPacking(pixels, field_bits, words, toggle, (whole,))


def test_field_limit_is_tight():
    """amax * sum|w| = 2**s - 1 is accepted and exact; 2**s is refused, and would be wrong."""
    weight = np.zeros((1, 3, 3, 1), np.int64)
    weight[0, 0, :, 0] = (1, 1, 1)
    rows = np.full((3, 6, 1), 5)
    assert sums_fit(column_sums(weight), 5, 3, 4, 1)  # 15 = 2**4 - 1
    check_amax = one_segment(weight, 2, 3, 3, 4)
    np.testing.assert_array_equal(packed_sums(check_amax, weight, 3, rows)[:, 0], 15)
    assert not sums_fit(column_sums(weight), 6, 3, 4, 1)
    assert (packed_sums(check_amax, weight, 3, rows + 1)[:, 0] != 18).any()


def test_weight_word_limit():
    """-2 << 30 fits alone and with taps above zero, but not with negative ones below it."""
    weight = np.zeros((1, 3, 3, 1), np.int64)
    weight[0, 0, 0, 0] = -2
    assert words_fit(weight, 15, 1)
    weight[0, 0, 1, 0] = 1
    assert words_fit(weight, 15, 1)
    weight[0, 0, 1, 0] = -1
    assert not words_fit(weight, 15, 1)
    assert words_fit(weight, 14, 1)
    weight[0, 0, :, 0] = (-2, 0, -1)
    assert not words_fit(weight, 15, 1)
    assert all(p.field_bits < 15 for p in row_packings(weight, 2, 8) if p.words == 1)


def test_activation_word_limit():
    assert needs_toggle(3, 13, 4) is False  # 30 bits
    assert needs_toggle(3, 14, 4) is True  # 32 bits
    assert needs_toggle(3, 15, 4) is None
    assert needs_toggle(2, 3, 4) is None  # pixels would overlap


def test_uppermost_field_limit():
    """m = 5, s = 10: field 6 has four bits, so the sums of the first column must stay below 16."""
    weight = np.zeros((1, 3, 3, 1), np.int64)
    weight[0, 0, 0, 0] = 1
    assert sums_fit(column_sums(weight), 15, 5, 10, 1)
    weight[0, 1, 0, 0] = 1
    assert not sums_fit(column_sums(weight), 15, 5, 10, 1)
    weight[0, 1] = np.array([[0], [1], [1]])
    assert sums_fit(column_sums(weight), 15, 5, 10, 1)


def test_segments_grow_with_the_weights():
    """Sums that outgrow a field cost segments, never exactness."""
    rng = np.random.default_rng(5)
    small = rng.integers(-1, 2, (2, 3, 3, 32))
    large = rng.choice([-8, 7], (2, 3, 3, 32))

    def fewest(weight):
        return min(
            len(p.segments)
            for p in row_packings(weight, 4, 4, granule=4)
            if (p.pixels, p.words, len(p.a_slices), len(p.w_slices)) == (3, 1, 1, 1)
        )

    assert fewest(small) == 1
    assert fewest(large) > 3
    for packing in row_packings(large, 4, 4, granule=4):
        assert all(segment.first % 4 == 0 for segment in packing.segments)
        spans = [
            (p.first, p.count) for p in packing.segments if p.a_slice.low == p.w_slice.low == 0
        ]
        assert sum(count for _, count in spans) == 32


def test_expected_packings_for_gaussian_weights():
    """The packings that a 16-channel layer gets, by predicted cycles per pixel."""
    rng = np.random.default_rng(0)

    def best(w_bits, a_bits, spread):
        limit = 1 << (w_bits - 1)
        weight = np.rint(rng.normal(0, spread, (16, 3, 3, 16))).clip(-limit, limit - 1)
        packings = row_packings(weight.astype(np.int64), w_bits, a_bits, granule=4)
        return min(packings, key=lambda p: (tile_cycles(p, 16, 8) / p.pixels, -p.field_bits))

    assert str(best(4, 4, 2)) == "row polynomial m=3 s=13"
    assert (best(2, 2, 0.7).pixels, best(2, 2, 0.7).words) == (4, 1)
    assert best(8, 8, 30).words == 2
    assert len(best(4, 8, 2).a_slices) == 2
    assert len(best(8, 4, 30).w_slices) == 2
