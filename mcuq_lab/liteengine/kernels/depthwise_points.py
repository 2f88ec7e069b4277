"""Depthwise convolutions of 1x1: see `le_depthwise_points.h`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_requantize, c_struct
from mcuq_lab.liteengine.dense import pack_stream
from mcuq_lab.liteengine.kernels.points import Points, points_of
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.lowering import ByRows, Lowered
from mcuq_lab.quantgraph import QDepthwiseConv2d, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_fields.h", "le_depthwise_points.h")
_TYPE = "le_depthwise_points_layer"
_PARAMETERS = f"const {_TYPE} *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"
_LAYER_BYTES = 28
_QUAD = np.array([0, 2, 1, 3])  # channels of the halves of two words of weights


def lower_depthwise_points(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QDepthwiseConv2d` of single pixels, all inside the input."""
    if not isinstance(op, QDepthwiseConv2d):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    points = points_of(op, source, output)
    if points is None:
        return ()
    name, requantize, channels = c_identifier(op.name), op.requantize, source.shape.c
    quads, rest = int(channels >= 4), channels % 4
    kernel = (
        f"le_depthwiseconv2d_w{op.w_bits}a{source.storage_bits}_points_c{4 * quads + rest}"
        f"_o{output.bits}p{requantize.pre_shift}h{requantize.shift}"
    )
    body = (
        f"le_depthwise_points(layer, in, out, scratch, {op.w_bits}, {source.storage_bits}, "
        f"{quads}, {rest}, {requantize.pre_shift}, {requantize.shift}, {output.bits});"
    )
    padded = np.pad(op.weight.reshape(-1), (0, -channels % 4)).reshape(-1, 4)
    weights = pack_stream(padded[:, _QUAD].reshape(1, -1), op.w_bits)
    fields = {
        **points.fields,
        "channel_count": channels,
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
    }
    way = Lowered(
        kernel=kernel,
        packing="plain",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        declarations=lambda: (
            c_array("uint8_t", f"{name}_weights", weights)
            + c_requantize(f"{name}_channels", requantize)
            + c_struct(_TYPE, f"{name}_layer", fields)
        ),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size + 12 * channels + _LAYER_BYTES,
        scratch_bytes=eight_byte_aligned(2 * padded.size),
        ahead=points.ahead,
        by_rows=ByRows(_TYPE, (points.rows,)),
        predicted_cycles=_cycles(op, points),
    )
    return (way,)


def _cycles(op: QDepthwiseConv2d, points: Points) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs."""
    quads, rest = divmod(op.out_channels, 4)
    pixel = 57 * quads + 13 * rest + (12 if quads else 1) + (13 if quads and rest else 0)
    return int(points.count * pixel + 5 * op.out_channels + 70)
