"""Elementwise sums of any widths."""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.liteengine.ctext import c_identifier, c_struct
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.lowering import ByRows, Lowered
from mcuq_lab.quantgraph import QAdd, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_add_generic.h",)
_PARAMETERS = "const le_add_layer *layer, const uint8_t *a, const uint8_t *b, uint8_t *out"
_LAYER_BYTES = 16


def lower_add_generic(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QAdd`."""
    if not isinstance(op, QAdd):
        return ()
    a, b, output = tensors[op.inputs[0]], tensors[op.inputs[1]], tensors[op.output]
    name = c_identifier(op.name)
    kernel = f"le_add_a{a.storage_bits}a{b.storage_bits}_generic_o{output.bits}s{op.shift}"
    body = (
        f"le_add_generic(layer, a, b, out, {a.storage_bits}, {b.storage_bits}, {output.bits}, "
        f"{op.shift});"
    )
    shape = output.shape
    # Without gaps between pixels the whole tensor is one run.
    dense = all(shape.c * tensor.storage_bits % 8 == 0 for tensor in (a, b, output))
    pixels = shape.h * shape.w
    fields = {
        "runs": 1 if dense else pixels,
        "run_length": shape.size if dense else shape.c,
        "multipliers": f"{op.multiplier_a} | ({op.multiplier_b} << 16)",
        "offset": op.offset,
    }
    runs = (
        "run_length" if dense else "runs",
        f"{shape.w * (shape.c if dense else 1)} * rows.out_h",
    )
    fitting = [i for i, t in enumerate((a, b)) if t.storage_bits >= output.storage_bits]
    way = Lowered(
        kernel=kernel,
        packing="halves",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        declarations=c_struct("le_add_layer", f"{name}_layer", fields),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{in1}}, {{out}});",
        weights_bytes=_LAYER_BYTES,
        in_place=tuple(fitting),
        by_rows=ByRows("le_add_layer", (runs,)),
        predicted_cycles=_cycles(a, b, shape.size, 1 if dense else pixels),
    )
    return (way,)


def _cycles(a: QTensor, b: QTensor, elements: int, runs: int) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs."""
    each = {2: 5.0, 4: 5.5, 8: 6.5}[a.storage_bits] if a.storage_bits == b.storage_bits else 8.0
    return int(each * elements + 40 * runs + 100)
