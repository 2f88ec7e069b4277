"""Sizes, places and predicted cycles of a row polynomial: what `le_row_polynomial.c` counts on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mcuq_lab.liteengine.kernels.row_polynomial_asm import Tile
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.packing import RowPacking, Segment, tile_cycles
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QTensor

CALL_BYTES = 136  # LE_ROW_CALL_BYTES
_WORD = 4
_TILE_WEIGHT_BYTES = 24  # weight words of one input channel and two output channels
_CYCLES_OF_A_CALL = 270  # of the driver and the tile function, around the blocks of two rows


@dataclass(frozen=True, eq=False)
class RowLayout:
    """A layer with a packing, and the sizes that decide loop and memory.

    Attributes:
        op, source, output: the layer and its tensors.
        packing: how its operands are packed.
        unroll: input channels in a round of the inner loop; 2 for a depthwise layer.
        pairs: pairs of output rows in a band.
        group: input channels that are packed at a time; all for a dense layer.
    """

    op: QConv2d | QDepthwiseConv2d
    source: QTensor
    output: QTensor
    packing: RowPacking
    unroll: int
    pairs: int
    group: int

    @property
    def depthwise(self) -> bool:
        return isinstance(self.op, QDepthwiseConv2d)

    @property
    def slots(self) -> int:
        """Input rows of a band."""
        return 2 * self.pairs + 2

    @property
    def padded_channels(self) -> int:
        return padded(self.group, self.unroll)

    @property
    def lead(self) -> int:
        """Fields in front of a row's first output."""
        return 2 - self.op.window.pad_left

    @property
    def flush(self) -> bool:
        """Whether the last output has met all pixels of the row when it is carried."""
        return (
            self.packing.words == 1
            and self.op.window.pad_right == 1
            and self.source.shape.w % self.packing.pixels == 0
        )

    @property
    def fields(self) -> int:
        """Fields up to the last output that a block yields."""
        return self.lead + self.output.shape.w - self.flush

    @property
    def blocks(self) -> int:
        return -(-self.fields // self.packing.pixels)

    @property
    def left(self) -> int:
        """The first block of nothing but outputs."""
        return -(-self.lead // self.packing.pixels)

    @property
    def right(self) -> int:
        """The end of these blocks."""
        return max(self.left, self.fields // self.packing.pixels)

    @property
    def in_rounds(self) -> bool:
        """Whether entries lie in rounds, not channel by channel for each block."""
        return self.depthwise or self.packing.words == 2

    @property
    def round_bytes(self) -> int:
        """From one round to the next, all blocks and the one in front of them."""
        return (self.blocks + self.packing.words - 1) * self.unroll * self.slots * _WORD

    @property
    def slice_bytes(self) -> int:
        """From one activation slice's entries to the next one's."""
        if self.in_rounds:
            return self.padded_channels // self.unroll * self.round_bytes
        return self.padded_channels * self.slots * _WORD

    @property
    def block_bytes(self) -> int:
        """From one block's entries to the next one's."""
        if self.in_rounds:
            return self.unroll * self.slots * _WORD
        return len(self.packing.a_slices) * self.slice_bytes

    @property
    def a_bytes(self) -> int:
        """Of all entries."""
        if self.in_rounds:
            return len(self.packing.a_slices) * self.slice_bytes
        return self.blocks * self.block_bytes

    @property
    def channel_weight_bytes(self) -> int:
        """Weight words of one input channel and two output channels."""
        return _TILE_WEIGHT_BYTES * self.packing.words

    @property
    def summed_channels(self) -> int:
        """Input channels that one output channel sums over, with padding."""
        return 1 if self.depthwise else self.padded_channels

    @property
    def w_bytes(self) -> int:
        """Of the weight words of two output channels."""
        return self.channel_weight_bytes * len(self.packing.w_slices) * self.summed_channels

    @property
    def scratch_bytes(self) -> int:
        """As `le_row_begin` carves it."""
        columns = self.blocks * self.packing.pixels
        segments = len(self.packing.segments)
        sizes = (
            segments * CALL_BYTES,
            self.a_bytes,
            self.w_bytes,
            16 * columns if segments > 1 else 0,
            4 * columns,
            self.source.pixel_bytes,
        )
        return sum(eight_byte_aligned(size) for size in sizes)

    def segment_row(self, segment: Segment, mode: int) -> tuple[int, ...]:
        """`le_row_segment` of a segment."""
        packing = self.packing
        offset = packing.a_slices.index(segment.a_slice) * self.slice_bytes
        count = padded(segment.count, 1 if self.depthwise else self.unroll)
        if self.depthwise:
            skip = self.block_bytes
        elif self.in_rounds:
            rounds = count // self.unroll
            offset += segment.first // self.unroll * self.round_bytes
            skip = self.block_bytes - rounds * self.round_bytes
        else:
            offset += segment.first * self.slots * _WORD
            skip = self.block_bytes - count * self.slots * _WORD
        w_first = packing.w_slices.index(segment.w_slice) * self.summed_channels + segment.first
        w_bytes = self.channel_weight_bytes
        return offset, skip, w_first * w_bytes, count * w_bytes, segment.shift, mode

    @cached_property
    def modes(self) -> tuple[int, ...]:
        """`le_row_call.mode` of each segment."""
        segments = self.packing.segments
        middle = [2 + self.tile.middle_shifts.index(part.shift) for part in segments[1:-1]]
        return (0,) if len(segments) == 1 else (1, *middle, 0)

    @cached_property
    def tile(self) -> Tile:
        packing, requantize = self.packing, self.op.requantize
        middle = sorted({segment.shift for segment in packing.segments[1:-1]})
        return Tile(
            depthwise=self.depthwise,
            pixels=packing.pixels,
            field_bits=packing.field_bits,
            words=packing.words,
            toggle=packing.toggle,
            slots=self.slots,
            unroll=self.unroll,
            segmented=len(packing.segments) > 1,
            surplus=len(packing.w_slices) > 1,
            last_shift=packing.segments[-1].shift,
            middle_shifts=tuple(middle),
            out_bits=requantize.bits,
            pre_shift=requantize.pre_shift,
            shift=requantize.shift,
        )

    @cached_property
    def cycles(self) -> int:
        """Estimate: tiles, calls, packing, unpacking."""
        shape, packing = self.output.shape, self.packing
        row_pairs, channel_pairs = (shape.h + 1) // 2, (shape.c + 1) // 2
        bands = -(-row_pairs // self.pairs)
        pre_shifted = self.op.requantize.pre_shift > 0
        summed = 1 if self.depthwise else self.source.shape.c
        tile = tile_cycles(packing, summed, 1 if self.depthwise else self.unroll, pre_shifted)
        call = self.blocks * tile + _CYCLES_OF_A_CALL + 90 * (len(packing.segments) - 1)
        words = self.summed_channels * 6 * len(packing.w_slices)
        prepare = 9 * words + 60 + 80 * len(packing.segments)
        entries = self.blocks * len(packing.a_slices) * self.source.shape.c
        pack = 2 * packing.pixels + 3
        rows = shape.h + 2
        return int(
            row_pairs * channel_pairs * call
            + bands * channel_pairs * prepare
            + rows * entries * pack
            + 6 * bands * entries
        )

    @property
    def allows_in_place(self) -> bool:
        """Whether outputs, written at the input's address, spare the inputs that come later.

        Bands below must not be touched, and where channels are packed group by group, neither the
        other groups: pixels must then have equal fields.
        """
        window, source, output = self.op.window, self.source, self.output
        if self.depthwise and source.shape.c > self.group:
            equal = source.storage_bits == output.storage_bits
            if not equal or (source.shape.h, source.shape.w) != (output.shape.h, output.shape.w):
                return False
            if window.pad_top != 1 or window.pad_left != 1:
                return False
        in_row = source.shape.w * source.pixel_bytes
        out_row = output.shape.w * output.pixel_bytes
        band = 2 * self.pairs
        for y in range(0, output.shape.h, band):
            unpacked = y + band + 2 - window.pad_top  # the first input row that is not packed
            written = min(y + band, output.shape.h) * out_row
            if unpacked < source.shape.h and written > max(unpacked, 0) * in_row:
                return False
        return True


def padded(count: int, unit: int) -> int:
    """`count` rounded up to a multiple of `unit`."""
    return -(-count // unit) * unit
