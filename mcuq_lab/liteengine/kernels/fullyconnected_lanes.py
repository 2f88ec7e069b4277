"""Fully connected layers: weights in lanes, extracted by one mask a pair, each used once."""

from __future__ import annotations

from collections.abc import Mapping

from mcuq_lab.liteengine.ctext import c_array, c_identifier, c_requantize, c_struct
from mcuq_lab.liteengine.dense import LANE_GROUP, pack_lanes
from mcuq_lab.liteengine.kernels.specialise import specialised
from mcuq_lab.liteengine.kernels.windows import eight_byte_aligned
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.quantgraph import QFullyConnected, QOp, QTensor
from mcuq_lab.target import DEFAULT_TARGET, Target

_HEADERS = ("le_fullyconnected_lanes.h",)
_PARAMETERS = (
    "const le_fullyconnected_layer *layer, const uint8_t *in, uint8_t *out, uint8_t *scratch"
)
_LAYER_BYTES = 24


def lower_fullyconnected_lanes(
    op: QOp, tensors: Mapping[str, QTensor], target: Target = DEFAULT_TARGET
) -> tuple[Lowered, ...]:
    """Any `QFullyConnected`."""
    if not isinstance(op, QFullyConnected):
        return ()
    source, output = tensors[op.inputs[0]], tensors[op.output]
    name = c_identifier(op.name)
    kernel = f"le_fullyconnected_w{op.w_bits}a{source.storage_bits}_lanes_o{output.bits}"
    body = (
        f"le_fullyconnected_lanes(layer, in, out, scratch, {op.w_bits}, {source.storage_bits}, "
        f"{output.bits});"
    )
    oc, ic = op.weight.shape
    weights = pack_lanes(op.weight, op.w_bits)
    fields = {
        "in_c": ic,
        "out_c": oc,
        "row_bytes": weights.shape[1],
        "pre_shift": op.requantize.pre_shift,
        "shift": op.requantize.shift,
        "weights": f"{name}_weights",
        "channels": f"{name}_channels",
    }
    way = Lowered(
        kernel=kernel,
        packing="lanes of halves",
        files=specialised(kernel, _PARAMETERS, body, _HEADERS),
        declarations=c_array("uint8_t", f"{name}_weights", weights)
        + c_requantize(f"{name}_channels", op.requantize)
        + c_struct("le_fullyconnected_layer", f"{name}_layer", fields),
        call=f"{kernel}(&{name}_layer, {{in0}}, {{out}}, {{scratch}});",
        weights_bytes=weights.size + 12 * oc + _LAYER_BYTES,
        scratch_bytes=eight_byte_aligned(2 * ic),
        in_place=(0,),
        predicted_cycles=_cycles(oc, ic, op.w_bits),
    )
    return (way,)


def _cycles(oc: int, ic: int, w_bits: int) -> int:
    """Estimate, fitted to simulated Cortex-M4 runs."""
    groups, rest = divmod(ic, LANE_GROUP)
    straddling = sum(k * w_bits % 16 + w_bits > 16 for k in range(LANE_GROUP // 2))
    row_pair = groups * (118 + 6 * straddling) + rest * 18 + 90
    return int((oc + 1) // 2 * row_pair + 4.5 * ic + 100)
