"""Convolutions that no packed family takes: any size, stride, padding and widths."""

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
from mcuq_lab.quantgraph import QConv2d, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_rows.h", "le_conv2d_generic.h")
_LAYER_BYTES = 44
_UNPACKED_CYCLES = {2: 3.5, 3: 3.9, 4: 3.6, 5: 4.4, 6: 4.7, 7: 5.1, 8: 3.6}
"""Of a weight, by its width; fitted to simulated Cortex-M4 runs."""

_PARAMETERS = "const le_conv2d_layer *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"


def lower_conv2d_generic(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QConv2d`."""
    if not isinstance(op, QConv2d):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    check_limits(op.name, op.window, source, output)
    name = c_identifier(op.name)
    kernel = f"le_conv2d_w{op.w_bits}a{source.storage_bits}_generic_o{output.bits}"
    body = (
        f"le_conv2d_generic(layer, in, out, scratch, {op.w_bits}, {source.storage_bits}, "
        f"{output.bits});"
    )
    weights = pack_stream(op.weight.reshape(op.out_channels, -1), op.w_bits)
    run = (op.window.kernel_w * source.shape.c + 3) // 4 * 4
    fields = {
        "window": window_fields(op.window, source, output, source.shape.c),
        "run": run,
        "out_c": op.out_channels,
        "pre_shift": op.requantize.pre_shift,
        "shift": op.requantize.shift,
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
    }
    halves = op.window.kernel_h * (
        row_halves(op.window, output, source.shape.c) + min(2, op.out_channels) * run
    )
    way = Lowered(
        kernel=kernel,
        packing="",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", weights)
            + c_requantize(f"{name}_channels", op.requantize)
            + c_struct("le_conv2d_layer", f"{name}_layer", fields)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size + 12 * op.out_channels + _LAYER_BYTES,
        scratch_bytes=eight_byte_aligned(2 * halves),
        ahead=ahead_of_rows(op.window, source, output),
        by_rows=ByRows("le_conv2d_layer", WINDOW_ROWS),
        predicted_cycles=_cycles(op, source, output),
    )
    return (way,)


def _cycles(op: QConv2d, source: QTensor, output: QTensor) -> int:
    """Estimate: instruction counts of the loops, overheads fitted to simulated Cortex-M4 runs."""
    rows, columns, channels = output.shape.h, output.shape.w, op.out_channels
    inside = _rows_inside(op, source, output)
    tiles = ((columns + 1) // 2) * ((channels + 1) // 2)
    steps = (op.window.kernel_w * source.shape.c + 3) // 4
    products = tiles * ((28 * steps + 65) * inside + 190 * rows)
    unpacking = _UNPACKED_CYCLES[op.w_bits] * inside * op.weight.size / op.window.kernel_h
    pixels, rest = source.shape.h * source.shape.w, source.shape.c % 4
    widening = 2.5 * source.shape.size + 15 * rest * pixels
    run = op.window.kernel_w * source.shape.c
    moved = (inside - rows) * run if run % 4 else 0
    moving = 5 * channels * moved
    return int(products + unpacking + widening + moving)


def _rows_inside(op: QConv2d, source: QTensor, output: QTensor) -> int:
    """Rows of all windows, one below the other, without those of padding that are left out."""
    window, height = op.window, source.shape.h
    if source.zero_point != 0:
        return output.shape.h * window.kernel_h
    tops = [y * window.stride_h - window.pad_top for y in range(output.shape.h)]
    return sum(max(min(top + window.kernel_h, height) - max(top, 0), 0) for top in tops)
