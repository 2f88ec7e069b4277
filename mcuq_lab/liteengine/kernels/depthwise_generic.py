"""Depthwise convolutions that no packed family takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_requantize, c_struct
from mcuq_lab.liteengine.dense import pack_stream
from mcuq_lab.liteengine.kernels.columns import padded_constants
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.kernels.windows import (
    WINDOW_ROWS,
    ahead_of_rows,
    check_limits,
    eight_byte_aligned,
    row_halves,
    window_fields,
)
from mcuq_lab.liteengine.lowering import ByRows, Lowered
from mcuq_lab.quantgraph import QDepthwiseConv2d, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_rows.h", "le_depthwise_generic.h")
_PARAMETERS = "const le_depthwise_layer *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"
_UNROLLED = ((3, 3), (5, 5))
_LAYER_BYTES = 36
_CYCLES_OF_A_GAP = 20  # of widening a pixel by itself


def lower_depthwise_generic(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QDepthwiseConv2d`."""
    if not isinstance(op, QDepthwiseConv2d):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    check_limits(op.name, op.window, source, output)
    name = c_identifier(op.name)
    kernel = f"le_depthwiseconv2d_w{op.w_bits}a{source.storage_bits}_generic_o{output.bits}"
    size = (op.window.kernel_h, op.window.kernel_w)
    if size in _UNROLLED:
        kernel += f"k{size[0]}"
    else:
        size = (0, 0)
    requantize = op.requantize
    kernel += f"p{requantize.pre_shift}h{requantize.shift}"
    body = (
        f"le_depthwise_generic(layer, in, out, scratch, {op.w_bits}, {source.storage_bits}, "
        f"{requantize.pre_shift}, {requantize.shift}, {output.bits}, {size[0]}, {size[1]});"
    )
    taps = op.window.kernel_h * op.window.kernel_w
    padded = np.pad(op.weight.reshape(source.shape.c, taps), ((0, source.shape.c % 2), (0, 0)))
    pairs = padded.reshape(-1, 2, taps).transpose(0, 2, 1)
    weights = pack_stream(pairs.reshape(1, -1), op.w_bits)
    pixel_halves = _pixel_halves(op, source)
    fields = {
        "window": window_fields(op.window, source, output, pixel_halves),
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
    }
    rows = op.window.kernel_h * row_halves(op.window, output, pixel_halves)
    way = Lowered(
        kernel=kernel,
        packing="",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", weights)
            + c_requantize(f"{name}_channels", padded_constants(requantize, source.shape.c % 2))
            + c_struct("le_depthwise_layer", f"{name}_layer", fields)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size + 12 * 2 * len(pairs) + _LAYER_BYTES,
        scratch_bytes=eight_byte_aligned(2 * (rows + padded.size)),
        ahead=ahead_of_rows(op.window, source, output),
        by_rows=ByRows("le_depthwise_layer", WINDOW_ROWS),
        predicted_cycles=_cycles(op, source, output),
    )
    return (way,)


def _pixel_halves(op: QDepthwiseConv2d, source: QTensor) -> int:
    """From one widened pixel to the next: even, so that channels are pairs in whole words.

    Where that is what a stored pixel has, fields without a channel included, a row is widened in
    one go. A few odd channels of whole bytes lie without gaps for that, which costs half of the
    loads of pairs a cycle, for they are unaligned then.
    """
    if source.storage_bits < 8:
        return source.pixel_bytes * 8 // source.storage_bits
    channels, window = source.shape.c, op.window
    dense = channels * source.storage_bits % 8 == 0
    unaligned = window.kernel_h * window.kernel_w * (channels + 1) / 4
    if dense and unaligned / (window.stride_h * window.stride_w) < _CYCLES_OF_A_GAP:
        return channels
    return (channels + 1) // 2 * 2


def _cycles(op: QDepthwiseConv2d, source: QTensor, output: QTensor) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs: pairs of channels, and widening."""
    window, channels = op.window, source.shape.c
    taps, pairs = window.kernel_h * window.kernel_w, (channels + 1) // 2
    unrolled = (window.kernel_h, window.kernel_w) in _UNROLLED
    pair = 33 + (7.1 * taps if unrolled else 6.1 * taps + 48 * window.kernel_h)
    pixels = output.shape.h * output.shape.w
    rows = min(source.shape.h, (output.shape.h - 1) * window.stride_h + window.kernel_h)
    quads, rest = divmod(channels, 4)
    halves = _pixel_halves(op, source)
    gapless = halves * source.storage_bits == 8 * source.pixel_bytes
    widened = 3.1 * halves if gapless else 19 + 18 * quads + 6 * rest
    fixed = 310 + 67 * output.shape.h * window.kernel_h + 10 * pairs * taps
    return int(pixels * (58 + pairs * pair) + rows * source.shape.w * widened + fixed)
