"""Packing of `le_compact.h`: rows of pixels by SMLAL, all channels of a layer from one start.

    pixels  A = sum_{i<m} a[i] z^i        taps  W = sum_{j<3} w[j] z^(2-j)        z = 2^s

A product has m + 2 fields; field k of a block is part of position k - 2 in front of its pixels, so
that the last two belong to the next block. In `polynomial.py`'s words it is a row of m pixels, and
its conditions hold here, too, with one change: fields do not start at a channel's own
amax * sum of negated negative weights, but at numbers that serve all channels and segments,

    amax * N for fields 2 .. m-1, which meet all taps,
    amax * (N - N01) and amax * (N - N0) for fields 0 and 1,
    amax * N01 and amax * N0 for the two that belong to the next block,

so that a position starts from amax * N, be it in one block or in two. N0 is the largest such sum
that any segment of any channel has at tap 0, N01 at taps 0 and 1, N12 and N2 at the others, and N
the largest of that at all taps, of N0 + N12, and of N01 + N2. With P the largest sum of the
positive weights of a segment,

    amax * (N + P) < 2^s                 a field is never negative, and never reaches the next one
    amax * (N0 + P0) < 2^(64 - (m+1)s)   nor does the uppermost one the end
    (m-1) s + a_bits <= 31               A is a non-negative word
    -2^31 <= W < 2^31
    amax * sum|w| < 2^16                 the sums of two rows share a word.

Fields are added up outside of the accumulator at the end of each segment, so that segments have no
limit of their own: what a channel's sum must begin with is the rest,
amax * sum of its negated negative weights - segments * amax * N. Words of two sums are added up
modulo 2^32: only what they hold in the end must fit their halves.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

ACCUMULATOR_BITS = 64
WORD_BITS = 32
TAPS = 3


@dataclass(frozen=True)
class CompactWord:
    """How pixels share a word: `pixels` of them, `shift` bits apart."""

    pixels: int
    shift: int

    @property
    def top_bits(self) -> int:
        """Of the uppermost field."""
        return ACCUMULATOR_BITS - (self.pixels + 1) * self.shift


HALF_BITS = 16
"""Of a sum."""

WORDS = (CompactWord(4, 9), CompactWord(3, 13))
"""Few, for layers to share them: of 2-bit and of 4-bit pixels."""


@dataclass(frozen=True)
class CompactPacking:
    """How a layer is packed.

    Attributes:
        word: of its pixels.
        segments, segment_steps: of its terms, and how many steps each takes.
        negative: N, N01 and N0 above.
    """

    word: CompactWord
    segments: int
    segment_steps: int
    negative: tuple[int, int, int]

    def start(self, amax: int) -> int:
        """What every accumulator starts from, 64 bits."""
        whole, two, one = self.negative
        fields = (whole - two, whole - one, *[whole] * (self.word.pixels - 2), two, one)
        return sum(amax * field << k * self.word.shift for k, field in enumerate(fields))

    def carried(self, amax: int) -> tuple[int, int]:
        """What the last two fields of all segments of a block start with."""
        _, two, one = self.negative
        return amax * two * self.segments, amax * one * self.segments

    def __str__(self) -> str:
        text = f"compact row m={self.word.pixels} s={self.word.shift}"
        return text if self.segments == 1 else f"{text}, {self.segments} segments"


def compact_packings(
    taps: np.ndarray, a_bits: int, granule: int, most_segments: int
) -> Iterator[CompactPacking]:
    """For each of WORDS the packing with the fewest segments, if there is one.

    Args:
        taps: weights (oc, steps, 3) by step and tap.
        a_bits: of the unsigned pixels.
        granule: segments have a multiple of this many steps.
        most_segments: more are not worth listing.
    """
    amax = (1 << a_bits) - 1
    for word in WORDS:
        if (word.pixels - 1) * word.shift + a_bits >= WORD_BITS or not _words_fit(taps, word):
            continue
        for segments in range(1, most_segments + 1):
            steps = -(-taps.shape[1] // (segments * granule)) * granule
            if -(-taps.shape[1] // steps) != segments:
                continue
            negative, positive, first = _largest_sums(taps, steps)
            if (
                amax * (negative[0] + positive) < 1 << word.shift
                and amax * (negative[2] + first) < 1 << word.top_bits
            ):
                yield CompactPacking(word, segments, steps, negative)
                break


def packed_taps(taps: np.ndarray, word: CompactWord) -> np.ndarray:
    """W of taps (..., 3): int64 (...)."""
    places = np.array([1 << (TAPS - 1 - j) * word.shift for j in range(TAPS)], np.int64)
    return taps.astype(np.int64) @ places


def _words_fit(taps: np.ndarray, word: CompactWord) -> bool:
    packed = packed_taps(taps, word)
    return int(packed.min()) >= -(1 << 31) and int(packed.max()) < 1 << 31


def _largest_sums(taps: np.ndarray, steps: int) -> tuple[tuple[int, int, int], int, int]:
    """(N, N01, N0), then P, and P at tap 0, of segments of `steps` steps."""
    missing = -taps.shape[1] % steps
    padded = np.pad(taps.astype(np.int64), ((0, 0), (0, missing), (0, 0)))
    parts = padded.reshape(len(taps), -1, steps, TAPS)
    negative, positive = np.maximum(-parts, 0).sum(2), np.maximum(parts, 0).sum(2)

    def largest(sums: np.ndarray, *chosen: int) -> int:
        return int(sums[..., list(chosen)].sum(-1).max())

    one, two = largest(negative, 0), largest(negative, 0, 1)
    whole = max(
        largest(negative, 0, 1, 2),
        one + largest(negative, 1, 2),
        two + largest(negative, 2),
    )
    return (whole, two, one), largest(positive, 0, 1, 2), largest(positive, 0)
