"""Packings of the halves of SMLAD: convolutions of any size, as products of pixels and channels.

SMLAD multiplies two pairs of 16-bit halves and adds both products to a 32-bit accumulator. The two
pairs are two neighbouring terms of a dot product. A half of the first operand holds one or two
pixels, a half of the second one or two output channels:

    a[0] + a[1] * 2**a_shift        w[0] + w[1] * 2**w_shift

so that the accumulator has one field for each pixel and channel, field (i, k) at bit
i * a_shift + k * w_shift. Fields start at K = amax * sum(max(-w, 0)) and are never negative. Where
sums outgrow their fields, the terms are split into segments, summed up one after the other: n of
them, each below 2**b, the narrowest field's bits, with n <= 8 and n <= 2**b. Whatever the shifts,
the top field has room for the sum of all segments, and of four fields so has each of the others
once its upper neighbour is taken away (the tests go through all shifts).

Two channels may share a half as its bytes (*byte pairs*): of h = w + w' * 256, SXTB16 takes out w.
The sums over both are S and L, channel w' is (S - L) / 256 modulo 2**24. A pair of terms takes two
loads less and two SXTB16 more, which saves one cycle of sixteen, and there are half as many words
to unpack. Two pixels have 24 bits for their fields then, in each segment.

Weights of 8 bits, and narrow ones of many terms, may even stay in flash as bytes: with u = w + 128
and h = w' * 256 + u, which is always an int16, UXTB16 takes u out of h. The sums over both start at
-128 * sum(a), which packing a pixel finds on the way, and give S = sum(a h) - that and L =
sum(a w). In several segments that is taken off in the last one: S - L of the others, which has 24
bits in each, does without.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

HALF_BITS = 16
ACCUMULATOR_BITS = 32
TOGGLE_BIT = 15
BYTE_SURPLUS = 128
"""What the lower byte of a byte pair in flash holds above its weight."""

BYTE_PAIR_BITS = 24
"""Of the difference of two sums over byte pairs, without the lowest byte, which is 0."""
_LONG_PAIRS = 1024
"""Pairs of terms of which narrow weights may lie in flash as bytes, too: unpacked, those of a tile
would take 8 KB of scratch and more."""


@dataclass(frozen=True)
class Field:
    """Pixel `pixel` and channel `channel` of a product, at bits [low, low + bits)."""

    pixel: int
    channel: int
    low: int
    bits: int


@dataclass(frozen=True)
class HalvesPacking:
    """How a dot product is packed.

    Attributes:
        pixels, channels: in one half, 1 or 2 each.
        a_shift, w_shift: to the second pixel, to the second channel; 0 where there is none.
        toggle: the second pixel reaches bit 15; its top bit is inverted, which subtracts 2**15 from
            every half, and 2**15 * sum(half of w) is added to the accumulator.
        pairs: pairs of terms in each segment; at least one segment.
        bytes: byte pairs; channels is 1 then, each channel has sums of its own.
        surplus: byte pairs that lie in flash as they are multiplied; pixels is 1 then.
    """

    pixels: int
    channels: int
    a_shift: int
    w_shift: int
    toggle: bool
    pairs: tuple[int, ...]
    bytes: bool = False
    surplus: bool = False

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """By channel, then pixel."""
        end = BYTE_PAIR_BITS if self.bytes and self.pixels == 2 else ACCUMULATOR_BITS
        return fields(self.pixels, self.channels, self.a_shift, self.w_shift, end)

    def __str__(self) -> str:
        channels = "byte pairs of 2 ch" if self.bytes else f"{self.channels} ch"
        text = channels if self.surplus else f"halves of {self.pixels} px x {channels}"
        if self.a_shift:
            text += f" s={self.a_shift}"
        if self.w_shift:
            text += f" t={self.w_shift}"
        return text if len(self.pairs) == 1 else f"{text}, {len(self.pairs)} segments"


def fields(
    pixels: int, channels: int, a_shift: int, w_shift: int, end: int = ACCUMULATOR_BITS
) -> tuple[Field, ...]:
    """Fields of an accumulator, each as wide as it is far to the next one, or to `end`."""
    lows = sorted(i * a_shift + k * w_shift for i in range(pixels) for k in range(channels))
    ends = dict(zip(lows, [*lows[1:], end], strict=True))
    return tuple(
        Field(i, k, low, ends[low] - low)
        for k in range(channels)
        for i in range(pixels)
        for low in (i * a_shift + k * w_shift,)
    )


def half_words(weight: np.ndarray, channels: int, w_shift: int) -> np.ndarray:
    """Halves of weights (oc, n): int64 (oc / channels, n)."""
    parts = weight.astype(np.int64).reshape(-1, channels, weight.shape[1])
    return parts[:, 0] if channels == 1 else parts[:, 0] + (parts[:, 1] << w_shift)


def joint_halves(w_bits: int, packing: HalvesPacking) -> bool:
    """Whether flash has both channels of a half at their distance: it costs no bits at 2 bits."""
    return w_bits == 2 and packing.channels == 2 and 6 <= packing.w_shift <= 8


def activation_toggle(pixels: int, a_shift: int, a_bits: int) -> bool | None:
    """Whether a half of pixels needs its top bit inverted; None where it does not fit.

    a[0] + a[1] * 2**s < 2**(s + a_bits) as a[0] < 2**s. Up to bit 14 that is a non-negative int16;
    if it ends in bit 15, minus 2**15 is an int16 and has the same bits with the top one inverted.
    """
    if pixels == 1:
        return False
    if a_shift < a_bits or a_shift + a_bits > HALF_BITS:
        return None
    return a_shift + a_bits == HALF_BITS


def byte_pairs(weight: np.ndarray, surplus: int = BYTE_SURPLUS) -> np.ndarray:
    """Byte pairs of weights (oc, n): int64 (oc / 2, n)."""
    parts = weight.astype(np.int64).reshape(-1, 2, weight.shape[1])
    return 256 * parts[:, 1] + parts[:, 0] + surplus


def byte_pairs_fit(weight: np.ndarray, a_bits: int) -> bool:
    """Whether the sums of byte pairs of weights (oc, n) are exact.

    S - L = 256 * (acc + K) is taken modulo 2**32, so acc + K <= amax * sum|w| must be below 2**24.
    """
    largest = ((1 << a_bits) - 1) * int(np.abs(weight.astype(np.int64)).sum(axis=1).max())
    return largest < 1 << BYTE_PAIR_BITS


def halves_packings(
    weight: np.ndarray, w_bits: int, a_bits: int, granule: int = 1, max_segments: int = 8
) -> Iterator[HalvesPacking]:
    """All valid packings of dot products; always at least the plain one.

    Args:
        weight: integers (oc, 2 n), neighbours form pairs of terms.
        w_bits, a_bits: their width, and the width of the unsigned activations.
        granule: segments begin at multiples of this many pairs.
        max_segments: packings with more are not worth listing.

    A segment is valid if for each output channel amax * sum|w| < 2**bits of its field: a field
    starts at K = amax * sum(negated negative w), so it stays in 0 .. amax * sum|w|, and nothing
    ever borrows from or carries into the next field. The accumulator wraps modulo 2**32, so only
    final values matter. A plain sum is below 2**31 by the specification of the quantized network.

    Halves of weights must be int16. That is checked on the actual weights: -2 << 14 alone fits, but
    not with a negative channel below it.
    """
    yield HalvesPacking(1, 1, 0, 0, False, (weight.shape[1] // 2,))
    padded = np.concatenate([weight, np.zeros((len(weight) % 2, weight.shape[1]), weight.dtype)])
    whole = (weight.shape[1] // 2,)
    sums = np.abs(padded.astype(np.int64)).reshape(len(padded), -1, 2).sum(-1).cumsum(-1)
    fit = byte_pairs_fit(padded, a_bits)
    if w_bits < 8 and fit:
        yield HalvesPacking(1, 1, 0, 0, False, whole, bytes=True)
    if w_bits == 8 or whole[0] >= _LONG_PAIRS:
        limit = ((1 << BYTE_PAIR_BITS) - 1) // ((1 << a_bits) - 1)
        pairs = whole if fit else _segments(sums, limit, granule, max_segments)
        if pairs:  # S - L of each segment is exact
            yield HalvesPacking(1, 1, 0, 0, False, pairs, bytes=True, surplus=True)
    if w_bits < 8 and 2 * a_bits <= HALF_BITS:  # w + 256 w' is an int16 for all w, w'
        a_shift = min(BYTE_PAIR_BITS // 2, HALF_BITS - a_bits)
        limit = ((1 << a_shift) - 1) // ((1 << a_bits) - 1)
        pairs = _segments(sums, limit, granule, max_segments)
        if pairs:
            toggle = bool(activation_toggle(2, a_shift, a_bits))
            yield HalvesPacking(2, 1, a_shift, 0, toggle, pairs, bytes=True)
    for pixels, channels in ((2, 1), (1, 2), (2, 2)):
        for w_shift in range(1, 15) if channels == 2 else (0,):
            halves = half_words(padded, channels, w_shift)
            if halves.min() < -(1 << 15) or halves.max() >= 1 << 15:
                continue
            for a_shift in range(a_bits, HALF_BITS - a_bits + 1) if pixels == 2 else (0,):
                lows = {i * a_shift + k * w_shift for i in range(pixels) for k in range(channels)}
                if len(lows) < pixels * channels:
                    continue
                toggle = activation_toggle(pixels, a_shift, a_bits)
                narrowest = min(f.bits for f in fields(pixels, channels, a_shift, w_shift))
                limit = ((1 << narrowest) - 1) // ((1 << a_bits) - 1)
                # Partial sums are added up in twice the narrowest field.
                most = min(max_segments, 1 << narrowest)
                pairs = _segments(sums, limit, granule, most)
                if toggle is not None and pairs:
                    yield HalvesPacking(pixels, channels, a_shift, w_shift, toggle, pairs)


def _segments(sums: np.ndarray, limit: int, granule: int, max_segments: int) -> tuple[int, ...]:
    """Pairs in each of the fewest segments in which no channel's sum|w| passes `limit`.

    `sums` are sum|w| over pairs 0 .. n, for every n: (oc, pairs). Empty if there are too many
    segments, or a granule alone passes the limit.
    """
    count, first, found = sums.shape[1], 0, []
    before = np.zeros(len(sums), np.int64)
    while first < count:
        fitting = int((sums - before[:, None] <= limit).all(axis=0).sum())
        end = count if fitting == count else first + (fitting - first) // granule * granule
        if end <= first or len(found) == max_segments:
            return ()
        found.append(end - first)
        before, first = sums[:, end - 1], end
    return tuple(found)


def start_sums(packing: HalvesPacking, weight: np.ndarray) -> np.ndarray:
    """What the start values are made of: int64 (segments, oc, 1 or 2).

    First sum(max(-w, 0)) of each segment and channel of `weight`, (oc, 2 n) as above; if the
    packing has a toggle, sum(w) too.
    """
    sums, first = [], 0
    for count in packing.pairs:
        part = weight[:, 2 * first : 2 * (first + count)].astype(np.int64)
        negative = np.maximum(-part, 0).sum(axis=1)
        sums.append([negative, part.sum(axis=1)] if packing.toggle else [negative])
        first += count
    return np.array(sums).transpose(0, 2, 1)


def start_factor(packing: HalvesPacking, a_bits: int) -> int:
    """What sum(max(-w, 0)) is multiplied by to start the fields of all pixels of a channel."""
    amax = (1 << a_bits) - 1
    return amax * (1 + (1 << packing.a_shift)) if packing.pixels == 2 else amax


def start_words(packing: HalvesPacking, weight: np.ndarray, a_bits: int) -> np.ndarray:
    """Start values of the accumulators, modulo 2**32: int64 (segments, oc / channels).

    `weight` is (oc, 2 n) as above, oc a multiple of `packing.channels`. Of byte pairs these are the
    starts of the channels: L starts at the first one's, S at 256 times the second one's more; where
    there is a surplus, both at BYTE_SURPLUS * sum(a) less for each pixel.
    """
    sums = start_sums(packing, weight)
    starts = sums[..., 0] * start_factor(packing, a_bits)
    if packing.toggle:
        starts += sums[..., 1] << TOGGLE_BIT
    if packing.channels == 2:
        words = starts[:, ::2] + (starts[:, 1::2] << packing.w_shift)
    else:
        words = starts
    return words % (1 << ACCUMULATOR_BITS)


def pair_cycles(packing: HalvesPacking) -> int:
    """Cortex-M4 cycles of the loads and products of a pair of terms in a tile."""
    return 15 if packing.bytes else 16
