"""Register tiles of the families of operand packing, in Thumb-2 assembly, as they are measured.

A tile here is its loops: loads, multiplications and what stands between them, from pointers r0
(activations) and r1 (weights) into as many accumulators as fourteen registers leave. Taking out
fields and requantization cost every tile of an operator the same for each output and are left out;
`tail` is what a single tile needs beyond that.
"""

from __future__ import annotations

from dataclasses import dataclass

Code = tuple[str, ...]

_LONG = (("r6", "r7"), ("r8", "r9"), ("r10", "r11"), ("r12", "lr"))
_SHORT = tuple(register for pair in _LONG for register in pair)


@dataclass(frozen=True)
class PackingTile:
    """One register tile.

    Attributes:
        name: the way to compute.
        operator: `3x3`, `5x5`, `1x1` or `fc` (one pixel; weights are read once).
        w_bits, a_bits: operands that it is meant for.
        macs: multiply-accumulates of one round.
        round: its instructions.
        unroll: rounds of one turn of the loop.
        passes: loops over all rounds that belong to one tile.
        tail: instructions beyond the loops, for all passes together.
    """

    name: str
    operator: str
    w_bits: int
    a_bits: int
    macs: float
    round: Code
    unroll: int = 4
    passes: int = 1
    tail: Code = ()


def load(pointer: str, *registers: str) -> Code:
    """Neighbouring words: one cycle each behind the first, which takes two."""
    return tuple(f"ldr {register}, [{pointer}], #4" for register in registers)


def long_products(instruction: str = "smlal") -> Code:
    """r2, r3 against r4, r5 into the four accumulators of 64 bits that there is room for."""
    operands = [(a, w) for a in ("r2", "r3") for w in ("r4", "r5")]
    return tuple(
        f"{instruction} {low}, {high}, {a}, {w}"
        for (low, high), (a, w) in zip(_LONG, operands, strict=True)
    )


def long_outer(instruction: str = "smlal") -> Code:
    """Two words of pixels against two of channels."""
    return (*load("r0", "r2", "r3"), *load("r1", "r4", "r5"), *long_products(instruction))


def row_direct(rows: int = 3) -> Code:
    """Two output rows x two channels x one block: `rows` filter rows, each input row read once."""
    code = [*load("r0", "r2", "r3"), *load("r1", "r4", "r5"), *long_products()]
    upper, lower = "r3", "r2"
    for _ in range(rows - 1):
        code += [*load("r0", lower), *load("r1", "r4", "r5")]
        for (low, high), (a, w) in zip(
            _LONG, [(a, w) for a in (upper, lower) for w in ("r4", "r5")], strict=True
        ):
            code.append(f"smlal {low}, {high}, {a}, {w}")
        upper, lower = lower, upper
    return tuple(code)


def short_outer(instruction: str = "smlad") -> Code:
    """Two words of pixels against four of channels into eight accumulators."""
    code = [*load("r0", "r2", "r3")]
    for channel in (0, 2):
        code += load("r1", "r4", "r5")
        code += [
            f"{instruction} {_SHORT[4 * row + channel + i]}, {a}, {w}, "
            f"{_SHORT[4 * row + channel + i]}"
            for row, a in enumerate(("r2", "r3"))
            for i, w in enumerate(("r4", "r5"))
        ]
    return tuple(code)


def combine_passes() -> Code:
    """Between the passes of F(2, 3): u set aside, u + v and u - v, then the latter restored."""
    code = [f"vmov s{i}, {register}" for i, register in enumerate(_SHORT)]
    code += [f"mov {register}, #0" for register in _SHORT]
    for i, (low, high) in enumerate(_LONG):
        code += [
            f"vmov r2, s{2 * i}",
            f"vmov r3, s{2 * i + 1}",
            f"subs r4, r2, {low}",
            f"sbc r5, r3, {high}",
            f"adds {low}, {low}, r2",
            f"adc {high}, {high}, r3",
            f"vmov s{2 * i}, r4",
            f"vmov s{2 * i + 1}, r5",
        ]
    code += [f"vmov {register}, s{i}" for i, register in enumerate(_SHORT)]
    return tuple(code)


def rotated_masks(rotations: tuple[int, ...]) -> Code:
    """One word of a pixel against dense words of weights into all eight accumulators.

    A mask in r5 takes a pair of halves out of each rotation of a word: two channels of two terms.
    """
    code = [*load("r0", "r2")]
    for first in range(0, len(_SHORT), len(rotations)):
        code += load("r1", "r3")
        for accumulator, rotation in zip(_SHORT[first:], rotations, strict=False):
            rotated = f", ror #{rotation}" if rotation else ""
            code += [
                f"and r4, r5, r3{rotated}",
                f"smlad {accumulator}, r2, r4, {accumulator}",
            ]
    return tuple(code)


def halves_in_flash() -> Code:
    """One word of a pixel against eight words of two channels each."""
    code = [*load("r0", "r2")]
    for first in (0, 3, 6):
        names = ("r3", "r4", "r5")[: len(_SHORT) - first]
        code += load("r1", *names)
        code += [
            f"smlad {total}, r2, {w}, {total}"
            for total, w in zip(_SHORT[first:], names, strict=False)
        ]
    return tuple(code)


def bit_serial() -> Code:
    """One plane of 32 activations against two of weights: AND, and ones counted in registers.

    Without an instruction for it counting takes eight, with masks in r10 - r12 and lr = 0.
    """
    code = [*load("r0", "r2"), *load("r1", "r3", "r4")]
    for plane, total in (("r3", "r6"), ("r4", "r7")):
        code += [
            f"and {plane}, {plane}, r2",
            f"and r5, r10, {plane}, lsr #1",
            f"sub {plane}, {plane}, r5",
            f"and r5, r11, {plane}, lsr #2",
            f"and {plane}, {plane}, r11",
            f"add {plane}, {plane}, r5",
            f"add {plane}, {plane}, {plane}, lsr #4",
            f"and {plane}, {plane}, r12",
            f"usada8 {total}, {plane}, lr, {total}",
        ]
    return tuple(code)


def tiles() -> tuple[PackingTile, ...]:
    """All that are measured. A round is an input channel of rows, a pair of terms of halves."""
    direct, outer, short = row_direct(), long_outer(), short_outer()
    combine = combine_passes()
    rows = [
        tile
        for w_bits, a_bits, m, field_bits in ((4, 4, 3, 13), (3, 3, 3, 12), (2, 2, 4, 9))
        for tile in (
            PackingTile(f"row m={m} s={field_bits}", "3x3", w_bits, a_bits, 36 * m, direct, 4),
            PackingTile(
                f"row m={m} s={field_bits}, F(2, 3)",
                *("3x3", w_bits, a_bits, 18 * m, outer, 8, 4, combine),
            ),
        )
    ]
    return (
        PackingTile("row m=2 s=21, 2+1 taps", "3x3", 8, 8, 36, direct, 4, 2),
        PackingTile("row m=2 s=21, 2+1 taps, F(2, 3)", "3x3", 8, 8, 18, outer, 8, 8, combine),
        PackingTile("row m=3 s=13, weights 4+4", "3x3", 8, 4, 54, direct, 4, 2),
        *rows,
        PackingTile("halves of 2 px x 1 ch", "5x5", 4, 4, 32, short),
        PackingTile("row m=3 s=13, 3+2 taps", "5x5", 4, 4, 150, row_direct(5), 1, 2),
        PackingTile("halves, plain", "1x1", 8, 8, 16, short),
        PackingTile("halves of 2 px x 1 ch", "1x1", 4, 4, 32, short),
        PackingTile("SMLALD, halves of 2 px x 1 ch", "1x1", 4, 4, 16, long_outer("smlald")),
        PackingTile("SMLAL, 2 px x 2 ch s=11", "1x1", 4, 4, 16, outer),
        PackingTile("halves of 2 px x 1 ch", "1x1", 3, 3, 32, short),
        PackingTile("SMLAL, 2 px x 3 ch s=10", "1x1", 3, 3, 24, outer),
        PackingTile("halves of 2 px x 2 ch s=7", "1x1", 2, 2, 64, short),
        PackingTile("SMLALD, halves of 2 px x 2 ch", "1x1", 2, 2, 32, long_outer("smlald")),
        PackingTile("SMLAL, 3 px x 2 ch s=9", "1x1", 2, 2, 24, outer),
        PackingTile("SMLAL, 4 px x 2 ch s=7", "1x1", 2, 2, 32, outer),
        PackingTile("USADA8, two planes", "1x1", 2, 8, 16, short_outer("usada8")),
        PackingTile("bit-serial, four pairs of planes", "1x1", 2, 2, 16, bit_serial(), 1),
        PackingTile("halves of 2 ch s=12 in flash", "fc", 4, 4, 32, halves_in_flash(), 2),
        PackingTile("dense words, rotated masks s=12", "fc", 4, 4, 32, rotated_masks((0, 8)), 2),
        PackingTile(
            "dense words, rotated masks s=14", "fc", 2, 2, 32, rotated_masks((0, 4, 8, 12)), 2
        ),
    )
