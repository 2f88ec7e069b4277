"""Depthwise convolutions that no packed family takes."""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_requantize, c_struct
from mcuq_lab.liteengine.dense import pack_stream
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
_LAYER_BYTES = 40


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
    body = (
        f"le_depthwise_generic(layer, in, out, scratch, {op.w_bits}, {source.storage_bits}, "
        f"{output.bits}, {size[0]}, {size[1]});"
    )
    taps = op.window.kernel_h * op.window.kernel_w
    weights = pack_stream(op.weight.reshape(source.shape.c, taps).T, op.w_bits)
    pixel_halves = (source.shape.c + 1) // 2 * 2
    fields = {
        "window": window_fields(op.window, source, output, pixel_halves),
        "pre_shift": op.requantize.pre_shift,
        "shift": op.requantize.shift,
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
    }
    rows = op.window.kernel_h * row_halves(op.window, output, pixel_halves)
    way = Lowered(
        kernel=kernel,
        packing="",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        declarations=c_array("uint8_t", f"{name}_weights", weights)
        + c_requantize(f"{name}_channels", op.requantize)
        + c_struct("le_depthwise_layer", f"{name}_layer", fields),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size + 12 * source.shape.c + _LAYER_BYTES,
        scratch_bytes=eight_byte_aligned(2 * (rows + taps * pixel_halves)),
        ahead=ahead_of_rows(op.window, source, output),
        by_rows=ByRows("le_depthwise_layer", WINDOW_ROWS),
        predicted_cycles=_cycles(op, source, output),
    )
    return (way,)


def _cycles(op: QDepthwiseConv2d, source: QTensor, output: QTensor) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs."""
    window = op.window
    taps = window.kernel_h * window.kernel_w
    unrolled = (window.kernel_h, window.kernel_w) in _UNROLLED
    each = 4.4 * taps + 26 if unrolled else 8 * taps + 12 * window.kernel_h + 22
    return int(output.shape.size * each + 2.5 * source.shape.size + 12 * op.weight.size)
