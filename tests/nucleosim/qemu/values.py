"""Operands: mostly the corners where instructions go wrong."""

from __future__ import annotations

import random

_WORDS = (
    *(0, 1, 2, 3, 0xFFFFFFFF, 0xFFFFFFFE, 0x80000000, 0x80000001, 0x7FFFFFFF, 0x7FFFFFFE),
    *(0x7FFF8000, 0x80007FFF, 0x80008000, 0x7FFF7FFF, 0xFFFF0000, 0x0000FFFF, 0x00010001),
    *(0x00007FFF, 0x00008000, 0xFFFF8000, 0x80808080, 0x7F7F7F7F, 0x7F80FF00, 0x01010101),
    *(0x00FF00FF, 0xFF00FF00, 0x40000000, 0xC0000000, 0x55555555, 0xAAAAAAAA, 0x000000FF),
    *(0x0000007F, 0x00000080, 0xFFFFFF80, 31, 32, 33, 255, 256),
)

# Zeros, denormals, the smallest and largest normals, infinities, quiet and signalling NaNs, ones,
# ties of rounding, the ends of the integers.
_FLOATS = (
    *(0x00000000, 0x00000001, 0x00400000, 0x007FFFFF, 0x00800000, 0x00800001, 0x7F7FFFFF),
    *(0x7F800000, 0x7FC00000, 0x7FC12345, 0x7F800001, 0x7FA00000, 0x7FFFFFFF, 0x3F800000),
    *(0x3F7FFFFF, 0x3F800001, 0x3F000000, 0x3FC00000, 0x40200000, 0x34000000, 0x33800000),
    *(0x4EFFFFFF, 0x4F000000, 0x4F7FFFFF, 0x4F800000, 0x4B000001, 0x4B7FFFFF, 0x477FE000),
    *(0x477FF000, 0x38800000, 0x387FC000, 0x33000000, 0x1F800000, 0x5F800000),
)
_DOUBLES = (
    *(0x0000000000000000, 0x0000000000000001, 0x000FFFFFFFFFFFFF, 0x0010000000000000),
    *(0x7FEFFFFFFFFFFFFF, 0x7FF0000000000000, 0x7FF8000000000000, 0x7FF0000000000001),
    *(0x7FF7FFFFFFFFFFFF, 0x3FF0000000000000, 0x3FE0000000000000, 0x3FF8000000000000),
    *(0x3FEFFFFFFFFFFFFF, 0x4004000000000000, 0x41DFFFFFFFC00000, 0x41DFFFFFFFE00000),
    *(0x41E0000000000000, 0x41EFFFFFFFE00000, 0x41EFFFFFFFF00000, 0x41F0000000000000),
    *(0x36A0000000000000, 0x3690000000000000, 0x380FFFFFFFFFFFFF, 0x47EFFFFFF0000000),
    *(0x40EFFC0000000000, 0x40EFFE0000000000, 0x1E60000000000000, 0x5FE0000000000000),
)

_ROUNDING, _FLUSH_TO_ZERO, _DEFAULT_NAN, _ALTERNATIVE_HALF = 0x00C00000, 1 << 24, 1 << 25, 1 << 26


def word(source: random.Random) -> int:
    """A 32-bit operand."""
    chance = source.random()
    if chance < 0.6:
        return source.choice(_WORDS)
    if chance < 0.7:
        return single(source)
    return source.getrandbits(32) >> source.choice((0, 0, 0, 8, 16, 24))


def single(source: random.Random) -> int:
    """The bits of a single-precision operand."""
    chance = source.random()
    if chance < 0.6:
        return source.choice(_FLOATS) | source.getrandbits(1) << 31
    if chance < 0.8:  # numbers of like size, so that sums cancel and round
        return source.randrange(0x3E000000, 0x42000000) | source.getrandbits(1) << 31
    return source.getrandbits(32)


def double(source: random.Random) -> int:
    """The bits of a double-precision operand."""
    chance = source.random()
    if chance < 0.6:
        return source.choice(_DOUBLES) | source.getrandbits(1) << 63
    if chance < 0.8:
        return source.randrange(0x3FC << 52, 0x404 << 52) | source.getrandbits(1) << 63
    return source.getrandbits(64)


def status(source: random.Random) -> int:
    """An FPSCR: flags at random, and half of the time a mode that is not the one of reset."""
    flags = source.getrandbits(4) << 28 | source.choice((0, 0, 0x9F))
    if source.getrandbits(1):
        return flags
    modes = _ROUNDING | _FLUSH_TO_ZERO | _DEFAULT_NAN | _ALTERNATIVE_HALF
    return flags | source.getrandbits(32) & modes


def modified_immediate(source: random.Random) -> int:
    """A constant of the form that 32-bit data processing takes (ARMv7-M manual, A5.3.2)."""
    byte = source.choice((source.getrandbits(8), 0, 1, 0x7F, 0x80, 0xFF))
    shape = source.randrange(5)
    if shape == 0:
        return byte
    if shape < 4 and byte:
        return byte * (0, 0x00010001, 0x01000100, 0x01010101)[shape]
    return (byte | 0x80) << source.randrange(1, 25)
