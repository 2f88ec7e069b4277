"""Depthwise convolutions with kernels of 3 and 5, strides of 1 and 2: see `le_fold.h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_requantize, c_struct
from mcuq_lab.liteengine.dense import pack_stream, stream_bytes
from mcuq_lab.liteengine.kernels.fold_asm import FoldTile
from mcuq_lab.liteengine.kernels.fold_kernels import FoldKey, fold_kernel
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.packing.fold import FoldPacking, fold_packings
from mcuq_lab.quantgraph import QDepthwiseConv2d, QOp, QTensor, Requantize
from mcuq_lab.target import DEFAULT_TARGET, Target

SCRATCH_BYTES = 8192
"""Bands are as high as this much scratch allows, or one tile."""

SMALL_SCRATCH_BYTES = 2048
"""A second way, where the first takes more than this."""

_LAYER_BYTES = 32
_CALL_BYTES, _PAD_BYTES = 144, 8  # as `le_fold_begin` carves the scratch


@dataclass(frozen=True, eq=False)
class _Way:
    """A packing, and the sizes that decide loops and memory.

    Attributes:
        pack_bytes, scatter_bytes: 1 or 2 bytes of a pixel that are read, or written, at once.
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
    def tile_rows(self) -> int:
        """Pairs of output rows of a band, each a row of tiles."""
        return -(--(-self.band // self.packing.folds) // 2)

    @property
    def rows(self) -> int:
        """Packed rows of a band."""
        window = self.op.window
        return (2 * self.tile_rows - 1) * window.stride_h + window.kernel_h

    @property
    def bands(self) -> int:
        return -(-self.output.shape.h // self.band)

    @property
    def scratch_bytes(self) -> int:
        planes = 4 * self.group * self.pairs * self.rows
        kept = 0
        if self.bands > 1:
            pixel = -(-self.group * self.source.storage_bits // 8)
            kept = self.op.window.pad_top * self.source.shape.w * pixel
        return _CALL_BYTES + _PAD_BYTES + planes + eight_byte_aligned(kept)

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
        return 1000


def lower_depthwise_fold(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QDepthwiseConv2d` with a kernel of 3x3 or 5x5 and a stride of 1 or 2."""
    if not isinstance(op, QDepthwiseConv2d) or not _applies(op):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    ways = list(_ways(op, source, output))
    best = min(ways, key=lambda way: (way.cycles, way.scratch_bytes))
    return (_lowered(best),)


def _applies(op: QDepthwiseConv2d) -> bool:
    window = op.window
    square = window.kernel_h == window.kernel_w and window.stride_h == window.stride_w
    return square and window.kernel_h in (3, 5) and window.stride_h in (1, 2)


def _ways(op: QDepthwiseConv2d, source: QTensor, output: QTensor) -> Iterator[_Way]:
    at_once = (1, 2) if source.pixel_bytes % 2 == 0 and output.pixel_bytes % 2 == 0 else (1,)
    for packing in fold_packings(op.weight, source.bits):
        requantize = op.requantize if packing.folds == 1 else _with_shift_16(op, source)
        for size in at_once:
            yield _Way(op, source, output, packing, size, size, output.shape.h, requantize)


def _with_shift_16(op: QDepthwiseConv2d, source: QTensor) -> Requantize:
    """The same requantization with a shift of 16, where that fits; else as it is.

    With d = 16 - shift >= 0, the sums are shifted d further and the offset counts 2**d times:
    t' = 2**d t + f with 0 <= f < 2**d, so floor((t' + 2**d offset) / 2**16) is the same. All of it
    must stay below 2**31. A channel whose offset is too large for this saturates for every input
    (or nothing is changed).
    """
    requantize = op.requantize
    more = 16 - requantize.shift
    if more < 0:
        return requantize
    amax = source.qmax
    peak = amax * np.abs(op.weight.astype(np.int64)).sum(axis=(1, 2, 3))
    pre_shift = requantize.pre_shift + more
    multiplier = requantize.multiplier.astype(np.int64)
    largest = ((peak << pre_shift) * multiplier) >> 32
    offset = requantize.offset.astype(np.int64) << more
    reach = np.abs(offset) + largest
    if int(peak.max()) << pre_shift >= 1 << 31 or int(reach.max()) >= 1 << 31:
        return requantize
    return replace(requantize, offset=offset.astype(np.int32), pre_shift=pre_shift, shift=16)


def _lowered(way: _Way) -> Lowered:
    op, source, output, window = way.op, way.source, way.output, way.op.window
    name = c_identifier(op.name)
    key = FoldKey(
        op.w_bits,
        source.bits,
        source.storage_bits,
        output.storage_bits,
        way.pack_bytes,
        way.scatter_bytes,
        way.tile,
    )
    kernel, files = fold_kernel(key)
    taps = window.kernel_h * window.kernel_w
    weights = np.zeros((way.channels, taps), np.int8)
    weights[: op.out_channels] = op.weight.reshape(op.out_channels, taps)
    flash = pack_stream(weights, op.w_bits).reshape(-1)
    flash = np.concatenate([flash, np.zeros(3, np.uint8)])  # read in whole words
    fields = {
        "in_h": source.shape.h,
        "in_w": source.shape.w,
        "in_c": source.shape.c,
        "out_h": output.shape.h,
        "out_w": output.shape.w,
        "channels": way.channels,
        "band": way.band,
        "pad_top": window.pad_top,
        "pad_left": window.pad_left,
        "zero_point": source.zero_point,
        "weight_bytes": stream_bytes(taps, op.w_bits),
        "weights": f"{name}_weights",
        "requantize": f"{name}_requantize",
    }
    return Lowered(
        kernel=kernel,
        packing=str(way.packing),
        files=files,
        declarations=c_array("uint8_t", f"{name}_weights", flash)
        + c_requantize(f"{name}_requantize", _padded(way.requantize, way.channels))
        + c_struct("le_fold_layer", f"{name}_layer", fields),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=flash.size + 12 * way.channels + _LAYER_BYTES,
        scratch_bytes=way.scratch_bytes,
        in_place=(0,) if _allows_in_place(source, output) else (),
        predicted_cycles=way.cycles,
    )


def _padded(requantize: Requantize, channels: int) -> Requantize:
    """With channels that yield 0 behind the real ones."""
    more = (0, channels - len(requantize.start))
    arrays = (requantize.start, requantize.multiplier, requantize.offset)
    start, multiplier, offset = (np.pad(array, more) for array in arrays)
    return replace(requantize, start=start, multiplier=multiplier, offset=offset)


def _allows_in_place(source: QTensor, output: QTensor) -> bool:
    """Whether a group's outputs take the place of its own inputs alone."""
    same = source.storage_bits == output.storage_bits
    return same and output.size_bytes <= source.size_bytes
