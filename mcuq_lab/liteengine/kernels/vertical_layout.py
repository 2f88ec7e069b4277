"""Sizes, places and predicted cycles of Winograd's rows: what `le_vertical.c` counts on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mcuq_lab.liteengine.kernels.row_estimates import row_packing_cycles
from mcuq_lab.liteengine.kernels.row_layout import RowLayout, TileRun, padded
from mcuq_lab.liteengine.kernels.vertical_asm import (
    CHAIN_BYTES,
    ENTRY_BYTES,
    WEIGHT_BYTES,
    VerticalTile,
)
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.packing.row import Segment
from mcuq_lab.liteengine.packing.row_cycles import extraction_instructions
from mcuq_lab.liteengine.packing.vertical_rows import weights_in_pairs

GROUP_ROWS = 4
"""Output rows of a tile."""

_PRODUCTS = 4


@dataclass(frozen=True, eq=False)
class VerticalLayout(RowLayout):
    """A `RowLayout` whose `pairs` are groups of four output rows, and whose entries are those of
    `le_vertical.h`.

    Attributes:
        order: words of input channels in the order of their planes, which `weight` has, too; empty
            for that of memory.
    """

    order: tuple[int, ...] = ()

    @property
    def slots(self) -> int:
        """Words of an entry."""
        return ENTRY_BYTES // 4

    @cached_property
    def planes(self) -> int:
        """Of a segment: channels, and planes of zeros up to whole rounds."""
        first = self.packing.segments[0].count
        return padded(padded(first, 2) if self.op.w_bits == 2 else first, self.unroll)

    @property
    def even(self) -> bool:
        """Whether 4-bit weights are unpacked by two channels: 18 bytes."""
        return self.op.w_bits == 4 and self.planes % 2 == 0 and self.source.shape.c % 2 == 0

    @property
    def range(self) -> int:
        return len(self.packing.segments) * self.planes

    @property
    def a_bytes(self) -> int:
        return self.pairs * self.range_bytes

    @property
    def w_bytes(self) -> int:
        return _PRODUCTS * WEIGHT_BYTES * self.range

    @property
    def batch(self) -> int:
        """Calls are not batched."""
        return 1

    @property
    def fits(self) -> bool:
        return True

    @property
    def tile_runs(self) -> tuple[tuple[TileRun, ...], ...]:
        """None: the driver plans as it goes."""
        return ((), (), ())

    @cached_property
    def scratch_bytes(self) -> int:
        """As `le_vertical_begin` carves it."""
        segments = len(self.packing.segments)
        sizes = (
            segments * CHAIN_BYTES,
            self.a_bytes,
            self.w_bytes,
            (segments - 1) * 64,
            2 * GROUP_ROWS * self.packing.pixels,
            self.source.pixel_bytes,
        )
        return sum(eight_byte_aligned(size) for size in sizes)

    @property
    def rows_together(self) -> int:
        return GROUP_ROWS

    @property
    def band_rows(self) -> int:
        return GROUP_ROWS * self.pairs

    def segment_row(self, segment: Segment) -> tuple[int, ...]:
        """Segments are of one size: only the zero point is read."""
        return 0, 0, 0, 0, 0, int(segment.a_slice.of_activation(self.source.zero_point))

    @cached_property
    def vertical_tile(self) -> VerticalTile:
        idle = len(self.packing.segments) * self.planes - self.source.shape.c
        return VerticalTile(self.tile, self.planes, idle)

    @cached_property
    def loop_cycles(self) -> float:
        """Of one tile's loads and products alone."""
        return 9.0 * _PRODUCTS * sum(part.count for part in self.packing.segments)

    @cached_property
    def cycles(self) -> int:
        """Estimate, fitted to simulated Cortex-M4 runs: tiles, calls, preparation, packing."""
        shape, segments = self.output.shape, len(self.packing.segments)
        groups, channel_pairs = -(-shape.h // GROUP_ROWS), (shape.c + 1) // 2
        bands = -(-groups // self.pairs)
        call = self.tiles * self._tile_cycles + 290 + 30 * segments
        call += 350 * (self.right < self.tiles) + 350 * (self.lead != 1)
        call += 310 * self.flush
        plane = 38 if self.op.w_bits == 2 else 60
        if weights_in_pairs(self.op.w_bits, self.packing.field_bits, self.even):
            plane = 53
        prepare = plane * self.range + 200 + 100 * segments
        entries = self.blocks * self.range
        return int(
            groups * channel_pairs * call
            + bands * channel_pairs * prepare
            + (shape.h + 2) * row_packing_cycles(self)
            + groups * (33 * entries + 60)
        )

    @property
    def _tile_cycles(self) -> float:
        packing, m = self.packing, self.packing.pixels
        before = len(packing.segments) - 1
        rounds = self.planes // self.unroll
        a_pass = 9 * self.planes + 1 + (rounds > 1) * (7 * rounds + 4)
        segment = _PRODUCTS * a_pass + 8 + 9 + (8 if rounds > 1 else 4) + 46 + 9 + 2 * 30
        skipped = self.vertical_tile.skipped
        extraction = 4 * extraction_instructions(packing)
        outputs = 2 * (extraction + (14 + 3 * (self.output.storage_bits == 2)) * m + 16)
        between = 2 * 16 + 2 * (extraction + 4 * m + 12) + 20
        if skipped:
            outputs += 9 * before + 17 - 36 * skipped
        return (before + 1) * segment + outputs + before * between + 8
