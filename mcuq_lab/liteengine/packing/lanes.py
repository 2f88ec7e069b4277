"""Two channels in the halves of a word, for SMLAD: phases of few bits.

The two taps of a phase (`phases.py`) of few bits need no word: with z = 2**s both

    A = a[x] + a[x+1] z        two pixels            W = w[lower] + w[upper] z        two taps

fit into 16 bits. A word holds them for two channels, its lanes, and one SMLAD adds both lanes'
products to a 32-bit accumulator: fields 0 and 1 are finished outputs, field 2 lacks the lower taps
of the next pixels and is carried. That is 8 MACs an instruction, 4 where a phase has one tap; and
where SMLAL fills the registers with four accumulators, eight of 32 bits are two blocks of two
pixels, m = 2 + 2, so that weights are loaded for twice as many products.

Validity, for the very weights of the layer:

1. A <= (2**a_bits - 1) (1 + z) < 2**(s + a_bits) must be a non-negative int16: s + a_bits <= 15;
   and pixels must not overlap: s >= a_bits.
2. Every W must be an int16.
3. Fields 0 and 1 start at K = amax * sum(max(-w, 0)) over both lanes and hold at most
   amax * sum|w| < 2**s, as in `row.py`.
4. Field 2 only sees upper taps, starts at their share K' of K, and holds at most
   amax * sum|w[upper]| < 2**(32 - 2 s). The rest K - K' is what the next block's field 0 starts at.

The accumulator wraps modulo 2**32, so partial sums on the way need not fit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mcuq_lab.graph import Window
from mcuq_lab.liteengine.packing.phases import fold_phases
from mcuq_lab.liteengine.packing.row import (
    WORD_BITS,
    RowPacking,
    Segment,
    Slice,
    column_sums,
    longest,
    weight_words,
)

LANES = 2
_LANE_PIXELS = 2


def in_lane_order(weight: np.ndarray, fields: int) -> np.ndarray:
    """Input channels (last axis) in pairs that share a word, an odd one with zeros.

    Of a whole word of `fields` activations, channels half a word apart are a pair, which one mask
    extracts; behind the last whole word neighbours are.
    """
    channels = weight.shape[-1]
    whole = channels // fields * fields
    order = [
        first + pair + lane * (fields // LANES)
        for first in range(0, whole, fields)
        for pair in range(fields // LANES)
        for lane in range(LANES)
    ]
    order += range(whole, channels)
    ordered = weight[..., order]
    return np.concatenate([ordered, np.zeros_like(ordered[..., : channels % LANES])], axis=-1)


def lanes_in_halves(w_bits: int, field_bits: int) -> bool:
    """Whether weights of both lanes lie in flash as they will in a word; see `le_row_lanes.h`.

    Unsigned, a lane of two taps is up to (2**w_bits - 1) (1 + z) < 2**(w_bits + s): it must not
    reach the other lane.
    """
    return w_bits in (2, 4) and w_bits + field_bits <= 16


def fold_lanes(weight: np.ndarray, window: Window, fields: int) -> np.ndarray:
    """Filters of the phases by lanes: (oc, 3, 3, ic) to (oc, 3, 2, channels of the result), which
    are [pair of input channels][phase][lane]."""
    folded = fold_phases(in_lane_order(weight, fields), window)
    by_lane = folded.reshape(*folded.shape[:3], -1, LANES, 2)
    return by_lane.swapaxes(-1, -2).reshape(folded.shape)


def lanes_fit(weight: np.ndarray, field_bits: int, a_bits: int) -> bool:
    """Whether pixels and taps fit into a lane: conditions 1 and 2."""
    if field_bits < a_bits or field_bits + a_bits > 15:
        return False
    words = weight_words(weight, field_bits, 1)
    return bool((words >= -(1 << 15)).all() and (words < 1 << 15).all())


def lane_sums_fit(columns: np.ndarray, amax: int, field_bits: int) -> bool:
    """Whether no field of one segment can overflow: conditions 3 and 4, from `column_sums`."""
    largest = amax * int(columns.sum(axis=1).max())
    uppermost = amax * int(columns[:, 0].max())
    top_bits = WORD_BITS - _LANE_PIXELS * field_bits
    return top_bits > 0 and largest < 1 << field_bits and uppermost < 1 << top_bits


def lane_packings(
    weight: np.ndarray, w_bits: int, a_bits: int, granule: int, max_segments: int = 12
) -> Iterator[RowPacking]:
    """Packings of two phases in lanes, of those with equal segments the one with the widest fields.

    Args:
        weight: integers of `fold_lanes`.
        w_bits, a_bits: their width, and the width of the unsigned activations.
        granule: segments begin at multiples of this many channels, an even number.
        max_segments: packings with more are not worth listing.
    """
    whole_a, whole_w = Slice(0, a_bits, a_bits), Slice(0, w_bits, w_bits)
    channels = weight.shape[-1]
    found: dict[tuple[Segment, ...], RowPacking] = {}
    for field_bits in range(2, 15):
        if not lanes_fit(weight, field_bits, a_bits):
            continue
        segments: list[Segment] = []
        first = 0
        while first < channels and len(segments) < max_segments:

            def fits(end: int, first=first, field_bits=field_bits) -> bool:
                columns = column_sums(weight[..., first:end])
                return lane_sums_fit(columns, whole_a.amax, field_bits)

            end = longest(fits, first, channels, granule)
            if end == first:
                break
            segments.append(Segment(first, end - first, whole_a, whole_w))
            first = end
        if first == channels:
            parts = tuple(segments)
            found[parts] = RowPacking(LANES * _LANE_PIXELS, field_bits, 1, False, parts, 2, LANES)
    yield from found.values()
