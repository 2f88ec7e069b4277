"""Depthwise convolutions with kernels of 3 and 5, strides of 1 and 2: see `le_fold.h`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_struct
from mcuq_lab.liteengine.dense import pack_stream, stream_bytes
from mcuq_lab.liteengine.kernels.fold_asm import LARGEST_STEP_WORDS
from mcuq_lab.liteengine.kernels.fold_kernels import FoldKey, fold_kernel
from mcuq_lab.liteengine.kernels.fold_layout import FoldLayout
from mcuq_lab.liteengine.kernels.windows import map_fields
from mcuq_lab.liteengine.lowering import ByRows, Lowered
from mcuq_lab.liteengine.packing.fold import fold_packings
from mcuq_lab.quantgraph import QDepthwiseConv2d, QOp, QTensor, Requantize
from mcuq_lab.target import DEFAULT_TARGET, Target

SCRATCH_BYTES = (8192, 2048, 1024)
"""The ways that are offered: the fastest one within each of these."""

_LAYER_BYTES = 32


def lower_depthwise_fold(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QDepthwiseConv2d` with a kernel of 3x3 or 5x5 and a stride of 1 or 2."""
    if not isinstance(op, QDepthwiseConv2d) or not _applies(op):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    return tuple(_lowered(way) for way in _fastest(list(_ways(op, source, output))))


def _applies(op: QDepthwiseConv2d) -> bool:
    window = op.window
    square = window.kernel_h == window.kernel_w and window.stride_h == window.stride_w
    return square and window.kernel_h in (3, 5) and window.stride_h in (1, 2)


def _fastest(ways: list[FoldLayout]) -> list[FoldLayout]:
    """The fastest way within each of SCRATCH_BYTES; at least the one with the smallest scratch."""
    smallest = min(way.scratch_bytes for way in ways)
    chosen = []
    for limit in SCRATCH_BYTES:
        fitting = [way for way in ways if way.scratch_bytes <= max(limit, smallest)]
        best = min(fitting, key=lambda way: (way.cycles, way.scratch_bytes))
        if best not in chosen:
            chosen.append(best)
    return chosen


def _ways(op: QDepthwiseConv2d, source: QTensor, output: QTensor) -> Iterator[FoldLayout]:
    narrowest = min(source.storage_bits, output.storage_bits)
    for packing in fold_packings(op.weight, source.bits):
        requantize = op.requantize if packing.folds == 1 else with_shift_16(op, source)
        for group in (1, 2, 4, 8, 16):
            if group * narrowest < 8 or group * op.window.stride_h > LARGEST_STEP_WORDS:
                continue
            sizes = [_at_once(group, tensor) for tensor in (source, output)]
            way = FoldLayout(op, source, output, packing, *sizes, output.shape.h, requantize)
            if way.group == group:
                yield way
                yield from _banded(way)


def _at_once(group: int, tensor: QTensor) -> int:
    """Bytes of a pixel to handle at once: 1, 2 or 4, as many as it is made of, of the group's."""
    group_bytes = group * tensor.storage_bits // 8
    return next(n for n in (4, 2, 1) if n <= group_bytes and tensor.pixel_bytes % n == 0)


def _banded(way: FoldLayout) -> Iterator[FoldLayout]:
    """Bands of whole tiles, as high as the scratch sizes allow, if it must be bands."""
    rows = 2 * way.packing.folds
    for limit in SCRATCH_BYTES:
        heights = range(rows, way.output.shape.h, rows)
        bands = [replace(way, band=height) for height in heights]
        fitting = [band for band in bands if band.scratch_bytes <= limit]
        if way.scratch_bytes > limit and fitting:
            yield fitting[-1]


def with_shift_16(op: QDepthwiseConv2d, source: QTensor) -> Requantize:
    """The same requantization with a shift of 16, where that fits; else as it is.

    With d = 16 - shift >= 0, the sums are shifted d further and the offset counts 2**d times:
    t' = 2**d t + f with 0 <= f < 2**d, so floor((t' + 2**d offset) / 2**16) is the same. Both the
    shifted sums and t' + 2**d offset must stay below 2**31.
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


def _lowered(way: FoldLayout) -> Lowered:
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
        **map_fields(source, output),
        "channels": way.channels,
        "band": way.band,
        "pad_top": window.pad_top,
        "pad_left": window.pad_left,
        "zero_point": source.zero_point,
        "weight_bytes": stream_bytes(taps, op.w_bits),
        "weights": f"{name}_weights",
        "constants": f"{name}_constants",
    }
    constants = _constants(way)
    return Lowered(
        kernel=kernel,
        packing=str(way.packing),
        files=files,
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", flash)
            + c_array("uint32_t", f"{name}_constants", constants)
            + c_struct("le_fold_layer", f"{name}_layer", fields)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=flash.size + 4 * constants.size + _LAYER_BYTES,
        scratch_bytes=way.scratch_bytes,
        in_place=(0,) if _allows_in_place(way) else (),
        by_rows=ByRows("le_fold_layer"),
        predicted_cycles=way.cycles,
    )


def _constants(way: FoldLayout) -> np.ndarray:
    """`le_fold_layer.constants`: uint32 (channels, words), 0 behind the real channels."""
    chosen = way.op.requantize if way.narrow else way.requantize
    start, multiplier, offset = (
        array.astype(np.int64) for array in (chosen.start, chosen.multiplier, chosen.offset)
    )
    if way.narrow:
        columns = [multiplier, start + (offset << 16)]
    else:
        columns = [start * way.packing.start_factor, multiplier, offset]
    words = np.stack(columns, axis=1) % (1 << 32)
    return np.pad(words, ((0, way.channels - len(words)), (0, 0)))


def _allows_in_place(way: FoldLayout) -> bool:
    """Whether outputs, written at the input's address, spare what is read later.

    A group's outputs take the place of its own inputs alone, which have been packed where the map
    is one band. Else the rows above the next band are set aside; those below must be spared.
    """
    source, output = way.source, way.output
    if source.storage_bits != output.storage_bits or output.size_bytes > source.size_bytes:
        return False
    return way.bands == 1 or output.shape.w <= way.op.window.stride_w * source.shape.w
