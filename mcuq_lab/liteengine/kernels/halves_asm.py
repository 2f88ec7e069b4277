"""The inner loop of the halves in Thumb-2 assembly for Armv7E-M with a floating-point unit.

A tile is two words of pixels x four words of output channels, eight accumulators. With two pointers
and four temporaries these are all fourteen registers there are.

    r0 pixels   r1 weights   r2 - r5 temporaries
    r6 r8 r10 r12 first word of pixels, r7 r9 r11 lr second one, by word of channels

Everything else waits in registers of the floating-point unit, from where VMOV fetches a word in one
cycle:

    s0 - s15   multiplier and offset of each channel
    s16 w      s17 parts   s18 end of w      s19 pixels
    s20 - s23  set aside: r0, end of the weights of the part, the next part, its row of sums
    s24 - s26  the current run: out, step, a_end
    s27 - s31  of the only part: end of its weights, start values
    s27        of several parts: mask of the fields 0 and 2 of four

A pair of terms is 6 loads in groups of four and two, and 8 SMLAD: 16 cycles. Of byte pairs it is 4
loads, 2 SXTB16 and 8 SMLAD, 15 cycles; L and S of a pair of channels are neighbours then. Where
lower bytes have a surplus, S - L needs no more; to L the two words behind a group are added, one
for each pixel.

At the end of a part sums move to the stack, a row of eight words for each part but the last; of two
fields in 32 bits only the lower one does, the upper one is wide enough for all parts
(`packing/halves.py`).
"""

from __future__ import annotations

from mcuq_lab.liteengine.kernels.halves_outputs_asm import constant, differences, halves_outputs
from mcuq_lab.liteengine.kernels.halves_tile import (
    FIRST,
    ROW_BYTES,
    WORDS,
    HalvesTile,
    Register,
)

NEXT_PART = ("vmov r3, s18", "cmp r1, r3", "bne.w 5f")


def halves_assembly(tile: HalvesTile) -> list[str]:
    """Instructions of the tile function: `void (le_halves_call *)`, the argument in r0.

    Local labels are numbers: 1 run, 2 tile, 3 part, 4 round, 5 the end of a part.
    """
    several = tile.parts > 1
    return [
        *_prologue(tile),
        "1:",
        f"ldr r1, [sp, #{tile.kept_bytes}]",
        "vldmia r1!, {s24-s26}",
        f"str r1, [sp, #{tile.kept_bytes}]",
        "2:",
        *tile_start(tile),
        *sum_loop(tile),
        *(NEXT_PART if several else []),
        *(["ldmia r0!, {r4, r5}"] if tile.surplus else []),
        *([] if tile.keeps_pointer else ["vmov s20, r0"]),
        *halves_outputs(tile),
        *tail(tile),
        *(end_of_part(tile) if several else []),
    ]


def _prologue(tile: HalvesTile) -> list[str]:
    mask: list[str] = []
    if tile.parts > 1 and tile.even_fields_are_channel_0:
        mask = [*constant("r2", tile.even_fields), "vmov s27, r2"]
    return [
        "push {r0, r4-r11, lr}",
        "vpush {s16-s31}",
        "vldmia r0!, {s0-s19}",
        "ldr r1, [r0]",
        "ldr r2, [r0, #4]",
        "push {r1, r2}",
        *([f"sub sp, #{tile.kept_bytes}"] if tile.kept_bytes else []),
        "vmov r0, s19",
        *mask,
        *(["vmov r2, s17", "vldmia r2, {s27-s31}"] if tile.parts == 1 else []),
    ]


def tail(tile: HalvesTile) -> list[str]:
    """To the next group, the next run, or home."""
    return [
        *([] if tile.keeps_pointer else ["vmov r0, s20"]),
        "vmov r1, s26",
        "cmp r0, r1",
        "bne.w 2b",
        f"ldr r1, [sp, #{tile.kept_bytes + 4}]",
        "subs r1, #1",
        f"str r1, [sp, #{tile.kept_bytes + 4}]",
        "bne.w 1b",
        f"add sp, #{tile.kept_bytes + 8}",
        "vpop {s16-s31}",
        "pop {r0, r4-r11, pc}",
    ]


def tile_start(tile: HalvesTile) -> list[str]:
    """Pointers and start values of the first part."""
    same = [f"mov {second}, {first}" for first, second in WORDS]
    if tile.parts == 1:
        return [
            "vmov r1, s16",
            *(f"vmov {first}, s{28 + k}" for k, first in enumerate(FIRST)),
            *same,
        ]
    return [
        "vmov r1, s16",
        "vmov r2, s17",
        *(["mov r3, sp", "vmov s23, r3"] if tile.parts > 2 and tile.kept_bytes else []),
        "3:",
        "ldmia r2!, {r3, r6, r8, r10, r12}",
        *same,
        "vmov s21, r3",
        "vmov s22, r2",
    ]


def end_of_part(tile: HalvesTile) -> list[str]:
    """The sums go to the row of the part, then the next part starts.

    Of two fields only the lower one does: the upper one just goes on.
    """
    if tile.starts_over:
        return ["5:", *differences(tile), "push {r6-r12, lr}", "vmov r2, s22", "b.w 3b"]
    one_row = tile.parts == 2
    lines = ["5:", "mov r2, sp" if one_row else "vmov r2, s23"]
    for k, (first, second) in enumerate(WORDS):
        lines += [
            f"ubfx r3, {first}, #0, #{tile.below_top}",
            f"ubfx r4, {second}, #0, #{tile.below_top}",
            f"str r3, [r2, #{8 * k}]",
            f"str r4, [r2, #{8 * k + 4}]",
            f"sub {first}, r3",
            f"sub {second}, r4",
        ]
    if not one_row:
        lines += [f"adds r2, #{ROW_BYTES}", "vmov s23, r2"]
    lines += ["vmov r2, s22", "ldmia r2!, {r3, r4, r5}", "vmov s21, r3"]
    starts = [f"add {word}, {start}" for k in (0, 1) for word, start in _started(k)]
    lines += [*starts, "ldmia r2!, {r4, r5}"]
    lines += [f"add {word}, {start}" for k in (2, 3) for word, start in _started(k)]
    return [*lines, "vmov s22, r2", "b.w 4b"]


def _started(k: int) -> list[tuple[Register, Register]]:
    """Accumulators of word of channels `k`, and where its start value has been loaded."""
    return [(word, "r4" if k % 2 == 0 else "r5") for word in WORDS[k]]


def sum_loop(tile: HalvesTile) -> list[str]:
    """The rounds of a part.

    A round goes chunk by chunk, so that offsets stay small (loads of 16 bits). The first pair of a
    chunk comes last: its loads take the pointers on to the next chunk, which costs nothing.
    """
    one_pair, longest = (_byte_pair, 16) if tile.bytes else (_pair, 8)
    lines = [".p2align 2", "4:"]
    for begin in range(0, tile.unroll, longest):
        chunk = min(longest, tile.unroll - begin)
        for pair in range(1, chunk):
            lines += one_pair(tile, pair)
        lines += one_pair(tile, 0, chunk)
    return [
        *lines,
        "vmov r2, s21" if tile.parts > 1 else "vmov r2, s27",
        "cmp r1, r2",
        "bne.w 4b",
    ]


def _pair(_: HalvesTile, number: int, chunk: int = 0) -> list[str]:
    """Pair `number` of a chunk; the last one, number 0, leads behind its `chunk` pairs.

    The loads that do so have 32 bits. So has one of their neighbours then, for the products to
    stay where a word of code begins.
    """
    a, w = 8 * number, 16 * number
    lines = [f"ldr r3, [r0, #{a + 4}]", _load("r2", "r0", a, 8 * chunk)]
    for half in (1, 0):
        at, ahead = w + 8 * half, 0 if half else 16 * chunk
        wide = ".w" if chunk else ""
        lines += [f"ldr{wide} r5, [r1, #{at + 4}]", _load("r4", "r1", at, ahead)]
        for word, weight in ((2 * half, "r4"), (2 * half + 1, "r5")):
            lines += _products(word, weight)
    return lines


def _byte_pair(tile: HalvesTile, number: int, chunk: int = 0) -> list[str]:
    """As `_pair`, of two words of pixels and two byte pairs."""
    low_bytes = "uxtb16" if tile.surplus else "sxtb16"
    at, ahead = 8 * number, 8 * chunk
    lines = [f"ldr r3, [r0, #{at + 4}]", _load("r2", "r0", at, ahead)]
    lines += [f"ldr r5, [r1, #{at + 4}]", _load("r4", "r1", at, ahead)]
    lines += [*_products(1, "r4"), *_products(3, "r5")]  # S, then L
    lines += [f"{low_bytes} r4, r4", f"{low_bytes} r5, r5"]
    return [*lines, *_products(0, "r4"), *_products(2, "r5")]


def _products(word: int, weight: Register) -> list[str]:
    """Both words of pixels times a word of channels."""
    return [
        f"smlad {to}, {pixel}, {weight}, {to}"
        for to, pixel in zip(WORDS[word], ("r2", "r3"), strict=True)
    ]


def _load(to: Register, base: Register, offset: int, ahead: int) -> str:
    """A load, at offset 0 one that also takes its base `ahead` bytes on."""
    return f"ldr {to}, [{base}], #{ahead}" if ahead else f"ldr {to}, [{base}, #{offset}]"
