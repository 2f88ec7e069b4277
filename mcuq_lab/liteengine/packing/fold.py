"""Packings of depthwise convolutions: two rows of a map, folded over each other, for SMLAD.

SMLAD multiplies two pairs of 16-bit halves and adds both products to a 32-bit accumulator. The
halves are two neighbouring pixels of one channel, against two neighbouring taps. Where activations
are narrow, a half holds two pixels, one of the upper and one of the lower part of the map,

    a + a' * 2**field_bits,

so that each instruction serves an output of either part: the accumulator has two fields, which
both start at K = amax * sum(max(-w, 0)) and therefore are never negative.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

HALF_BITS = 16
ACCUMULATOR_BITS = 32


@dataclass(frozen=True)
class FoldPacking:
    """How a depthwise convolution is packed.

    Attributes:
        folds: pixels in a half, 1 or 2.
        field_bits: bits from one field to the next; 0 where there is one.
    """

    folds: int
    field_bits: int

    @property
    def start_factor(self) -> int:
        """What K is multiplied by to start all fields of an accumulator."""
        return 1 + (1 << self.field_bits) if self.folds == 2 else 1

    def __str__(self) -> str:
        return "plain" if self.folds == 1 else f"two folds s={self.field_bits}"


def fold_packings(weight: np.ndarray, a_bits: int) -> Iterator[FoldPacking]:
    """All ways to pack a depthwise convolution; each in the widest fields that there are.

    Args:
        weight: integers (c, kh, kw, 1), at most 8 bits.
        a_bits: width of the unsigned activations, at most 8.

    A weight fits into a half as it is. Of the rest,

    1. A half of pixels is at most (2**a_bits - 1) * (1 + 2**s) < 2**(s + a_bits), as s >= a_bits.
       It must not reach the sign: s + a_bits <= 15.
    2. A field that starts at K ends within 0 .. amax * sum|w|, for every input, and this must be
       below 2**s: then nothing is carried into the upper field. The upper field must fit into the
       32 - s bits above; as s <= 13, there are more than s of them.

    Sums on the way may wrap modulo 2**32; only final values matter.
    """
    yield FoldPacking(1, 0)
    field_bits = HALF_BITS - 1 - a_bits
    largest = ((1 << a_bits) - 1) * int(np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)).max())
    if field_bits >= a_bits and largest < 1 << field_bits:
        yield FoldPacking(2, field_bits)
