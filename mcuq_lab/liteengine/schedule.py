"""Which kernel computes which operator: the cheapest of all that can, in cycles and flash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from mcuq_lab.errors import FitError, ModelError
from mcuq_lab.liteengine.dual_issue import DUAL_ISSUE_CORE, scheduled_file
from mcuq_lab.liteengine.flash_budget import cheapest_within, smallest_choice
from mcuq_lab.liteengine.footprint import within_arena
from mcuq_lab.liteengine.kernels import FAMILIES
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.runtime import runtime_headers
from mcuq_lab.liteengine.sharing import Choice, SharedChoice
from mcuq_lab.liteengine.strips import Strips
from mcuq_lab.quantgraph import QOp, QTensor, QuantGraph
from mcuq_lab.sources import SourceFile
from mcuq_lab.target import DEFAULT_TARGET, Target

FLASH_PRICE = 0.003
"""A kilobyte of flash may cost this share of the cycles of an inference."""

DUAL_ISSUE_GAIN = 1.75
"""Predictions are of the Cortex-M4; the Cortex-M7 takes about so many times fewer cycles. Measured
were 1.6 to 2.1 for convolutions, 1.35 to 1.55 for depthwise ones, and the same order of kernels."""

_SHOWN = 3


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
    ways = tuple(way for family in families for way in family(op, tensors, target))
    if target.core != DUAL_ISSUE_CORE:
        return ways
    return tuple(
        replace(
            way,
            files=tuple(map(scheduled_file, way.files)),
            predicted_cycles=round(way.predicted_cycles / DUAL_ISSUE_GAIN),
        )
        for way in ways
    )


def kernel_key(op: QOp, tensors: Mapping[str, QTensor], lowered: Lowered) -> str:
    """What decides the cycles of a call, as text: kernel and its C, packing, shapes, window
    or turns.

    Two layers with equal keys take equal cycles on one board, but for the values of weights, which
    may cost a packing another segment: the packing's text and the scratch say so.
    """
    shapes = "+".join(
        f"{tensors[name].shape}{'z' if tensors[name].zero_point else ''}" for name in op.inputs
    )
    detail = getattr(op, "turns", None) or getattr(op, "window", None)
    if isinstance(op, Strips):
        shapes += "".join(f"->{tensors[part.output].shape}" for part in op.ops[:-1])
    return "|".join(
        [
            lowered.kernel,
            lowered.packing,
            f"{shapes}->{tensors[op.output].shape}",
            "" if detail is None else repr(detail),
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
    ways = _timed_ways(op, tensors, families, measured_cycles or {}, target)
    return min(ways, key=lambda timed: timed[1])[0]


def schedule(
    graph: QuantGraph,
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> tuple[Lowered, ...]:
    """One kernel call for each operator of `graph`, in its order.

    Operators share kernels where that saves flash at a small cost in cycles, see `FLASH_PRICE`, or
    at any cost if the target has a budget that is not met otherwise.

    Raises:
        ModelError: an operator that no family computes.
        FitError: no choice of kernels fits the target's flash, or its arena.
    """
    fitting = fitting_ways(graph, families, measured_cycles, target)
    timed = [_fastest_by_kernel(some) for some in fitting]
    ways = [[way for way, _ in some] for some in timed]
    shared = SharedChoice.of(ways, [[cycles for _, cycles in some] for some in timed])
    choice = _within_flash(shared, graph, target)
    return tuple(some[i] for some, i in zip(ways, choice, strict=True))


def fitting_ways(
    graph: QuantGraph,
    families: Sequence[Family] = FAMILIES,
    measured_cycles: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> list[list[tuple[Lowered, int]]]:
    """For each operator its ways that fit the arena, with their cycles; errors as `schedule`."""
    table = measured_cycles or {}
    timed = [_timed_ways(op, graph.tensors, families, table, target) for op in graph.ops]
    return within_arena(graph, timed, target)


def _fastest_by_kernel(timed: Sequence[tuple[Lowered, int]]) -> list[tuple[Lowered, int]]:
    """Of the ways that have the same kernel and as many constants, the fastest one."""
    fastest: dict[tuple[str, int], tuple[Lowered, int]] = {}
    for way, cycles in timed:
        known = fastest.setdefault((way.kernel, way.weights_bytes), (way, cycles))
        if cycles < known[1]:
            fastest[way.kernel, way.weights_bytes] = (way, cycles)
    return list(fastest.values())


def _within_flash(shared: SharedChoice, graph: QuantGraph, target: Target) -> Choice:
    """The best choice at the price of flash, among those that meet the budget if there is one."""
    price, budget = FLASH_PRICE * shared.cycles(shared.fastest()) / 1024, target.flash_bytes
    choice = shared.best(price)
    if budget is None or shared.flash_bytes(choice) <= budget:
        return choice
    smallest = smallest_choice(shared)
    missing = shared.flash_bytes(smallest) - budget
    if missing <= 0:
        return cheapest_within(shared, budget, price, smallest)
    constants = shared.constants_bytes(smallest)
    most = sorted(zip(constants, graph.ops, strict=True), key=lambda pair: -pair[0])[:_SHOWN]
    layers = ", ".join(f"{op.name} {size_bytes:,}" for size_bytes, op in most)
    raise FitError(
        f"'{graph.name}' ({graph.policy}) takes {budget + missing:,} bytes of flash, {missing:,} "
        f"more than the budget of {budget:,}: {budget + missing - sum(constants):,} of code and "
        f"{sum(constants):,} of constants, most of them at {layers}. Lower weight bits there, or "
        "allow more flash.",
        memory="flash",
        overflow_bytes=missing,
    )


def _timed_ways(
    op: QOp,
    tensors: Mapping[str, QTensor],
    families: Sequence[Family],
    table: Mapping[str, int],
    target: Target,
) -> list[tuple[Lowered, int]]:
    """The ways to compute `op` with their cycles; if none are known, the first way with 0."""
    ways = candidates(op, tensors, families, target)
    if not ways:
        shapes = ", ".join(str(tensors[name].shape) for name in op.inputs)
        raise ModelError(
            f"LiteEngine has no kernel for {op.op} '{op.name}' on {shapes}; supported are Conv2d, "
            "DepthwiseConv2d, FullyConnected, Add, AveragePool and MaxPool without padding, "
            "Flatten, Concat."
        )

    def cycles(way: Lowered) -> int:
        if not table:  # keys take a while
            return way.predicted_cycles
        return table.get(kernel_key(op, tensors, way), way.predicted_cycles)

    timed = [(way, cycles(way)) for way in ways]
    return [(way, count) for way, count in timed if count > 0] or [(ways[0], 0)]
