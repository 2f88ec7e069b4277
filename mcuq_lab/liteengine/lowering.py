"""What a kernel family gives the code generator for one operator of a quantized network."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from mcuq_lab.quantgraph import QTensor
from mcuq_lab.sources import SourceFile

W = TypeVar("W")

NEAR = 1.12
"""Ways that take more than this times the fastest one's cycles are not worth a shared kernel."""

_MOST_NEAR = 6

NEAR_IN_LITTLE_FLASH, MOST_IN_LITTLE_FLASH = 1.5, 30
"""The same where a budget of flash makes shared kernels worth more."""

LESS = 0.93
"""A slower way is worth offering if it takes at most this part of the scratch."""


@dataclass(frozen=True)
class Ahead:
    """An output that may lie over input `index` if it begins `lead_bytes` or more in front of it.

    A kernel that reads and writes upwards leaves the bytes alone that it has yet to read, if at no
    time it has written `lead_bytes` more than it has read. Negative: the output may begin at most
    as many bytes behind the input.
    """

    index: int
    lead_bytes: int


@dataclass(frozen=True)
class ByRows:
    """How a call computes some rows of its output alone: through a copy of the layer's constants.

    Attributes:
        layer_type: C type of the constants, `<operator>_layer`, whose address the call passes.
        members: members of the copy with their new values, C expressions in a `le_strip_rows`
            named `rows`.
        together: output rows that are computed together; fewer take as many cycles.
    """

    layer_type: str
    members: tuple[tuple[str, str], ...] = tuple(
        (name, f"rows.{name}") for name in ("in_h", "out_h", "pad_top")
    )
    together: int = 2


@dataclass(frozen=True)
class Lowered:
    """One operator as a call of one C kernel.

    Attributes:
        kernel: name of the C function, `le_<op>_w<bits>a<bits>[_<variant>]`.
        packing: the operand packing in words (`row polynomial m=3 s=13`), or "" for none.
        files: C sources and headers of the kernel. Kernels are shared: two layers that need the
            same specialisation name the same file with the same text.
        declarations: C text with this layer's constants (`static const ...`), each prefixed with
            the operator's C identifier; may be "". A function that makes it, where that takes a
            while: most ways are never generated.
        call: one C statement; `{in0}`, `{in1}`, `{out}`, `{scratch}` stand for pointer expressions
            (`const uint8_t *`, `uint8_t *`).
        weights_bytes: bytes of `declarations` in flash.
        scratch_bytes: arena bytes that the call needs besides its tensors, 8-byte aligned.
        in_place: indices of the inputs at whose very address the output may be written.
        ahead: inputs that the output may overlap at some distance.
        by_rows: how to compute some rows of the output; None: only all of them.
        predicted_cycles: cycles on a Cortex-M4 by the family's own cost formula, 0 if it has none.
        limit_macs_per_cycle: what the loads and products of the inner loop alone would reach on a
            Cortex-M4, 0 where nobody has counted them.
    """

    kernel: str
    packing: str
    files: tuple[SourceFile, ...]
    declarations: str | Callable[[], str]
    call: str
    weights_bytes: int
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()
    ahead: tuple[Ahead, ...] = ()
    by_rows: ByRows | None = None
    predicted_cycles: int = 0
    limit_macs_per_cycle: float = 0.0

    @property
    def constants(self) -> str:
        """The text of `declarations`."""
        return self.declarations if isinstance(self.declarations, str) else self.declarations()


def near_fastest(
    ways: Iterable[W],
    kernel: Callable[[W], Hashable],
    cycles: Callable[[W], float],
    scratch_bytes: Callable[[W], int],
    *,
    little_flash: bool = False,
) -> list[W]:
    """What a family should offer of its many ways: the fastest one for each of a few kernels.

    The fastest way of all comes first, then those of other kernels that are nearly as fast: the
    schedule may prefer one of them because other layers use its kernel. Then come ways that are
    slower, but take less scratch than all before.
    """
    near, most = (
        (NEAR_IN_LITTLE_FLASH, MOST_IN_LITTLE_FLASH) if little_flash else (NEAR, _MOST_NEAR)
    )
    ordered = sorted(
        ((cycles(way), scratch_bytes(way), way) for way in ways), key=lambda some: some[:2]
    )
    if not ordered:
        return []
    fewest, least, _ = ordered[0]
    fastest: dict[Hashable, W] = {}
    for count, _, way in ordered:
        if count > near * fewest:
            break
        fastest.setdefault(kernel(way), way)
    offered = list(fastest.values())[:most]
    for _, size, way in ordered:
        if size <= LESS * least:
            least = size
            if way not in offered:
                offered.append(way)
    return offered


def ahead_of_input(source: QTensor, steps: Iterable[tuple[int, int]]) -> tuple[Ahead, ...]:
    """How far the output of a kernel that reads and writes upwards may overlap its input 0.

    Args:
        source: input 0.
        steps: after each part of the work that leaves something to read, the bytes of output that
            are written (from its start) and the first byte of input that is read later.
    """
    lead = max((written - unread for written, unread in steps), default=-source.size_bytes)
    return (Ahead(0, max(lead, -source.size_bytes)),)
