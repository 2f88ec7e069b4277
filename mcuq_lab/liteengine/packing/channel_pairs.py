"""Output channels in halves of 16 bits: a matrix-vector product by SMLAD, two inputs an instruction
and one accumulator of 32 bits for each half. z = 2**s; y is the sum of a channel's a w.

**Pairs**, W = w0 + w1 z. The accumulator never restarts; its value is looked at where a segment of
inputs ends. Let Y0, Y1 be the sums over all inputs up to there, P0 the first one up to where the
segment began. Conditions, for activations a in 0..amax:

1. Every W must be an int16.
2. acc - P0 = (Y0 - P0) + z Y1 modulo 2**32. So its lowest s bits, as a signed number, are the
   segment's own sum Y0 - P0 if that fits them. It lies between -amax * sum(max(-w0, 0)) and
   amax * sum(max(w0, 0)) over the segment, and some activations reach either end: neither may leave
   -2**(s-1) .. 2**(s-1) - 1. Adding up the segments' sums yields Y0, one segment after the other.
3. Behind the last segment acc - Y0 = z Y1 modulo 2**32. As a signed number of 32 bits that is exact
   if Y1 lies in -2**(31-s) .. 2**(31-s) - 1.

Sums on the way need no condition: the accumulator wraps.

**Chains** of n channels in n - 1 halves, W[i] = w[i] + w[i+1] z, one segment for any row that fits.
What an accumulator x[0] leaves open about y[1] the next one tells: x[1] = y[1] modulo z.

4. Every W must be an int16, and x[0] an int32 as it stands.
5. y[1] - (x[0] >> s) = -floor(y[0] / z), of which x[1] - (x[0] >> s) has the lowest s bits. As a
   signed number they are all of it if -2**(s-1) <= -floor(y[0] / z) < 2**(s-1).
6. Then z y[i+1] = x[i] - y[i] modulo 2**32 for i = 1, 2, ..., exact as in condition 3.

So y[0] has 2 s bits, where the lower channel of a pair has s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_HALF_BITS, _WORD_BITS = 16, 32


@dataclass(frozen=True)
class ChannelPairs:
    """Fields of `field_bits`, segments of `segment_inputs`, of which the last one may be short."""

    field_bits: int
    segment_inputs: int


def channel_pairs(
    weight: np.ndarray, w_bits: int, amax: int, granule: int, most_inputs: int
) -> ChannelPairs | None:
    """The packing with the longest segments, None if not even `granule` inputs are one.

    Args:
        weight: integers (oc, ic), even numbered channels go into the lower field; oc is even, ic a
            multiple of `granule`.
        w_bits: their width.
        amax: largest activation, unsigned.
        granule: segments begin at multiples of this many inputs.
        most_inputs: of a segment, if there are several.
    """
    for field_bits in range(_HALF_BITS - w_bits, 1, -1):  # narrower ones have shorter segments
        if _halves_fit(weight, field_bits) and _in_range(
            weight[1::2], amax, _WORD_BITS - field_bits
        ):
            inputs = segment_length(weight[::2], field_bits, amax, granule, most_inputs)
            return ChannelPairs(field_bits, inputs) if inputs else None
    return None


def chain_field_bits(weight: np.ndarray, w_bits: int, amax: int, chains: Sequence[int]) -> int:
    """The s of chains, 0 if there is none; arguments as of `channel_pairs`.

    Args:
        chains: channels of each, in the order of `weight`, again and again.
    """
    period = weight.reshape(-1, sum(chains), weight.shape[1]).astype(np.int64)
    groups = np.split(period, np.cumsum(chains)[:-1], axis=1)
    for field_bits in range(_HALF_BITS - w_bits, 1, -1):
        if all(chain_fits(group, field_bits, amax) for group in groups):
            return field_bits
    return 0


def packed_chain(weight: np.ndarray, field_bits: int) -> np.ndarray:
    """W of a chain, of a pair, or of one channel: (..., n, ic) to int64 (..., n - 1 or 1, ic)."""
    wide = weight.astype(np.int64)
    if wide.shape[-2] == 1:
        return wide
    return wide[..., :-1, :] + (wide[..., 1:, :] << field_bits)


def packed_pairs(weight: np.ndarray, field_bits: int) -> np.ndarray:
    """W of each pair of channels: int64 (oc / 2, ic)."""
    pairs = weight.reshape(-1, 2, weight.shape[1])
    return packed_chain(pairs, field_bits)[:, 0]


def chain_fits(group: np.ndarray, field_bits: int, amax: int) -> bool:
    """Conditions 4 to 6, of chains (number, n, ic)."""
    words, end = packed_chain(group, field_bits), 1 << (_HALF_BITS - 1)
    if (words < -end).any() or (words >= end).any():
        return False
    lowest, largest = _range(group[:, 0], amax)
    return (
        _in_range(words[:, 0], amax, _WORD_BITS)
        and _fits(-(largest >> field_bits), -(lowest >> field_bits), field_bits)
        and _in_range(group[:, 2:].reshape(-1, group.shape[2]), amax, _WORD_BITS - field_bits)
    )


def _halves_fit(weight: np.ndarray, field_bits: int) -> bool:
    """Condition 1."""
    words, end = packed_pairs(weight, field_bits), 1 << (_HALF_BITS - 1)
    return bool((words >= -end).all() and (words < end).all())


def segment_length(
    low: np.ndarray, field_bits: int, amax: int, granule: int, most_inputs: int
) -> int:
    """Inputs of the fewest segments in which condition 2 holds, equal ones if it does; else 0."""
    granules = low.reshape(len(low), -1, granule).astype(np.int64)
    sums = np.stack([np.minimum(granules, 0).sum(axis=2), np.maximum(granules, 0).sum(axis=2)])
    count = sums.shape[2]
    lengths = [*range(1, min(count, most_inputs // granule + 1)), count]
    for length in sorted(lengths, key=lambda each: (-(-count // each), each)):
        segments = np.add.reduceat(sums, np.arange(0, count, length), axis=2)
        if _fits(amax * int(segments[0].min()), amax * int(segments[1].max()), field_bits):
            return length * granule
    return 0


def _in_range(rows: np.ndarray, amax: int, bits: int) -> bool:
    """Whether the sum of each row fits a signed number of `bits` for any activations."""
    return _fits(*_range(rows, amax), bits)


def _fits(lowest: int, largest: int, bits: int) -> bool:
    return -(1 << (bits - 1)) <= lowest and largest < 1 << (bits - 1)


def _range(rows: np.ndarray, amax: int) -> tuple[int, int]:
    """The lowest and the largest sum of a row for any activations."""
    wide = rows.astype(np.int64)
    lowest = amax * int(np.minimum(wide, 0).sum(axis=1).min(initial=0))
    return lowest, amax * int(np.maximum(wide, 0).sum(axis=1).max(initial=0))
