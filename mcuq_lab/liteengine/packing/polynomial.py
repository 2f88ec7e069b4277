"""The theory of operand packing: one model, of which every packing is an instance.

A register that holds small numbers side by side is a polynomial's value:

    A = sum(a[i] * 2**p[i])        W = sum(w[k] * 2**q[k])        p, q: *places*

so A * W has a *field* at every place p[i] + q[k], which sums up a[i] * w[k] over all pairs that
meet there. What a family computes is a choice of places:

    row      p = 0, s, 2s ..     q = 0, s, 2s ..     pixels against filter taps; pairs meet on
                                                     diagonals, which is a convolution
    outer    all p + q differ                        pixels against channels; each pair by itself
    dot      p = 0, s, 2s ..     q = .. 2s, s, 0     terms against terms in reverse; all of one sum
                                                     meet in field n - 1, the others are of no use

An instruction adds `products` such products to an accumulator. Instructions differ in the width of
operands and accumulator alone; `violations` derives from these what must hold, for the very
weights.

Taps of a row may lie in several words, of which word j meets the pixels of block b - j: tap t
behind the last one is in word t // m, at place (t % m) * s.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import pairwise, product

import numpy as np


@dataclass(frozen=True)
class Instruction:
    """A multiplication that accumulates, on signed operands.

    Attributes:
        name: mnemonic.
        operand_bits: width of both operands of one product.
        products: how many of them an instruction adds up.
        accumulator_bits: it wraps modulo 2**accumulator_bits.
    """

    name: str
    operand_bits: int
    products: int
    accumulator_bits: int


SMLAL = Instruction("SMLAL", 32, 1, 64)
SMLAD = Instruction("SMLAD", 16, 2, 32)
SMLALD = Instruction("SMLALD", 16, 2, 64)
SMLABB = Instruction("SMLABB", 16, 1, 32)
MLA = Instruction("MLA", 32, 1, 32)
INSTRUCTIONS = (SMLAL, SMLAD, SMLALD, SMLABB, MLA)


class Family(StrEnum):
    """What meets in a field; see the head of this file."""

    ROW = "row"
    OUTER = "outer"
    DOT = "dot"


class Violation(StrEnum):
    """Conditions of a packing; `violations` proves that they suffice."""

    ACTIVATIONS = "activations overlap or pass the operand"
    WEIGHTS = "a weight word passes the operand"
    FIELD = "a field passes the next one"
    UPPERMOST = "the uppermost field passes the accumulator"
    CARRY = "carried fields pass a word"


@dataclass(frozen=True)
class PolynomialField:
    """Bits [low, low + bits) of the accumulator: the sum over these weights, by word and number."""

    low: int
    bits: int
    weights: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Packing:
    """Places of the operands of one instruction.

    Attributes:
        a_places: of activations, ascending from 0.
        w_words: places of weights, word by word; several for rows only.
        wanted: fields that are results; fields below them must be kept clean, those above not.
        toggle: the uppermost activation reaches the operand's sign; its top bit is inverted, which
            subtracts 2**(operand_bits - 1) from A, and as much times the sum of all weight words is
            added to the accumulator.
    """

    family: Family
    instruction: Instruction
    a_places: tuple[int, ...]
    w_words: tuple[tuple[int, ...], ...]
    wanted: tuple[int, ...]
    toggle: bool

    @cached_property
    def fields(self) -> tuple[PolynomialField, ...]:
        """Ascending; what lies behind the end of the accumulator has no bits."""
        met: dict[int, list[tuple[int, int]]] = {}
        for word, places in enumerate(self.w_words):
            for (number, place), a_place in product(enumerate(places), self.a_places):
                met.setdefault(place + a_place, []).append((word, number))
        lows = sorted(met)
        if self.family is Family.ROW:  # what was carried completes the first ones
            everything = [
                (j, k) for j, places in enumerate(self.w_words) for k in range(len(places))
            ]
            met |= dict.fromkeys(lows[: len(self.a_places)], everything)
        size = self.instruction.accumulator_bits
        ends = [min(end, size) for end in (*lows[1:], size)]
        return tuple(
            PolynomialField(low, max(end - low, 0), tuple(sorted(met[low])))
            for low, end in zip(lows, ends, strict=True)
        )

    @property
    def kept(self) -> tuple[PolynomialField, ...]:
        """Fields that must not leave their bits: all up to the last that is wanted or carried."""
        last = len(self.fields) if self.family is not Family.DOT else self.wanted[-1] + 1
        return self.fields[:last]

    @property
    def macs(self) -> int:
        """Useful products of one instruction; with several words, of one instruction each."""
        count = len(self.a_places) * sum(map(len, self.w_words))
        useful = len(self.a_places) if self.family is Family.DOT else count
        return useful * self.instruction.products

    @property
    def extraction(self) -> int:
        """Instructions that take the results out: one each, two across words."""
        fields = [self.fields[i] for i in self.wanted]
        across = sum(f.low < 32 < f.low + f.bits for f in fields)
        if self.family is not Family.ROW:  # bits of the last one beyond a word are only its sign
            across -= fields[-1].low < 32 < fields[-1].low + fields[-1].bits
        return len(fields) + across

    def __str__(self) -> str:
        words = " | ".join(",".join(map(str, places)) for places in self.w_words)
        return (
            f"{self.instruction.name} {self.family} a@{','.join(map(str, self.a_places))} w@{words}"
        )


def in_words(packing: Packing, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weights as the packing meets them: for each word int64 (groups, weights of it, terms).

    Args:
        weight: of a row (oc, taps, terms); else (oc, terms). Missing channels and terms are 0.
    """
    weight = weight.astype(np.int64)
    sizes = [len(places) for places in packing.w_words]
    if packing.family is Family.ROW:
        parts = weight[:, ::-1]
        ends = np.cumsum(sizes)
        return tuple(parts[:, end - size : end] for size, end in zip(sizes, ends, strict=True))
    axis = 0 if packing.family is Family.OUTER else 1
    missing = -weight.shape[axis] % sizes[0]
    padded = np.pad(weight, [(0, missing if i == axis else 0) for i in range(2)])
    if packing.family is Family.OUTER:
        return (padded.reshape(-1, sizes[0], padded.shape[1]),)
    return (padded.reshape(len(padded), -1, sizes[0]).swapaxes(1, 2),)


def violations(packing: Packing, weight: np.ndarray, a_bits: int) -> frozenset[Violation]:
    """What is wrong with a packing for these weights (see `in_words`) and unsigned activations.

    With none of these, extraction of plain bit-fields gives the exact sums, for all activations:

    ACTIVATIONS. Distances of at least a_bits keep activations apart. The largest word is then below
        2**(p[-1] + a_bits). Up to bit operand_bits - 2 it is non-negative as a signed operand. If
        it ends in the sign, A - 2**(operand_bits - 1) is a signed operand, and has the same bits
        with the top one inverted (`toggle`): the product lacks 2**(operand_bits - 1) * W, a
        constant once weights are known.
    WEIGHTS. Each word, as a sum with its signs, is a signed operand. Its parts alone do not tell:
        -2 << 30 is an int32, but not with a negative weight below it.
    FIELD. A field starts at K = amax * sum(max(-w, 0)) over the weights that it meets. If P and N
        are the sums of its positive and its negated negative weights, it ends between
        K - amax N = 0 and K + amax P = amax * sum|w|, and reaches both. Never negative, it borrows
        nothing from the field above; below 2**bits it carries nothing into it. The converse holds
        too: with amax * sum|w| >= 2**bits, activations amax at positive weights and 0 at negative
        ones leave the field.
    UPPERMOST. The same with the bits that the accumulator leaves. In a row it meets the last tap
        alone, so that it may be narrower than the others. Fields above all that are wanted
        (dot products) need no condition: what they lose or carry goes up.
    CARRY. The rows' last fields lack pixels of the next block and are handed over as one word of 32
        bits, which must hold their sum: the uppermost one's largest value, and a whole field below.

    Partial sums on the way may leave their fields: the accumulator is a number modulo
    2**accumulator_bits, equal to the polynomial's value at the end, whatever the order.

    Worst case: all weights are the lowest, -2**(w_bits - 1). Their words are largest in magnitude,
    and if a word of highest weights does not fit, one of lowest does not either; sum|w| is largest.
    """
    found = set()
    instruction, words = packing.instruction, in_words(packing, weight)
    if _toggle(packing.a_places, a_bits, instruction) is not packing.toggle:
        found.add(Violation.ACTIVATIONS)
    reach = 1 << (instruction.operand_bits - 1)
    for places, part in zip(packing.w_words, words, strict=True):
        if max(places) >= instruction.operand_bits:
            found.add(Violation.WEIGHTS)
            continue
        packed = (part << np.array(places)[:, None]).sum(axis=1)
        if packed.min() < -reach or packed.max() >= reach:
            found.add(Violation.WEIGHTS)
    amax = (1 << a_bits) - 1
    sums = [np.abs(part).sum(axis=-1) for part in words]
    for field in packing.kept:
        largest = amax * int(sum(sums[word][:, number] for word, number in field.weights).max())
        uppermost = field is packing.fields[-1]
        if largest >= 1 << field.bits:
            found.add(Violation.UPPERMOST if uppermost else Violation.FIELD)
        if uppermost and packing.family is Family.ROW and instruction is SMLAL:
            carried = len(packing.fields) - len(packing.wanted)
            below = (carried - 1) * (packing.a_places[-1] // (len(packing.a_places) - 1))
            if (largest << below) + ((1 << below) if below else 1) > 1 << 32:
                found.add(Violation.CARRY)
    return frozenset(found)


def packings(
    family: Family,
    weight: np.ndarray,
    a_bits: int,
    instructions: tuple[Instruction, ...] = INSTRUCTIONS,
    most: int = 6,
) -> Iterator[Packing]:
    """Every valid packing of a family, at most `most` activations and weights in an operand."""
    for instruction in instructions:
        for candidate in _candidates(family, weight, a_bits, instruction, most):
            if not violations(candidate, weight, a_bits):
                yield candidate


def _toggle(places: tuple[int, ...], a_bits: int, instruction: Instruction) -> bool | None:
    """Whether the top bit must be inverted; None if activations do not fit. One alone never is."""
    top = places[-1] + a_bits
    apart = all(b - a >= a_bits for a, b in pairwise(places))
    if not apart or top > instruction.operand_bits:
        return None
    return top == instruction.operand_bits


def _candidates(
    family: Family, weight: np.ndarray, a_bits: int, instruction: Instruction, most: int
) -> Iterator[Packing]:
    """Packings whose activations fit; without most of those whose weights or sums do not."""
    magnitude = int(np.abs(weight.astype(np.int64)).max())
    sums = np.abs(weight.astype(np.int64)).sum(axis=-1)
    field_bits = int(((1 << a_bits) - 1) * sums.min()).bit_length()
    for count in range(1, most + 1):
        for a_shift in range(a_bits, instruction.operand_bits) if count > 1 else (0,):
            a_places = tuple(i * a_shift for i in range(count))
            toggle = _toggle(a_places, a_bits, instruction)
            if toggle is None:
                break
            match family:
                case Family.ROW if count > 1:
                    for w_words in _row_words(weight.shape[1], count, a_shift):
                        wanted = tuple(range(count))
                        yield Packing(family, instruction, a_places, w_words, wanted, toggle)
                case Family.DOT if count > 1:
                    w_words = (a_places[::-1],)
                    yield Packing(family, instruction, a_places, w_words, (count - 1,), toggle)
                case Family.OUTER:
                    for w_places in _apart(a_places, instruction, most, magnitude, field_bits):
                        wanted = tuple(range(count * len(w_places)))
                        yield Packing(family, instruction, a_places, (w_places,), wanted, toggle)


def _row_words(taps: int, pixels: int, field_bits: int) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All taps in one word, or as many as there are pixels in each."""
    for size in sorted({taps, min(taps, pixels)}, reverse=True):
        yield tuple(
            tuple(i * field_bits for i in range(min(size, taps - first)))
            for first in range(0, taps, size)
        )


def _apart(
    a_places: tuple[int, ...],
    instruction: Instruction,
    most: int,
    magnitude: int,
    field_bits: int,
) -> Iterator[tuple[int, ...]]:
    """Places of weights at equal distances at which no two pairs meet.

    The uppermost weight must be able to fit with another sign below it, and no field is narrower
    than the smallest channel's sum needs.
    """
    yield (0,)
    for count in range(2, most + 1):
        for shift in range(1, (instruction.operand_bits - 1) // (count - 1) + 1):
            places = tuple(i * shift for i in range(count))
            if magnitude << places[-1] > 1 << instruction.operand_bits:
                break
            lows = sorted(a + w for a in a_places for w in places)
            apart = max(field_bits, 1)
            if all(b - a >= apart for a, b in pairwise(lows)):
                yield places
