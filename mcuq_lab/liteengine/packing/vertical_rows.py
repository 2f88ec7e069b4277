"""Row polynomials under Winograd's F(2, 3), with accumulators that lose no bit.

`vertical.py` states the identity on packed words, where accumulators hold twice the result and the
uppermost field loses a bit. Here the factor of two is divided out at once. With d0 .. d3 four
packed input rows and g0, g1, g2 the packed filter rows of a channel, all sums over channels:

    T = B + sum (d1 + d2) (g0 + g1 + g2)           V = 2**63 + sum (d2 - d1) (g0 - g1 + g2)
    S = (T + V) / 2                                D = T - S
    row 0 = S + sum (d0 - d2) g0 + rest + 2**63    row 1 = D + sum (d3 - d1) g2 + rest

modulo 2**64. Multiplied out, the two sums are s + d and s - d with

    s = sum (d1 g1 + d2 (g0 + g2))                 d = sum (d1 (g0 + g2) + d2 g1)

so that row 0 is the direct sum s + (d0 - d2) g0 = d0 g0 + d1 g1 + d2 g2 with its start value, and
row 1 likewise. Where T and V as integers lie in [0, 2**64), they are what the accumulators hold,
T + V = B + 2**63 + 2 s is an integer of 65 bits, and even, as B is: S = B / 2 + 2**62 + s is exact,
and D = B / 2 - 2**62 + d is exact modulo 2**64.

B = 2 X + 2**63 - 2 t 2**top: X are the start values of all fields but the uppermost one, which
begins at bit `top`, and whose start value K' follows in rest = (K' + t) 2**top. So both rows start
with X + K' 2**top: they are the packed sums of `row.py` modulo 2**64, whose conditions make them
exact, whatever the fields of T and V do.

What is left to show is that T and V stay within 64 bits:

1. (d1 + d2) has fields of up to 2 amax, d2 - d1 of up to amax in magnitude, each field any number
   of these. So T lies between B + 2 amax sum(z**i) sum(min(W, 0)) and the same with max, over the
   words W of g0 + g1 + g2; both are reached. `centre` t moves this range to the middle.
2. |V - 2**63| <= amax sum(z**i) sum|W| over the words of g0 - g1 + g2.

And the combined words must be signed operands: 2 amax sum(z**i) < 2**31, weights as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mcuq_lab.liteengine.packing.row import (
    ACCUMULATOR_BITS,
    WORD_BITS,
    RowPacking,
    Segment,
    Slice,
    column_sums,
    sums_fit,
    weight_words,
    words_fit,
)

_ORDERS = 2000
"""Of channels, that are tried at most: some tenths of a second."""


def combined_filters(weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Filter rows of the four products, each int64 (oc, 1, 3, ic), from weights (oc, 3, 3, ic)."""
    g0, g1, g2 = (weight[:, row : row + 1].astype(np.int64) for row in range(3))
    return g0 + g1 + g2, g0 - g1 + g2, g0, g2


def weights_in_pairs(w_bits: int, field_bits: int, even: bool) -> bool:
    """Whether two of a filter row's taps lie 16 bits apart, as SMLAD takes them.

    Its second factor, 1 and 2**field_bits in the halves of a word, must be two int16. `even`: 4-bit
    weights come by two channels.
    """
    return field_bits <= 14 and (w_bits == 3 or (w_bits == 4 and even))


def activations_fit(pixels: int, field_bits: int, a_bits: int) -> bool:
    """Whether sums and differences of two rows are signed operands."""
    amax = (1 << a_bits) - 1
    return field_bits > a_bits and 2 * amax * _ones(pixels, field_bits) < 1 << (WORD_BITS - 1)


def centre(weight: np.ndarray, a_bits: int) -> np.ndarray:
    """t of each output channel, int64 (oc,): half of amax times the sum of the last taps."""
    return (((1 << a_bits) - 1) * weight[:, :, 0].astype(np.int64).sum(axis=(1, 2))) >> 1


def accumulators_fit(weight: np.ndarray, a_bits: int, pixels: int, field_bits: int) -> bool:
    """Whether T and V of one segment stay within 64 bits, for all activations."""
    amax, ones, top = (1 << a_bits) - 1, _ones(pixels, field_bits), (pixels + 1) * field_bits
    if not WORD_BITS <= top < ACCUMULATOR_BITS:
        return False
    total, difference = (
        weight_words(part, field_bits, 1)[:, 0, :, 0] for part in combined_filters(weight)[:2]
    )
    below = np.minimum(total, 0).sum(axis=-1)
    above = np.maximum(total, 0).sum(axis=-1)
    reach = np.abs(difference).sum(axis=-1)
    largest = 1 << ACCUMULATOR_BITS
    for low, high, apart, start in zip(
        below.tolist(),
        above.tolist(),
        reach.tolist(),
        begin_values(weight, a_bits, pixels, field_bits),
        strict=True,
    ):
        if start + 2 * amax * ones * low < 0 or start + 2 * amax * ones * high >= largest:
            return False
        if amax * ones * apart >= largest // 2:
            return False
    return True


def begin_values(weight: np.ndarray, a_bits: int, pixels: int, field_bits: int) -> list[int]:
    """B of each output channel; see the head of this file."""
    top = (pixels + 1) * field_bits
    amax, negative = (1 << a_bits) - 1, np.maximum(-weight.astype(np.int64), 0)
    starts = (amax * negative.sum(axis=(1, 2, 3))).tolist()
    uppermost = (amax * negative[:, :, 0].sum(axis=(1, 2))).tolist()
    values = []
    for k, upper, shift in zip(starts, uppermost, centre(weight, a_bits).tolist(), strict=True):
        fields = (k - upper) << field_bits
        fields += sum(k << (field * field_bits) for field in range(2, pixels + 1))
        values.append(2 * fields + (1 << (ACCUMULATOR_BITS - 1)) - 2 * (shift << top))
    return values


def vertical_packings(
    weight: np.ndarray,
    w_bits: int,
    a_bits: int,
    whole: Callable[[int], int],
    max_segments: int = 8,
) -> Iterator[RowPacking]:
    """Packings with segments of equal size, for each geometry with the fewest that fit.

    Args:
        weight: integers (oc, 3, 3, ic), OHWI.
        w_bits, a_bits: their width, and the width of the unsigned activations.
        whole: the channels of a segment that is to have so many at least: all but the last one,
            which is filled up with zeros, have as many.
        max_segments: packings with more are not worth listing.
    """
    whole_a, whole_w = Slice(0, a_bits, a_bits), Slice(0, w_bits, w_bits)
    channels = weight.shape[3]
    filters = combined_filters(weight)
    for pixels in (4, 3, 2):
        for field_bits in range(2, 31):
            if not activations_fit(pixels, field_bits, a_bits):
                continue
            if not all(words_fit(part, field_bits, 1) for part in filters):
                continue
            for count in range(1, min(max_segments, channels) + 1):
                size = whole(-(-channels // count))
                parts = [weight[..., first : first + size] for first in range(0, channels, size)]
                if all(_fits(part, a_bits, pixels, field_bits) for part in parts):
                    segments = tuple(
                        Segment(i * size, part.shape[3], whole_a, whole_w)
                        for i, part in enumerate(parts)
                    )
                    yield RowPacking(pixels, field_bits, 1, False, segments)
                    break


def balanced(
    weight: np.ndarray, a_bits: int, packing: RowPacking, whole: Callable[[int], int], group: int
) -> tuple[tuple[int, ...], RowPacking] | None:
    """Fewer segments of a packing's geometry, by another order of the input channels.

    Channels move in groups, as many as share a word in memory. A segment's sums must fit for every
    output channel; where heavy channels are neighbours, that takes more segments than the sum of
    all channels does.

    Args:
        group: channels of a group; those behind the last whole one stay where they are.

    Returns:
        The groups in their new order, and the packing; None if fewer are not found.
    """
    channels, amax = weight.shape[3], (1 << a_bits) - 1
    sums = amax * np.abs(weight.astype(np.int64)).sum(axis=(1, 2))
    limit = (1 << packing.field_bits) - 1
    least = max(1, -(-int(sums.sum(axis=1).max()) // limit))  # all weights may be 0
    for count in range(least, len(packing.segments)):
        size = whole(-(-channels // count))
        firsts = range(0, channels, size)

        def excess(order: tuple[int, ...], firsts: range = firsts) -> int:
            found = np.add.reduceat(sums[:, in_order(order, group, channels)], firsts, 1)
            return int(np.maximum(found - limit, 0).sum())

        def parts(order: tuple[int, ...], size: int = size) -> list[np.ndarray]:
            ordered = weight[..., in_order(order, group, channels)]
            return [ordered[..., first : first + size] for first in range(0, channels, size)]

        for order in _orders_without(excess, channels // group):
            found = parts(order)
            if all(_fits(part, a_bits, packing.pixels, packing.field_bits) for part in found):
                one = packing.segments[0]
                segments = tuple(
                    Segment(first, part.shape[3], one.a_slice, one.w_slice)
                    for first, part in zip(firsts, found, strict=True)
                )
                return order, replace(packing, segments=segments)
    return None


def in_order(order: tuple[int, ...], group: int, channels: int) -> list[int]:
    """Channels by groups in this order, and those behind the last whole group."""
    moved = [first * group + i for first in order for i in range(group)]
    return [*moved, *range(len(moved), channels)]


def _orders_without(
    excess: Callable[[tuple[int, ...]], int], count: int
) -> Iterator[tuple[int, ...]]:
    """Orders of `count` groups without excess, each from a random one on by swaps of two groups
    that lessen it."""
    rng, tried = np.random.default_rng(0), 0
    pairs = [(i, k) for k in range(count) for i in range(k)]
    while pairs and tried < _ORDERS:
        order = tuple(map(int, rng.permutation(count)))
        least, since = excess(order), 0
        tried += 1
        while least > 0 and since < len(pairs):
            swapped = _swapped(order, *pairs[tried % len(pairs)])
            found, tried, since = excess(swapped), tried + 1, since + 1
            if found < least:
                order, least, since = swapped, found, 0
        if least == 0:
            yield order


def _swapped(order: tuple[int, ...], i: int, k: int) -> tuple[int, ...]:
    swapped = list(order)
    swapped[i], swapped[k] = order[k], order[i]
    return tuple(swapped)


def _fits(weight: np.ndarray, a_bits: int, pixels: int, field_bits: int) -> bool:
    amax = (1 << a_bits) - 1
    if not sums_fit(column_sums(weight), amax, pixels, field_bits, 1):
        return False
    return accumulators_fit(weight, a_bits, pixels, field_bits)


def _ones(pixels: int, field_bits: int) -> int:
    return sum(1 << (i * field_bits) for i in range(pixels))
