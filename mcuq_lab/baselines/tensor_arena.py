"""The arena as an interpreter plans it: greedy by size, every tensor a place of its own.

After the published greedy planner of TensorFlow Lite Micro (David et al., "TensorFlow Lite Micro",
MLSys 2021, section 4.4): buffers in order of falling size, each at the lowest offset where it
overlaps none that lives at the same time. No operator works in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
