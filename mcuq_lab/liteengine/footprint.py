"""What a way to compute an operator asks of the arena, and how large an arena is worth its bytes.

While an operator runs, its tensors, those that wait for later operators, and its scratch lie side
by side. The operator that needs most decides the arena's size; all others may take as much scratch
as that leaves them, for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mcuq_lab.errors import FitError
from mcuq_lab.liteengine.lowering import Lowered
from mcuq_lab.liteengine.memory import aligned, shared_bytes
from mcuq_lab.quantgraph import QuantGraph
from mcuq_lab.target import Target

ARENA_PRICE = 0.5
"""A percent less arena may cost this many percent of the cycles of an inference."""

LAYER_ARENA_BYTES = 25 << 10
"""An arena up to this size costs nothing where a network is one layer: it stands for a layer of a
larger network, where others decide the arena's size."""


@dataclass(frozen=True, eq=False)
class Lifetimes:
    """When the tensors of a network are in use.

    Attributes:
        root: for each tensor the one whose bytes it is: itself, but for an operator without a call.
        steps: for each operator, its place among those with a call, or None.
        first, last: steps in which each root is in use, both included.
    """

    root: Mapping[str, str]
    steps: tuple[int | None, ...]
    first: Mapping[str, int]
    last: Mapping[str, int]

    @staticmethod
    def of(graph: QuantGraph, lowered: Sequence[Lowered]) -> Lifetimes:
        """Of a network whose operators are lowered so; only whether they have a call matters."""
        root = {graph.input_name: graph.input_name}
        steps: list[int | None] = []
        count = 0
        for op, way in zip(graph.ops, lowered, strict=True):
            root[op.output] = op.output if way.call else root[op.inputs[0]]
            steps.append(count if way.call else None)
            count += bool(way.call)
        first = dict.fromkeys(root.values(), 0)
        last = dict.fromkeys(root.values(), 0)
        for op, step in zip(graph.ops, steps, strict=True):
            if step is not None:
                first[root[op.output]] = step
                for name in (*op.inputs, op.output):
                    last[root[name]] = step
        last[root[graph.output_name]] = max(count - 1, 0)
        return Lifetimes(root, tuple(steps), first, last)

    def step_bytes(self, graph: QuantGraph, index: int, ways: Iterable[Lowered]) -> list[int]:
        """Bytes of arena that operator `index` needs at least, if it is computed in each way."""
        if self.steps[index] is None:
            return [0 for _ in ways]
        step, op = self.steps[index], graph.ops[index]
        live = {
            name: aligned(graph.tensors[name].size_bytes)
            for name in self.first
            if self.first[name] <= step <= self.last[name]
        }
        total, output = sum(live.values()), live[self.root[op.output]]
        roots = [self.root[name] for name in op.inputs]
        # Inputs that nobody reads later, and so may give their bytes to the output.
        dying = {i: (root, live[root]) for i, root in enumerate(roots) if self.last[root] == step}
        needs = []
        for way in ways:
            leads = {dying[i]: 0 for i in way.in_place if i in dying}
            for ahead in way.ahead:
                if ahead.index in dying:
                    source, lead = dying[ahead.index], max(aligned(ahead.lead_bytes), 0)
                    leads[source] = min(lead, leads.get(source, lead))
            shared = sum(shared_bytes(size, output, lead) for (_, size), lead in leads.items())
            needs.append(total - min(output, shared) + aligned(way.scratch_bytes))
        return needs


Ways = Sequence[Sequence[tuple[Lowered, int]]]
"""For each operator of a network its ways, each with its cycles."""

Needs = Sequence[Sequence[int]]
"""Bytes of arena that each of them needs at least."""


@dataclass(frozen=True, order=True)
class Sized:
    """An arena that is worth its bytes.

    Attributes:
        cost: of its bytes and of the cycles that it allows, see `cost_of`.
        size_bytes: its size.
        cycles: of the fastest ways that fit into it.
    """

    cost: float
    size_bytes: int
    cycles: int = field(compare=False)


def cost_of(cycles: float, arena_bytes: float, price: float = ARENA_PRICE) -> float:
    """What cycles and an arena cost together at a price such as ARENA_PRICE."""
    return (cycles + 1) * arena_bytes**price


def needs_of(graph: QuantGraph, ways: Ways) -> Needs:
    """Bytes of arena that the operators of `graph` need in each way."""
    lives = Lifetimes.of(graph, [some[0][0] for some in ways])
    return [
        lives.step_bytes(graph, index, [way for way, _ in some]) for index, some in enumerate(ways)
    ]


def cheapest_arena(
    graph: QuantGraph, ways: Ways, needs: Needs, price: float = ARENA_PRICE
) -> Sized:
    """The size at which a percent less begins to cost more than `price` percent of the cycles."""
    smallest = max(map(min, needs))
    free = LAYER_ARENA_BYTES if len(graph.ops) == 1 else 1
    sizes = np.array(sorted({need for some in needs for need in some if need >= smallest}))
    timed = zip(cycles_within(ways, needs, sizes).tolist(), sizes.tolist(), strict=True)
    return min(
        Sized(cost_of(cycles, max(size, free), price), size, cycles) for cycles, size in timed
    )


def neediest(graph: QuantGraph, ways: Ways, needs: Needs) -> int:
    """The operator that decides the size of the cheapest arena: the first one that needs most."""
    size = cheapest_arena(graph, ways, needs).size_bytes
    fastest = [
        min((cycles, need) for (_, cycles), need in zip(some, counts, strict=True) if need <= size)
        for some, counts in zip(ways, needs, strict=True)
    ]
    return max(range(len(fastest)), key=lambda i: fastest[i][1])


def within_arena(graph: QuantGraph, ways: Ways, target: Target) -> list[list[tuple[Lowered, int]]]:
    """Those of the ways that fit into the target's arena, or without a budget into the cheapest.

    Raises:
        FitError: some operator does not fit the target's arena in any way.
    """
    limit = target.arena_bytes
    if limit is not None and _most_bytes(graph, ways) <= limit:
        return [list(some) for some in ways]
    needs = needs_of(graph, ways)
    smallest = max(map(min, needs))
    if limit is None:
        limit = cheapest_arena(graph, ways, needs).size_bytes
    elif smallest > limit:
        index = max(range(len(needs)), key=lambda i: min(needs[i]))
        raise FitError(
            f"'{graph.name}' ({graph.policy}) takes {smallest:,} bytes of arena at layer "
            f"'{graph.ops[index].name}', {smallest - limit:,} more than the budget of {limit:,}. "
            "Lower activation bits, or allow a larger arena.",
            memory="sram",
            overflow_bytes=smallest - limit,
        )
    return [
        [timed for timed, need in zip(some, counts, strict=True) if need <= limit]
        for some, counts in zip(ways, needs, strict=True)
    ]


def _most_bytes(graph: QuantGraph, ways: Ways) -> int:
    """No operator needs more: all tensors side by side, and the most scratch of any way."""
    scratch = max(way.scratch_bytes for some in ways for way, _ in some)
    return aligned(scratch) + sum(aligned(some.size_bytes) for some in graph.tensors.values())


def fewest_cycles(ways: Ways) -> int:
    """Of the fastest ways."""
    return sum(min(cycles for _, cycles in some) for some in ways)


def cycles_within(ways: Ways, needs: Needs, sizes: np.ndarray) -> np.ndarray:
    """Of the fastest ways that fit into arenas of `sizes` bytes, in each of which every operator
    has one; shape as `sizes`."""
    total = np.zeros(sizes.shape, np.int64)
    for some, counts in zip(ways, needs, strict=True):
        order = np.argsort(counts, kind="stable")
        least = np.minimum.accumulate(np.array([cycles for _, cycles in some])[order])
        total += least[np.searchsorted(np.array(counts)[order], sizes, side="right") - 1]
    return total
