"""Measured instead of predicted: the cycles of every kernel that could compute a layer.

The engine knows no board. Whoever has one passes a function that runs a network and gives back the
cycles of its layers; the table that results is for `generate(..., measured_cycles=table)`, and is
good for every network with the same layers on that board.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mcuq_lab.errors import NumericsError
from mcuq_lab.liteengine.codegen import generate_sources
from mcuq_lab.liteengine.kernels import FAMILIES
from mcuq_lab.liteengine.plan import plan
from mcuq_lab.liteengine.schedule import Family, candidates, kernel_key
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.sources import Sources
from mcuq_lab.target import DEFAULT_TARGET, Target

_NEVER = 1 << 62


def tune(
    graph: QuantGraph,
    measure: Callable[[Sources], Sequence[int]],
    families: Sequence[Family] = FAMILIES,
    known: Mapping[str, int] | None = None,
    target: Target = DEFAULT_TARGET,
) -> dict[str, int]:
    """Cycles by `kernel_key` of every way to compute every operator of `graph`.

    All operators try their next way at once, so this takes as many runs as the operator with the
    most unknown ways has.

    Args:
        graph: the network.
        measure: runs a network once; cycles of each of its `layers`, in their order.
        families: kernel families to try.
        known: what was measured before; it is not measured again.
        target: the core.

    Returns:
        `known` and what was measured.

    Raises:
        ModelError: as `plan`.
        NumericsError: `measure` gave another number of layers than the network has.
    """
    table, tensors = dict(known or {}), graph.tensors
    keys = [
        [kernel_key(op, tensors, way) for way in candidates(op, tensors, families, target)]
        for op in graph.ops
    ]
    while True:
        tried = [next((key for key in ways if key not in table), None) for ways in keys]
        if not any(tried):
            return table
        chosen = [key or ways[0] for key, ways in zip(tried, keys, strict=True) if ways]
        # A table that makes each chosen way the cheapest of its operator.
        force = {key: _NEVER for ways in keys for key in ways} | dict.fromkeys(chosen, 1)
        planned = plan(graph, families, force, target)
        cycles = measure(generate_sources(planned))
        if len(cycles) != len(planned.steps):
            raise NumericsError(
                f"Measuring '{graph.name}' gave {len(cycles)} layers of {len(planned.steps)}; "
                "give the cycles of every layer."
            )
        for step, count in zip(planned.steps, cycles, strict=True):
            table[kernel_key(step.op, tensors, step.lowered)] = int(count)
        # An operator without a call has no cycles, and needs none.
        table |= {key: 0 for key in chosen if key not in table}
