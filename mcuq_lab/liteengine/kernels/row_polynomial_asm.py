"""The products of the row polynomial in Thumb-2 assembly for Armv7E-M: what a tile is, its
accumulators, its inner loop.

A tile is 2 output rows x 2 output channels x one block of m pixels. Its four 64-bit accumulators,
two pointers and four temporaries are all fourteen registers there are, which is why this is not
left to a compiler: it spills, and a tile that costs 25 cycles a channel then costs 35.

    r0 entries   r1 weight words   r2 - r5 temporaries
    r6:r7, r8:r9 row 0, channels 0 and 1     r10:r11, r12:lr row 1, channels 0 and 1

Loads: the first of a group takes 2 cycles, each neighbour 1, so loads stand in groups of four,
three and three. 32-bit encodings, needed for offsets above 124, must then lie on word addresses.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.quantgraph import STORAGE_BITS

Register = str


def is_nested(lanes: int, segments: int) -> bool:
    """Whether each tile runs all segments; else all tiles of two rows run each segment."""
    return lanes == 2 and segments > 1


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
        one_round: segments within a tile are one round of the loop each.
        segment_shifts: the sums of each segment before the last one count 2**shift times.
        surplus: a surplus is subtracted from the sums of all segments.
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
    segment_shifts: tuple[int, ...]
    surplus: bool
    out_bits: int
    pre_shift: int
    shift: int
    one_round: bool = False

    @property
    def segmented(self) -> bool:
        return len(self.segment_shifts) > 0

    @property
    def segments(self) -> int:
        return len(self.segment_shifts) + 1

    @property
    def nested(self) -> bool:
        """See `is_nested`."""
        return is_nested(self.lanes, self.segments)

    @property
    def storage(self) -> int:
        return STORAGE_BITS[self.out_bits]

    @property
    def name(self) -> str:
        """Part of the tile function's name; different tiles have different names."""
        text = f"m{self.pixels}s{self.field_bits}"
        text += ("x" if self.toggle else "") + ("t" if self.words == 2 else "")
        text += "h" if self.lanes == 2 else ""
        if self.nested:
            text += f"g{self.segments}{'o' * self.one_round}"
        elif self.segmented:
            text += "g" + "_".join(map(str, self.segment_shifts))
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
class Accumulator:
    low: Register
    high: Register


ROW0 = (Accumulator("r6", "r7"), Accumulator("r8", "r9"))
ROW1 = (Accumulator("r10", "r11"), Accumulator("r12", "lr"))


def sum_loop(tile: Tile) -> list[str]:
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
            for line in products(tile, channel * entry_bytes, 24 * channel, channel == 0)
        ),
        *_add_immediate("r0", tile.unroll * entry_bytes),
        *_add_immediate("r1", 24 * tile.unroll),
        "vmov r2, s9",
        "cmp r1, r2",
        "bne.w 3b",
    ]


def _depthwise_products(oc: int, a: int, w: int) -> list[str]:
    """Six products of one output channel; byte offsets of its four rows and its weights."""
    row0, row1 = ROW0[oc], ROW1[oc]

    def weight(ky: int) -> str:
        return f"[r1, #{w + 8 * ky + 4 * oc}]"

    def smlal(accumulator: Accumulator, x: Register, y: Register) -> str:
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


def _products(tile: Tile, a: int, w: int, _: bool) -> list[str]:
    """Twelve products of one channel and weight word; byte offsets of its rows and weights."""
    groups = _GROUPS[tile.stride]
    last_row = max(row for group in groups for _, row in group.rows)
    wide = a + 4 * last_row > 124 or w + 20 > 124

    def load(register: Register, base: Register, offset: int, is_wide: bool) -> str:
        return f"ldr{'.w' if is_wide else ''} {register}, [{base}, #{offset}]"

    def smlal(accumulator: Accumulator, x: Register, y: Register) -> str:
        return f"smlal {accumulator.low}, {accumulator.high}, {x}, {y}"

    def rows(first: Register, second: Register) -> list[str]:
        return [
            *(
                smlal(accumulator, first, y)
                for accumulator, y in zip(ROW0, ("r4", "r5"), strict=False)
            ),
            *(
                smlal(accumulator, second, y)
                for accumulator, y in zip(ROW1, ("r4", "r5"), strict=False)
            ),
        ]

    lines = []
    for group in groups:
        weights = w + 8 * group.filter_row
        loads = [(register, "r0", a + 4 * row) for register, row in group.rows]
        loads += [("r4", "r1", weights), ("r5", "r1", weights + 4)]
        # an odd number of 16-bit loads would leave what follows between two words
        lines += [
            load(*target, wide or (i == 2 and len(loads) == 3)) for i, target in enumerate(loads)
        ]
        lines += rows(group.row0, group.row1)
    return lines


def _lane_products(tile: Tile, a: int, w: int, first: bool) -> list[str]:
    """24 products of one phase of two channels; byte offsets of its two entries and weights.

    The first ones of a segment that is a single round find their start values in the low words.
    """
    fresh = first and tile.nested and tile.one_round
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

    def add(row: tuple[Accumulator, Accumulator], fresh: bool = False) -> list[str]:
        return [
            f"smlad {total}, {x}, {y}, {accumulator.low if fresh else total}"
            for accumulator, y in zip(row, ("r4", "r5"), strict=True)
            for total, x in ((accumulator.high, "r3"), (accumulator.low, "r2"))
        ]

    return [
        *(*weights(0), *pixels(0), *add(ROW0, fresh)),
        *(*pixels(2), *add(ROW1, fresh)),
        *(*weights(2), *add(ROW0)),  # both output rows meet input row 2
        *(*pixels(4), *add(ROW1)),
        *(*weights(1), *pixels(1), *add(ROW0)),
        *(*pixels(3), *add(ROW1)),
    ]


def scaled_mask(tile: Tile) -> int:
    """What `extract` takes a field with, if it scales it for the requantization as well; needs a
    register more. 0: nothing to scale, or no room."""
    fits = tile.pre_shift + tile.field_bits <= 32
    if tile.pre_shift == 0 or not fits or tile.lanes == 2 or (tile.segmented and tile.pixels > 3):
        return 0
    return ((1 << tile.field_bits) - 1) << tile.pre_shift


def extract(
    tile: Tile, to: Register, accumulator: Accumulator, pixel: int, mask: Register = ""
) -> list[str]:
    """to := a finished field; times 2**pre_shift, if a register with `scaled_mask` is given."""
    s = tile.field_bits
    if tile.lanes == 2:
        word = accumulator.low if pixel < 2 else accumulator.high
        lines = [f"ubfx {to}, {word}, #{pixel % 2 * s}, #{s}"]
        return [*lines, f"add {to}, {to}, {accumulator.low}, lsr #{2 * s}"] if pixel == 2 else lines
    low, high = pixel * s, (pixel + 1) * s
    if low >= 32:
        return [_field(tile, to, accumulator.high, low - 32, mask)]
    if high <= 32:
        return [_field(tile, to, accumulator.low, low, mask)]
    if not mask:
        rest = 32 - low
        return [
            f"lsr {to}, {accumulator.low}, #{low}",
            f"bfi {to}, {accumulator.high}, #{rest}, #{high - 32}",
        ]
    return [
        _field(tile, to, accumulator.low, low, mask),
        f"bfi {to}, {accumulator.high}, #{32 - low + tile.pre_shift}, #{high - 32}",
    ]


def _field(tile: Tile, to: Register, word: Register, low: int, mask: Register) -> str:
    if not mask:
        return f"ubfx {to}, {word}, #{low}, #{tile.field_bits}"
    right = low - tile.pre_shift
    shift = f", lsr #{right}" if right > 0 else f", lsl #{-right}" if right else ""
    return f"and {to}, {mask}, {word}{shift}"


def carry(tile: Tile, accumulator: Accumulator, plus: Register = "") -> list[str]:
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
