"""The inner loop of the row polynomial in Thumb-2 assembly for Armv7E-M with a floating-point unit.

A tile is 2 output rows x 2 output channels x one block of m pixels. Its four 64-bit accumulators,
two pointers and four temporaries are all fourteen registers there are, which is why this is not
left to a compiler: it spills, and a tile that costs 25 cycles a channel then costs 35.

    r0 entries   r1 weight words   r2 - r5 temporaries
    r6:r7, r8:r9 row 0, channels 0 and 1     r10:r11, r12:lr row 1, channels 0 and 1

Everything else waits in registers of the floating-point unit, from where VMOV fetches a word in one
cycle, where a load from the stack takes two:

    s0 - s3    multiplier and offset of both channels (first segment: surplus, in s0 and s2)
    s4 - s7    next         s8, s9  weights of the run, their end    s10  a_skip    s11  upper
    s12        partial sums s13     mode                             s15  r0
    s16 - s20  the current run: out0, out1, step0, step1, a_end
    s21 - s26  registers set aside by the epilogue                   s27 - s30  first

Loads: the first of a group takes 2 cycles, each neighbour 1, so loads stand in groups of four,
three and three. 32-bit encodings, needed for offsets above 124, must then lie on word addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.quantgraph import STORAGE_BITS

Register = str


@dataclass(frozen=True)
class Tile:
    """What a tile function is specialised by; `le_row_tile_shape` in C.

    Attributes:
        depthwise: output channels see one input channel each; `unroll` is then 2.
        stride: input rows from one output row to the next.
        lanes: of the packing. With two, an accumulator's two words are those of two pixels each.
        pixels, field_bits, toggle: of the packing.
        words: of the packing, where a depthwise layer is concerned; else 1, see `le_row_run`.
        slots: rows of a band with their neighbours, words of an entry.
        unroll: channels in one round of the loop.
        segmented: there are partial sums.
        surplus: the first segment subtracts a surplus.
        last_shift, middle_shifts: see `le_row_tile_shape`.
        out_bits, pre_shift, shift: of the requantization.
    """

    depthwise: bool
    stride: int
    lanes: int
    pixels: int
    field_bits: int
    words: int
    toggle: bool
    slots: int
    unroll: int
    segmented: bool
    surplus: bool
    last_shift: int
    middle_shifts: tuple[int, ...]
    out_bits: int
    pre_shift: int
    shift: int

    @property
    def storage(self) -> int:
        return STORAGE_BITS[self.out_bits]

    @property
    def name(self) -> str:
        """Part of the tile function's name; different tiles have different names."""
        text = f"m{self.pixels}s{self.field_bits}"
        text += ("x" if self.toggle else "") + ("t" if self.words == 2 else "")
        text += "h" if self.lanes == 2 else ""
        if self.segmented:
            text += "g" + "_".join(map(str, (self.last_shift, *self.middle_shifts)))
            text += "d" if self.surplus else ""
        text += f"_{self.band_name}u{self.unroll}"
        text += "_dw" if self.depthwise else ""
        return f"{text}_o{self.out_bits}p{self.pre_shift}h{self.shift}"

    @property
    def band_name(self) -> str:
        """Height of a band in output rows, and the stride if it is not 1."""
        rows = (self.slots - 3) // self.stride + 1
        return f"r{rows}" if self.stride == 1 else f"r{rows}y{self.stride}"


@dataclass(frozen=True)
class _Accumulator:
    low: Register
    high: Register


_ROW0 = (_Accumulator("r6", "r7"), _Accumulator("r8", "r9"))
_ROW1 = (_Accumulator("r10", "r11"), _Accumulator("r12", "lr"))
_DATA = ("r2", "r3", "r4", "r5")


def tile_assembly(tile: Tile) -> list[str]:
    """Instructions of the tile function: `void (le_row_call *)`, the argument in r0.

    Local labels are numbers: 1 run, 2 tile, 3 round, 4 end of tile, 5 partial sums, 6 and up the
    middle segments.
    """
    return [
        *_prologue(),
        *_begin_run(),
        "2:",
        "vmov r1, s8",
        *_sum_loop(tile),
        *(["vmov r2, s13", "cmp r2, #0", "bne.w 5f"] if tile.segmented else []),
        *_last_segment(tile),
        *(["4:"] if tile.segmented else []),
        *_tail(),
        *(_partial_segments(tile) if tile.segmented else []),
    ]


def _prologue() -> list[str]:
    """The stack then holds the next run and the number of runs left."""
    return [
        "push {r4-r11, lr}",
        "vpush {s16-s30}",
        "vldmia r0!, {s0-s7}",
        "vldmia r0!, {s10-s13}",
        "vldmia r0!, {s27-s30}",
        "ldrd r1, r2, [r0]",
        "push {r1, r2}",
    ]


def _begin_run() -> list[str]:
    return [
        "1:",
        "ldr r1, [sp]",
        "ldr r2, [r1], #4",
        "vldmia r1!, {s8-s9}",
        "vldmia r1!, {s16-s20}",
        "str r1, [sp]",
        "cmp r2, #0",
        "beq.n 2f",
        "mov r0, r2",
        *(f"vmov {register}, s{27 + i}" for i, register in enumerate(("r6", "r7", "r8", "r9"))),
        "mov r10, r6",
        "mov r11, r7",
        "mov r12, r8",
        "mov lr, r9",
    ]


def _tail() -> list[str]:
    """To the next tile, the next run, or home."""
    return [
        "vmov r0, s15",
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
        "adds r1, #16",
        "subs r2, #1",
        "strd r1, r2, [sp]",
        "bne.w 1b",
        "add sp, #8",
        "vpop {s16-s30}",
        "pop {r4-r11, pc}",
    ]


def _sum_loop(tile: Tile) -> list[str]:
    entry_bytes = 4 * tile.slots * tile.lanes
    products = _lane_products if tile.lanes == 2 else _products
    if tile.depthwise:
        return [
            line
            for word in range(tile.words)
            for oc in (0, 1)
            for line in _depthwise_products(oc, (2 * word + oc) * entry_bytes, 24 * word)
        ]
    return [
        ".p2align 2",
        "3:",
        *(
            line
            for channel in range(tile.unroll)
            for line in products(tile, channel * entry_bytes, 24 * channel)
        ),
        *_add_immediate("r0", tile.unroll * entry_bytes),
        *_add_immediate("r1", 24 * tile.unroll),
        "vmov r2, s9",
        "cmp r1, r2",
        "bne.w 3b",
    ]


def _depthwise_products(oc: int, a: int, w: int) -> list[str]:
    """Six products of one output channel; byte offsets of its four rows and its weights."""
    row0, row1 = _ROW0[oc], _ROW1[oc]

    def weight(ky: int) -> str:
        return f"[r1, #{w + 8 * ky + 4 * oc}]"

    def smlal(accumulator: _Accumulator, x: Register, y: Register) -> str:
        return f"smlal {accumulator.low}, {accumulator.high}, {x}, {y}"

    return [
        f"ldr.w r2, [r0, #{a}]",
        f"ldr.w r3, [r0, #{a + 4}]",
        f"ldr.w r4, {weight(0)}",
        f"ldr.w r5, {weight(1)}",
        smlal(row0, "r2", "r4"),
        smlal(row1, "r3", "r4"),
        smlal(row0, "r3", "r5"),
        f"ldr.w r2, [r0, #{a + 8}]",
        f"ldr.w r4, {weight(2)}",
        f"ldr.w r3, [r0, #{a + 12}]",
        smlal(row1, "r2", "r5"),
        smlal(row0, "r2", "r4"),
        smlal(row1, "r3", "r4"),
    ]


def _add_immediate(register: Register, value: int) -> list[str]:
    return [
        f"adds {register}, #{value}" if value < 256 else f"addw {register}, {register}, #{value}"
    ]


@dataclass(frozen=True)
class _Group:
    """Four products with one filter row: input rows to load, and which meet output rows 0 and 1."""

    rows: tuple[tuple[Register, int], ...]
    filter_row: int
    row0: Register
    row1: Register


_GROUPS = {
    1: (
        _Group((("r2", 0), ("r3", 1)), 0, "r2", "r3"),
        _Group((("r2", 2),), 1, "r3", "r2"),
        _Group((("r3", 3),), 2, "r2", "r3"),
    ),
    2: (
        _Group((("r2", 0), ("r3", 2)), 0, "r2", "r3"),
        _Group((("r2", 4),), 2, "r3", "r2"),
        _Group((("r2", 1), ("r3", 3)), 1, "r2", "r3"),
    ),
}
"""By stride: the input rows that both output rows meet are loaded once."""


def _products(tile: Tile, a: int, w: int) -> list[str]:
    """Twelve products of one channel and weight word; byte offsets of its rows and weights."""
    groups = _GROUPS[tile.stride]
    last_row = max(row for group in groups for _, row in group.rows)
    wide = a + 4 * last_row > 124 or w + 20 > 124

    def load(register: Register, base: Register, offset: int, is_wide: bool) -> str:
        return f"ldr{'.w' if is_wide else ''} {register}, [{base}, #{offset}]"

    def smlal(accumulator: _Accumulator, x: Register, y: Register) -> str:
        return f"smlal {accumulator.low}, {accumulator.high}, {x}, {y}"

    def rows(first: Register, second: Register) -> list[str]:
        return [
            *(
                smlal(accumulator, first, y)
                for accumulator, y in zip(_ROW0, ("r4", "r5"), strict=False)
            ),
            *(
                smlal(accumulator, second, y)
                for accumulator, y in zip(_ROW1, ("r4", "r5"), strict=False)
            ),
        ]

    lines = []
    for group in groups:
        weights = w + 8 * group.filter_row
        loads = [(register, "r0", a + 4 * row) for register, row in group.rows]
        loads += [("r4", "r1", weights), ("r5", "r1", weights + 4)]
        # an odd number of 16-bit loads would leave what follows between two words
        lines += [
            load(*target, wide or (tile.stride == 2 and i == 2 and len(loads) == 3))
            for i, target in enumerate(loads)
        ]
        lines += rows(group.row0, group.row1)
    return lines


def _lane_products(tile: Tile, a: int, w: int) -> list[str]:
    """24 products of one phase of two channels; byte offsets of its two entries and weights."""
    wide = a + 8 * tile.slots > 124 or w + 20 > 124

    def load(first: Register, second: Register, base: Register, low: int, high: int) -> list[str]:
        suffix = ".w" if wide else ""
        return [
            f"ldr{suffix} {first}, [{base}, #{low}]",
            f"ldr{suffix} {second}, [{base}, #{high}]",
        ]

    def pixels(row: int) -> list[str]:
        return load("r2", "r3", "r0", a + 4 * row, a + 4 * (tile.slots + row))

    def weights(ky: int) -> list[str]:
        return load("r4", "r5", "r1", w + 8 * ky, w + 8 * ky + 4)

    def add(row: tuple[_Accumulator, _Accumulator]) -> list[str]:
        return [
            f"smlad {total}, {x}, {y}, {total}"
            for accumulator, y in zip(row, ("r4", "r5"), strict=True)
            for total, x in ((accumulator.low, "r2"), (accumulator.high, "r3"))
        ]

    return [
        *(*weights(0), *pixels(0), *add(_ROW0)),
        *(*pixels(2), *add(_ROW1)),
        *(*weights(2), *add(_ROW0)),  # both output rows meet input row 2
        *(*pixels(4), *add(_ROW1)),
        *(*weights(1), *pixels(1), *add(_ROW0)),
        *(*pixels(3), *add(_ROW1)),
    ]


def _extract(tile: Tile, to: Register, accumulator: _Accumulator, pixel: int) -> list[str]:
    s = tile.field_bits
    if tile.lanes == 2:
        word = accumulator.low if pixel < 2 else accumulator.high
        lines = [f"ubfx {to}, {word}, #{pixel % 2 * s}, #{s}"]
        return [*lines, f"add {to}, {to}, {accumulator.low}, lsr #{2 * s}"] if pixel == 2 else lines
    low, high = pixel * s, (pixel + 1) * s
    if high <= 32:
        return [f"ubfx {to}, {accumulator.low}, #{low}, #{s}"]
    if low >= 32:
        return [f"ubfx {to}, {accumulator.high}, #{low - 32}, #{s}"]
    return [
        f"lsr {to}, {accumulator.low}, #{low}",
        f"bfi {to}, {accumulator.high}, #{32 - low}, #{high - 32}",
    ]


def _carry(tile: Tile, accumulator: _Accumulator, plus: Register = "") -> list[str]:
    """low := what the next block takes over, and `plus`, if given, added to it."""
    shift = tile.pixels * tile.field_bits
    low, high = accumulator.low, accumulator.high
    if tile.lanes == 2:
        shifted = f"{high}, lsr #{2 * tile.field_bits}"
        return [f"adds {low}, {plus}, {shifted}" if plus else f"mov {low}, {shifted}"]
    if shift < 32:
        lines = [f"lsr {low}, {low}, #{shift}", f"orr {low}, {low}, {high}, lsl #{32 - shift}"]
        return [*lines, f"adds {low}, {low}, {plus}"] if plus else lines
    shifted = f"{high}, lsr #{shift - 32}" if shift > 32 else high
    return [f"adds {low}, {plus}, {shifted}" if plus else f"mov {low}, {shifted}"]


def _begin_high(tile: Tile, accumulator: _Accumulator, high: Register) -> list[str]:
    """high := its start value; the flags are those of the addition to low, which can only carry
    where A is toggled: else the fields in both operands are disjoint."""
    lines = [f"vmov {accumulator.high}, {high}"]
    return [*lines, f"adc {accumulator.high}, {accumulator.high}, #0"] if tile.toggle else lines


def _begin_block(tile: Tile, row: tuple[_Accumulator, _Accumulator]) -> list[str]:
    """The accumulators of the next block, from those of this one; changes r0."""
    lines = []
    for accumulator, low, high in zip(row, ("s4", "s6"), ("s5", "s7"), strict=True):
        lines += [f"vmov r0, {low}", *_carry(tile, accumulator, plus="r0")]
        lines += _begin_high(tile, accumulator, high)
    return lines


def _begin_carried(tile: Tile, row: tuple[_Accumulator, _Accumulator]) -> list[str]:
    """The same where low holds what is carried already."""
    lines = []
    for accumulator, low, high in zip(row, ("s4", "s6"), ("s5", "s7"), strict=True):
        lines += [f"vmov r0, {low}", f"adds {accumulator.low}, {accumulator.low}, r0"]
        lines += _begin_high(tile, accumulator, high)
    return lines


def _last_segment(tile: Tile) -> list[str]:
    """Extraction, requantization, output; then the accumulators of the next block."""
    set_aside = [("s21", "r12"), ("s22", "lr")]
    if tile.segmented:
        set_aside += [("s23", "r10"), ("s24", "r11")]
    lines = ["vmov s15, r0"]
    lines += [f"vmov {register}, s{i}" for i, register in enumerate(_DATA)]
    lines += [f"vmov {away}, {register}" for away, register in set_aside]
    lines += _output_row(tile, _ROW0, "s16", "s18", "r12", "lr", "r10", "r11", 0)
    lines += [f"vmov {register}, {away}" for away, register in set_aside]
    # Row 0's accumulators, but for what is carried, are free now.
    if not tile.segmented and not tile.toggle:
        for accumulator, low in zip(_ROW0, ("s4", "s6"), strict=True):
            lines += [f"vmov r0, {low}", *_carry(tile, accumulator, plus="r0")]
        lines += _output_row(tile, _ROW1, "s17", "s19", "r7", "r9", "", "", tile.pixels)
        lines += [f"vmov {_ROW0[0].high}, s5", f"vmov {_ROW0[1].high}, s7"]
        return [*lines, *_begin_block(tile, _ROW1)]
    lines += [line for accumulator in _ROW0 for line in _carry(tile, accumulator)]
    if tile.segmented:
        lines += ["vmov s25, r6", "vmov s26, r8"]
        lines += _output_row(tile, _ROW1, "s17", "s19", "r6", "r8", "r7", "r9", tile.pixels)
        lines += [f"add r9, #{16 * tile.pixels}", "vmov s12, r9", "vmov r6, s25", "vmov r8, s26"]
    else:
        lines += _output_row(tile, _ROW1, "s17", "s19", "r7", "r9", "", "", tile.pixels)
    return [*lines, *_begin_carried(tile, _ROW0), *_begin_block(tile, _ROW1)]


def _output_row(
    tile: Tile,
    row: tuple[_Accumulator, _Accumulator],
    out: Register,
    step: Register,
    pointer: Register,
    stride: Register,
    field: Register,
    partial: Register,
    first: int,
) -> list[str]:
    """One row's pixels. Sums in r0 and r1; `field` and `partial` are used where there are partial
    sums, which begin at their pair number `first`."""
    lines = [f"vmov {pointer}, {out}", f"vmov {stride}, {step}"]
    if tile.storage == 2:
        lines += ["vmov r0, s11", "cmp r0, #0"]
    if tile.segmented:
        lines.append(f"vmov {partial}, s12")
    for pixel in range(tile.pixels):
        if tile.segmented:
            at = 8 * (first + pixel)
            lines += [f"ldr.w r0, [{partial}, #{at}]", f"ldr.w r1, [{partial}, #{at + 4}]"]
        for accumulator, total, multiplier, offset in zip(
            row, ("r0", "r1"), ("r2", "r4"), ("r3", "r5"), strict=False
        ):
            if tile.segmented:
                scaled = f", lsl #{tile.last_shift}" if tile.last_shift else ""
                lines += _extract(tile, field, accumulator, pixel)
                lines.append(f"add.w {total}, {field}, {total}{scaled}")
            else:
                lines += _extract(tile, total, accumulator, pixel)
            if tile.pre_shift:
                lines.append(f"lsl.w {total}, {total}, #{tile.pre_shift}")
            shifted = f", asr #{tile.shift}" if tile.shift else ""
            lines += [
                f"smmla {total}, {total}, {multiplier}, {offset}",
                f"usat {total}, #{tile.out_bits}, {total}{shifted}",
            ]
        lines.append(f"orr r0, r0, r1, lsl #{tile.storage}")
        if tile.storage == 2:
            lines += ["itt ne", f"ldrbne r1, [{pointer}]", "orrne r0, r1, r0, lsl #4"]
        store = "strh" if tile.storage == 8 else "strb"
        lines += [f"{store} r0, [{pointer}]", f"add {pointer}, {stride}"]
    lines.append(f"vmov {out}, {pointer}")
    return lines


def _partial_segments(tile: Tile) -> list[str]:
    """The epilogues of all segments but the last: sums go to memory as they are."""
    lines = ["5:"]
    for i in range(len(tile.middle_shifts)):
        lines += [f"cmp r2, #{2 + i}", f"beq.w {6 + i}f"]
    lines += [*_store_first(tile), *_end_partial(tile)]
    for i, shift in enumerate(tile.middle_shifts):
        lines += [f"{6 + i}:", *_add_middle(tile, shift), *_end_partial(tile)]
    return lines


def _fields(tile: Tile) -> list[tuple[_Accumulator, int]]:
    return [(acc, pixel) for row in (_ROW0, _ROW1) for pixel in range(tile.pixels) for acc in row]


def _store_first(tile: Tile) -> list[str]:
    fields = _fields(tile)
    lines = ["vmov s15, r0", "vmov r1, s12"]
    if tile.surplus:
        lines += ["vmov r4, s0", "vmov r5, s2"]
        for i in range(0, len(fields), 2):
            for (accumulator, pixel), to, surplus in zip(
                fields[i : i + 2], ("r2", "r3"), ("r4", "r5"), strict=False
            ):
                lines += [*_extract(tile, to, accumulator, pixel), f"sub {to}, {to}, {surplus}"]
            lines.append("stmia r1!, {r2, r3}")
        return lines
    for i in range(0, len(fields), 4):
        for (accumulator, pixel), to in zip(fields[i : i + 4], _DATA, strict=False):
            lines += _extract(tile, to, accumulator, pixel)
        lines.append("stmia r1!, {r2-r5}")
    return lines


def _add_middle(tile: Tile, shift: int) -> list[str]:
    fields = _fields(tile)
    scaled = f", lsl #{shift}" if shift else ""
    lines = ["vmov s15, r0", "vmov r1, s12"]
    for i in range(0, len(fields), 4):
        lines.append("ldm r1, {r2-r5}")
        for (accumulator, pixel), to in zip(fields[i : i + 4], _DATA, strict=False):
            lines += [*_extract(tile, "r0", accumulator, pixel), f"add {to}, r0, {to}{scaled}"]
        lines.append("stmia r1!, {r2-r5}")
    return lines


def _end_partial(tile: Tile) -> list[str]:
    return ["vmov s12, r1", *_begin_block(tile, _ROW0), *_begin_block(tile, _ROW1), "b.w 4b"]
