"""How a depthwise convolution is laid out in scratch, and what that costs: see `le_fold.h`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

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

    @cached_property
    def narrow(self) -> bool:
        """Whether K and offset of each channel, before it is scaled, are halves."""
        start, offset = self.op.requantize.start, self.op.requantize.offset
        return bool(start.max() < 1 << 16 and np.abs(offset).max() < 1 << 15)

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
            narrow=self.narrow,
            offset_shift=(self.requantize.shift - self.op.requantize.shift) * self.narrow,
        )

    @property
    def cycles(self) -> int:
        """Estimate, fitted to simulated Cortex-M4 runs."""
        height = self.output.shape.h
        firsts = range(0, height, self.band)
        return int(sum(self._band_cycles(n, min(self.band, height - n)) for n in firsts))

    def _band_cycles(self, first: int, count: int) -> float:
        """Of output rows first .. first + count."""
        folds, strips, tile_rows = self.packing.folds, self.strips, self.tile_rows(count)
        taps = self.op.window.kernel_h * self.op.window.kernel_w
        each = (
            47 + 7 * self.narrow + 3.6 * taps + strips * (16.5 + tile_rows * tile_cycles(self.tile))
        )
        runs, run_rows, edges = self._packed_rows(first, count)
        words = self.pairs * (8 * self.pack_bytes // self.source.storage_bits) * folds
        packs = -(-self.source.pixel_bytes // self.pack_bytes)
        packing = 228 + runs * (211 + 40 * self.pairs) + 26 * edges * self.pairs
        packing += 3.7 * run_rows * words
        scatters = -(-self.output.pixel_bytes // self.scatter_bytes)
        scattering = 34.4 * strips * tile_rows * folds
        return self.channels * each + packs * packing + scatters * scattering

    def _packed_rows(self, first: int, count: int) -> tuple[int, int, int]:
        """How `le_fold_pack` packs a band: runs, rows in them, and rows at the border besides."""
        window, folds, height = self.op.window, self.packing.folds, self.source.shape.h
        upper = -(-count // folds)
        rows = (upper - 1) * window.stride_h + window.kernel_h
        top = first * window.stride_h - window.pad_top
        to_lower = upper * window.stride_h if folds == 2 else 0
        joined = range(window.pad_top, max(min(rows, height - to_lower - top), window.pad_top))
        edges = 0
        for row in set(range(rows)) - set(joined):
            outside = [not 0 <= top + row + offset < height for offset in (0, to_lower)]
            other = row + to_lower if outside[0] else row - to_lower
            edges += all(outside) or (any(outside) and other in joined)
        alone = rows - len(joined) - edges
        return alone + (len(joined) > 0), alone + len(joined), edges
