"""From the accumulators of a tile of halves to stored pixels, in assembly (see `halves_asm.py`).

Temporaries are r0 to r5; r0 stays what it is where the tile says so.
"""

from __future__ import annotations

from dataclasses import replace

from mcuq_lab.liteengine.kernels.halves_tile import (
    FIRST,
    ROW_BYTES,
    SECOND,
    WORDS,
    HalvesTile,
    Register,
)
from mcuq_lab.liteengine.packing.halves import HALF_BITS, Field

_SUM_BITS = 31  # of what is requantized, pre-shifted
_BYTE_PAIRS = ((WORDS[0], WORDS[1]), (WORDS[2], WORDS[3]))  # L and S


def halves_outputs(tile: HalvesTile) -> list[str]:
    """Fields become outputs, side by side in each accumulator; then pixels are put together."""
    lines = differences(tile)
    if tile.bytes and tile.pixels == 1:
        for low, high in _BYTE_PAIRS:
            for small, large, surplus in zip(low, high, ("r4", "r5"), strict=True):
                lines.append(f"lsr {large}, {large}, #8")
                lines += [f"add {small}, {surplus}"] if tile.surplus else []
    lines += _masks(tile)
    for index, pair in enumerate(WORDS):
        if tile.even_fields_are_channel_0:
            lines += _pair_of_four(tile, index)
            continue
        if tile.channels == 1:
            lines += [f"vmov r4, s{2 * index}", f"vmov r5, s{2 * index + 1}"]
        elif tile.parts == 1:
            lines += [f"vmov r{2 + i}, s{4 * index + i}" for i in range(4)]
        for word in pair:
            if tile.parts == 1:
                lines += _word_outputs(tile, word, _base(tile, index))
            elif tile.bytes and tile.pixels == 1:
                lines += _summed_words(tile, word, 8 * (index % 2))
            elif tile.bytes:
                lines += _summed_bytes(tile, word, _base(tile, index))
            elif len(tile.fields) == 2:
                lines += _summed_two(tile, index, word)
            else:
                lines += _summed_four(tile, index, word)
    lines += [f"add sp, #{tile.rows_bytes}"] if tile.parts > 1 and tile.starts_over else []
    lines += ["vmov r2, s24", "vmov r3, s25"]
    for words in (FIRST, SECOND):
        lines += _store_pixels(tile, words)
    return [*lines, "vmov s24, r2"]


def differences(tile: HalvesTile) -> list[str]:
    """Of byte pairs, S := S - L: 256 times the fields of its channel."""
    if not tile.bytes:
        return []
    return [
        f"sub {large}, {large}, {small}"
        for low, high in _BYTE_PAIRS
        for small, large in zip(low, high, strict=True)
    ]


def _base(tile: HalvesTile, index: int) -> int:
    """Where the fields of word of channels `index` begin."""
    return 8 if tile.bytes and tile.pixels == 2 and index % 2 else 0


def _masks(tile: HalvesTile) -> list[str]:
    """Constants of the outputs, in registers."""
    if tile.even_fields_are_channel_0:
        bits = tile.lows[2] if tile.parts > 1 else tile.narrowest_bits
        masks = {"r1": _scaled_mask(tile, bits)}
    elif tile.parts == 1:
        masks = dict(zip(("r2", "r3"), _scaled_masks(tile), strict=False))
    elif tile.bytes and tile.pixels == 1:
        masks = {}
    elif tile.bytes:
        masks = {"r2": _scaled_mask(tile, _by_rank(tile)[0].bits)}
    elif len(tile.fields) == 2:
        low, top = _by_rank(tile)
        masks = {"r2": _scaled_mask(tile, low.bits), "r3": _scaled_mask(tile, top.bits)}
    else:
        masks = {"r1": _scaled_mask(tile, tile.lows[2]), "r2": tile.even_fields}
    return [line for register, mask in masks.items() for line in constant(register, mask)]


def constant(to: Register, value: int) -> list[str]:
    """`to` := a word."""
    return [f"movw {to}, #{value & 0xFFFF}", f"movt {to}, #{value >> 16}"]


def _scaled_mask(tile: HalvesTile, bits: int) -> int:
    """Ones where a pre-shifted sum of `bits` bits has its own: sums have no more than 31."""
    return ((1 << min(bits, _SUM_BITS - tile.pre_shift)) - 1) << tile.pre_shift


def _extract(to: Register, word: Register, field: Field) -> str:
    if field.low + field.bits == 32:
        return f"lsr {to}, {word}, #{field.low}" if field.low else f"mov {to}, {word}"
    return f"ubfx {to}, {word}, #{field.low}, #{field.bits}"


def _requantized(tile: HalvesTile, to: Register, multiplier: Register = "r4") -> list[str]:
    offset = f"r{int(multiplier[1:]) + 1}"
    shifted = f", asr #{tile.shift}" if tile.shift else ""
    return [
        f"smmla {to}, {to}, {multiplier}, {offset}",
        f"usat {to}, #{tile.out_bits}, {to}{shifted}",
    ]


def _pixels_outputs(
    tile: HalvesTile, low: Register, top: Register, to: Register, multiplier: Register = "r4"
) -> list[str]:
    """`to` := outputs of both pixels of a channel, in halves, from their pre-shifted sums."""
    if tile.shift != HALF_BITS:
        both = [*_requantized(tile, low, multiplier), *_requantized(tile, top, multiplier)]
        return [*both, f"orr {to}, {low}, {top}, lsl #{HALF_BITS}"]
    offset = f"r{int(multiplier[1:]) + 1}"
    return [
        *(f"smmla {each}, {each}, {multiplier}, {offset}" for each in (low, top)),
        f"pkhtb {to}, {top}, {low}, asr #{HALF_BITS}",
        f"usat16 {to}, #{tile.out_bits}, {to}",
    ]


def _place(tile: HalvesTile, field: Field) -> int:
    """Where an output lies in its word: of the second pixel in the upper half."""
    return field.channel * tile.storage + 16 * field.pixel


def _word_outputs(tile: HalvesTile, word: Register, base: int) -> list[str]:
    """`word` := the outputs of its fields, which begin at bit `base`, if there is one part.

    The fields are requantized one by one and gathered, two in r1, four in r0 with the help of r1;
    the last one may take the accumulator itself.
    """
    lines: list[str] = []
    last = len(tile.fields) - 1
    gathering = "r0" if last == 3 else "r1"
    if _scaled_masks(tile):
        for field, to, mask in zip(tile.fields, ("r1", word), ("r2", "r3"), strict=True):
            lines.append(_extract_scaled(tile, to, word, base + field.low, mask))
        return [*lines, *_pixels_outputs(tile, "r1", word, word)]
    for number, field in enumerate(tile.fields):
        multiplier = f"r{2 + 2 * field.channel}" if tile.channels == 2 else "r4"
        to = word if number == last else "r1" if number else gathering
        if not (to == word and field.low == 0 and field.bits == 32):
            lines.append(_extract(to, word, replace(field, low=base + field.low)))
        if tile.pre_shift:
            lines.append(f"lsl {to}, {to}, #{tile.pre_shift}")
        lines += _requantized(tile, to, multiplier)
        if number:
            gathered = word if number == last else gathering
            lines.append(f"orr {gathered}, {gathering}, {to}, lsl #{_place(tile, field)}")
    return lines


def _constants(tile: HalvesTile, index: int, channel: int) -> list[str]:
    """Multiplier and offset of a channel to r4, r5, where they change from field to field."""
    first = 4 * index + 2 * channel
    return [f"vmov r4, s{first}", f"vmov r5, s{first + 1}"] if tile.channels == 2 else []


def _handed_on(tile: HalvesTile, word: Register) -> list[int]:
    """Where on the stack the parts before have left their share of a word's sums."""
    number = 2 * FIRST.index(word) if word in FIRST else 2 * SECOND.index(word) + 1
    return [ROW_BYTES * row + 4 * number for row in range(tile.parts - 1)]


def _summed_two(tile: HalvesTile, index: int, word: Register) -> list[str]:
    """As `_word_outputs`, of two fields in several parts."""
    low, top = _by_rank(tile)
    first, *others = _handed_on(tile, word)
    lines = [*_constants(tile, index, low.channel), f"ldr r1, [sp, #{first}]"]
    for row in others:
        lines += [f"ldr r0, [sp, #{row}]", "add r1, r0"]
    lines.append(f"and r0, r2, {word}" + (f", lsl #{tile.pre_shift}" if tile.pre_shift else ""))
    lines.append("add r1, r0, r1" + (f", lsl #{tile.pre_shift}" if tile.pre_shift else ""))
    if tile.pixels == 2:
        lines.append(_extract_scaled(tile, word, word, top.low, "r3"))
        return [*lines, *_pixels_outputs(tile, "r1", word, word)]
    return [
        *lines,
        *_requantized(tile, "r1"),
        *_constants(tile, index, top.channel),
        _extract_scaled(tile, word, word, top.low, "r3"),
        *_requantized(tile, word),
        f"orr {word}, r1, {word}, lsl #{_place(tile, top)}",
    ]


def _summed_bytes(tile: HalvesTile, word: Register, base: int) -> list[str]:
    """As `_word_outputs`, of two pixels in several parts, which all hand on whole words."""
    low, top = _by_rank(tile)
    first, *others = _handed_on(tile, word)
    lines = [
        f"ldr r1, [sp, #{first}]",
        _extract_scaled(tile, "r0", word, base + low.low, "r2"),
        f"lsr {word}, {word}, #{base + top.low}",
    ]
    for row in (None, *others):
        lines += [] if row is None else [f"ldr r1, [sp, #{row}]"]
        lines += [
            _extract_scaled(tile, "r3", "r1", base + low.low, "r2"),
            "add r0, r3",
            f"add {word}, {word}, r1, lsr #{base + top.low}",
        ]
    return [
        *lines,
        *([f"lsl {word}, {word}, #{tile.pre_shift}"] if tile.pre_shift else []),
        *_pixels_outputs(tile, "r0", word, word),
    ]


def _summed_words(tile: HalvesTile, word: Register, low: int) -> list[str]:
    """As `_word_outputs`, of one pixel in several parts, which begins at bit `low` of what they
    hand on."""
    shifted = f", lsr #{low}" if low else ""
    lines = []
    for row in _handed_on(tile, word):
        lines += [f"ldr r1, [sp, #{row}]", f"add {word}, {word}, r1{shifted}"]
    lines += [f"lsl {word}, {word}, #{tile.pre_shift}"] if tile.pre_shift else []
    return [*lines, *_requantized(tile, word)]


def _by_rank(tile: HalvesTile) -> list[Field]:
    return sorted(tile.fields, key=lambda field: field.low)


def _split_sums(tile: HalvesTile, word: Register, even: Register) -> list[str]:
    """Of four fields in several parts: fields 0 and 2 to `even`, 1 and 3 stay in `word`.

    All that has been handed on is added to the accumulator, and its fields 0 and 2 in `even`: the
    difference are the fields 1 and 3, each with the bits of its upper neighbour to grow into.
    """
    lines = [f"and {even}, r2, {word}"]
    rows = _handed_on(tile, word)
    for i in range(0, len(rows), 2):
        taken = list(zip(rows[i : i + 2], ("r4", "r5"), strict=False))
        lines += [f"ldr {to}, [sp, #{row}]" for row, to in taken]
        for _, part in taken:
            lines += [f"add {word}, {part}", f"and {part}, r2, {part}", f"add {even}, {part}"]
    return [*lines, f"sub {word}, {even}"]


def _pair_of_four(tile: HalvesTile, index: int) -> list[str]:
    """As `_word_outputs`, of four fields of both words that share two channels, if the even fields
    are channel 0. Outputs are gathered in r0 and r3."""
    lines = []
    words = tuple(zip(WORDS[index], ("r0", "r3"), strict=True))
    if tile.parts > 1:
        lines.append("vmov r2, s27")
        for word, even in words:
            lines += _split_sums(tile, word, even)
    ranks = _by_rank(tile)
    lines += _constants(tile, index, 0)
    for word, gathering in words:
        first, second = (gathering, "r2") if tile.parts == 1 else ("r2", gathering)
        source = word if tile.parts == 1 else gathering
        lines.append(_extract_scaled(tile, first, source, ranks[0].low, "r1"))
        lines.append(_extract_scaled(tile, second, source, ranks[2].low, "r1"))
        lines += _pixels_outputs(tile, first, second, gathering)
    lines += _constants(tile, index, 1)
    for word, gathering in words:
        lines.append(_extract_scaled(tile, "r2", word, ranks[1].low, "r1"))
        lines.append(_extract_scaled(tile, word, word, ranks[3].low, "r1"))
        lines += _pixels_outputs(tile, "r2", word, word)
        lines.append(f"orr {word}, {gathering}, {word}, lsl #{_place(tile, ranks[1])}")
    return lines


def _summed_four(tile: HalvesTile, index: int, word: Register) -> list[str]:
    """As `_word_outputs`, of four fields in several parts."""
    lines = _split_sums(tile, word, "r0")
    # (rank, where it is, where it is requantized): the fields of a word in their order of use
    steps = ((0, "r0", "r3"), (2, "r0", "r0"), (1, word, "r3"), (3, word, word))
    by_rank = _by_rank(tile)
    known = None
    for rank, source, to in steps:
        field = by_rank[rank]
        if field.channel != known:
            lines += _constants(tile, index, field.channel)
            known = field.channel
        lines.append(_extract_scaled(tile, to, source, field.low, "r1"))
        lines += _requantized(tile, to)
        if rank == 2:
            lines.append(f"orr r0, r3, r0, lsl #{_place(tile, field)}")
        elif rank:
            gathered = word if rank == 3 else "r0"
            lines.append(f"orr {gathered}, r0, {to}, lsl #{_place(tile, field)}")
    return lines


def _scaled_masks(tile: HalvesTile) -> tuple[int, ...]:
    """What takes each field out and scales it for the requantization in one, in registers that one
    channel in one part leaves; none where it needs no scaling or has no room."""
    if tile.pre_shift == 0 or (tile.channels, tile.parts, tile.pixels) != (1, 1, 2):
        return ()
    return tuple(_scaled_mask(tile, field.bits) for field in tile.fields)


def _extract_scaled(
    tile: HalvesTile, to: Register, word: Register, low: int, mask: Register
) -> str:
    right = low - tile.pre_shift
    shift = f", lsr #{right}" if right > 0 else f", lsl #{-right}" if right else ""
    return f"and {to}, {mask}, {word}{shift}"


def _store_pixels(tile: HalvesTile, words: tuple[Register, ...]) -> list[str]:
    """Stores the pixels of one word of pixels at r2, r3 bytes apart."""
    a, b, c, d = words
    width = tile.channels * tile.storage  # bits of one word of channels in a pixel
    two = tile.pixels == 2
    lines: list[str] = []
    if 4 * width <= 16:
        store = "strb" if 4 * width == 8 else "strh"
        lines += [
            f"orr {a}, {a}, {b}, lsl #{width}",
            f"orr {c}, {c}, {d}, lsl #{width}",
            f"orr {a}, {a}, {c}, lsl #{2 * width}",
            f"{store} {a}, [r2]",
            "add r2, r3",
        ]
        if two:
            lines += [f"lsr {a}, {a}, #16", f"{store} {a}, [r2]", "add r2, r3"]
        return lines
    if 4 * width == 32:
        lines += [
            f"orr {a}, {a}, {b}, lsl #{width}",
            f"orr {c}, {c}, {d}, lsl #{width}",
            f"pkhbt {b}, {a}, {c}, lsl #16",
            f"str {b}, [r2]",
            "add r2, r3",
        ]
        if two:
            lines += [f"pkhtb {b}, {c}, {a}, asr #16", f"str {b}, [r2]", "add r2, r3"]
        return lines
    for pack in ("pkhbt", "pkhtb") if two else ("pkhbt",):
        if pack == "pkhbt":
            lines += [f"pkhbt r4, {a}, {b}, lsl #16", f"pkhbt r5, {c}, {d}, lsl #16"]
        else:
            lines += [f"pkhtb r4, {b}, {a}, asr #16", f"pkhtb r5, {d}, {c}, asr #16"]
        lines += ["str r4, [r2]", "str r5, [r2, #4]", "add r2, r3"]
    return lines
