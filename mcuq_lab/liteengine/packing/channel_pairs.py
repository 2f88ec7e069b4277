"""Two output channels in a half of 16 bits, W = w0 + w1 z with z = 2**s: a matrix-vector product by
SMLAD, two inputs and two channels an instruction, one accumulator of 32 bits for both channels.

The accumulator never restarts; its value is saved where a segment of inputs ends. Let Y0, Y1 be the
sums of a w0 and of a w1 over all inputs up to the end of segment i, P0 the first one up to its
beginning. Conditions, for activations a in 0..amax:

1. Every W must be an int16.
2. acc - P0 = (Y0 - P0) + z Y1 modulo 2**32. So its lowest s bits, as a signed number, are the
   segment's own sum Y0 - P0 if that fits them. It lies between -amax * sum(max(-w0, 0)) and
   amax * sum(max(w0, 0)) over the segment, and some activations reach either end: neither may leave
   -2**(s-1) .. 2**(s-1) - 1. Adding up the segments' sums yields Y0, one segment after the other.
3. Behind the last segment acc - Y0 = z Y1 modulo 2**32. As a signed number of 32 bits that is exact
   if Y1 lies in -2**(31-s) .. 2**(31-s) - 1.

Conditions 2 and 3 are sharp, and sums on the way need none: the accumulator wraps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_HALF_BITS, _WORD_BITS = 16, 32


@dataclass(frozen=True)
class ChannelPairs:
    """Fields of `field_bits`, segments of `segment_inputs`, of which the last one may be short."""

    field_bits: int
    segment_inputs: int


def channel_pairs(weight: np.ndarray, w_bits: int, amax: int, granule: int) -> ChannelPairs | None:
    """The packing with the longest segments, None if not even `granule` inputs are one.

    Args:
        weight: integers (oc, ic), even numbered channels go into the lower field; oc is even, ic a
            multiple of `granule`.
        w_bits: their width.
        amax: largest activation, unsigned.
        granule: segments begin at multiples of this many inputs.
    """
    found = [ChannelPairs(0, 0)]
    for field_bits in range(_HALF_BITS - w_bits, 1, -1):
        if _halves_fit(weight, field_bits) and _in_range(
            weight[1::2], amax, _WORD_BITS - field_bits
        ):
            inputs = segment_length(weight[::2], field_bits, amax, granule)
            found.append(ChannelPairs(field_bits, inputs))
    longest = max(found, key=lambda each: each.segment_inputs)
    return longest if longest.segment_inputs else None


def packed_pairs(weight: np.ndarray, field_bits: int) -> np.ndarray:
    """W of each pair of channels: int64 (oc / 2, ic)."""
    return weight[::2].astype(np.int64) + (weight[1::2].astype(np.int64) << field_bits)


def _halves_fit(weight: np.ndarray, field_bits: int) -> bool:
    """Condition 1."""
    words, end = packed_pairs(weight, field_bits), 1 << (_HALF_BITS - 1)
    return bool((words >= -end).all() and (words < end).all())


def segment_length(low: np.ndarray, field_bits: int, amax: int, granule: int) -> int:
    """Inputs of the fewest segments in which condition 2 holds, equal ones if it does; else 0."""
    granules = low.reshape(len(low), -1, granule)
    count = granules.shape[1]
    for length in sorted(range(1, count + 1), key=lambda each: (-(-count // each), each)):
        padded = np.pad(granules, ((0, 0), (0, -count % length), (0, 0)))
        if _in_range(padded.reshape(-1, length * granule), amax, field_bits):
            return length * granule
    return 0


def _in_range(rows: np.ndarray, amax: int, bits: int) -> bool:
    """Whether the sum of each row fits a signed number of `bits` for any activations."""
    wide = rows.astype(np.int64)
    largest = amax * int(np.maximum(wide, 0).sum(axis=1).max(initial=0))
    lowest = amax * int(np.minimum(wide, 0).sum(axis=1).min(initial=0))
    return -(1 << (bits - 1)) <= lowest and largest < 1 << (bits - 1)
