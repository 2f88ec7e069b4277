"""Elementwise sums of 2-bit tensors: a table of the sums of two elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mcuq_lab.liteengine.kernels.add_generic import lower_add_generic
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.quantgraph import QAdd, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_add_generic.h", "le_add_table.h")
_PARAMETERS = (
    "const le_add_layer *layer, const uint8_t *a, const uint8_t *b, uint8_t *out, uint8_t *scratch"
)
_TABLE_BYTES = 256
_WORD_ELEMENTS = 16


def lower_add_table(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """A `QAdd` of 2-bit tensors to at most 4 bits, whose rows fill whole words."""
    if not isinstance(op, QAdd):
        return ()
    a, b, output = tensors[op.inputs[0]], tensors[op.inputs[1]], tensors[op.output]
    shape = output.shape
    whole = shape.c % 4 == 0 and shape.w * shape.c % _WORD_ELEMENTS == 0
    if not (a.storage_bits == b.storage_bits == 2 and output.storage_bits <= 4 and whole):
        return ()
    (generic,) = lower_add_generic(op, tensors, target)
    kernel = f"le_add_a2a2_table_o{output.bits}s{op.shift}"
    body = f"le_add_table(layer, a, b, out, scratch, {output.bits}, {op.shift});"
    way = replace(
        generic,
        kernel=kernel,
        packing="table of two sums",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        call=generic.call.replace(generic.kernel, kernel).replace("{out}", "{out}, {scratch}"),
        scratch_bytes=_TABLE_BYTES,
        predicted_cycles=_cycles(output, shape.size),
    )
    return (way,)


def _cycles(output: QTensor, elements: int) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs: words, and the table."""
    word = {2: 44, 4: 52}[output.storage_bits]
    return word * elements // _WORD_ELEMENTS + 1100
