"""What packings can reach at best on the Cortex-M4: multiply-accumulates per cycle of their tiles.

A tile holds as many accumulators as fourteen registers leave beside two pointers and four
temporaries: eight of 32 bits, or four of 64. n neighbouring loads take n + 1 cycles, a
multiplication one. Loop control, packing at run time, and what is done to a result once it is
taken out, are not in these figures; taking it out, segment by segment, is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mcuq_lab.liteengine.packing.polynomial import Family, Packing, packings
from mcuq_lab.liteengine.packing.vertical import F23, F43, VerticalIdentity, vertical_violations

_FILTER_ROWS = 3
_LEAST_TERMS = 4


@dataclass(frozen=True)
class Limit:
    """The limit of one packing.

    Attributes:
        identity: on rows of a 3x3 convolution, if any.
        terms: of a segment; for rows, filter rows x channels.
        loop_macs_per_cycle: of the sums alone.
        macs_per_cycle: with all segments' extraction.
    """

    packing: Packing
    identity: VerticalIdentity | None
    terms: int
    loop_macs_per_cycle: float
    macs_per_cycle: float

    @property
    def way(self) -> str:
        """Family, instruction and identity: what competes with each other."""
        name = f"{self.packing.instruction.name} {self.packing.family}"
        return f"{name}, {self.identity.name}" if self.identity else name


def limits(family: Family, weight: np.ndarray, a_bits: int, most: int = 6) -> Iterator[Limit]:
    """Limits of all packings of one layer, with as few segments as each needs.

    Args:
        weight: of a row (oc, 3, taps, ic); else (oc, terms).
        most: activations and weights in an operand.
    """
    rows = family is Family.ROW
    count = weight.shape[-1]
    seen = set()
    size = count
    while size * (_FILTER_ROWS if rows else 1) >= _LEAST_TERMS:
        segments = [weight[..., first : first + size] for first in range(0, count, size)]
        fitting = [
            set(packings(family, as_terms(part, family), a_bits, most=most)) for part in segments
        ]
        for packing in sorted(set.intersection(*fitting), key=str):
            identities = (None, F23, F43) if _long(packing) and rows else (None,)
            for identity in identities:
                if (packing, identity) in seen:
                    continue
                if identity and any(
                    vertical_violations(identity, packing, part, a_bits) for part in segments
                ):
                    continue
                seen.add((packing, identity))
                yield _limit(packing, identity, count, len(segments), size)
        size //= 2


def as_terms(weight: np.ndarray, family: Family) -> np.ndarray:
    """Weights of `limits` as `packings` takes them: filter rows are terms like channels."""
    if family is not Family.ROW:
        return weight
    return weight.swapaxes(1, 2).reshape(weight.shape[0], weight.shape[2], -1)


def best(found: Iterator[Limit]) -> dict[str, Limit]:
    """The best of each way, by descending limit."""
    ways: dict[str, Limit] = {}
    for limit in found:
        other = ways.get(limit.way)
        if other is None or limit.macs_per_cycle > other.macs_per_cycle:
            ways[limit.way] = limit
    return dict(sorted(ways.items(), key=lambda item: -item[1].macs_per_cycle))


def _long(packing: Packing) -> bool:
    return packing.instruction.accumulator_bits == 64


def _limit(
    packing: Packing, identity: VerticalIdentity | None, count: int, segments: int, size: int
) -> Limit:
    accumulators, cycles, products, filter_rows = 4, 9.0, 4, 1
    if packing.family is Family.ROW:
        # Two output rows share what they load: ten loads for twelve products, or sixteen for 24.
        filter_rows = _FILTER_ROWS
        cycles, products = (25.0, 12) if _long(packing) else (46.0, 24)
        if identity:  # each product of combined rows is a pass of four loads and four SMLAL
            cycles = 9.0 * identity.products / len(identity.outputs)
    elif not _long(packing):
        cycles, products = 16.0, 8
    if not _long(packing):
        accumulators = 8
    words = len(packing.w_words)
    loop = products * packing.macs / (words * cycles)
    per_round = packing.instruction.products * (
        len(packing.a_places) if packing.family is Family.DOT else 1
    )
    macs = products * packing.macs * count / per_round
    taking = accumulators * packing.extraction
    adding = 2 * accumulators * len(packing.wanted)  # to what earlier segments summed up
    total = macs / loop + segments * taking + (segments - 1) * adding
    return Limit(packing, identity, size * filter_rows, loop, macs / total)
