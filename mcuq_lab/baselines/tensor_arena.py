"""The arena as an interpreter plans it: greedy by size, every tensor a place of its own.

After the published greedy planner of TensorFlow Lite Micro (David et al., "TensorFlow Lite Micro",
MLSys 2021, section 4.4): buffers in order of falling size, each at the lowest offset where it
overlaps none that lives at the same time. No operator works in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mcuq_lab.quantgraph import QOp, QuantGraph

ALIGNMENT_BYTES = 16


@dataclass(frozen=True)
class Buffer:
    """Bytes that live from step `first` to step `last`, both included."""

    name: str
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class TensorArena:
    """Offsets by buffer name, and the bytes of the whole."""

    offsets: Mapping[str, int]
    total_bytes: int


def plan_greedily(buffers: Iterable[Buffer]) -> TensorArena:
    """Places all buffers; deterministic: ties go by first step, then by name."""
    offsets: dict[str, int] = {}
    placed: list[tuple[Buffer, int]] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size_bytes, b.first, b.name)):
        rivals = sorted(
            (offset, other.size_bytes)
            for other, offset in placed
            if other.first <= buffer.last and buffer.first <= other.last
        )
        offset = 0
        for start, size_bytes in rivals:
            if offset + buffer.size_bytes <= start:
                break
            offset = max(offset, _aligned(start + size_bytes))
        offsets[buffer.name] = offset
        placed.append((buffer, offset))
    total = max((offset + buffer.size_bytes for buffer, offset in placed), default=0)
    return TensorArena(offsets, _aligned(total))


def scratch_name(op: QOp) -> str:
    """Name of the buffer that an operator needs while it runs."""
    return f"{op.name}/scratch"


def plan_network(graph: QuantGraph, scratch_bytes: Mapping[str, int]) -> TensorArena:
    """An arena for all tensors of a network, and for scratch by operator name."""
    first, last = {graph.input_name: 0}, {graph.input_name: 0}
    buffers = []
    for step, op in enumerate(graph.ops):
        first[op.output] = last[op.output] = step
        for name in op.inputs:
            last[name] = step
        if scratch_bytes.get(op.name):
            buffers.append(Buffer(scratch_name(op), scratch_bytes[op.name], step, step))
    last[graph.output_name] = len(graph.ops)
    for name, tensor in graph.tensors.items():
        buffers.append(Buffer(name, tensor.size_bytes, first[name], last[name]))
    return plan_greedily(buffers)


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
