"""Average and maximum pooling of any window and width."""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.graph import Window
from mcuq_lab.liteengine.ctext import c_identifier, c_struct
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.kernels.windows import check_limits
from mcuq_lab.liteengine.lowering import ByRows, Lowered
from mcuq_lab.quantgraph import QAveragePool, QMaxPool, QOp, QTensor, Requantize
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_pool_generic.h",)
_PARAMETERS = "const le_pool_layer *layer, const uint8_t *in, uint8_t *out"
_LAYER_BYTES = 28


def lower_averagepool_generic(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QAveragePool` without padding."""
    if not isinstance(op, QAveragePool) or op.window.padded:
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    kernel = f"le_averagepool_a{source.storage_bits}_generic_o{output.bits}"
    body = f"le_averagepool_generic(layer, in, out, {source.storage_bits}, {output.bits});"
    pixels = op.window.kernel_h * op.window.kernel_w
    quads = output.shape.h * output.shape.w * ((output.shape.c + 3) // 4)
    return _lowered(
        op, source, output, kernel, body, op.window, op.requantize,
        in_place=source.storage_bits >= output.storage_bits,
        predicted_cycles=quads * (130 + pixels * (8 if source.storage_bits == 8 else 12)),
    )  # fmt: skip


def lower_averagepool_fields(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QAveragePool` without padding, in little code."""
    if not isinstance(op, QAveragePool) or op.window.padded:
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    kernel = f"le_averagepool_a{source.storage_bits}_fields_o{output.bits}"
    body = f"le_averagepool_fields(layer, in, out, {source.storage_bits}, {output.bits});"
    pixels = op.window.kernel_h * op.window.kernel_w
    return _lowered(
        op, source, output, kernel, body, op.window, op.requantize,
        in_place=False,  # a field clears those of later channels in its byte
        predicted_cycles=output.shape.size * (50 + pixels * 11 + 10 * op.window.kernel_h),
        headers=(*_HEADERS, "le_pool_fields.h"),
    )  # fmt: skip


def lower_maxpool_generic(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QMaxPool` without padding."""
    if not isinstance(op, QMaxPool) or op.window.padded:
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    kernel = f"le_maxpool_a{source.storage_bits}_generic"
    body = f"le_maxpool_generic(layer, in, out, {source.storage_bits});"
    words = output.shape.h * output.shape.w * ((output.pixel_bytes + 3) // 4)
    per_pixel = 15 + 7 * (8 // source.storage_bits)
    return _lowered(
        op, source, output, kernel, body, op.window, None,
        in_place=True,
        predicted_cycles=words * (per_pixel * op.window.kernel_h * op.window.kernel_w + 20),
    )  # fmt: skip


def _lowered(
    op: QOp,
    source: QTensor,
    output: QTensor,
    kernel: str,
    body: str,
    window: Window,
    requantize: Requantize | None,
    *,
    in_place: bool,
    predicted_cycles: int,
    headers: tuple[str, ...] = _HEADERS,
) -> tuple[Lowered, ...]:
    check_limits(op.name, window, source, output)
    name = c_identifier(op.name)
    fields: dict[str, int | str | Mapping] = {
        "in_w": source.shape.w,
        "channels": source.shape.c,
        "out_h": output.shape.h,
        "out_w": output.shape.w,
        "kernel_h": window.kernel_h,
        "kernel_w": window.kernel_w,
        "stride_h": window.stride_h,
        "stride_w": window.stride_w,
    }
    if requantize is not None:
        fields |= {
            "pre_shift": requantize.pre_shift,
            "shift": requantize.shift,
            "requantize": {
                "start": int(requantize.start[0]),
                "multiplier": int(requantize.multiplier[0]),
                "offset": int(requantize.offset[0]),
            },
        }
    way = Lowered(
        kernel=kernel,
        packing="",
        files=specialised(kernel, _PARAMETERS, body, headers),
        declarations=c_struct("le_pool_layer", f"{name}_layer", fields),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}});",
        weights_bytes=_LAYER_BYTES,
        in_place=(0,) if in_place else (),
        by_rows=ByRows("le_pool_layer", (("out_h", "rows.out_h"),)),
        predicted_cycles=predicted_cycles,
    )
    return (way,)
