"""Fewer multiplications for neighbouring output rows: Winograd's identities on packed words.

Packing evaluates a polynomial at z = 2**s. That is a homomorphism of rings: sums and products of
packed words are the packed sums and products. So an identity of linear combinations and products,
such as Winograd's F(2, 3), may be applied to whole words: the "numbers" are rows of m pixels, the
"filter taps" whole filter rows:

    U = (d[1] + d[2]) (g[0] + g[1] + g[2])          V = (d[2] - d[1]) (g[0] - g[1] + g[2])
    2 out[0] = U + V + (d[0] - d[2]) 2 g[0]         2 out[1] = U - V + (d[3] - d[1]) 2 g[2]

where d are rows of pixels, g filter rows and out output rows, all packed. These are equations of
integers modulo 2**64, whatever the fields of U and V do: **fields of intermediate sums may
overflow**, and only those of the results must fit. The price is paid elsewhere:

1. Combinations of d are signed: their positive coefficients add up to `a_growth`, so that
   a_growth * amax * sum(z**i) must be below 2**31. There is no sign bit left to toggle.
2. Combinations of g must be signed operands, for the very weights.
3. Accumulators hold `denominator` * out. Its odd factor has an inverse modulo 2**64; its power of
   two shifts all fields up, and takes as many bits from the uppermost one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.packing.polynomial import Packing, Violation, in_words, violations

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class VerticalIdentity:
    """denominator * out = outputs @ ((weights @ g) * (rows @ d)).

    Attributes:
        rows: combinations of input rows, one for each product.
        weights: of filter rows.
        outputs: of products, for each output row.
    """

    name: str
    rows: Matrix
    weights: Matrix
    outputs: Matrix
    denominator: int

    @property
    def products(self) -> int:
        return len(self.rows)

    @property
    def a_growth(self) -> int:
        """How much larger than a row of pixels a combination can be, in magnitude."""
        positive = max(sum(c for c in row if c > 0) for row in self.rows)
        return max(positive, max(-sum(c for c in row if c < 0) for row in self.rows))

    @property
    def bits_lost(self) -> int:
        """Of the uppermost field: the denominator's power of two."""
        return (self.denominator & -self.denominator).bit_length() - 1


F23 = VerticalIdentity(
    "F(2, 3)",
    rows=((0, 1, 1, 0), (0, -1, 1, 0), (1, 0, -1, 0), (0, -1, 0, 1)),
    weights=((1, 1, 1), (1, -1, 1), (2, 0, 0), (0, 0, 2)),
    outputs=((1, 1, 1, 0), (1, -1, 0, 1)),
    denominator=2,
)
F43 = VerticalIdentity(
    "F(4, 3)",
    rows=(
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
    weights=((1, 0, 0), (1, 1, 1), (1, -1, 1), (1, 2, 4), (1, -2, 4), (0, 0, 1)),
    outputs=(
        (6, -4, -4, 1, 1, 0),
        (0, -4, 4, 2, -2, 0),
        (0, -4, -4, 4, 4, 0),
        (0, -4, 4, 8, -8, 24),
    ),
    denominator=24,
)


def vertical_violations(
    identity: VerticalIdentity, packing: Packing, weight: np.ndarray, a_bits: int
) -> frozenset[Violation]:
    """What is wrong with an identity on a row packing of filters (oc, 3, taps, ic)."""
    found = set(violations(packing, as_row(weight), a_bits))
    reach = 1 << (packing.instruction.operand_bits - 1)
    amax = (1 << a_bits) - 1
    if identity.a_growth * amax * sum(1 << place for place in packing.a_places) >= reach:
        found.add(Violation.ACTIVATIONS)
    combined = np.einsum("pk,okti->opti", np.array(identity.weights), weight.astype(np.int64))
    for places, part in zip(packing.w_words, in_words(packing, as_row(combined)), strict=True):
        words = (part << np.array(places)[:, None]).sum(axis=1)
        if words.min() < -reach or words.max() >= reach:
            found.add(Violation.WEIGHTS)
    top = packing.fields[-1]
    sums = [np.abs(part).sum(axis=-1) for part in in_words(packing, as_row(weight))]
    largest = amax * int(sum(sums[word][:, number] for word, number in top.weights).max())
    if largest << identity.bits_lost >= 1 << top.bits:
        found.add(Violation.UPPERMOST)
    return frozenset(found)


def as_row(weight: np.ndarray) -> np.ndarray:
    """Filters (oc, rows, taps, ic) as weights of a row packing: (oc, taps, rows * ic)."""
    oc, _, taps, _ = weight.shape
    return weight.swapaxes(1, 2).reshape(oc, taps, -1)
