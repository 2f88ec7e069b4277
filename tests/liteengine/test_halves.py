"""Halves: the solver's packings are exact, its limits tight; the kernels equal the reference."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from mcuq_lab.graph import Shape, Window
from mcuq_lab.liteengine.kernels.halves import lower_halves
from mcuq_lab.liteengine.kernels.halves_constants import output_offsets, output_shifts
from mcuq_lab.liteengine.kernels.halves_tile import HalvesTile
from mcuq_lab.liteengine.packing.halves import (
    BYTE_SURPLUS,
    HalvesPacking,
    activation_toggle,
    byte_pairs,
    byte_pairs_fit,
    fields,
    half_words,
    halves_packings,
    start_words,
)
from mcuq_lab.quantgraph import QConv2d, QuantGraph, Requantize
from mcuq_lab.quantize import single_layer
from mcuq_lab.target import DEFAULT_TARGET
from tests.support.exact_layers import check_exact, with_odd_values
from tests.support.networks import chain
from tests.support.simulated_core import has_toolchain

ALL_PAIRS = list(itertools.product(range(2, 9), repeat=2))
needs_toolchain = pytest.mark.skipif(not has_toolchain(), reason="needs arm-none-eabi-gcc")


def packed_sums(
    packing: HalvesPacking, weight: np.ndarray, a_bits: int, pixels: np.ndarray
) -> np.ndarray:
    """acc + start as SMLAD computes it: `weight` (oc, 2 n), `pixels` (packing.pixels, 2 n);
    returns (packing.pixels, oc)."""
    words = half_words(weight, packing.channels, packing.w_shift)
    assert (words == words.astype(np.int16)).all()
    a = sum(pixels[i].astype(np.int64) << (i * packing.a_shift) for i in range(packing.pixels))
    a = a - (1 << 15) if packing.toggle else a
    assert (a == a.astype(np.int16)).all()
    totals = np.zeros((packing.pixels, len(weight)), np.int64)
    first = 0
    for count, starts in zip(packing.pairs, start_words(packing, weight, a_bits), strict=True):
        part = slice(2 * first, 2 * (first + count))
        if packing.bytes:
            sums = byte_pair_sums(packing, weight[:, part], a[part], starts)
        else:
            sums = (starts + (words[:, part] * a[part]).sum(axis=1)) % (1 << 32)
        for field in packing.fields:
            values = (sums >> field.low) & ((1 << field.bits) - 1)
            totals[field.pixel, field.channel :: packing.channels] += values
        first += count
    return totals


def byte_pair_sums(
    packing: HalvesPacking, weight: np.ndarray, a: np.ndarray, starts: np.ndarray
) -> np.ndarray:
    """L and (S - L) / 256 in turn, of one segment: (oc,)."""
    surplus = BYTE_SURPLUS if packing.surplus else 0
    halves = byte_pairs(weight, surplus)
    assert (halves == halves.astype(np.int16)).all()
    lower = halves.astype(np.uint8 if packing.surplus else np.int8).astype(np.int64)
    low, upper = starts.reshape(-1, 2).T
    total = (low + 256 * upper - surplus * a.sum() + halves @ a) % (1 << 32)
    low = (low - surplus * a.sum() + lower @ a) % (1 << 32)
    return np.stack([low, (total - low) % (1 << 32) >> 8], axis=1).reshape(-1)


def exact_sums(weight: np.ndarray, a_bits: int, pixels: np.ndarray) -> np.ndarray:
    start = ((1 << a_bits) - 1) * np.maximum(-weight, 0).sum(axis=1)
    return pixels.astype(np.int64) @ weight.T + start


@pytest.mark.parametrize(("w_bits", "a_bits"), ALL_PAIRS)
def test_every_packing_is_exact(w_bits, a_bits):
    rng = np.random.default_rng(w_bits * 10 + a_bits)
    low, high, amax = -(1 << (w_bits - 1)), (1 << (w_bits - 1)) - 1, (1 << a_bits) - 1
    for weight in (
        rng.integers(low, high + 1, (4, 12)),
        rng.choice([low, high], (4, 12)),
        np.full((4, 12), low),
        np.full((4, 12), high),
    ):
        packings = list(halves_packings(weight, w_bits, a_bits))
        assert (packings[0].pixels, packings[0].channels) == (1, 1)
        for packing in packings:
            for pixels in (
                rng.integers(0, amax + 1, (2, 12)),
                rng.choice([0, amax], (2, 12)),
                np.full((2, 12), amax),
            ):
                chosen = pixels[: packing.pixels]
                np.testing.assert_array_equal(
                    packed_sums(packing, weight, a_bits, chosen),
                    exact_sums(weight, a_bits, chosen),
                    str(packing),
                )


def test_exhaustive_at_two_bits():
    """Two channels x two terms at two bits, all pixels, with the narrowest fields there are."""
    pixels = np.array(list(itertools.product(range(4), repeat=4))).reshape(-1, 2, 2)
    for taps in itertools.product((-2, 0, 1), repeat=4):
        weight = np.array(taps).reshape(2, 2)
        packing = min(
            (p for p in halves_packings(weight, 2, 2) if p.pixels * p.channels == 4),
            key=lambda p: min(field.bits for field in p.fields),
        )
        for pair in pixels:
            np.testing.assert_array_equal(
                packed_sums(packing, weight, 2, pair), exact_sums(weight, 2, pair)
            )


def test_field_limit_is_tight():
    """15 * sum|w| = 2**12 - 1 needs one segment at s = 12; one more weight needs two."""
    weight = np.zeros((1, 80), np.int64)
    weight[0, :39] = 7  # 15 * 273 = 4095
    fits = {p.a_shift: len(p.pairs) for p in halves_packings(weight, 4, 4) if p.pixels == 2}
    assert fits[12] == 1
    weight[0, 39] = 1
    fits = {p.a_shift: len(p.pairs) for p in halves_packings(weight, 4, 4) if p.pixels == 2}
    assert fits[12] == 2


def test_all_segments_fit_the_top_field_and_every_second_one():
    """At all shifts: what kernels rely on when they add up segments without a mask."""
    for a_bits, pixels, channels in itertools.product(range(2, 9), (1, 2), (1, 2)):
        for a_shift in range(a_bits, 17 - a_bits) if pixels == 2 else (0,):
            for w_shift in range(1, 15) if channels == 2 else (0,):
                if pixels * channels == 1 or a_shift == w_shift:
                    continue
                found = sorted(fields(pixels, channels, a_shift, w_shift), key=lambda f: f.low)
                narrowest = min(field.bits for field in found)
                most = min(8, 1 << narrowest) * ((1 << narrowest) - 1)
                assert most < 1 << found[-1].bits
                for lower, upper in zip(found, found[2:], strict=False):
                    assert most < 1 << (upper.low - lower.low)


def test_weight_half_limit():
    """-2 << 14 fits alone, but not with a negative channel below it."""
    shifts = {p.w_shift for p in halves_packings(np.array([[0, 1], [-2, -2]]), 2, 2)}
    assert 14 in shifts
    shifts = {p.w_shift for p in halves_packings(np.array([[-1, 1], [-2, -2]]), 2, 2)}
    assert max(shifts) == 13


def test_byte_pair_limit():
    """All pairs of weights are int16; 2**24 is too much for a sum."""
    extremes = byte_pairs(np.array([[-128, 127, -128, 127], [-128, -128, 127, 127]]))
    np.testing.assert_array_equal(extremes, [[-(1 << 15), -(1 << 15) + 255, 127 * 256, 32767]])
    assert byte_pairs_fit(np.full((2, 518), 127), 8)  # 255 * 518 * 127 < 2**24
    assert not byte_pairs_fit(np.full((2, 520), 127), 8)


@pytest.mark.parametrize("terms", [520, 1042, 3000])
def test_byte_pairs_that_stay_in_flash_may_have_segments(terms):
    """Each has as many terms as leave the upper channel of a pair its 24 bits."""
    rng = np.random.default_rng(terms)
    for weight in (rng.choice([-128, 127], (4, terms)), np.full((4, terms), -128)):
        (packing,) = (p for p in halves_packings(weight, 8, 8, granule=4) if p.surplus)
        assert len(packing.pairs) > 1
        assert all(pairs % 4 == 0 for pairs in packing.pairs[:-1])
        for a in (np.full((1, terms), 255), rng.choice([0, 255], (1, terms))):
            np.testing.assert_array_equal(
                packed_sums(packing, weight, 8, a), exact_sums(weight, 8, a)
            )
    one_more = HalvesPacking(1, 1, 0, 0, False, (packing.pairs[0] + 4,), True, True)
    longer = np.full((2, 2 * one_more.pairs[0]), -128)
    a = np.full((1, longer.shape[1]), 255)
    assert (packed_sums(one_more, longer, 8, 0 * a) != exact_sums(longer, 8, 0 * a)).any()


def test_byte_pairs_have_24_bits_for_two_pixels():
    """15 * sum|w| = 2**12 - 1 needs one segment, of both channels; one more weight needs two."""
    weight = np.zeros((2, 80), np.int64)
    weight[1, :39] = -7  # 15 * 273 = 4095
    for segments in (1, 2):
        (packing,) = (p for p in halves_packings(weight, 4, 4) if p.bytes and p.pixels == 2)
        assert [(field.low, field.bits) for field in packing.fields] == [(0, 12), (12, 12)]
        assert len(packing.pairs) == segments
        weight[1, 39] = 1


def test_byte_pairs_below_8_bits_are_int16():
    """Of the widest weights whose pairs are made at run time: no surplus is needed."""
    extremes = np.array([[-64, 63, -64, 63], [-64, -64, 63, 63]])
    halves = byte_pairs(extremes, surplus=0)
    assert (halves == halves.astype(np.int16)).all()
    np.testing.assert_array_equal(halves.astype(np.int8), extremes[:1])


def test_outputs_in_upper_halves_are_the_same():
    """At random sums and the largest one, offsets up to where the specification clips them."""
    rng = np.random.default_rng(7)
    shifted = 0
    for _ in range(2000):
        shift, pre_shift = int(rng.integers(0, 7)), int(rng.integers(0, 7))
        peak = int(rng.integers(1, 1 << rng.integers(1, 31 - pre_shift)))
        multiplier = int(rng.integers(0, 1 << rng.integers(1, 32)))
        largest = ((peak << pre_shift) * multiplier) >> 32
        bounds = (1 - (1 << 31), (1 << 31) - 1 - largest)
        near = int(rng.integers(-largest - 300, (255 << shift) + 300))
        for offset in (*bounds, near, int(rng.integers(*bounds))):
            layer = Requantize(
                start=np.zeros(1, np.int32),
                multiplier=np.array([multiplier], np.int32),
                offset=np.array([offset], np.int32),
                pre_shift=pre_shift,
                shift=shift,
                bits=int(rng.integers(2, 9)),
            )
            shifts = output_shifts(layer, peak, pixels=2)
            (stored,) = (int(value) for value in output_offsets(layer, shifts))
            shifted += shifts.shift == 16
            for total in (0, peak, int(rng.integers(0, peak + 1))):
                inside = (total << shifts.pre_shift, stored << shifts.offset_shift)
                product = inside[0] * multiplier >> 32
                assert 0 <= inside[0] < 1 << 31
                assert abs(product + inside[1]) < 1 << 31
                expected = ((((total << pre_shift) * multiplier) >> 32) + offset) >> shift
                found = (product + inside[1]) >> shifts.shift
                limit = (1 << layer.bits) - 1
                assert np.clip(found, 0, limit) == np.clip(expected, 0, limit)
    assert shifted > 2000


def test_activation_limit():
    assert activation_toggle(2, 11, 4) is False
    assert activation_toggle(2, 12, 4) is True
    assert activation_toggle(2, 13, 4) is None
    assert activation_toggle(2, 3, 4) is None


def check(graph: QuantGraph, *, on_core: bool) -> None:
    check_exact(graph, (lower_halves,), on_core=on_core)


def odd_layer(seed: int) -> QuantGraph:
    """A layer with random widths, shapes, windows, zero points and kinds of weights."""
    rng = random.Random(seed)
    w_bits, a_bits = ALL_PAIRS[seed * 17 % len(ALL_PAIRS)]
    kernel, stride = rng.choice((1, 1, 2, 3, 5)), rng.randint(1, 2)
    padding = (rng.randrange(kernel) for _ in range(4))
    return with_odd_values(
        QConv2d,
        Shape(rng.randint(5, 9), rng.randint(5, 9), rng.choice((1, 2, 3, 5, 8, 9, 16, 33, 64))),
        rng.randint(1, 17),
        Window(kernel, kernel, stride, stride, *padding),
        (w_bits, a_bits),
        rng.randint(2, 8),
        rng,
        seed,
    )


@pytest.mark.slow
def test_some_widths_on_the_host():
    check(chain(QConv2d, ALL_PAIRS[::8]), on_core=False)


@needs_toolchain
@pytest.mark.slow
@pytest.mark.parametrize("part", range(3))
def test_all_widths_on_the_core(part):
    check(chain(QConv2d, ALL_PAIRS[part::3], seed=part), on_core=True)


@pytest.mark.parametrize("seed", range(4))
def test_odd_layers_on_the_host(seed):
    check(odd_layer(seed), on_core=False)


@needs_toolchain
@pytest.mark.parametrize("seed", range(4, 12))
def test_odd_layers_on_the_core(seed):
    check(odd_layer(seed), on_core=True)


@needs_toolchain
@pytest.mark.parametrize("in_channels", [64, 130])
def test_segments_of_four_fields(in_channels):
    """Two and more than two segments, whose partial sums are words of two fields."""
    shape, window = Shape(3, 3, in_channels), Window.square(1)
    graph = single_layer(QConv2d, shape, 9, window, w_bits=2, a_bits=2, out_bits=2, zero_point=1)

    def four_fields(op, tensors, target):
        ways = lower_halves(op, tensors, target)
        return tuple(way for way in ways if "2 px x 2 ch" in way.packing)

    (way,) = {way.packing for way in four_fields(graph.ops[0], graph.tensors, DEFAULT_TARGET)}
    assert "segments" in way
    assert ("2 segments" in way) == (in_channels == 64)
    check_exact(graph, (four_fields,), on_core=True)


@needs_toolchain
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize(
    ("w_bits", "in_channels", "out_channels", "out_bits", "segments"),
    [(8, 130, 9, 8, 2), (8, 250, 5, 4, 3), (5, 250, 5, 4, 1), (2, 240, 6, 2, 1)],
)
def test_byte_pairs_in_flash(w_bits, in_channels, out_channels, out_bits, segments, on_core):
    """Of 8-bit weights with large sums in several segments; of narrow ones where terms are many."""
    shape, window = Shape(3, 5, in_channels), Window.square(3)
    graph = single_layer(
        QConv2d,
        shape,
        out_channels,
        window,
        w_bits=w_bits,
        a_bits=8,
        out_bits=out_bits,
        zero_point=3,
    )

    def in_flash(op, tensors, target):
        ways = lower_halves(op, tensors, target)
        return tuple(way for way in ways if way.packing.startswith("byte pairs"))

    packings = {way.packing for way in in_flash(graph.ops[0], graph.tensors, DEFAULT_TARGET)}
    assert packings == {"byte pairs of 2 ch" + f", {segments} segments" * (segments > 1)}
    check_exact(graph, (in_flash,), on_core=on_core)


@pytest.mark.nightly
@pytest.mark.parametrize("on_core", [False, True], ids=["host", "core"])
@pytest.mark.parametrize("seed", range(100, 200))
def test_many_odd_layers(seed, on_core):
    if on_core and not has_toolchain():
        pytest.skip("needs arm-none-eabi-gcc")
    check(odd_layer(seed), on_core=on_core)


def test_different_tiles_have_different_names():
    shifts = range(1, 16)
    all_places = {
        fields(pixels, channels, (pixels > 1) * a_shift, (channels > 1) * w_shift)
        for pixels, channels in itertools.product((1, 2), (1, 2))
        for a_shift, w_shift in itertools.product(shifts, shifts)
    }
    tiles = [
        HalvesTile(
            pixels=1 + max(field.pixel for field in places),
            channels=1 + max(field.channel for field in places),
            fields=places,
            unroll=2,
            parts=1,
            bytes=False,
            surplus=False,
            out_bits=4,
            pre_shift=0,
            shift=8,
        )
        for places in all_places
        if len({field.low for field in places}) == len(places)
    ]
    assert len({tile.name for tile in tiles}) == len(tiles) > 200
