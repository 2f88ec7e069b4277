"""The inner loop of the halves in Thumb-2 assembly for Armv7E-M with a floating-point unit.

A tile is two words of pixels x four words of output channels, eight accumulators. With two pointers
and four temporaries these are all fourteen registers there are.

    r0 pixels   r1 weights   r2 - r5 temporaries
    r6 r8 r10 r12 first word of pixels, r7 r9 r11 lr second one, by word of channels

Everything else waits in registers of the floating-point unit, from where VMOV fetches a word in one
cycle:

    s0 - s15   multiplier and offset of each channel
    s16 w      s17, s18 parts, their end     s19 partial sums     s20 pixels
    s21 - s24  set aside: r0, end of the weights of the part, the next part, r1
    s25 - s27  the current run: out, step, a_end

A pair of terms is 6 loads in groups of four and two, and 8 SMLAD: 16 cycles. Of byte pairs it is 4
loads, 2 UXTB16 and 8 SMLAD, 15 cycles; L and S of a pair of channels are neighbours then, and the
two words in front of a group are added to the start values of its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mcuq_lab.liteengine.packing.halves import Field
from mcuq_lab.quantgraph import STORAGE_BITS

Register = str

_FIRST = ("r6", "r8", "r10", "r12")
_SECOND = ("r7", "r9", "r11", "lr")
_WORDS = tuple(zip(_FIRST, _SECOND, strict=True))


@dataclass(frozen=True)
class HalvesTile:
    """What a tile function is specialised by; `le_halves_shape` in C.

    Attributes:
        pixels, channels, fields: of the packing.
        unroll: pairs of terms in one round of the loop.
        parts: 1, 2, or 3 for more: segments of the terms.
        bytes: weights are byte pairs.
        out_bits, pre_shift, shift: of the requantization.
    """

    pixels: int
    channels: int
    fields: tuple[Field, ...]
    unroll: int
    parts: int
    bytes: bool
    out_bits: int
    pre_shift: int
    shift: int

    @property
    def storage(self) -> int:
        return STORAGE_BITS[self.out_bits]

    @property
    def lows(self) -> list[int]:
        """Where fields begin, in order."""
        return sorted(field.low for field in self.fields)

    @property
    def sums_in_twos(self) -> bool:
        """Whether partial sums are words of two fields: four fields, several parts."""
        return self.parts > 1 and len(self.fields) == 4

    @property
    def name(self) -> str:
        """Part of the tile function's name; different tiles have different names."""
        text = "b" if self.bytes else f"p{self.pixels}q{self.channels}"
        text += f"s{'_'.join(map(str, self.lows[1:]))}" if len(self.fields) > 1 else ""
        text += f"g{self.parts}" if self.parts > 1 else ""
        return f"{text}_u{self.unroll}_o{self.out_bits}p{self.pre_shift}h{self.shift}"


def halves_assembly(tile: HalvesTile) -> list[str]:
    """Instructions of the tile function: `void (le_halves_call *)`, the argument in r0.

    Local labels are numbers: 1 run, 2 tile, 3 part, 4 round, 5 partial sums, 6 not the first ones.
    """
    return [
        *_prologue(),
        "1:",
        "ldr r1, [sp]",
        "vldmia r1!, {s25-s27}",
        "str r1, [sp]",
        "2:",
        "vmov r1, s16",
        "vmov r2, s17",
        "3:",
        "ldmia r2!, {r3, r6, r8, r10, r12}",
        *_start_values(tile),
        "vmov s22, r3",
        *(["vmov s23, r2"] if tile.parts > 1 else []),
        *_sum_loop(tile),
        "vmov s21, r0",
        *(["vmov r2, s23", "vmov r3, s18", "cmp r2, r3", "bne.w 5f"] if tile.parts > 1 else []),
        *_outputs(tile),
        *_tail(),
        *(_partial(tile) if tile.parts > 1 else []),
    ]


def _prologue() -> list[str]:
    return [
        "push {r0, r4-r11, lr}",
        "vpush {s16-s27}",
        "vldmia r0!, {s0-s20}",
        "ldr r1, [r0]",
        "ldr r2, [r0, #4]",
        "push {r1, r2}",
        "vmov r0, s20",
    ]


def _tail() -> list[str]:
    """To the next group, the next run, or home."""
    return [
        "vmov r0, s21",
        "vmov r1, s27",
        "cmp r0, r1",
        "bne.w 2b",
        "ldr r1, [sp, #4]",
        "subs r1, #1",
        "str r1, [sp, #4]",
        "bne.w 1b",
        "add sp, #8",
        "vpop {s16-s27}",
        "pop {r0, r4-r11, pc}",
    ]


def _start_values(tile: HalvesTile) -> list[str]:
    """Of the second word of pixels, and of byte pairs also of the first."""
    if not tile.bytes:
        return [f"mov {second}, {first}" for first, second in _WORDS]
    lines = ["ldmia r0!, {r4, r5}"]
    for first, second in _WORDS:
        lines += [f"add {second}, {first}, r5", f"add {first}, r4"]
    return lines


def _sum_loop(tile: HalvesTile) -> list[str]:
    lines = [".p2align 2", "4:"]
    for pair in range(tile.unroll if tile.bytes else 0):
        lines += _byte_pair(8 * pair)
    for pair in range(0 if tile.bytes else tile.unroll):
        a, w = 8 * pair, 16 * pair
        lines += [f"ldr r2, [r0, #{a}]", f"ldr r3, [r0, #{a + 4}]"]
        for half in (0, 1):
            lines += [f"ldr r4, [r1, #{w + 8 * half}]", f"ldr r5, [r1, #{w + 8 * half + 4}]"]
            for word, weight in ((2 * half, "r4"), (2 * half + 1, "r5")):
                first, second = _WORDS[word]
                lines.append(f"smlad {first}, r2, {weight}, {first}")
                lines.append(f"smlad {second}, r3, {weight}, {second}")
    return [
        *lines,
        f"adds r0, #{8 * tile.unroll}",
        f"adds r1, #{(8 if tile.bytes else 16) * tile.unroll}",
        "vmov r2, s22",
        "cmp r1, r2",
        "bne.w 4b",
    ]


def _byte_pair(offset: int) -> list[str]:
    """One pair of terms of two pixels and two byte pairs."""
    lines = [f"ldr r2, [r0, #{offset}]", f"ldr r3, [r0, #{offset + 4}]"]
    lines += [f"ldr r4, [r1, #{offset}]", f"ldr r5, [r1, #{offset + 4}]"]
    for words in ((1, 3), (0, 2)):  # S, then L
        if words == (0, 2):
            lines += ["uxtb16 r4, r4", "uxtb16 r5, r5"]
        for word, weight in zip(words, ("r4", "r5"), strict=True):
            first, second = _WORDS[word]
            lines.append(f"smlad {first}, r2, {weight}, {first}")
            lines.append(f"smlad {second}, r3, {weight}, {second}")
    return lines


def _extract(to: Register, word: Register, field: Field) -> str:
    if field.low + field.bits == 32:
        return f"lsr {to}, {word}, #{field.low}" if field.low else f"mov {to}, {word}"
    return f"ubfx {to}, {word}, #{field.low}, #{field.bits}"


def _partial(tile: HalvesTile) -> list[str]:
    """The end of all parts but the last: fields are added to the partial sums."""
    lines = ["5:", "vmov s24, r1", "vmov r2, s19"]
    if tile.parts > 2:
        lines += ["vmov r0, s17", "adds r0, #20", "vmov r1, s23", "cmp r0, r1", "bne.w 6f"]
    back = ["vmov r0, s21", "vmov r1, s24", "vmov r2, s23", "b.w 3b"]
    lines += [*_fold(tile, is_first=True), *back]
    if tile.parts > 2:
        lines += ["6:", *_fold(tile, is_first=False), *back]
    return lines


def _twos_mask(tile: HalvesTile, to: Register) -> list[str]:
    """The fields 0 and 2 of an accumulator; shifted right by a field, it has fields 1 and 3 there.

    No part passes the narrowest field, so both may be masked like that.
    """
    narrowest = (1 << min(field.bits for field in tile.fields)) - 1
    mask = narrowest | narrowest << tile.lows[2]
    return [f"movw {to}, #{mask & 0xFFFF}", f"movt {to}, #{mask >> 16}"]


def _fold_in_twos(tile: HalvesTile, *, is_first: bool) -> list[str]:
    lines = _twos_mask(tile, "r0")
    for first, second in _WORDS:
        if is_first:
            for word, (even, odd) in ((first, ("r1", "r3")), (second, ("r4", "r5"))):
                lines.append(f"and {even}, r0, {word}")
                lines.append(f"and {odd}, r0, {word}, lsr #{tile.lows[1]}")
            lines.append("stmia r2!, {r1, r3, r4, r5}")
            continue
        for word in (first, second):
            lines += ["ldm r2, {r1, r3}", f"and r4, r0, {word}"]
            lines += [f"and r5, r0, {word}, lsr #{tile.lows[1]}"]
            lines += ["add r1, r4", "add r3, r5", "stmia r2!, {r1, r3}"]
    return lines


def _fold(tile: HalvesTile, *, is_first: bool) -> list[str]:
    if tile.sums_in_twos:
        return _fold_in_twos(tile, is_first=is_first)
    temporaries = ("r1", "r3", "r4", "r5")
    places = [(word, field) for pair in _WORDS for word in pair for field in tile.fields]
    lines = []
    for i in range(0, len(places), 4):
        if not is_first:
            lines.append("ldm r2, {r1, r3, r4, r5}")
        for (word, field), to in zip(places[i : i + 4], temporaries, strict=True):
            if is_first:
                lines.append(_extract(to, word, field))
            else:
                lines += [_extract("r0", word, field), f"add {to}, r0"]
        lines.append("stmia r2!, {r1, r3, r4, r5}")
    return lines


def _outputs(tile: HalvesTile) -> list[str]:
    """Fields become outputs, side by side in each accumulator; then pixels are put together."""
    lines = ["vmov r2, s19"] if tile.parts > 1 else []
    if tile.bytes:  # S := (S - L) / 256
        for low, high in ((_WORDS[0], _WORDS[1]), (_WORDS[2], _WORDS[3])):
            for small, large in zip(low, high, strict=True):
                lines += [f"sub {large}, {large}, {small}", f"lsr {large}, {large}, #8"]
    for register, mask in zip(("r2", "r3"), _scaled_masks(tile), strict=False):
        lines += [f"movw {register}, #{mask & 0xFFFF}", f"movt {register}, #{mask >> 16}"]
    for index, pair in enumerate(_WORDS):
        if tile.channels == 1:
            lines += [f"vmov r4, s{2 * index}", f"vmov r5, s{2 * index + 1}"]
        elif tile.parts == 1:
            lines += [f"vmov r{2 + i}, s{4 * index + i}" for i in range(4)]
        for word in pair:
            lines += _word_outputs(tile, index, word)
    lines += ["vmov r0, s25", "vmov r1, s26"]
    for words in (_FIRST, _SECOND):
        lines += _store_pixels(tile, words)
    return [*lines, "vmov s25, r0"]


def _word_outputs(tile: HalvesTile, index: int, word: Register) -> list[str]:
    """`word` := the outputs of its fields; those of the second pixel in the upper half.

    The fields are requantized one by one into r0 or r1 and gathered; the last one may take the
    accumulator itself.
    """
    lines: list[str] = []
    last = len(tile.fields) - 1
    has_r0 = False  # whether r0 holds outputs already
    masks = ("r2", "r3") if _scaled_masks(tile) else ()
    if tile.sums_in_twos:  # fields 0 and 2 stay in `word`, 1 and 3 go to r3
        lines += [*_twos_mask(tile, "r3"), "ldmia r2!, {r0, r1}", f"and r4, r3, {word}"]
        lines += [f"and r3, r3, {word}, lsr #{tile.lows[1]}", f"add {word}, r4, r0", "add r3, r1"]
    for number, field in enumerate(tile.fields):
        constants = ("r4", "r5")
        if tile.channels == 2:
            if tile.parts == 1:
                constants = (f"r{2 + 2 * field.channel}", f"r{3 + 2 * field.channel}")
            elif field.pixel == 0:
                first = 4 * index + 2 * field.channel
                lines += [f"vmov r4, s{first}", f"vmov r5, s{first + 1}"]
        at = field.channel * tile.storage + 16 * field.pixel
        to = word if number == last else "r1" if has_r0 else "r0"
        if tile.sums_in_twos:
            rank, high = tile.lows.index(field.low), tile.lows[2]
            place = replace(field, low=high, bits=32 - high) if rank > 1 else None
            place = place or replace(field, low=0, bits=high)
            lines.append(_extract(to, "r3" if rank % 2 else word, place))
        elif masks:
            lines.append(_extract_scaled(tile, to, word, field, masks[number]))
        elif not (to == word and field.low == 0 and field.bits == 32):
            lines.append(_extract(to, word, field))
        if tile.parts > 1 and not tile.sums_in_twos:
            lines += ["ldr r3, [r2], #4", f"add {to}, r3"]
        if tile.pre_shift and not masks:
            lines.append(f"lsl {to}, {to}, #{tile.pre_shift}")
        shifted = f", asr #{tile.shift}" if tile.shift else ""
        lines += [
            f"smmla {to}, {to}, {constants[0]}, {constants[1]}",
            f"usat {to}, #{tile.out_bits}, {to}{shifted}",
        ]
        if has_r0:
            gathered = word if number == last else "r0"
            lines.append(f"orr {gathered}, r0, {to}, lsl #{at}")
        has_r0 = True
    return lines


def _scaled_masks(tile: HalvesTile) -> tuple[int, ...]:
    """What takes each field out and scales it for the requantization in one, in registers that one
    channel in one part leaves; none where it needs no scaling or has no room."""
    if tile.pre_shift == 0 or tile.bytes or (tile.channels, tile.parts, tile.pixels) != (1, 1, 2):
        return ()
    if any(field.bits + tile.pre_shift > 32 for field in tile.fields):
        return ()
    return tuple(((1 << field.bits) - 1) << tile.pre_shift for field in tile.fields)


def _extract_scaled(
    tile: HalvesTile, to: Register, word: Register, field: Field, mask: Register
) -> str:
    right = field.low - tile.pre_shift
    shift = f", lsr #{right}" if right > 0 else f", lsl #{-right}" if right else ""
    return f"and {to}, {mask}, {word}{shift}"


def _store_pixels(tile: HalvesTile, words: tuple[Register, ...]) -> list[str]:
    """Stores the pixels of one word of pixels at r0, r1 bytes apart."""
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
            f"{store} {a}, [r0]",
            "add r0, r1",
        ]
        if two:
            lines += [f"lsr {a}, {a}, #16", f"{store} {a}, [r0]", "add r0, r1"]
        return lines
    if 4 * width == 32:
        lines += [
            f"orr {a}, {a}, {b}, lsl #{width}",
            f"orr {c}, {c}, {d}, lsl #{width}",
            f"pkhbt {b}, {a}, {c}, lsl #16",
            f"str {b}, [r0]",
            "add r0, r1",
        ]
        if two:
            lines += [f"pkhtb {b}, {c}, {a}, asr #16", f"str {b}, [r0]", "add r0, r1"]
        return lines
    for pack in ("pkhbt", "pkhtb") if two else ("pkhbt",):
        if pack == "pkhbt":
            lines += [f"pkhbt r4, {a}, {b}, lsl #16", f"pkhbt r5, {c}, {d}, lsl #16"]
        else:
            lines += [f"pkhtb r4, {b}, {a}, asr #16", f"pkhtb r5, {d}, {c}, asr #16"]
        lines += ["str r4, [r0]", "str r5, [r0, #4]", "add r0, r1"]
    return lines
