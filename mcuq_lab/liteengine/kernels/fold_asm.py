"""The inner loop of folded depthwise convolutions in Thumb-2 assembly for Armv7E-M with an FPU.

A tile is two columns x two rows of outputs; an accumulator holds one output of each fold.

    r0 first word of the tile, r1 bytes from one pair of columns to the next
    r2, r3 pairs of columns    r4 - r7 accumulators, by row and column
    r8 - r12, lr weights: all six pairs of taps of a kernel of 3; of a kernel of 5, r8 - r11 are
        those of one row, r12 points to the first ones in memory, lr is a third pair of columns

Everything else waits in registers of the floating-point unit, from where VMOV fetches a word in one
cycle; none of them must be preserved for the caller:

    s0 start   s1 multiplier   s2 offset   s3 mask   s4 first strip   s5 end of the strips
    s6 bytes from strip to strip   s7 bytes of a strip's tiles   s8 end of the strip's tiles
    s9, s10 the weights of r12 and lr, which the epilogue overwrites
    s11 constants of the next channel   s12 end of those   s13 its weights
    s14 bytes from the end of a strip's tiles to the next strip

A pair of columns is read from `[r0]`, `[r0, r1]` and `[r0, r1, lsl #1]`; the last read of a row
takes r0 to the row that comes next.
"""

from __future__ import annotations

from dataclasses import dataclass

Register = str

LARGEST_STEP_WORDS = 31
"""Words from the first packed row of an output row to that of the next; immediates reach two such
steps back."""

_ACCUMULATORS = (("r4", "r5"), ("r6", "r7"))
_WEIGHTS = ("r8", "r9", "r10", "r11", "r12", "lr")
_MULTIPLIER, _OFFSET = "r2", "r3"


@dataclass(frozen=True)
class FoldTile:
    """What a tile function is specialised by; `le_fold_shape` in C.

    Attributes:
        kernel, stride: of the window, square.
        group: channels of a group, words from one row to the next in scratch.
        folds, field_bits: of the packing.
        out_bits, pre_shift, shift: of the requantization. A shift of 16 is what lets PKHTB and
            USAT16 finish two outputs at once; two folds take that way then.
        narrow: K and offset of a channel are halves of a word.
        offset_shift: such an offset counts 2**offset_shift times.
    """

    kernel: int
    stride: int
    group: int
    folds: int
    field_bits: int
    out_bits: int
    pre_shift: int
    shift: int
    narrow: bool
    offset_shift: int

    @property
    def name(self) -> str:
        """Part of the tile function's name; different tiles have different names."""
        fold = f"f2s{self.field_bits}" if self.folds == 2 else "f1"
        return (
            f"k{self.kernel}s{self.stride}g{self.group}_{fold}"
            f"_o{self.out_bits}p{self.pre_shift}h{self.shift}"
            + (f"n{self.offset_shift}" if self.narrow else "")
        )

    @property
    def short_sums(self) -> bool:
        """Whether sums have 15 bits: SMLAWB shifts such a sum by 16 as it multiplies it."""
        return self.folds == 2 and self.pre_shift == self.shift == 16

    @property
    def masks(self) -> bool:
        """Whether a mask, in a register, takes fields out where they are wanted."""
        return self.folds == 2 and not self.short_sums

    @property
    def row_weights(self) -> int:
        """Pairs of taps of one kernel row."""
        return self.kernel // 2 + 1 if self.stride == 2 else self.kernel // 2 * 2

    @property
    def weight_words(self) -> int:
        """Pairs of taps of a channel."""
        return self.kernel * self.row_weights

    @property
    def weights_stay(self) -> bool:
        """Whether registers hold the whole kernel."""
        return self.kernel == 3

    @property
    def columns(self) -> int:
        """Pairs of columns that a tile reads."""
        return self.kernel // 2 + self.stride


def fold_assembly(tile: FoldTile) -> list[str]:
    """Instructions of the tile function: `void (le_fold_call *)`, the argument in r0.

    Local labels are numbers: 2 tile, 3 channel.
    """
    return [
        "push {r4-r11, lr}",
        "vldmia r0!, {s3-s7}",
        "ldr r1, [r0], #4",
        "vldmia r0, {s11-s13}",
        "vmov r2, s6",
        "vmov r3, s7",
        "subs r2, r2, r3",
        "vmov s14, r2",
        "3:",
        *_constants(tile),
        *_weights(tile),
        "vmov r0, s4",
        "vmov r2, s7",
        "add r2, r0",
        "vmov s8, r2",
        ".p2align 2",
        "2:",
        *_sums(tile),
        *_outputs(tile),
        "vmov r2, s8",
        "cmp r0, r2",
        "bne.w 2b",
        "vmov r2, s6",
        "vmov r3, s14",
        "add r2, r0",
        "add r0, r3",
        "vmov s8, r2",
        "vmov r3, s5",
        "cmp r0, r3",
        "bne.w 2b",
        "vmov r0, s4",
        "adds r3, #4",
        "adds r0, #4",
        "vmov s5, r3",
        "vmov s4, r0",
        "vmov r2, s11",
        "vmov r3, s12",
        "cmp r2, r3",
        "bne.w 3b",
        "pop {r4-r11, pc}",
    ]


def _constants(tile: FoldTile) -> list[str]:
    """A channel's start, multiplier and offset, and where the next one's are."""
    if not tile.narrow:
        return ["vmov r2, s11", "vldmia r2!, {s0-s2}", "vmov s11, r2"]
    return [
        "vmov r2, s11",
        "vldr s1, [r2]",
        "ldr r3, [r2, #4]",
        "adds r2, #8",
        "vmov s11, r2",
        "uxth r2, r3",
        *([f"add r2, r2, r2, lsl #{tile.field_bits}"] if tile.folds == 2 else []),
        "vmov s0, r2",
        "asrs r3, r3, #16",
        *([f"lsls r3, r3, #{tile.offset_shift}"] if tile.offset_shift else []),
        "vmov s2, r3",
    ]


def _weights(tile: FoldTile) -> list[str]:
    """A channel's weights, and where the next one's are."""
    if tile.weights_stay:
        return [
            "vmov r3, s13",
            "vldr s9, [r3, #16]",
            "vldr s10, [r3, #20]",
            "ldmia r3!, {r8-r12}",
            "adds r3, #4",
            "vmov s13, r3",
            "vmov lr, s0",
        ]
    return ["vmov r12, s13", f"add r2, r12, #{4 * tile.weight_words}", "vmov s13, r2"]


def tile_cycles(tile: FoldTile) -> int:
    """Cycles of one tile: an instruction takes one, a load after something else one more."""
    lines = [*_sums(tile), *_outputs(tile)]
    loads = [line.startswith("ldr") for line in lines]
    first_loads = sum(now > before for before, now in zip([False, *loads], loads, strict=False))
    return len(lines) + first_loads + 5  # and the loop


def _visits(tile: FoldTile) -> list[tuple[int, int | None, list[tuple[int, int]]]]:
    """What the tile reads: (packed row, kernel row to load before, [(output row, kernel row)]).

    With all weights at hand every row is read once, else once for each kernel row.
    """
    if tile.weights_stay:
        rows = range(tile.stride + tile.kernel)
        uses = [[(out, row - out * tile.stride) for out in (0, 1)] for row in rows]
        return [
            (row, None, [(out, ky) for out, ky in use if 0 <= ky < tile.kernel])
            for row, use in zip(rows, uses, strict=True)
        ]
    return [
        (ky + out * tile.stride, None if out else ky, [(out, ky)])
        for ky in range(tile.kernel)
        for out in (0, 1)
    ]


def _sums(tile: FoldTile) -> list[str]:
    """All products; r0 ends at the first row of the tile below.

    Of a kernel of 3, lr holds the accumulators' start until its weights are needed.
    """
    lines = []
    visits = _visits(tile)
    begun: set[Register] = set()
    start_at_hand = tile.weights_stay
    nexts = [row for row, _, _ in visits[1:]] + [2 * tile.stride]
    for (row, loaded, uses), after in zip(visits, nexts, strict=True):
        if loaded is not None:
            weights = range(tile.row_weights)
            first = 4 * tile.row_weights * loaded
            lines += [f"ldr r{8 + i}, [r12, #{first + 4 * i}]" for i in weights]
        step = 4 * tile.group * (after - row)
        for columns in _chunks(tile):
            where = dict(zip(columns, ("r2", "r3", "lr"), strict=False))
            lines += _loads(where, step)
            for column, pair in where.items():
                for name, to, weight in _products(tile, uses, column):
                    if weight == "lr" and start_at_hand:
                        lines.append("vmov lr, s10")
                        start_at_hand = False
                    if to not in begun and not start_at_hand:
                        lines.append(f"vmov {to}, s0")
                    term = "lr" if to not in begun and start_at_hand else to
                    lines.append(f"{name} {to}, {pair}, {weight}, {term}")
                    begun.add(to)
    return lines


def _chunks(tile: FoldTile) -> list[tuple[int, ...]]:
    """Pairs of columns in the order they are read, side by side as registers allow."""
    if tile.weights_stay:
        return [(1, 0)] if tile.columns == 2 else [(2, 1), (0,)]
    return [(2, 1, 0)] if tile.columns == 3 else [(3, 2), (1, 0)]


def _loads(where: dict[int, Register], step: int) -> list[str]:
    lines = ["add lr, r0, r1"] if 3 in where else []
    for column, pair in where.items():
        address = {
            0: f"[r0], #{step}",
            1: "[r0, r1]",
            2: "[r0, r1, lsl #1]",
            3: "[lr, r1, lsl #1]",
        }[column]
        lines.append(f"ldr {pair}, {address}")
    return lines


def _products(
    tile: FoldTile, uses: list[tuple[int, int]], column: int
) -> list[tuple[str, Register, Register]]:
    """Products of one pair of columns of a row: (instruction, accumulator, pair of taps)."""
    pairs = tile.kernel // 2
    found = []
    for out, ky in uses:
        first = ky * tile.row_weights if tile.weights_stay else 0
        weights = _WEIGHTS[first : first + tile.row_weights]
        for index, to in enumerate(_ACCUMULATORS[out]):
            tap = column - index if tile.stride == 2 else column
            if tile.stride == 2 and 0 <= tap <= pairs:
                found.append(("smlad" if tap < pairs else "smlabb", to, weights[tap]))
            elif tile.stride == 1 and index == 0:
                last = tap == pairs
                found.append(("smlabt", to, weights[-1]) if last else ("smlad", to, weights[tap]))
            elif tile.stride == 1:
                first_column = tap == 0
                weight = weights[0] if first_column else weights[pairs + tap - 1]
                found.append(("smlatb" if first_column else "smlad", to, weight))
    return found


def _outputs(tile: FoldTile) -> list[str]:
    """Sums become outputs, side by side in one word for each row, which is stored."""
    two = tile.folds == 2
    lines = [f"vmov {_MULTIPLIER}, s1", f"vmov {_OFFSET}, s2"]
    lines += ["vmov r12, s3"] if tile.masks and tile.weights_stay else []
    lines += ["vmov r8, s3"] if tile.masks and not tile.weights_stay else []
    mask = "r12" if tile.weights_stay else "r8"
    for row, (left, right) in enumerate(_ACCUMULATORS):
        for sums in (left, right):
            lines += _two_folds(tile, sums, mask) if two else _one_fold(tile, sums)
        lines.append(f"orr {left}, {left}, {right}, lsl #{8 if two else 16}")
        lines.append(f"str {left}, [r0, #{4 * tile.group * tile.stride * (row - 2)}]")
    if tile.weights_stay:
        lines += ["vmov r12, s9"] if tile.masks else []
        lines.append("vmov lr, s0")
    return lines


def _requantized(tile: FoldTile, sums: Register) -> list[str]:
    shifted = f", asr #{tile.shift}" if tile.shift else ""
    return [_scaled(sums), f"usat {sums}, #{tile.out_bits}, {sums}{shifted}"]


def _scaled(sums: Register) -> str:
    return f"smmla {sums}, {sums}, {_MULTIPLIER}, {_OFFSET}"


def _one_fold(tile: FoldTile, sums: Register) -> list[str]:
    shift = [f"lsl {sums}, {sums}, #{tile.pre_shift}"] if tile.pre_shift else []
    return [*shift, *_requantized(tile, sums)]


def _two_folds(tile: FoldTile, sums: Register, mask: Register) -> list[str]:
    """The outputs of the two fields, in the halves of `sums`."""
    if tile.short_sums:
        return [
            f"ubfx lr, {sums}, #0, #{tile.field_bits}",
            f"lsr {sums}, {sums}, #{tile.field_bits}",
            f"smlawb lr, {_MULTIPLIER}, lr, {_OFFSET}",
            f"smlawb {sums}, {_MULTIPLIER}, {sums}, {_OFFSET}",
            f"pkhtb {sums}, {sums}, lr, asr #16",
            f"usat16 {sums}, #{tile.out_bits}, {sums}",
        ]
    lines = [_field("lr", mask, sums, tile.pre_shift)]
    lines.append(_field(sums, mask, sums, tile.pre_shift - tile.field_bits))
    if tile.shift == 16:
        return [
            *lines,
            _scaled("lr"),
            _scaled(sums),
            f"pkhtb {sums}, {sums}, lr, asr #16",
            f"usat16 {sums}, #{tile.out_bits}, {sums}",
        ]
    lines += [*_requantized(tile, "lr"), *_requantized(tile, sums)]
    return [*lines, f"orr {sums}, lr, {sums}, lsl #16"]


def _field(to: Register, mask: Register, sums: Register, left: int) -> str:
    """A field, moved to where requantization wants it."""
    if left == 0:
        return f"and {to}, {mask}, {sums}"
    return f"and {to}, {mask}, {sums}, {'lsl' if left > 0 else 'lsr'} #{abs(left)}"
