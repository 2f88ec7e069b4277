"""The tile function of `le_vertical.h` in Thumb-2 assembly for Armv7E-M.

A tile is four rows, two pairs, x 2 output channels x one block of m pixels. Each product of the
identity is a pass over all planes of a segment, with four 64-bit accumulators:

    r0 entries   r1 weight words   r2 - r5 temporaries
    r6:r7, r8:r9 first pair, channels 0 and 1     r10:r11, r12:lr second pair, channels 0 and 1

Encodings are of 32 bits, those of 16 bits stand in twos: code that straddles words stalls in fetch.

Four loads and four products take nine cycles; two rows of a pair take four passes, where twelve
products and ten loads of the direct sums take 25 for each two rows.

The floating-point unit holds what else is needed, a VMOV away:

    s0 - s3    multiplier and offset of both channels    s13  upper    s14, s15  r0, r1
    s4 - s7    `begin` of the only segment    s8, s9  `rest` of a segment    s10  is_last
    s16 - s19  `first`, s20 - s23 `out`, s24 - s27 `step` of the four rows
    s11, s12, s28  registers set aside     s29  chain    s30  sums kept    s31  mask of a field

The stack holds w, chains and a_end, and below them T, then (T - V) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.liteengine.kernels.row_polynomial_asm import (
    ROW0,
    ROW1,
    Accumulator,
    Register,
    Tile,
    extract,
    scaled_mask,
)
from mcuq_lab.liteengine.kernels.row_tile_asm import either_way, requantize

ENTRY_BYTES = 32
"""Of a block, plane and group: four products of two pairs of rows."""
WEIGHT_BYTES = 8
"""Of a plane and product: two output channels."""

CHAIN_BYTES = 68  # LE_VERTICAL_CHAIN_BYTES
_CARRIED = 28  # offset in `le_vertical_chain`
_KEPT_BYTES = 64  # of both rows' accumulators
_ACCUMULATORS = (*ROW0, *ROW1)
_REGISTERS = (("r6", "r7", "r8", "r9"), ("r10", "r11", "r12", "lr"))  # of the pairs of rows


@dataclass(frozen=True)
class VerticalTile:
    """What a tile function is specialised by; `le_vertical_tile_shape` in C.

    `row` holds packing, unrolling and requantization; `planes` are those of a segment, whole rounds
    of `row.unroll`. The last `idle` planes of the last segment are zeros, which the tile function
    may leave out.
    """

    row: Tile
    planes: int
    idle: int = 0

    @property
    def before(self) -> int:
        """Segments before the last one."""
        return len(self.row.segment_shifts)

    @property
    def rounds(self) -> int:
        return self.planes // self.row.unroll

    @property
    def skipped(self) -> int:
        """Planes that the last segment leaves out: each saves 36 cycles a tile, the branches of all
        segments take 9 and of the last one 8 more."""
        worth = 36 * self.idle > 9 * self.before + 17
        return self.idle if self.rounds == 1 and self.before and worth else 0

    @property
    def name(self) -> str:
        """Part of the tile function's name; different tiles have different names."""
        row = self.row
        segments = f"g{self.before + 1}" if self.before else ""
        segments += f"i{self.skipped}" if self.skipped else ""
        return (
            f"m{row.pixels}s{row.field_bits}{segments}_u{row.unroll}x{self.rounds}"
            f"_o{row.out_bits}p{row.pre_shift}h{row.shift}"
        )


def vertical_assembly(tile: VerticalTile) -> list[str]:
    """Instructions of the tile function: `void (le_vertical_call *)`, the argument in r0.

    Local labels are numbers: 2 tile, 3 round, 4 segment, 5 and 6 a segment that is not the last,
    6 and 7 pixels that are merged with others, 8 behind a row of each pair, 9 behind a pass.
    """
    lines = [*_prologue(tile), ".p2align 2", "2:", "ldr.w r1, [sp]"]
    if tile.before:
        lines += ["ldr.w r2, [sp, #4]", "vmov s29, r2", "4:", "vmov r2, s29"]
        lines += ["ldmia r2!, {r6-r9}", "vldmia r2, {s8-s10}"]
        lines += [f"mov {second}, {first}" for first, second in zip(*_REGISTERS, strict=True)]
    else:
        lines += [
            f"vmov {register}, s{4 + i}" for pair in _REGISTERS for i, register in enumerate(pair)
        ]
    lines += [*_is_last(tile), *_pass(tile, 0), "push {r6-r12, lr}"]
    if tile.rounds > 1:
        lines += ["mov.w r6, #0", "mov.w r7, #0x80000000"]
        for accumulator in _ACCUMULATORS[1:]:
            lines += [f"mov {accumulator.low}, r6", f"mov {accumulator.high}, r7"]
    lines += [*_pass(tile, 1), *_halve(tile), *_is_last(tile), *_pass(tile, 2), *_finish(tile, 0)]
    lines += ["pop {r6-r12, lr}", *_pass(tile, 3), *_finish(tile, 1)]
    lines += _add("r0", tile.planes * ENTRY_BYTES)
    if tile.before:
        lines += ["vmov r2, s10", "cmp.w r2, #0"]
        lines += ["vmov r2, s29", f"add r2, #{CHAIN_BYTES}", "vmov s29, r2", "beq.w 4b"]
        lines += ["vmov r2, s30", f"sub r2, #{tile.before * _KEPT_BYTES}", "vmov s30, r2"]
    return [
        *lines,
        "ldr r2, [sp, #8]",
        "cmp r0, r2",
        "bne.w 2b",
        "add sp, #12",
        "vpop {s16-s31}",
        "pop {r4-r11, pc}",
    ]


def _prologue(tile: VerticalTile) -> list[str]:
    mask = scaled_mask(tile.row)
    lines = ["push {r4-r11, lr}", "vpush {s16-s31}"]
    if mask:
        lines += [f"movw r1, #{mask & 0xFFFF}", f"movt r1, #{mask >> 16}", "vmov s31, r1"]
    lines += ["vldmia r0!, {s0-s3}", "vldmia r0!, {s16-s27}", "ldm r0, {r1-r6}"]
    lines += ["vmov s13, r2", "vmov s29, r3", "vmov s30, r4"]
    if not tile.before:
        lines.append("vldmia r3, {s4-s10}")
    return [*lines, "push {r1, r3, r6}", "mov r0, r5"]


def _add(register: Register, value: int) -> list[str]:
    """In as few instructions as immediates allow; `value` of either sign."""
    lines, name, left = [], "add" if value > 0 else "sub", abs(value)
    while left:
        part = min(left, 4095)
        lines.append(f"{name}w {register}, {register}, #{part}")
        left -= part
    return lines


def _is_last(tile: VerticalTile) -> list[str]:
    """Sets the flags for passes to come, "ne" in the last segment; products leave them alone."""
    return ["vmov r2, s10", "cmp.w r2, #0"] if tile.skipped else []


def _pass(tile: VerticalTile, product: int) -> list[str]:
    """One product of all planes; r0 stays, r1 moves on to the next product's weights.

    A single round of V begins with the products alone: `_halve` adds 2**63.
    """
    unroll, lines = tile.row.unroll, []
    if tile.rounds > 1:
        end = tile.planes * WEIGHT_BYTES
        lines += [f"addw r2, r1, #{end}", "vmov s11, r2", ".p2align 2", "3:"]
    for plane in range(unroll):
        fresh = product == 1 and plane == 0 and tile.rounds == 1
        if tile.skipped and plane == unroll - tile.skipped:
            lines.append("bne.w 9f")
        a, w = ENTRY_BYTES * plane + 8 * product, WEIGHT_BYTES * plane
        wide = ".w" if w + 4 > 124 else ""
        lines += [f"ldr.w r2, [r0, #{a}]", f"ldr.w r3, [r0, #{a + 4}]"]
        lines += [f"ldr{wide} r4, [r1, #{w}]", f"ldr{wide} r5, [r1, #{w + 4}]"]
        for accumulator, x, y in zip(
            _ACCUMULATORS, ("r2", "r2", "r3", "r3"), ("r4", "r5", "r4", "r5"), strict=True
        ):
            name = "smull" if fresh else "smlal"
            lines.append(f"{name} {accumulator.low}, {accumulator.high}, {x}, {y}")
    lines += ["9:"] if tile.skipped else []
    lines += _add("r1", unroll * WEIGHT_BYTES)
    if tile.rounds > 1:
        lines += _add("r0", unroll * ENTRY_BYTES)
        lines += ["vmov r2, s11", "cmp r1, r2", "bne.w 3b"]
        lines += _add("r0", -tile.planes * ENTRY_BYTES)
    return lines


def _halve(tile: VerticalTile) -> list[str]:
    """From V here and T on the stack: (T + V) / 2 here, (T - V) / 2 on the stack."""
    lines = []
    if tile.rounds == 1:
        high = [accumulator.high for accumulator in _ACCUMULATORS]
        lines += [f"eor {register}, {register}, #0x80000000" for register in high]
    for first in (0, 2):
        at = [8 * first + 4 * i for i in range(4)]
        temporaries = ("r2", "r3", "r4", "r5")
        lines += [f"ldr {r}, [sp, #{a}]" for r, a in zip(temporaries, at, strict=True)]
        for accumulator, (t_low, t_high) in zip(
            _ACCUMULATORS[first : first + 2], (("r2", "r3"), ("r4", "r5")), strict=True
        ):
            low, high = accumulator.low, accumulator.high
            lines += [f"adds.w {low}, {low}, {t_low}", f"adcs.w {high}, {high}, {t_high}"]
            lines += [f"rrxs {high}, {high}", f"rrx {low}, {low}"]
            lines += [f"subs.w {t_low}, {t_low}, {low}", f"sbc {t_high}, {t_high}, {high}"]
        lines += [f"str {r}, [sp, #{a}]" for r, a in zip(temporaries, at, strict=True)]
    return lines


def _finish(tile: VerticalTile, row: int) -> list[str]:
    """One row of both pairs: what is carried; then outputs, or sums that are kept."""
    lines = ["vmov s14, r0", "vmov s15, r1", *_carry(tile, row)]
    if not tile.before:
        lines += _outputs(tile, row)
    else:
        lines += ["vmov r2, s10", "cmp.w r2, #0", "bne.w 5f"]
        lines += ["vmov r2, s30", "stmia r2!, {r6-r12, lr}", "vmov s30, r2", "b.w 8f"]
        lines += ["5:", *_last_outputs(tile, row)]
        lines += ["cmp.w sp, #0"] if tile.skipped and row == 0 else []  # again "ne"
        lines.append("8:")
    return [*lines, "vmov r0, s14", "vmov r1, s15"]


def _carry(tile: VerticalTile, row: int) -> list[str]:
    carried = ("r0", "r1", "r2", "r3")
    lines = ["vmov r5, s29", f"add r5, #{_CARRIED + 16 * row}", "ldm r5, {r0-r3}"]
    for channel, rest in enumerate(("s8", "s9")):
        lines.append(f"vmov r4, {rest}")
        if row == 0:
            lines.append("eor r4, r4, #0x80000000")
        for number in (channel, 2 + channel):
            accumulator = _ACCUMULATORS[number]
            lines += [
                f"adds.w {accumulator.low}, {accumulator.low}, {carried[number]}",
                f"adc {accumulator.high}, {accumulator.high}, r4",
            ]
    for accumulator, to in zip(_ACCUMULATORS, carried, strict=True):
        lines += _carried_word(tile.row, accumulator, to)
    return [*lines, "stmia r5, {r0-r3}"]


def _carried_word(tile: Tile, accumulator: Accumulator, to: Register) -> list[str]:
    """`to` := what the next block takes over."""
    shift = tile.pixels * tile.field_bits
    if shift == 32:
        return [f"mov {to}, {accumulator.high}"]
    if shift > 32:
        return [f"lsr {to}, {accumulator.high}, #{shift - 32}"]
    return [
        f"lsr {to}, {accumulator.low}, #{shift}",
        f"orr {to}, {to}, {accumulator.high}, lsl #{32 - shift}",
    ]


def _set_aside(registers: tuple[Register, ...]) -> list[tuple[str, Register]]:
    return list(zip(("s11", "s12", "s28"), registers, strict=False))


def _outputs(tile: VerticalTile, row: int) -> list[str]:
    """Pixel by pixel, of the first pair while the second one's registers are set aside."""
    masked = scaled_mask(tile.row) > 0
    aside = _set_aside(("r12", "lr", "r11") if masked else ("r12", "lr"))

    def rows(merged: bool) -> list[str]:
        lines = [f"vmov {to}, {register}" for to, register in aside]
        lines += [f"vmov r{2 + i}, s{i}" for i in range(4)]
        lines += _output_row(tile, ROW0, row, ("r12", "lr"), "r11" if masked else "", merged)
        lines += [f"vmov {register}, {to}" for to, register in aside]
        second = ("r7", "r9"), "r8" if masked else ""
        return lines + _output_row(tile, ROW1, 2 + row, *second, merged)

    return either_way(tile.row, rows, "r0", "cmp.w")


def _output_row(
    tile: VerticalTile,
    pair: tuple[Accumulator, Accumulator],
    row: int,
    place: tuple[Register, Register],
    mask: Register,
    merged: bool,
) -> list[str]:
    lines = [f"vmov {mask}, s31"] if mask else []
    for pixel in range(tile.row.pixels):
        for accumulator, total, multiplier, offset in zip(
            pair, ("r0", "r1"), ("r2", "r4"), ("r3", "r5"), strict=True
        ):
            lines += extract(tile.row, total, accumulator, pixel, mask)
            lines += requantize(tile.row, total, multiplier, offset, scaled=bool(mask))
        lines += _store(tile, "r0", "r1", row, pixel, place, merged)
    return [*lines, *_end_row(row, place)]


def _store(
    tile: VerticalTile,
    low: Register,
    high: Register,
    row: int,
    pixel: int,
    place: tuple[Register, Register],
    merged: bool,
) -> list[str]:
    """Writes one pixel's channels; changes both. The first pixel has a place of its own."""
    pointer, step = place
    if pixel == 0:
        lines = [f"vmov {pointer}, s{16 + row}"]
    elif pixel == 1:
        lines = [f"vmov {pointer}, s{20 + row}", f"vmov {step}, s{24 + row}"]
    else:
        lines = [f"add.w {pointer}, {pointer}, {step}"]
    lines.append(f"orr {low}, {low}, {high}, lsl #{tile.row.storage}")
    if merged:
        lines += [f"ldrb {high}, [{pointer}]", f"orr {low}, {high}, {low}, lsl #4"]
    return [*lines, f"{'strh.w' if tile.row.storage == 8 else 'strb.w'} {low}, [{pointer}]"]


def _end_row(row: int, place: tuple[Register, Register]) -> list[str]:
    pointer, step = place
    return [
        f"add.w {pointer}, {pointer}, {step}",
        f"vmov s{16 + row}, {pointer}",
        f"add.w {pointer}, {pointer}, {step}",
        f"vmov s{20 + row}, {pointer}",
    ]


def _last_outputs(tile: VerticalTile, row: int) -> list[str]:
    """`_outputs` of all segments' sums."""
    masked, count = scaled_mask(tile.row) > 0, 2 * tile.row.pixels
    few = ("r0", "r1", "r2", "r3", "r4", "r5")
    aside = ("r12", "lr", "r11")[: count + masked - len(few)] if count + masked > len(few) else ()
    saved = _set_aside(aside)
    lines = [f"vmov {to}, {register}" for to, register in saved]
    lines += _last_row(tile, ROW0, row, (*few, *aside))
    lines += [f"vmov {register}, {to}" for to, register in saved]
    return lines + _last_row(tile, ROW1, 2 + row, (*few, "r6", "r7", "r8"))


def _last_row(
    tile: VerticalTile,
    pair: tuple[Accumulator, Accumulator],
    row: int,
    free: tuple[Register, ...],
) -> list[str]:
    count, masked = tile.row.pixels, scaled_mask(tile.row) > 0
    totals = (free[:count], free[count : 2 * count])
    mask = free[2 * count] if masked else ""
    pointer, field, low, high = pair[0].low, pair[0].high, pair[1].low, pair[1].high
    lines = [f"vmov {mask}, s31"] if mask else []
    for accumulator, sums in zip(pair, totals, strict=True):
        for pixel, total in enumerate(sums):
            lines += extract(tile.row, total, accumulator, pixel, mask)
    lines.append(f"vmov {pointer}, s30")
    for segment in range(tile.before):
        for channel, sums in enumerate(totals):
            at = _KEPT_BYTES * (segment - tile.before) + 32 * (row % 2) + 16 * (row // 2)
            lines.append(f"ldrd {low}, {high}, [{pointer}, #{at + 8 * channel}]")
            for pixel, total in enumerate(sums):
                lines += extract(tile.row, field, Accumulator(low, high), pixel, mask)
                lines.append(f"add.w {total}, {total}, {field}")
    for channel, sums in enumerate(totals):
        lines += [f"vmov {low}, s{2 * channel}", f"vmov {high}, s{2 * channel + 1}"]
        for total in sums:
            lines += requantize(tile.row, total, low, high, masked)

    def stores(merged: bool) -> list[str]:
        return [
            line
            for pixel, (first, second) in enumerate(zip(*totals, strict=True))
            for line in _store(tile, first, second, row, pixel, (pointer, field), merged)
        ]

    return [*lines, *either_way(tile.row, stores, low, "cmp.w"), *_end_row(row, (pointer, field))]
