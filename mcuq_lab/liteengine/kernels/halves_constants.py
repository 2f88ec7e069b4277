"""Constants of the halves as they lie in flash: weights, and start values of the accumulators."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.dense import pack_stream
from mcuq_lab.liteengine.packing.halves import (
    ACCUMULATOR_BITS,
    HALF_BITS,
    TOGGLE_BIT,
    HalvesPacking,
    byte_pairs,
    joint_halves,
    start_factor,
    start_sums,
    start_words,
)
from mcuq_lab.quantgraph import Requantize


@dataclass(frozen=True)
class OutputShifts:
    """Shifts of a requantization as a tile has them.

    Attributes:
        pre_shift, shift: what they are for the tile.
        offset_shift: by how much offsets are shifted to the left for it.
    """

    pre_shift: int
    shift: int
    offset_shift: int


def output_shifts(requantize: Requantize, peak: int, pixels: int) -> OutputShifts:
    """Those that leave the outputs of two pixels in upper halves, where sums have room for it.

    With d more bits in both shifts and in the offset,
        floor((floor(sum * 2**(pre + d) * M / 2**32) + 2**d * offset) / 2**(shift + d))
    is floor((sum * 2**pre * M / 2**32 + offset) / 2**shift), whatever d is: floors of integer
    divisions in turn are one floor. One PKHTB then takes two results together for one USAT16.

    Args:
        requantize: the layer's.
        peak: no sum is larger.
        pixels: of the packing.
    """
    more = HALF_BITS - requantize.shift
    pre_shift = requantize.pre_shift + more
    if pixels == 2 and more > 0 and peak << pre_shift < 1 << 31:
        return OutputShifts(pre_shift, HALF_BITS, more)
    return OutputShifts(requantize.pre_shift, requantize.shift, 0)


def output_offsets(requantize: Requantize, shifts: OutputShifts) -> np.ndarray:
    """Offsets that have room to be shifted, int32 (oc,).

    A product is below 2**30, so that a clipped offset leaves the channel below 0, or at 2**14 and
    more: it was saturated for every input, and still is.
    """
    most = ((1 << 30) >> shifts.offset_shift) if shifts.offset_shift else (1 << 31) - 1
    least = -((1 << 31) - 1 >> shifts.offset_shift)
    return requantize.offset.clip(least, most)


@dataclass(frozen=True, eq=False)
class FirstWords:
    """Start values as they lie in flash, (tile, part, word).

    Without `factors` they are what they are; with them, those of a word's two bytes, a word stands
    for the sum of its bytes times these, and `base`.
    """

    words: np.ndarray
    base: int = 0
    factors: tuple[int, int] | None = None

    @property
    def word_bytes(self) -> int:
        return 2 if self.factors else 4


def first_words(packing: HalvesPacking, weight: np.ndarray, a_bits: int) -> FirstWords:
    """Start values, narrow where they are made of two sums below 256."""
    sums = start_sums(packing, weight)
    factor, base = start_factor(packing, a_bits), 0
    if packing.channels == 2:
        low, high, high_factor = sums[:, ::2, 0], sums[:, 1::2, 0], factor << packing.w_shift
    else:
        low, high, high_factor = sums[..., 0], sums[..., -1], 1 << TOGGLE_BIT
        if packing.toggle:
            base = int(high.min())
            high = high - base
        else:
            high = 0 * high
    three = packing.channels == 2 and packing.toggle
    if packing.surplus or three or max(low.max(), high.max()) > 0xFF:
        return FirstWords(_by_tile(start_words(packing, weight, a_bits)))
    modulus = 1 << ACCUMULATOR_BITS
    factors = factor, high_factor % modulus
    return FirstWords(_by_tile(low + (high << 8)), (base << TOGGLE_BIT) % modulus, factors)


def _by_tile(words: np.ndarray) -> np.ndarray:
    """(part, words) -> (tile, part, 4 words)."""
    return words.reshape(len(words), -1, 4).transpose(1, 0, 2)


def flash_weights(
    packing: HalvesPacking, bits: int, terms: np.ndarray, flash_pairs: int
) -> np.ndarray:
    """Weights of `bits` bits as `le_halves_unpack` reads them: uint8 (tiles, bytes).

    Args:
        packing: of the terms.
        bits: their width.
        terms: weights (oc, 2 * pairs), whole tiles of output channels.
        flash_pairs: pairs of terms to store, those behind the last one zeros.
    """
    channels = 4 * packing.channels
    tiles = len(terms) // channels
    if packing.surplus:
        # Behind the terms no activations are packed: what lies there times 0.
        halves = np.zeros((len(terms) // 2, 2 * flash_pairs), np.int64)
        halves[:, : terms.shape[1]] = byte_pairs(terms)
        # (tile, two byte pairs, pair, half) -> (tile, pair, byte pair, half)
        words = halves.reshape(tiles, 2, -1, 2).transpose(0, 2, 1, 3)
        return words.astype("<i2").reshape(tiles, -1).view(np.uint8)
    padded = np.zeros((len(terms), 2 * flash_pairs), np.int64)
    padded[:, : terms.shape[1]] = terms
    if packing.bytes:
        # (tile, byte pair, channel, pair, half) -> (tile, half, channel, pair, byte pair), 8 fields
        # of each byte of a word a group
        ordered = padded.reshape(tiles, 2, 2, -1, 2).transpose(0, 4, 2, 3, 1)
        fields = ordered.reshape(tiles, 4, -1, 8) + (1 << (bits - 1))
        lanes = pack_stream(fields, bits).reshape(tiles, 4, -1, bits)
        return lanes.transpose(0, 2, 3, 1).reshape(tiles, -1)
    # (tile, channel, pair, half) -> (tile, half, pair, channel), 16 fields of each half a group
    ordered = padded.reshape(tiles, channels, -1, 2).transpose(0, 3, 2, 1)
    fields = ordered.reshape(tiles, 2, -1, 16) + (1 << (bits - 1))
    if joint_halves(bits, packing):
        halves = _joint(fields, packing.w_shift).reshape(tiles, 2, -1, bits, 2)
    else:
        halves = pack_stream(fields, bits).reshape(tiles, 2, -1, bits, 2)
    return halves.transpose(0, 2, 3, 1, 4).reshape(tiles, -1)


def _joint(fields: np.ndarray, w_shift: int) -> np.ndarray:
    """Joint halves as `le_halves_joint_field` reads them, fields (..., 16): uint8 (..., 4)."""
    pairs = fields.reshape(*fields.shape[:-1], 2, 4, 2).astype(np.int64)
    both = pairs[..., 0] + (pairs[..., 1] << w_shift)
    far = 3 & ~((1 << (w_shift - 6)) - 1)
    last = ((both[..., 3] & ~far) << 6) + ((both[..., 3] & far) << 14)
    halves = both[..., 0] + (both[..., 1] << 2) + (both[..., 2] << 4) + last
    return halves.astype("<u2").view(np.uint8)
