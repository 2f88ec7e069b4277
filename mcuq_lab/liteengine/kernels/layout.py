"""Flattening and concatenation."""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.liteengine.kernels.specialise import kernel_header, specialised
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.quantgraph import QConcat, QFlatten, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_layout.h",)


def lower_flatten(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QFlatten`; no call, hence an alias, unless pixels end inside a byte."""
    if not isinstance(op, QFlatten):
        return ()
    source = tensors[op.inputs[0]]
    shape = source.shape
    pixels = shape.h * shape.w
    if pixels == 1 or shape.c * source.storage_bits % 8 == 0:
        return (Lowered("", "", (), "", "", 0, in_place=(0,)),)
    kernel = f"le_flatten_a{source.storage_bits}_generic"
    parameters = "const uint8_t *in, uint8_t *out, uint32_t pixels, uint32_t channels"
    body = f"le_flatten_generic(in, out, pixels, channels, {source.storage_bits});"
    way = Lowered(
        kernel=kernel,
        packing="",
        files=specialised(kernel, parameters, body, _HEADERS),
        declarations="",
        call=f"{kernel}({{in0}}, {{out}}, {pixels}, {shape.c});",
        weights_bytes=0,
        predicted_cycles=20 * shape.size,
    )
    return (way,)


def copied_flatten(op: QFlatten, tensors: Mapping[str, QTensor]) -> Lowered:
    """A flattening as a copy of bytes: for a network that has no other operator to run."""
    return Lowered(
        kernel="le_copy",
        packing="",
        files=(kernel_header("le_layout.h"),),
        declarations="",
        call=f"le_copy({{out}}, {{in0}}, {tensors[op.output].size_bytes});",
        weights_bytes=0,
    )


def lower_concat(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QConcat`."""
    if not isinstance(op, QConcat):
        return ()
    output = tensors[op.output]
    shape = output.shape
    kernel = f"le_concat_a{output.storage_bits}_generic"
    parameters = (
        "const uint8_t *in, uint8_t *out, uint32_t pixels, uint32_t in_channels, "
        "uint32_t out_channels, uint32_t first"
    )
    body = (
        "le_concat_generic(in, out, pixels, in_channels, out_channels, first, "
        f"{output.storage_bits});"
    )
    calls = []
    first = 0
    cycles = 0
    for index, source in enumerate(op.inputs):
        channels = tensors[source].shape.c
        calls.append(
            f"{kernel}({{in{index}}}, {{out}}, {shape.h * shape.w}, {channels}, {shape.c}, "
            f"{first});"
        )
        aligned = first * output.storage_bits % 8 == 0
        cycles += shape.h * shape.w * (15 + (2 if aligned else 20) * channels)
        first += channels
    way = Lowered(
        kernel=kernel,
        packing="",
        files=specialised(kernel, parameters, body, _HEADERS),
        declarations="",
        call="\n".join(calls),
        weights_bytes=0,
        predicted_cycles=cycles,
    )
    return (way,)
