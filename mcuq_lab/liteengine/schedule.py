"""Which kernel computes which operator: the cheapest of all that can."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from mcuq_lab.errors import ModelError
from mcuq_lab.liteengine.kernels import FAMILIES
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.runtime import runtime_headers
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.sources import SourceFile
from mcuq_lab.target import DEFAULT_TARGET, Target


class Family(Protocol):
    """A kernel family: the ways in which it can compute an operator, none for most operators.

    Ways differ in cycles, scratch and flash; a family leaves out what is worse in all three.
    """

    def __call__(
        self, op: QOp, tensors: Mapping[str, QTensor], target: Target, /
    ) -> tuple[Lowered, ...]: ...


def candidates(
    op: QOp,
    tensors: Mapping[str, QTensor],
    families: Sequence[Family] = FAMILIES,
    target: Target = DEFAULT_TARGET,
) -> tuple[Lowered, ...]:
    """All ways to compute `op`, in the order of the families."""
    return tuple(way for family in families for way in family(op, tensors, target))


def kernel_key(op: QOp, tensors: Mapping[str, QTensor], lowered: Lowered) -> str:
    """What decides the cycles of a call, as text: kernel and its C, packing, shapes, window.

    Two layers with equal keys take equal cycles on one board, but for the values of weights, which
    may cost a packing another segment: the packing's text and the scratch say so.
    """
    shapes = "+".join(
        f"{tensors[name].shape}{'z' if tensors[name].zero_point else ''}" for name in op.inputs
    )
    window = getattr(op, "window", None)
    return "|".join(
        [
            lowered.kernel,
            lowered.packing,
            f"{shapes}->{tensors[op.output].shape}",
            "" if window is None else repr(window),
            f"scratch {lowered.scratch_bytes}",
            _digest(lowered.files),
        ]
    )


@lru_cache(maxsize=4096)
def _digest(files: tuple[SourceFile, ...]) -> str:
    """Of a kernel's C and of the runtime below it, so that an edited kernel has another key."""
    state = hashlib.sha256()
    for file in (*runtime_headers(), *files):
        state.update(file.name.encode() + b"\0" + file.text.encode() + b"\0")
    return state.hexdigest()[:16]


def choose(
    op: QOp,
    tensors: Mapping[str, QTensor],
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> Lowered:
    """The cheapest way to compute `op`.

    Cycles measured on the target (by `kernel_key`) count before predicted ones. A way with neither
    comes last, in the order of the families.

    Raises:
        ModelError: no family computes this operator.
    """
    ways = candidates(op, tensors, families, target)
    if not ways:
        shapes = ", ".join(str(tensors[name].shape) for name in op.inputs)
        raise ModelError(
            f"LiteEngine has no kernel for {op.op} '{op.name}' on {shapes}; supported are Conv2d, "
            "DepthwiseConv2d, FullyConnected, Add, AveragePool and MaxPool without padding, "
            "Flatten, Concat."
        )
    table = measured_cycles or {}

    def cost(way: Lowered) -> float:
        known = table.get(kernel_key(op, tensors, way), way.predicted_cycles)
        return known if known > 0 else float("inf")

    return min(ways, key=cost)


def schedule(
    graph: QuantGraph,
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> tuple[Lowered, ...]:
    """One kernel call for each operator of `graph`, in its order; raises ModelError."""
    return tuple(choose(op, graph.tensors, families, measured_cycles, target) for op in graph.ops)
