"""Sizes and places of a row polynomial: what `le_row_polynomial.c` counts on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from mcuq_lab.liteengine.kernels.row_estimates import row_cycles
from mcuq_lab.liteengine.kernels.row_polynomial_asm import Tile, is_nested
from mcuq_lab.liteengine.kernels.row_tile_asm import MOST_SEGMENTED_PIXELS
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.lowering import Ahead, ahead_of_input
from mcuq_lab.liteengine.packing.phases import fields_in_front
from mcuq_lab.liteengine.packing.row import RowPacking, Segment
from mcuq_lab.quantgraph import QConv2d, QDepthwiseConv2d, QTensor

CHAIN_BYTES = 72  # LE_ROW_CHAIN_BYTES
KEPT_BYTES = 48  # LE_ROW_KEPT_BYTES
RUNS = 10  # LE_ROW_MOST_RUNS
_RUN_BYTES = 56  # LE_ROW_RUN_BYTES
MOST_BATCHED = 4
"""Times two rows in one call of the tile function."""
_WORD = 4
_TILE_WEIGHT_BYTES = 24  # weight words of one input channel and two output channels

TileRun = tuple[int, int, bool]
"""First tile, the one behind the last, and whether they are written to the line."""


@dataclass(frozen=True, eq=False)
class RowLayout:
    """A layer with a packing, and the sizes that decide loop and memory.

    Attributes:
        op, source, output: the layer and its tensors.
        weight: of the layer, by phases.
        packing: how its operands are packed.
        unroll: planes (a phase of a channel) in a round of the inner loop; 2 for a depthwise layer.
        pairs: pairs of output rows in a band.
        group: input channels that are packed at a time; all for a dense layer.
    """

    op: QConv2d | QDepthwiseConv2d
    source: QTensor
    output: QTensor
    weight: np.ndarray
    packing: RowPacking
    unroll: int
    pairs: int
    group: int

    @property
    def depthwise(self) -> bool:
        return isinstance(self.op, QDepthwiseConv2d)

    @property
    def stride(self) -> int:
        return self.op.window.stride_h

    @cached_property
    def slots(self) -> int:
        """Input rows of a band."""
        return 2 * self.stride * self.pairs + self.shared_rows

    @property
    def band_rows(self) -> int:
        """Output rows of a band."""
        return 2 * self.pairs

    @property
    def rows_together(self) -> int:
        """Output rows of a tile."""
        return 2

    @property
    def shared_rows(self) -> int:
        """Input rows that a band shares with the next one."""
        return 3 - self.stride

    @cached_property
    def columns(self) -> int:
        """Pixels of a row's first phase, which is no shorter than the second one."""
        return -(-self.source.shape.w // self.packing.phases)

    @cached_property
    def lead(self) -> int:
        """Fields in front of a row's first output."""
        return fields_in_front(self.op.window)

    @cached_property
    def flush(self) -> bool:
        """Whether the last output has met all pixels of the row when it is carried."""
        last = self.lead + self.output.shape.w - 1
        return self.packing.words == 1 and last >= self.columns and last % self.packing.pixels == 0

    @cached_property
    def fields(self) -> int:
        """Fields up to the last output that a tile yields."""
        return self.lead + self.output.shape.w - self.flush

    @cached_property
    def tiles(self) -> int:
        """Tiles of a row."""
        return -(-self.fields // self.packing.pixels)

    @cached_property
    def halves(self) -> bool:
        """With two words: whether padding adds nothing, so that the first tile needs no block
        before it, and the last one no block of its own."""
        return self.packing.words == 2 and not self.depthwise and self.source.zero_point == 0

    @cached_property
    def blocks(self) -> int:
        """Blocks in scratch, but for one of padding in front."""
        return -(-self.source.shape.w // self.packing.pixels) if self.halves else self.tiles

    @cached_property
    def right(self) -> int:
        """Tiles from here on yield some pixels behind the last output."""
        return self.fields // self.packing.pixels

    @property
    def pad_blocks(self) -> int:
        """Blocks of nothing but padding, the same in every row: the one in front, one behind."""
        if self.packing.words == 1 or self.halves:
            return 0
        return 1 + (self.blocks * self.packing.pixels - self.source.shape.w >= self.packing.pixels)

    @property
    def pad_word(self) -> int:
        """A of a block of padding, if there are any."""
        if self.pad_blocks == 0:
            return 0
        s, m = self.packing.field_bits, self.packing.pixels
        word = sum(self.source.zero_point << (i * s) for i in range(m))
        return word ^ (int(self.packing.toggle) << 31)

    @cached_property
    def plans(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """`le_row_plan` of the three ways to write two rows: DIRECT, EDGES, LINE."""
        return tuple(
            tuple(self._run(begin, end, line, *self._left_out(begin)) for begin, end, line in runs)
            for runs in self.tile_runs
        )

    @cached_property
    def plan_runs(self) -> tuple[int, ...]:
        """How many runs each of the `plans` has."""
        return tuple(map(len, self.tile_runs))

    @property
    def tile_runs(self) -> tuple[tuple[TileRun, ...], ...]:
        """Of each of the `plans`."""
        return _tile_runs(self.tiles, self.right, self.blocks if self.halves else 0)

    def _run(self, begin: int, end: int, line: bool, front: int, back: int) -> tuple[int, ...]:
        # With two words, a tile begins at the block before its own.
        blocks = min(end - 1, self.blocks - 1) if self.halves else end
        pixel = begin * self.packing.pixels
        out = 2 * pixel if line else (pixel - self.lead) * self.output.pixel_bytes
        return blocks * self.block_bytes, out, front, back, int(line)

    def _left_out(self, tile: int) -> tuple[int, int]:
        """Bytes of weight words in front and at the back that a tile does without."""
        half = self.range * _TILE_WEIGHT_BYTES if self.halves else 0
        return half * (tile == 0), half * (0 < tile == self.blocks)

    @cached_property
    def range(self) -> int:
        """Planes of a range, each a phase of a channel, or of two in lanes: what a tile sees of a
        block, or with one word, all of them."""
        if self.depthwise:
            return 2
        if self.packing.words == 1:
            return padded(self.weight.shape[3] // self.packing.lanes, self.unroll)
        return padded(self.packing.segments[0].count, self.unroll)

    @property
    def ranges(self) -> int:
        if self.packing.words == 1 and not self.depthwise:
            return 1
        return -(-self.group // self.range)

    @cached_property
    def block_bytes(self) -> int:
        """From one block's entries to the next one's."""
        return self.range * self.plane_bytes

    @property
    def plane_bytes(self) -> int:
        """Entries of a block and plane; two channels in lanes have two of half as many pixels."""
        return self.packing.lanes * self.slots * _WORD

    @cached_property
    def range_bytes(self) -> int:
        """From one range to the next."""
        return (self.blocks + (self.pad_blocks > 0)) * self.block_bytes

    @property
    def slice_bytes(self) -> int:
        """From one activation slice's entries to the next one's."""
        return self.ranges * self.range_bytes

    @property
    def a_bytes(self) -> int:
        """Of all entries."""
        return len(self.packing.a_slices) * self.slice_bytes

    @property
    def few_channels(self) -> int:
        """All input channels, where they are less than a word of them and are packed at once."""
        channels = self.source.shape.c
        many = channels * self.source.storage_bits > 32 - self.source.storage_bits
        return 0 if many or self.depthwise or self.packing.lanes > 1 else channels

    @property
    def summed_planes(self) -> int:
        """Planes that one output channel sums over, with padding."""
        return 1 if self.depthwise else self.ranges * self.range

    @property
    def w_bytes(self) -> int:
        """Of the weight words of two output channels."""
        words = self.packing.words * len(self.packing.w_slices)
        return _TILE_WEIGHT_BYTES * words * self.summed_planes

    @cached_property
    def scratch_bytes(self) -> int:
        """As `le_row_begin` carves it."""
        columns = self.tiles * self.packing.pixels
        segments = len(self.packing.segments)
        sizes = (
            self.passes * CHAIN_BYTES,
            self.a_bytes,
            self.w_bytes,
            segments * KEPT_BYTES if self.nested else (segments - 1) * self.tiles * 32,
            self.batch * 4 * columns,
            self.runs * _RUN_BYTES,
            self.source.pixel_bytes,
        )
        return sum(eight_byte_aligned(size) for size in sizes)

    @cached_property
    def batch(self) -> int:
        """Times two rows in one call of the tile function, at most."""
        return max(1, min(self.pairs, MOST_BATCHED, RUNS // self.pair_runs))

    @cached_property
    def runs(self) -> int:
        """Runs of tiles in one call of the tile function, at most: of all segments of two rows at
        the edges, or of a batch."""
        _, edges, line = self.plan_runs
        at_edges = max(edges, line) + line * (self.passes - 1)
        return min(RUNS, max(self.batch * self.pair_runs, at_edges))

    @property
    def fits(self) -> bool:
        """Whether one call runs all segments of two rows, if it has to, and the epilogue of a tile
        finds registers for its sums."""
        segments = len(self.packing.segments)
        return (
            segments == 1
            or self.nested
            or (
                self.packing.pixels <= MOST_SEGMENTED_PIXELS
                and (not self.flush or segments + 1 <= RUNS)
            )
        )

    def segment_row(self, segment: Segment) -> tuple[int, ...]:
        """`le_row_segment` of a segment."""
        packing = self.packing
        a_offset = packing.a_slices.index(segment.a_slice) * self.slice_bytes
        w_offset = packing.w_slices.index(segment.w_slice) * self.summed_planes
        if self.depthwise:
            count, skip = packing.words, self.block_bytes
        elif packing.words == 2:
            number = segment.first // self.range
            a_offset += number * self.range_bytes
            w_offset += number * 2 * self.range
            count, skip = 2 * self.range, -self.block_bytes
        else:
            first = segment.first // packing.lanes
            count = padded(segment.count // packing.lanes, self.unroll)
            a_offset += first * self.plane_bytes
            w_offset += first
            skip = self.block_bytes - count * self.plane_bytes
        w_bytes = _TILE_WEIGHT_BYTES
        zero_point = int(segment.a_slice.of_activation(self.source.zero_point))
        return a_offset, skip, w_offset * w_bytes, count * w_bytes, segment.shift, zero_point

    @property
    def nested(self) -> bool:
        """See `is_nested`; the tile, whose property it is, takes longer to make."""
        return is_nested(self.packing.lanes, len(self.packing.segments))

    @cached_property
    def tile(self) -> Tile:
        packing, requantize = self.packing, self.op.requantize
        return Tile(
            depthwise=self.depthwise,
            stride=self.stride,
            lanes=packing.lanes,
            pixels=packing.pixels,
            field_bits=packing.field_bits,
            words=packing.words if self.depthwise else 1,
            toggle=packing.toggle,
            slots=self.slots,
            unroll=self.unroll,
            segment_shifts=tuple(part.significance for part in packing.segments[:-1]),
            surplus=len(packing.w_slices) > 1,
            out_bits=requantize.bits,
            pre_shift=requantize.pre_shift,
            shift=requantize.shift,
            one_round=packing.lanes == 2 and 1 < len(packing.segments) == self.range // self.unroll,
        )

    @cached_property
    def cycles(self) -> int:
        """Predicted."""
        return row_cycles(self)

    @property
    def passes(self) -> int:
        """Of two rows: one for each segment, unless a tile runs them all."""
        return 1 if self.nested else len(self.packing.segments)

    @cached_property
    def pair_runs(self) -> int:
        """Runs of two rows that are written directly."""
        direct, _, line = self.plan_runs
        return (self.passes - 1) * line + direct

    @property
    def in_groups(self) -> bool:
        """Whether the input is read several times, for some channels each time."""
        return self.depthwise and self.source.shape.c > self.group

    @property
    def allows_in_place(self) -> bool:
        """Whether outputs, written at the input's address, spare the inputs that come later.

        Where channels are packed group by group, pixels must have equal fields to spare the other
        groups; `ahead` covers other layers.
        """
        window, source, output = self.op.window, self.source, self.output
        same = (source.storage_bits, source.shape) == (output.storage_bits, output.shape)
        return self.in_groups and same and (window.pad_top, window.pad_left) == (1, 1)

    @property
    def ahead(self) -> tuple[Ahead, ...]:
        """How far the output may overlap the input, if the input is read once."""
        if self.in_groups:
            return ()
        return ahead_of_input(self.source, self._written_and_unread())

    def _written_and_unread(self) -> Iterator[tuple[int, int]]:
        """After each band but the last: bytes written, and where the next one begins to read."""
        source, output = self.source, self.output
        band = self.band_rows
        for y in range(band, output.shape.h, band):
            unpacked = max(self.stride * y + self.shared_rows - self.op.window.pad_top, 0)
            if unpacked >= source.shape.h:
                return
            yield (
                y * output.shape.w * output.pixel_bytes,
                unpacked * source.shape.w * source.pixel_bytes,
            )


@lru_cache(maxsize=1 << 12)
def _tile_runs(tiles: int, right: int, blocks: int) -> tuple[tuple[TileRun, ...], ...]:
    """As `RowLayout.tile_runs`: neighbouring tiles of the same kind are one run.

    Args:
        tiles, right: of the layout.
        blocks: those of the layout, or 0 where no tile leaves weights out.
    """
    direct = [tile >= right for tile in range(tiles)]
    edges = [tile == 0 or to_line for tile, to_line in enumerate(direct)]

    def runs(to_line: list[bool]) -> tuple[TileRun, ...]:
        kinds = [
            (line, blocks > 0 and tile == 0, 0 < tile == blocks)
            for tile, line in enumerate(to_line)
        ]
        ends = [i + 1 for i in range(tiles) if kinds[i] != (*kinds, None)[i + 1]]
        return tuple(
            (begin, end, to_line[begin]) for begin, end in zip([0, *ends], ends, strict=False)
        )

    return runs(direct), runs(edges), runs([True] * tiles)


def padded(count: int, unit: int) -> int:
    """`count` rounded up to a multiple of `unit`."""
    return -(-count // unit) * unit
