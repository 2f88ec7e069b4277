"""What generated C and result rows say about an operator."""

from __future__ import annotations

from collections.abc import Sequence

from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.strips import Strips
from mcuq_lab.quantgraph import QOp, QTensor, QWeighted


def layer_text(op: QOp, lowered: Lowered, inputs: Sequence[QTensor], output: QTensor) -> list[str]:
    """Shapes, widths, kernel, packing, cycles and bytes, in two lines."""
    window = f" {op.window}" if hasattr(op, "window") else ""
    shapes = " and ".join(f"{tensor.shape}" for tensor in inputs)
    widths = f"{policy_text(op, inputs)} to {output.bits} bits"
    cycles = f"about {lowered.predicted_cycles:,} cycles" if lowered.predicted_cycles else ""
    details = (lowered.kernel, lowered.packing, cycles, f"{lowered.weights_bytes:,} B of constants")
    return [
        f"{op.name}: {op.op}{window}, {shapes} -> {output.shape}, {widths}",
        "; ".join(detail for detail in details if detail),
    ]


def policy_text(op: QOp, inputs: Sequence[QTensor]) -> str:
    """`w4a8`, or `a4` without weights; of several operators the widths of all, joined by `+`."""
    if isinstance(op, Strips):
        layers = [part for part in op.ops if isinstance(part, QWeighted)] or op.ops
        texts = (policy_text(p, [op.tensors[name] for name in p.inputs]) for p in layers)
        return "+".join(dict.fromkeys(texts))
    a_bits = "a".join(str(bits) for bits in dict.fromkeys(tensor.bits for tensor in inputs))
    return f"w{op.w_bits}a{a_bits}" if isinstance(op, QWeighted) else f"a{a_bits}"
