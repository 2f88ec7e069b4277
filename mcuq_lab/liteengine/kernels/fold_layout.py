"""How a depthwise convolution is laid out in scratch, and what that costs: see `le_fold.h`."""

from __future__ import annotations

from dataclasses import dataclass

from mcuq_lab.liteengine.kernels.fold_asm import FoldTile, tile_cycles
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.packing.fold import FoldPacking
from mcuq_lab.quantgraph import QDepthwiseConv2d, QTensor, Requantize

_CALL_BYTES, _PAD_BYTES = 64, 8  # as `le_fold_begin` carves the scratch


@dataclass(frozen=True, eq=False)
class FoldLayout:
    """A packing, and the sizes that decide loops and memory.

    Attributes:
        pack_bytes, scatter_bytes: 1, 2 or 4 bytes of a pixel that are read, or written, at once.
        band: output rows of a band.
        requantize: the layer's, or the same scaled to a shift of 16.
    """

    op: QDepthwiseConv2d
    source: QTensor
    output: QTensor
    packing: FoldPacking
    pack_bytes: int
    scatter_bytes: int
    band: int
    requantize: Requantize

    @property
    def group(self) -> int:
        """Channels of a group."""
        return max(
            8 * self.pack_bytes // self.source.storage_bits,
            8 * self.scatter_bytes // self.output.storage_bits,
        )

    @property
    def channels(self) -> int:
        """Rounded up to whole bytes of the output."""
        unit = 8 // self.output.storage_bits
        return -(-self.output.shape.c // unit) * unit

    @property
    def strips(self) -> int:
        return -(-self.output.shape.w // 2)

    @property
    def pairs(self) -> int:
        """Pairs of columns."""
        window = self.op.window
        return (self.strips - 1) * window.stride_w + window.kernel_w // 2 + window.stride_w

    @property
    def bands(self) -> int:
        return -(-self.output.shape.h // self.band)

    def tile_rows(self, rows: int) -> int:
        """Rows of tiles in a band of `rows` output rows."""
        return -(-rows // (2 * self.packing.folds))

    @property
    def scratch_bytes(self) -> int:
        window, kept = self.op.window, 0
        rows = (2 * self.tile_rows(self.band) - 1) * window.stride_h + window.kernel_h
        if self.bands > 1:
            pixel = self.group * self.source.storage_bits // 8
            kept = window.pad_top * self.source.shape.w * pixel
        planes = 4 * self.group * self.pairs * rows
        weights = eight_byte_aligned(4 * self.group * self.tile.weight_words)
        return _CALL_BYTES + _PAD_BYTES + weights + planes + eight_byte_aligned(kept)

    @property
    def tile(self) -> FoldTile:
        return FoldTile(
            kernel=self.op.window.kernel_h,
            stride=self.op.window.stride_h,
            group=self.group,
            folds=self.packing.folds,
            field_bits=self.packing.field_bits,
            out_bits=self.requantize.bits,
            pre_shift=self.requantize.pre_shift,
            shift=self.requantize.shift,
        )

    @property
    def cycles(self) -> int:
        """Estimate, fitted to simulated Cortex-M4 runs."""
        height = self.output.shape.h
        firsts = range(0, height, self.band)
        return int(sum(self._band_cycles(n, min(self.band, height - n)) for n in firsts))

    def _band_cycles(self, first: int, count: int) -> float:
        """Of output rows first .. first + count."""
        window, folds, strips = self.op.window, self.packing.folds, self.strips
        tile_rows = self.tile_rows(count)
        tiles = strips * (tile_rows * tile_cycles(self.tile) + 9)
        each = 122 + window.kernel_h * window.kernel_w + tiles

        upper = -(-count // folds)
        rows = (upper - 1) * window.stride_h + window.kernel_h
        begin = window.pad_top  # rows from here to `end` are packed in one go
        to_lower = upper * window.stride_h if folds == 2 else 0
        end = self.source.shape.h - to_lower - first * window.stride_h + window.pad_top
        joined = max(min(end, rows) - begin, 0)
        runs = rows - joined + (joined > 0)
        together = 8 * self.pack_bytes // self.source.storage_bits * folds
        packs = -(-self.source.pixel_bytes // self.pack_bytes)
        packing = runs * (21 + 58 * self.pairs) + 4.1 * rows * self.pairs * together

        scatters = -(-self.output.pixel_bytes // self.scatter_bytes)
        scattering = 272 + strips * (60 + 24.4 * tile_rows * folds)
        return self.channels * each + packs * packing + scatters * scattering
