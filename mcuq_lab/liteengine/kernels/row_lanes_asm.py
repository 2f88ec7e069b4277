"""The tile function of channels in lanes, where there are several segments: in each tile, all of
them, one after the other.

Fields of few bits take many segments of few planes (`packing/lanes.py`). A run for each of them, as
in row_tile_asm.py, would cost more than its products. Here a segment begins at its start values,
whatever was carried, and leaves its eight accumulators in memory. Behind the last one all registers
are free, and the fields of all segments are added up. With x an accumulator's word in each segment,
field 2 carried to the next two pixels, and everything modulo 2**32:

    F0 = sum of fields 0     F2 = sum of fields 2     F1 2**s = sum x - F0 - F2 2**(2 s)

so that of a word's three fields two are extracted. F1 needs no more than 32 - s bits, which as many
segments as there may be do not reach. What is carried between tiles are whole sums F2.

    s0 - s3    multiplier and offset of both channels     s13  upper     s14, s27  carried at first
    s4 - s7    carried into the tile: [row][output channel]              s15  r0
    s8         weights      s9  end of the segment's      s10  where its accumulators go
    s12        `le_row_kept` of the first segment         s26  behind that of the last one
    s16 - s20  the current run: out0, out1, step0, step1, a_end
"""

from __future__ import annotations

from mcuq_lab.liteengine.kernels.row_polynomial_asm import Register, Tile, sum_loop
from mcuq_lab.liteengine.kernels.row_tile_asm import either_way, requantize, store

_KEPT_BYTES = 44  # sizeof(le_row_kept)
_SUMS = 12  # offset in it
_CHAIN_SUMS = 20  # offset in `le_row_chain`


def lanes_assembly(tile: Tile) -> list[str]:
    """Instructions of the tile function: `void (le_row_call *)`, the argument in r0.

    Local labels are numbers: 1 run, 2 tile, 3 round, 4 segment, 6 pixels that are merged with
    others, 7 behind them.
    """
    return [
        *_prologue(),
        *_begin_run(tile),
        *("2:", "vmov r1, s8", "vmov r2, s12"),
        *_segment(tile),
        *_outputs(tile),
        *_tail(),
    ]


def _prologue() -> list[str]:
    """The stack then holds the next run and the number of runs left."""
    return [
        *("push {r4-r11, lr}", "vpush {s16-s27}", "vldmia r0!, {s0-s3}"),
        *("vldmia r0!, {s13-s14}", "vldmia r0!, {s27}", "ldrd r1, r2, [r0]", "push {r1, r2}"),
    ]


def _begin_run(tile: Tile) -> list[str]:
    return [
        *("1:", "ldr r1, [sp]", "ldmia r1!, {r2, r3}", "vldmia r1!, {s8-s9}"),
        *("vldmia r1!, {s16-s20}", "str r1, [sp]", "cmp r2, #0", "beq.n 2f"),
        *("mov r0, r2", f"ldr r4, [r3, #{_CHAIN_SUMS}]", "vmov s12, r4"),
        *(f"addw r4, r4, #{_KEPT_BYTES * tile.segments}", "vmov s26, r4"),
        *("vmov r4, s14", "vmov s4, r4", "vmov s6, r4"),
        *("vmov r4, s27", "vmov s5, r4", "vmov s7, r4"),
    ]


def _segment(tile: Tile) -> list[str]:
    loop = sum_loop(tile)
    lines = [".p2align 2", "4:", "ldmia.w r2!, {r3, r6, r8}", "vmov s10, r2"]
    if tile.one_round:
        loop = loop[: loop.index("vmov r2, s9")]
    else:
        lines += ["vmov s9, r3", "mov r7, r6", "mov r9, r8", "mov r11, r6", "mov lr, r8"]
    lines += ["mov r10, r6", "mov r12, r8"]
    return [
        *lines,
        *loop,
        *("vmov r2, s10", "stmia r2!, {r6-r12, lr}", "vmov r3, s26", "cmp r2, r3", "bne.w 4b"),
    ]


def _outputs(tile: Tile) -> list[str]:
    """Both rows' pixels, of which channel 0 waits in registers for channel 1."""
    lines = ["vmov s15, r0", "vmov r1, s12"]
    held, own = ("r9", "r10", "r11", "r12"), ("r2", "r3", "r4", "r5")

    def stores(merged: bool) -> list[str]:
        return [
            line
            for low, high in zip(held, own, strict=True)
            for line in store(tile, low, high, "r6", "r7", merged)
        ]

    for row in (0, 1):
        lines += _totals(tile, 2 * row, held, ("r2", "r3"), "r4", ("r0", "r5", "r6", "r7", "r8"))
        lines += _totals(tile, 2 * row + 1, own, ("r6", "r7"), "r0", ("r8", "lr"))
        lines += [f"vmov r6, s{16 + row}", f"vmov r7, s{18 + row}"]
        lines += [*either_way(tile, stores, "r0"), f"vmov s{16 + row}, r6"]
    return [*lines, "vmov r0, s15"]


def _totals(
    tile: Tile,
    number: int,
    pixels: tuple[Register, ...],
    carried: tuple[Register, Register],
    field: Register,
    loaded: tuple[Register, ...],
) -> list[str]:
    """pixels := the four outputs of one row and channel, accumulators `number`.

    Registers 0 and 1 of `pixels` collect fields 0 and whole words of the first accumulator, 2 and 3
    those of the second one, `carried` their fields 2. `field` is a temporary; the words of the
    segments take turns in `loaded`, as many at a time as have room.
    """
    s, lines = tile.field_bits, []
    fields, wholes = (pixels[0], pixels[2]), (pixels[1], pixels[3])
    step = len(loaded) // 2
    for half in (0, 1):
        lines.append(f"ldr.w {wholes[half]}, [r1, #{_SUMS + 8 * number + 4 * half}]")
    for half in (0, 1):
        lines += [f"ubfx {fields[half]}, {wholes[half]}, #0, #{s}"]
        lines += [f"lsr {carried[half]}, {wholes[half]}, #{2 * s}"]
    for first in range(1, tile.segments, step):
        batch = range(first, min(first + step, tile.segments))
        words = [(segment, half) for segment in batch for half in (0, 1)]
        registers = dict(zip(words, loaded, strict=False))
        for (segment, half), word in registers.items():
            at = _SUMS + _KEPT_BYTES * segment + 8 * number + 4 * half
            lines.append(f"ldr.w {word}, [r1, #{at}]")
        for (_, half), word in registers.items():
            lines += [
                f"ubfx {field}, {word}, #0, #{s}",
                f"add.w {wholes[half]}, {wholes[half]}, {word}",
                f"add.w {carried[half]}, {carried[half]}, {word}, lsr #{2 * s}",
                f"add.w {fields[half]}, {fields[half]}, {field}",
            ]
    shift = s - tile.pre_shift  # field 1 comes with the shift of the requantization
    for half in (0, 1):
        whole = wholes[half]
        lines += [
            f"sub.w {whole}, {whole}, {fields[half]}",
            f"sub.w {whole}, {whole}, {carried[half]}, lsl #{2 * s}",
            f"lsr.w {whole}, {whole}, #{shift}" if shift > 0 else f"lsr.w {whole}, {whole}, #{s}",
        ]
    lines += [
        f"vmov {field}, s{4 + number}",
        f"vmov s{4 + number}, {carried[1]}",
        f"add.w {fields[0]}, {fields[0]}, {field}",
        f"add.w {fields[1]}, {fields[1]}, {carried[0]}",
        f"vmov {carried[0]}, s{2 * (number % 2)}",
        f"vmov {carried[1]}, s{2 * (number % 2) + 1}",
    ]
    for pixel, total in enumerate(pixels):
        scaled = pixel % 2 == 1 and shift > 0
        lines += requantize(tile, total, carried[0], carried[1], scaled)
    return lines


def _tail() -> list[str]:
    """To the next tile, the next run, or home."""
    return [
        *("vmov r1, s20", "cmp r0, r1", "bne.w 2b", "ldrd r1, r2, [sp]", "vstmia r1!, {s4-s7}"),
        *("adds r1, #4", "subs r2, #1", "strd r1, r2, [sp]", "bne.w 1b"),
        *("add sp, #8", "vpop {s16-s27}", "pop {r4-r11, pc}"),
    ]
