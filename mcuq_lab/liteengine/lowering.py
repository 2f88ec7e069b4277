"""What a kernel family gives the code generator for one operator of a quantized network."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from mcuq_lab.sources import SourceFile

W = TypeVar("W")

NEAR = 1.12
"""Ways that take more than this times the fastest one's cycles are not worth a shared kernel."""

_MOST_NEAR = 6


@dataclass(frozen=True)
class Lowered:
    """One operator as a call of one C kernel.

    Attributes:
        kernel: name of the C function, `le_<op>_w<bits>a<bits>[_<variant>]`.
        packing: the operand packing in words (`row polynomial m=3 s=13`), or "" for none.
        files: C sources and headers of the kernel. Kernels are shared: two layers that need the
            same specialisation name the same file with the same text.
        declarations: C text with this layer's constants (`static const ...`), each prefixed with
            the operator's C identifier; may be "".
        call: one C statement; `{in0}`, `{in1}`, `{out}`, `{scratch}` stand for pointer expressions
            (`const uint8_t *`, `uint8_t *`).
        weights_bytes: bytes of `declarations` in flash.
        scratch_bytes: arena bytes that the call needs besides its tensors, 8-byte aligned.
        in_place: indices of the inputs at whose very address the output may be written.
        predicted_cycles: cycles on a Cortex-M4 by the family's own cost formula, 0 if it has none.
        limit_macs_per_cycle: what the loads and products of the inner loop alone would reach on a
            Cortex-M4, 0 where nobody has counted them.
    """

    kernel: str
    packing: str
    files: tuple[SourceFile, ...]
    declarations: str
    call: str
    weights_bytes: int
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()
    predicted_cycles: int = 0
    limit_macs_per_cycle: float = 0.0


def near_fastest(
    ways: Iterable[W], kernel: Callable[[W], Hashable], cycles: Callable[[W], float]
) -> list[W]:
    """What a family should offer of its many ways: the fastest one for each of a few kernels.

    The fastest way of all comes first, then those of other kernels that are nearly as fast: the
    schedule may prefer one of them because other layers use its kernel.
    """
    fastest: dict[Hashable, W] = {}
    for way in ways:
        known = fastest.setdefault(kernel(way), way)
        if cycles(way) < cycles(known):
            fastest[kernel(way)] = way
    ordered = sorted(fastest.values(), key=cycles)
    return [way for way in ordered if cycles(way) <= NEAR * cycles(ordered[0])][:_MOST_NEAR]
