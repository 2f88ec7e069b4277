"""Rows of pixels against the three taps of a filter row, for SMLAL.

Row polynomial
    A = sum(a[x + i] * z**i, i < m)            m neighbouring pixels of one channel, unsigned
    W = w[2] + w[1] * z + w[0] * z**2          three taps of one filter row, signed
    A * W = sum over fields j of w[2] a[x+j] + w[1] a[x+j-1] + w[0] a[x+j-2]

    Fields 0 .. m-1 are finished convolution outputs; fields m and m+1 lack the pixels of the next
    block and are its start value: acc >> m*s. Where W does not fit into 32 bits the taps come in
    two words (*2+1 taps*, m = 2 only): A[b] * (w[2] + w[1] z) + A[b-1] * w[0]; then only field m
    is carried.

    Every field starts at K = amax * sum(max(-w, 0)), so it is never negative and borrows nothing
    from the field above; extraction is a plain bit-field.

Segments and slices
    Where sums outgrow their fields, the input channels are split into segments, accumulated one
    after the other. Wide activations (or weights) are cut into slices of a few bits, each a segment
    of its own whose sum counts 2**low times. Segments run from the most significant slice down:
    total = (total << shift) + sum.

All conditions are checked for the very weights of the layer, which are known at generation time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

WORD_BITS = 32
ACCUMULATOR_BITS = 64


@dataclass(frozen=True)
class Slice:
    """Bits [low, low + bits) of an operand of `width` bits.

    A slice of an activation is unsigned. A slice of a weight is signed if it is the uppermost one
    (floor: w = sum of slices * 2**low), else unsigned.
    """

    low: int
    bits: int
    width: int

    @property
    def is_whole(self) -> bool:
        return self.bits == self.width

    @property
    def amax(self) -> int:
        """Largest value of an activation's slice."""
        return (1 << self.bits) - 1

    def of_weight(self, weight: np.ndarray) -> np.ndarray:
        """int64 values of this slice of integer weights."""
        part = weight.astype(np.int64) >> self.low
        return part if self.low + self.bits == self.width else part & ((1 << self.bits) - 1)

    def of_activation(self, value: int) -> int:
        """This slice of one activation."""
        return (value >> self.low) & self.amax


@dataclass(frozen=True)
class Segment:
    """Input channels [first, first + count) of one slice of each operand.

    `shift`: what was summed up before counts 2**shift times as much.
    """

    first: int
    count: int
    a_slice: Slice
    w_slice: Slice
    shift: int = 0

    @property
    def significance(self) -> int:
        """The segment's sum counts 2**significance times."""
        return self.a_slice.low + self.w_slice.low


@dataclass(frozen=True)
class RowPacking:
    """How a 3x3 convolution is packed.

    Attributes:
        pixels: m, pixels in one word.
        field_bits: s, bits from one field to the next.
        words: weight words for one filter row: 1, or 2 for 2+1 taps.
        toggle: the uppermost pixel reaches bit 31; its top bit is inverted in A, which subtracts
            2**31 from every A, and 2**31 * sum(W) is added to the accumulator.
        segments: at least one.
        phases: 1, or with stride 2 the two phases of a row; see `phases.py`.
        lanes: channels in a word; 2 in its halves, see `lanes.py`.
    """

    pixels: int
    field_bits: int
    words: int
    toggle: bool
    segments: tuple[Segment, ...]
    phases: int = 1
    lanes: int = 1

    @property
    def taps(self) -> int:
        """Filter columns of a phase."""
        return 3 if self.phases == 1 else 2

    @property
    def taps_low(self) -> tuple[int, ...]:
        """Filter columns in the first word, by ascending power of z."""
        return tuple(range(self.taps))[::-1] if self.words == 1 else (2, 1)

    @property
    def carried(self) -> int:
        """Fields that the next block takes over."""
        return len(self.taps_low) - 1

    @cached_property
    def a_slices(self) -> tuple[Slice, ...]:
        """Different activation slices, most significant first."""
        return tuple(dict.fromkeys(segment.a_slice for segment in self.segments))

    @cached_property
    def w_slices(self) -> tuple[Slice, ...]:
        """Different weight slices, most significant first."""
        return tuple(dict.fromkeys(segment.w_slice for segment in self.segments))

    def __str__(self) -> str:
        pixels = self.pixels if self.lanes == 1 else f"{self.pixels // 2}+{self.pixels // 2}"
        text = f"row polynomial m={pixels} s={self.field_bits}"
        if self.words == 2:
            text += ", 2+1 taps"
        if self.phases > 1:
            text += f", {self.phases} phases"
        if self.lanes > 1:
            text += f", {self.lanes} lanes"
        if len(self.a_slices) > 1:
            text += f", activations {'+'.join(str(part.bits) for part in self.a_slices)}"
        if len(self.w_slices) > 1:
            text += f", weights {'+'.join(str(part.bits) for part in self.w_slices)}"
        return text if len(self.segments) == 1 else f"{text}, {len(self.segments)} segments"


def weight_words(weight: np.ndarray, field_bits: int, words: int) -> np.ndarray:
    """Weight words of slices (oc, 3, taps, n), OHWI: int64 (oc, 3, n, words)."""
    z = 1 << field_bits
    columns = [weight[:, :, column].astype(np.int64) for column in range(weight.shape[2])]
    if words == 1:
        return sum(column * z**i for i, column in enumerate(columns[::-1]))[..., None]
    w0, w1, w2 = columns
    return np.stack([w2 + w1 * z, w0], axis=-1)


def needs_toggle(pixels: int, field_bits: int, a_bits: int) -> bool | None:
    """Whether A needs its top bit inverted; None where it does not fit at all.

    A <= (2**a_bits - 1) * sum(z**i) < 2**((m-1) s + a_bits), because fields do not overlap
    (s >= a_bits). Up to bit 30 it is a non-negative int32. If it ends in bit 31, A - 2**31 is an
    int32, and has the same bits as A with the top one inverted.
    """
    top = (pixels - 1) * field_bits + a_bits
    if field_bits < a_bits or top > WORD_BITS:
        return None
    return top == WORD_BITS


def words_fit(weight: np.ndarray, field_bits: int, words: int) -> bool:
    """Whether every weight word is an int32.

    Checked on the actual weights: -2 << 30 alone fits, but not with negative taps below it.
    """
    uppermost = weight.shape[2] - 1 if words == 1 else 1
    reach = int(max(-weight.min(), weight.max())) << (field_bits * uppermost)
    if 2 * reach <= 1 << 31:  # lower taps add less than the uppermost one
        return True
    if reach > 1 << 31:
        return False
    packed = weight_words(weight, field_bits, words)
    return bool((packed >= -(1 << 31)).all() and (packed < 1 << 31).all())


def column_sums(weight: np.ndarray) -> np.ndarray:
    """sum|w| of slices (oc, 3, taps, n) by output channel and filter column: int64 (oc, taps)."""
    return np.abs(weight.astype(np.int64)).sum(axis=(1, 3))


def sums_fit(
    columns: np.ndarray, amax: int, pixels: int, field_bits: int, words: int, slack: int = 0
) -> bool:
    """Whether no field of one segment can overflow.

    Args:
        columns: `column_sums` of the segment's slices.
        amax: largest activation.
        slack: what may be added to a field's start value beyond K.

    With P (N) the sums of positive (negated negative) weights of one output channel, a field that
    starts at K = amax N holds amax N - amax N .. amax N + amax P, for every input:

    1. Fields 0 .. m: 0 <= field <= amax sum|w| + slack < 2**s. A field that lacks taps, at the edge
       of a row or because it is carried, sums over fewer weights, within the same bounds.
    2. The uppermost field (m + 1 with three taps in a word, m with two) only ever sees the last tap
       of the first word. It starts at K' = amax * sum(max(-w_last, 0)), the rest K - K' follows in
       the next block, so it is at most amax sum|w_last|, which must fit into the bits up to bit 63.
    3. What is carried must fit into 32 bits: the sum of the two bounds, fields disjoint.

    All partial sums on the way are sums of subsets of the same terms, and the accumulator wraps
    modulo 2**64, so only final values matter.
    """
    largest = amax * int(columns.sum(axis=1).max()) + slack
    uppermost = amax * int(columns[:, 0 if words == 1 else 1].max())
    carried = columns.shape[1] - 1 if words == 1 else 1
    top = (pixels + carried - 1) * field_bits
    if top >= ACCUMULATOR_BITS or largest >= 1 << field_bits:
        return False
    if uppermost >= 1 << (ACCUMULATOR_BITS - top):
        return False
    if carried == 2:
        return (uppermost << field_bits) + (1 << field_bits) <= 1 << WORD_BITS
    return uppermost < 1 << WORD_BITS


def row_packings(
    weight: np.ndarray,
    w_bits: int,
    a_bits: int,
    granule: int = 1,
    range_granule: int = 1,
    max_segments: int = 8,
) -> Iterator[RowPacking]:
    """All valid packings of a 3x3 convolution.

    Args:
        weight: integers (oc, 3, 3, ic), OHWI, or the weights of two phases (oc, 3, 2, 2 * ic).
        w_bits, a_bits: their width, and the width of the unsigned activations.
        granule: segments begin at multiples of this many input channels.
        range_granule: the same for 2+1 taps, where segments are of equal size.
        max_segments: packings with more are not worth listing.
    """
    phases = 1 if weight.shape[2] == 3 else 2
    for a_slices, w_slices in _slicings(w_bits, a_bits):
        parts = {part: part.of_weight(weight) for part in w_slices}
        # |w| of input channels 0 .. n - 1, for every n
        sums = {part: np.abs(parts[part]).sum(axis=1).cumsum(axis=-1) for part in w_slices}
        for words, pixels in ((1, 6), (1, 5), (1, 4), (1, 3), (1, 2), (2, 2)):
            if words == 2 and (len(a_slices) + len(w_slices) > 2 or phases > 1):
                continue  # cut operands, and two taps, fit into one word
            for field_bits in range(2, 31):
                toggles = [needs_toggle(pixels, field_bits, part.bits) for part in a_slices]
                if None in toggles or not all(
                    words_fit(part, field_bits, words) for part in parts.values()
                ):
                    continue
                geometry = (pixels, field_bits, words)
                if words == 1:
                    segments = _segments(a_slices, sums, geometry, granule, max_segments)
                else:
                    segments = _equal_segments(
                        a_slices[0], w_slices[0], sums, geometry, range_granule, max_segments
                    )
                if segments:
                    yield RowPacking(*geometry, any(toggles), segments, phases)


def _slicings(w_bits: int, a_bits: int) -> Iterator[tuple[tuple[Slice, ...], tuple[Slice, ...]]]:
    """Ways to cut the operands: not at all, one of them in two, activations in three."""
    whole_a, whole_w = (Slice(0, a_bits, a_bits),), (Slice(0, w_bits, w_bits),)
    yield whole_a, whole_w
    for low in range(2, a_bits - 1):
        yield (Slice(low, a_bits - low, a_bits), Slice(0, low, a_bits)), whole_w
    for low in range(2, w_bits - 1):
        yield whole_a, (Slice(low, w_bits - low, w_bits), Slice(0, low, w_bits))
    if a_bits >= 6:
        low, middle = a_bits // 3, (a_bits - a_bits // 3) // 2
        cuts = ((low + middle, a_bits - low - middle), (low, middle), (0, low))
        yield tuple(Slice(first, bits, a_bits) for first, bits in cuts), whole_w


def _segments(
    a_slices: tuple[Slice, ...],
    sums: Mapping[Slice, np.ndarray],
    geometry: tuple[int, int, int],
    granule: int,
    max_segments: int,
) -> tuple[Segment, ...]:
    """Fewest segments whose sums fit; none if there are too many, or one granule does not fit.

    `sums` gives, for each weight slice, sum|w| over input channels 0 .. n: (oc, taps, ic).
    """
    segments: list[Segment] = []
    # The last segment's K may be enlarged by less than this; see `start_values`.
    slack = (1 << max(part.low for part in sums)) - 1
    for w_slice, a_slice in ((w, a) for w in sums for a in a_slices):
        total = sums[w_slice]
        channels, first = total.shape[-1], 0
        while first < channels:
            before = total[..., first - 1] if first else 0

            def fits(end: int, before=before, total=total, amax=a_slice.amax) -> bool:
                return sums_fit(total[..., end - 1] - before, amax, *geometry, slack)

            end = longest(fits, first, channels, granule)
            if end == first or len(segments) == max_segments:
                return ()
            significance = a_slice.low + w_slice.low
            shift = segments[-1].significance - significance if segments else 0
            segments.append(Segment(first, end - first, a_slice, w_slice, shift))
            first = end
    return tuple(segments)


def _equal_segments(
    a_slice: Slice,
    w_slice: Slice,
    sums: Mapping[Slice, np.ndarray],
    geometry: tuple[int, int, int],
    granule: int,
    max_segments: int,
) -> tuple[Segment, ...]:
    """Segments of equal size (the last one may be smaller, but counts as much) whose sums fit: of
    those with the fewest channels in all the fewest segments; or none."""
    total = sums[w_slice]
    channels = total.shape[-1]
    granules = -(-channels // granule)
    found: list[tuple[int, range]] = []
    for count in range(1, min(max_segments, granules) + 1):
        size = -(-granules // count) * granule
        firsts = range(0, channels, size)
        befores = [total[..., first - 1] if first else 0 for first in firsts]
        if all(
            sums_fit(total[..., min(first + size, channels) - 1] - before, a_slice.amax, *geometry)
            for first, before in zip(firsts, befores, strict=True)
        ):
            found.append((size, firsts))
    if not found:
        return ()
    size, firsts = min(found, key=lambda way: (way[0] * len(way[1]), len(way[1])))
    return tuple(Segment(first, min(size, channels - first), a_slice, w_slice) for first in firsts)


def longest(fits: Callable[[int], bool], first: int, channels: int, granule: int) -> int:
    """Largest end that fits, a whole number of granules behind `first`; `first` for none."""
    low, high = 0, -(-(channels - first) // granule)
    while low < high:  # more channels never fit better
        middle = (low + high + 1) // 2
        if fits(min(first + middle * granule, channels)):
            low = middle
        else:
            high = middle - 1
    return min(first + low * granule, channels)


def start_values(
    packing: RowPacking, weight: np.ndarray, a_bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """K of every segment, int64 (segments, oc), and what must be taken off the first one's sums.

    A segment needs K >= amax * sum(max(-w, 0)) of its slices. The total must start at the K of the
    whole operands, amax * sum(max(-w, 0)), whatever the slices add up to: floor slices of negative
    weights add up to more. The surplus is made a multiple of the first segment's weight in the
    total (by adding less than that to the last segment's K: the slack of `_packing`), divided by
    it, and is then subtracted from the first segment's sums. It is 0 unless weights are sliced.
    """
    amax = (1 << a_bits) - 1
    target = amax * np.maximum(-weight.astype(np.int64), 0).sum(axis=(1, 2, 3))
    starts = np.stack([segment_start(segment, weight) for segment in packing.segments])
    significance = np.array([segment.significance for segment in packing.segments])
    surplus = (starts << significance[:, None]).sum(axis=0) - target
    unit = 1 << packing.segments[0].significance
    missing = -surplus % unit
    starts[-1] += missing
    return starts, (surplus + missing) // unit


def segment_start(segment: Segment, weight: np.ndarray) -> np.ndarray:
    """Smallest K of one segment, int64 (oc,): amax * sum(max(-w, 0)) of its slices."""
    part = segment_weights(segment, weight)
    return segment.a_slice.amax * np.maximum(-part, 0).sum(axis=(1, 2, 3))


def segment_weights(segment: Segment, weight: np.ndarray) -> np.ndarray:
    """The slices of weights (oc, 3, taps, n) that one segment sums over."""
    return segment.w_slice.of_weight(weight[..., segment.first : segment.first + segment.count])
