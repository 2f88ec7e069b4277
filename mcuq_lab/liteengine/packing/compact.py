"""Packing of `le_compact.h`: rows of pixels by SMLAL, all channels of a layer from one start.

    pixels  A = sum_{i<m} a[i] z^i        taps  W = sum_{j<3} w[j] z^(2-j)        z = 2^s

A product has m + 2 fields; field k of a block is part of position k - 2 in front of its pixels, so
that the last two belong to the next block. In `polynomial.py`'s words it is a row of m pixels, and
its conditions hold here, too, with one change: fields do not start at a channel's own
amax * sum of negated negative weights, but at numbers that serve all channels and segments,

    amax * (1 + z + ... + z^(m-1)) * (N2 + N1 z + N0 z^2),

N_j the largest such sum that any segment of any channel has at tap j. With N = N0 + N1 + N2 and P
the largest sum of the positive weights of a segment,

    amax * (N + P) < 2^s                 a field is never negative, and never reaches the next one
    amax * (N0 + P0) < 2^(64 - (m+1)s)   nor does the uppermost one the end
    (m-1) s + a_bits <= 31               A is a non-negative word
    -2^31 <= W < 2^31.

Fields are added up outside of the accumulator at the end of each segment, so that segments have no
limit of their own: what a channel's sum must begin with is the rest,
amax * sum of its negated negative weights - segments * amax * N.
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


WORDS = (CompactWord(4, 9), CompactWord(3, 13), CompactWord(3, 12), CompactWord(2, 14))
"""Few, for layers to share them: of 2-bit and of 4-bit pixels, and of 8-bit ones with 2-bit taps."""


@dataclass(frozen=True)
class CompactPacking:
    """How a layer is packed.

    Attributes:
        word: of its pixels.
        segments, segment_steps: of its terms, and how many steps each takes.
        negative: N0, N1, N2 above.
    """

    word: CompactWord
    segments: int
    segment_steps: int
    negative: tuple[int, int, int]

    def start(self, amax: int) -> int:
        """What every accumulator starts from, 64 bits."""
        z = 1 << self.word.shift
        first, second, third = self.negative
        pixels = sum(z**i for i in range(self.word.pixels))
        return amax * pixels * (third + second * z + first * z * z)

    def carried(self, amax: int) -> tuple[int, int]:
        """What the two last fields of all segments of a block start with."""
        first, second, _ = self.negative
        both = (first + second, first)
        return both[0] * amax * self.segments, both[1] * amax * self.segments

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
                amax * (sum(negative) + positive) < 1 << word.shift
                and amax * (negative[0] + first) < 1 << word.top_bits
            ):
                yield CompactPacking(word, segments, steps, negative)
                break


def packed_taps(taps: np.ndarray, word: CompactWord) -> np.ndarray:
    """W of taps (..., 3): int64 (...)."""
    places = np.array([1 << (TAPS - 1 - j) * word.shift for j in range(TAPS)], np.int64)
    return taps.astype(np.int64) @ places


def _words_fit(taps: np.ndarray, word: CompactWord) -> bool:
    packed = packed_taps(taps, word)
    return -(1 << 31) <= int(packed.min()) and int(packed.max()) < 1 << 31


def _largest_sums(taps: np.ndarray, steps: int) -> tuple[tuple[int, int, int], int, int]:
    """N0, N1, N2, then P and P0 of segments of `steps` steps."""
    missing = -taps.shape[1] % steps
    padded = np.pad(taps.astype(np.int64), ((0, 0), (0, missing), (0, 0)))
    parts = padded.reshape(len(taps), -1, steps, TAPS)
    negative = np.maximum(-parts, 0).sum(2).max((0, 1))
    positive = np.maximum(parts, 0).sum(2)
    n0, n1, n2 = (int(value) for value in negative)
    return (n0, n1, n2), int(positive.sum(-1).max()), int(positive[..., 0].max())
