"""The tile function of the row polynomial in Thumb-2 assembly: runs, and what becomes of the sums.

The inner loop (row_polynomial_asm.py) takes all core registers. Everything else waits in registers
of the floating-point unit, from where VMOV fetches a word in one cycle, where a load from the stack
takes two:

    s0 - s3    multiplier and offset of both channels     s13  upper     s14, s27  surplus of both
    s4 - s7    next      s10  a_skip     s11  sums of the segments before     s12  is_last
    s8, s9     weights of the run, their end                                   s15  r0
    s16 - s20  the current run: out0, out1, step0, step1, a_end
    s21 - s24  registers set aside by the epilogue     s26  mask of a field, see `scaled_mask`

The segments of two rows run one after the other, each over the whole row. All but the last leave
their accumulators in memory as they are; the last one takes the fields out of all of them.
"""

from __future__ import annotations

from collections.abc import Callable

from mcuq_lab.liteengine.kernels.row_polynomial_asm import (
    ROW0,
    ROW1,
    Accumulator,
    Register,
    Tile,
    carry,
    extract,
    scaled_mask,
    sum_loop,
)
from mcuq_lab.liteengine.packing.row import WORD_BITS

MOST_SEGMENTED_PIXELS = 4
"""With more, the last segment's epilogue has no registers for the sums of a row."""

_SUMS_BYTES = 32  # of the four accumulators


def tile_assembly(tile: Tile) -> list[str]:
    """Instructions of the tile function: `void (le_row_call *)`, the argument in r0.

    Local labels are numbers: 1 run, 2 tile, 3 round, 4 end of tile, 5 segments before the last,
    6 pixels that are merged with others, 7 behind them. Without segments before the last, what
    merges pixels is a loop of its own, which spares each tile the question.
    """
    if not tile.segmented:
        ways = [
            [*_begin_run(), *_tile_sums(tile), *_outputs(tile, merged), *_tail()]
            for merged in (False, True)
        ]
        if tile.storage != 2:
            return [*_prologue(tile), *ways[0]]
        test = ["vmov r1, s13", "cmp r1, #0", "bne.w 6f"]
        return [*_prologue(tile), *test, *ways[0], ".p2align 2", "6:", *ways[1]]
    return [
        *_prologue(tile),
        *_begin_run(),
        *_tile_sums(tile),
        *("vmov r2, s12", "cmp r2, #0", "beq.w 5f"),
        *_last_outputs(tile),
        "4:",
        *_tail(),
        "5:",
        *_keep_sums(tile),
        "b.w 4b",
    ]


def _prologue(tile: Tile) -> list[str]:
    """The stack then holds the next run and the number of runs left."""
    mask = scaled_mask(tile)
    return [
        "push {r4-r11, lr}",
        "vpush {s16-s27}",
        *([f"movw r1, #{mask & 0xFFFF}", f"movt r1, #{mask >> 16}"] if mask else []),
        *(["vmov s26, r1"] if mask else []),
        "vldmia r0!, {s0-s3}",
        "vldmia r0!, {s13-s14}",
        "vldmia r0!, {s27}",
        "ldrd r1, r2, [r0]",
        "push {r1, r2}",
    ]


def _begin_run() -> list[str]:
    return [
        "1:",
        "ldr r1, [sp]",
        "ldmia r1!, {r2, r3}",
        "vldmia r1!, {s8-s9}",
        "vldmia r1!, {s16-s20}",
        "str r1, [sp]",
        "cmp r2, #0",
        "beq.n 2f",
        "mov r0, r2",
        "vldmia r3!, {s4-s7}",
        "vldmia r3!, {s10-s12}",
        "ldm r3, {r6-r9}",
        "mov r10, r6",
        "mov r11, r7",
        "mov r12, r8",
        "mov lr, r9",
    ]


def _tile_sums(tile: Tile) -> list[str]:
    return ["2:", "vmov r1, s8", *sum_loop(tile)]


def _tail() -> list[str]:
    """To the next tile, the next run, or home."""
    return [
        "vmov r1, s10",
        "add r0, r1",
        "vmov r1, s20",
        "cmp r0, r1",
        "bne.w 2b",
        "ldrd r1, r2, [sp]",
        "str r6, [r1]",
        "str.w r8, [r1, #4]",
        "str.w r10, [r1, #8]",
        "str.w r12, [r1, #12]",
        "adds r1, #20",
        "subs r2, #1",
        "strd r1, r2, [sp]",
        "bne.w 1b",
        "add sp, #8",
        "vpop {s16-s27}",
        "pop {r4-r11, pc}",
    ]


def _begin_high(tile: Tile, accumulator: Accumulator, high: Register) -> list[str]:
    """high := its start value; the flags are those of the addition to low, which can only carry
    where A is toggled: else the fields in both operands are disjoint."""
    lines = [f"vmov {accumulator.high}, {high}"]
    return [*lines, f"adc {accumulator.high}, {accumulator.high}, #0"] if tile.toggle else lines


def _begin_block(tile: Tile, carried: tuple[Accumulator, ...] = ()) -> list[str]:
    """All accumulators of the next block, from those of this one; changes r2. `carried` are those
    whose low word holds already what the next block takes over."""
    lines = []
    for channel, (low, high) in enumerate((("s4", "s5"), ("s6", "s7"))):
        lines.append(f"vmov r2, {low}")
        for accumulator in (ROW0[channel], ROW1[channel]):
            if accumulator in carried:
                lines.append(f"adds {accumulator.low}, {accumulator.low}, r2")
            else:
                lines += carry(tile, accumulator, plus="r2")
            lines += _begin_high(tile, accumulator, high)
    return lines


def _outputs(tile: Tile, merged: bool) -> list[str]:
    """Extraction, requantization, output; then the accumulators of the next block."""
    mask = ("r11", "r8") if scaled_mask(tile) else ("", "")
    lines = ["vmov s15, r0", *(f"vmov r{2 + i}, s{i}" for i in range(4))]
    if tile.lanes == 1 and tile.pixels * tile.field_bits == WORD_BITS and mask[0]:
        return [*lines, *_low_word_rows(tile, merged), "vmov r0, s15"]
    lines += ["vmov s21, r12", "vmov s22, lr"]
    lines += _output_row(tile, ROW0, "s16", "s18", ("r12", "lr"), mask[0], merged)
    lines += ["vmov r12, s21", "vmov lr, s22"]
    # Row 0's accumulators, but for what is carried, are free now.
    lines += [line for accumulator in ROW0 for line in carry(tile, accumulator)]
    lines += _output_row(tile, ROW1, "s17", "s19", ("r7", "r9"), mask[1], merged)
    return [*lines, *_begin_block(tile, ROW0), "vmov r0, s15"]


def _low_word_rows(tile: Tile, merged: bool) -> list[str]:
    """Both rows' pixels, if all fields are in the low words, and the next block: what is carried,
    the high words, is set aside meanwhile."""
    pointer, stride, mask, spare = (accumulator.high for accumulator in (*ROW0, *ROW1))
    aside = [("s21", pointer), ("s22", stride), ("s23", mask)]
    if merged:
        aside.append(("s24", spare))
    lines = [f"vmov {to}, {register}" for to, register in aside]
    lines.append(f"vmov {mask}, s26")
    for row, out, step in ((ROW0, "s16", "s18"), (ROW1, "s17", "s19")):
        lines += [f"vmov {pointer}, {out}", f"vmov {stride}, {step}"]
        lines += [f"ldrb.w {spare}, [{pointer}]"] if merged else []
        for pixel in range(tile.pixels):
            for accumulator, total, multiplier, offset in zip(
                row, ("r0", "r1"), ("r2", "r4"), ("r3", "r5"), strict=True
            ):
                lines += extract(tile, total, accumulator, pixel, mask)
                lines += requantize(tile, total, multiplier, offset, scaled=True)
            lines.append(f"orr r0, r0, r1, lsl #{tile.storage}")
            if merged:
                lines.append(f"orr r0, {spare}, r0, lsl #4")
            if merged and pixel + 1 < tile.pixels:
                # the next pixel's byte: a store behind a load is pipelined
                lines.append(f"ldrb.w {spare}, [{pointer}, {stride}]")
            name = "strh.w" if tile.storage == 8 else "strb.w"
            lines += [f"{name} r0, [{pointer}]", f"add.w {pointer}, {pointer}, {stride}"]
        lines.append(f"vmov {out}, {pointer}")
    kept = {register: to for to, register in aside}
    for channel, (low, high) in enumerate((("s4", "s5"), ("s6", "s7"))):
        lines.append(f"vmov r2, {low}")
        for accumulator in (ROW0[channel], ROW1[channel]):
            carried = accumulator.high
            if carried in kept:
                lines.append(f"vmov {accumulator.high}, {kept[carried]}")
            lines.append(f"adds.w {accumulator.low}, r2, {carried}")
            lines += _begin_high(tile, accumulator, high)
    return lines


def _output_row(
    tile: Tile,
    row: tuple[Accumulator, Accumulator],
    out: Register,
    step: Register,
    place: tuple[Register, Register],
    mask: Register,
    merged: bool,
) -> list[str]:
    """One row's pixels, pixel by pixel, in r0 and r1; `place` is for its pointer and step, `mask`
    is set aside for the mask if it names a register."""
    pointer, stride = place
    lines = [f"vmov s23, {mask}", f"vmov {mask}, s26"] if mask else []
    lines += [f"vmov {pointer}, {out}", f"vmov {stride}, {step}"]
    for pixel in range(tile.pixels):
        for accumulator, total, multiplier, offset in zip(
            row, ("r0", "r1"), ("r2", "r4"), ("r3", "r5"), strict=False
        ):
            lines += extract(tile, total, accumulator, pixel, mask)
            lines += requantize(tile, total, multiplier, offset, scaled=bool(mask))
        lines += store(tile, "r0", "r1", *place, merged)
    lines.append(f"vmov {out}, {pointer}")
    return [*lines, f"vmov {mask}, s23"] if mask else lines


def either_way(
    tile: Tile, stores: Callable[[bool], list[str]], other: Register, compare: str = "cmp"
) -> list[str]:
    """What stores pixels, with and without merging where bytes are shared; changes `other`.

    `compare` is the instruction's name, which may ask for 32 bits.
    """
    if tile.storage != 2:
        return stores(False)
    return [
        *(f"vmov {other}, s13", f"{compare} {other}, #0", "bne.w 6f"),
        *stores(False),
        "b.w 7f",
        "6:",
        *stores(True),
        "7:",
    ]


def requantize(
    tile: Tile, total: Register, multiplier: Register, offset: Register, scaled: bool
) -> list[str]:
    """A sum, times 2**pre_shift already if `scaled`, to an output."""
    lines = [f"lsl.w {total}, {total}, #{tile.pre_shift}"] if tile.pre_shift and not scaled else []
    shifted = f", asr #{tile.shift}" if tile.shift else ""
    return [
        *lines,
        f"smmla {total}, {total}, {multiplier}, {offset}",
        f"usat {total}, #{tile.out_bits}, {total}{shifted}",
    ]


def store(
    tile: Tile, low: Register, high: Register, pointer: Register, stride: Register, merged: bool
) -> list[str]:
    """Writes one pixel's channels, into the upper half of a byte if `merged`; changes `high`."""
    lines = [f"orr {low}, {low}, {high}, lsl #{tile.storage}"]
    if merged:
        lines += [f"ldrb {high}, [{pointer}]", f"orr {low}, {high}, {low}, lsl #4"]
    store = "strh" if tile.storage == 8 else "strb"
    return [*lines, f"{store} {low}, [{pointer}]", f"add {pointer}, {stride}"]


def _keep_sums(tile: Tile) -> list[str]:
    """The end of a tile in all segments but the last."""
    further = _SUMS_BYTES * (len(tile.segment_shifts) - 1)
    return [
        "vmov r1, s11",
        "stmia r1!, {r6-r12, lr}",
        *([f"adds r1, #{further}"] if further else []),
        "vmov s11, r1",
        *_begin_block(tile),
    ]


def _last_outputs(tile: Tile) -> list[str]:
    """The end of a tile in the last segment: `_outputs` of all segments' sums.

    A row's sums, 2m of them, four temporaries and the mask take the registers that its accumulators
    leave; where these are too few, some of the other row's accumulators are set aside.
    """
    lines = ["vmov s15, r0"]
    wanted = 2 * tile.pixels + 2 + (scaled_mask(tile) > 0)
    few = ("r0", "r1", "r2", "r3", "r4", "r5")
    aside = ("r12", "lr", "r10", "r11")[: max(0, wanted - len(few))]
    away = [(f"s{21 + i}", register) for i, register in enumerate(aside)]
    lines += [f"vmov {to}, {register}" for to, register in away]
    lines += _last_row(tile, 0, (*few, *aside), "s16", "s18")
    lines += [f"vmov {register}, {to}" for to, register in away]
    few = (*few, "r7", "r9")
    aside = ("r6", "r8")[: max(0, wanted - len(few))]
    away = [(f"s{21 + i}", register) for i, register in enumerate(aside)]
    lines += [f"vmov {to}, {register}" for to, register in away]
    lines += _last_row(tile, 1, (*few, *aside), "s17", "s19")
    lines += [f"vmov {register}, {to}" for to, register in away]
    return [*lines, *_begin_block(tile, (*ROW0, *ROW1)), "vmov r0, s15"]


def _last_row(
    tile: Tile, number: int, free: tuple[Register, ...], out: Register, step: Register
) -> list[str]:
    """One row's pixels; leaves in its accumulators' low words what is carried."""
    row, count = (ROW0, ROW1)[number], tile.pixels
    scaled = scaled_mask(tile) > 0
    totals, mask, free = (
        (free[:count], free[count : 2 * count]),
        free[-1] if scaled else "",
        free[2 * count : len(free) - scaled],
    )
    pointer, field, low, high = (*free, row[0].high, row[1].high)[:4]
    lines = [f"vmov {mask}, s26"] if mask else []
    for accumulator, sums in zip(row, totals, strict=True):
        for pixel, total in enumerate(sums):
            lines += extract(tile, total, accumulator, pixel, mask)
        lines += carry(tile, accumulator)
    lines.append(f"vmov {pointer}, s11")
    before = Accumulator(low, high)
    for segment, shift in enumerate(tile.segment_shifts):
        for channel, sums in enumerate(totals):
            at = _SUMS_BYTES * segment + 16 * number + 8 * channel
            lines.append(f"ldrd {low}, {high}, [{pointer}, #{at}]")
            weight = f", lsl #{shift}" if shift else ""
            for pixel, total in enumerate(sums):
                lines += extract(tile, field, before, pixel, mask)
                lines.append(f"add.w {total}, {total}, {field}{weight}")
    if number == 1:
        lines += [
            f"add {pointer}, #{_SUMS_BYTES * len(tile.segment_shifts)}",
            f"vmov s11, {pointer}",
        ]
    for channel, sums in enumerate(totals):
        if tile.surplus:
            lines.append(f"vmov {low}, {('s14', 's27')[channel]}")
            scale = f", lsl #{tile.pre_shift}" if scaled else ""
            lines += [f"sub.w {total}, {total}, {low}{scale}" for total in sums]
        lines += [f"vmov {low}, s{2 * channel}", f"vmov {high}, s{2 * channel + 1}"]
        for total in sums:
            lines += requantize(tile, total, low, high, scaled)

    def stores(merged: bool) -> list[str]:
        return [
            line
            for first, second in zip(*totals, strict=True)
            for line in store(tile, first, second, pointer, field, merged)
        ]

    lines += [f"vmov {pointer}, {out}", f"vmov {field}, {step}"]
    lines += either_way(tile, stores, low)
    lines.append(f"vmov {out}, {pointer}")
    return lines
