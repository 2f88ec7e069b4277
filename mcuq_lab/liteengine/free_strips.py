"""Strips that cost next to nothing: a network takes them where no budget of arena asks for any.

Two things must hold: the layers take hardly more cycles in strips, and the smaller arena is worth
what it costs the other layers. Shortcuts that are subsampled (`subsampling.py`) count likewise.

To work out the kernels of layers in strips takes a while, and a search plans hundreds of networks.
So all strips are ranked by an estimate, which takes each layer's kernels for its whole map and the
share of rows that strips compute; kernels are worked out for those that promise most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mcuq_lab.errors import ModelError
from mcuq_lab.liteengine.footprint import (
    Needs,
    Ways,
    cheapest_arena,
    cost_of,
    neediest,
    needs_of,
)
from mcuq_lab.liteengine.memory import aligned
from mcuq_lab.liteengine.strip_lowering import (
    overhead_cycles,
    runs_in,
)
from mcuq_lab.liteengine.strip_overlap import over_inputs
from mcuq_lab.liteengine.strip_topology import Topology
from mcuq_lab.liteengine.strips import Strips, all_heights, with_strips
from mcuq_lab.liteengine.subsampling import variants
from mcuq_lab.quantgraph import QOp, QuantGraph

NEARLY_FREE = 1.005
"""Layers may cost as many cycles more in strips as this factor adds to those of the whole network
layer by layer, as predicted ..."""

WORTH_BYTES = 1024
"""... if that saves so many bytes of arena."""

STRIPS_PRICE = 0.4
"""A percent less arena by strips may cost this many percent of the cycles of all layers, those with
less room for scratch included: fewer than ARENA_PRICE, as strips take code and stack, too."""

ESTIMATE_MARGIN = 1.01
"""Networks are worked out if their estimated cost is less than this times the best one known."""

MOST_TRIED = 8
"""Strips whose kernels are worked out."""


def free_strips(
    graph: QuantGraph, ways_of: Callable[[QuantGraph], Ways]
) -> tuple[QuantGraph, int] | None:
    """The network with strips or subsampled shortcuts that make arena and cycles together cheapest,
    and the arena's size; None: none do.

    Args:
        graph: the network.
        ways_of: all ways to compute a network's operators, with their cycles.
    """
    ways = ways_of(graph)
    needs = needs_of(graph, ways)
    least = cheapest_arena(graph, ways, needs)
    most_bytes, more_cycles = least.size_bytes - WORTH_BYTES, (NEARLY_FREE - 1) * least.cycles
    ranked: list[tuple[float, float, QuantGraph, Strips | None]] = []
    for network in variants(graph):
        if network is not graph:
            ways = ways_of(network)
            needs = needs_of(network, ways)
            ranked.append((0.0, np.inf, network, None))
        estimate = StripEstimate.of(network, ways, needs, most_bytes)
        whole = estimate.cycles_in(least.size_bytes).tolist()
        for strips, _ in bounded(network, ways, needs, most_bytes):
            first, end = strips.span(network)
            most_cycles = sum(whole[first:end]) + more_cycles
            ranked.append((estimate.cost(strips, most_cycles), most_cycles, network, strips))
    ranked.sort(key=lambda some: some[0])
    best, best_cost = None, cost_of(least.cycles, least.size_bytes, STRIPS_PRICE)
    for cost, most_cycles, network, strips in ranked[:MOST_TRIED]:
        if cost >= ESTIMATE_MARGIN * best_cost:
            break
        if strips is not None:
            network = with_strips(network, strips)
        try:
            some = _within_cycles(network, ways_of(network), most_cycles)
        except ModelError:  # a layer without kernels that run by rows
            continue
        if not all(some):
            continue
        sized = cheapest_arena(network, some, needs_of(network, some), STRIPS_PRICE)
        if sized.size_bytes <= most_bytes and sized.cost < best_cost:
            best, best_cost = (network, sized.size_bytes), sized.cost
    return best


def _within_cycles(network: QuantGraph, ways: Ways, most_cycles: float) -> Ways:
    """Of layers in strips those ways that take at most `most_cycles`."""
    return [
        [timed for timed in some if timed[1] <= most_cycles] if isinstance(op, Strips) else some
        for op, some in zip(network.ops, ways, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class StripEstimate:
    """What a network costs with some of its layers in strips, by the kernels for whole maps.

    Attributes:
        graph: the network.
        ways, needs: of the network layer by layer.
        most_bytes: what strips may take.
        sizes: all sizes of arena that some way needs, int64 (S,).
        fewest: cycles of each operator in an arena of each size, float64 (operators, S).
    """

    graph: QuantGraph
    ways: Ways
    needs: Needs
    most_bytes: int
    sizes: np.ndarray
    fewest: np.ndarray
    _known_others: dict = field(default_factory=dict, init=False)
    _known_running: dict = field(default_factory=dict, init=False)

    @staticmethod
    def of(graph: QuantGraph, ways: Ways, needs: Needs, most_bytes: int) -> StripEstimate:
        sizes = np.unique([need for some in needs for need in some])
        fewest = np.full((len(ways), len(sizes)), np.inf)
        for row, some, counts in zip(fewest, ways, needs, strict=True):
            for (_, cycles), need in zip(some, counts, strict=True):
                fits = sizes >= need
                row[fits] = np.minimum(row[fits], cycles)
        return StripEstimate(graph, ways, needs, most_bytes, sizes, fewest)

    def cycles_in(self, arena_bytes: int) -> np.ndarray:
        """Of each operator by itself in an arena of this size, float64 (operators,)."""
        return self.fewest[:, np.searchsorted(self.sizes, arena_bytes, side="right") - 1]

    def cost(self, strips: Strips, most_cycles: float) -> float:
        """The lowest that `footprint.cost_of` may become at STRIPS_PRICE; infinite where that takes
        too many bytes, or more than `most_cycles` of the layers in strips."""
        first, end = strips.span(self.graph)
        needs, cycles = self._options(strips, first)
        allowed = cycles <= most_cycles
        needs, cycles = needs[allowed], cycles[allowed]
        if not len(needs):
            return np.inf
        others = self._others(first, end)
        # The arena is what the strips need, or larger for the sake of the other operators.
        at = np.searchsorted(self.sizes, needs, side="right") - 1
        own = cycles + np.where(at >= 0, others[at], np.inf)
        least = cost_of(own, needs, STRIPS_PRICE).min()
        larger = (self.sizes > needs[:, None]) & (self.sizes <= self.most_bytes)
        costs = (cycles[:, None] + others + 1) * self._priced_sizes
        return min(least, costs[larger].min(initial=np.inf))

    def cycles(self, strips: Strips) -> float:
        """The fewest of the network; infinite where no kernels are known to fit."""
        first, end = strips.span(self.graph)
        needs, cycles = self._options(strips, first)
        if not len(needs):
            return np.inf
        others = self._others(first, end)
        # The others take the fewest cycles in the largest arena allowed.
        at = np.searchsorted(self.sizes, self.most_bytes, side="right") - 1
        return (cycles + (others[at] if at >= 0 else np.inf)).min()

    @cached_property
    def _priced_sizes(self) -> np.ndarray:
        return np.maximum(self.sizes, 1) ** STRIPS_PRICE  # of 0 bytes none is asked for

    def _others(self, first: int, end: int) -> np.ndarray:
        """Cycles of the operators in front of `first` and from `end` on, in arenas of all sizes."""
        if (first, end) not in self._known_others:
            others = self.fewest[:first].sum(axis=0) + self.fewest[end:].sum(axis=0)
            self._known_others[first, end] = others
        return self._known_others[first, end]

    def _options(self, strips: Strips, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of arena, int64 (n,), and cycles of the operators in strips, float64 (n,), for
        scratch of different sizes; what takes too many bytes is left out."""
        parts = []
        for index, op in enumerate(strips.ops, first):
            scratch, cycles, together = self._running(strips, op, index)
            if not len(scratch):
                return np.empty(0, np.int64), np.empty(0)
            shares = np.empty(len(cycles))
            for unit in set(together.tolist()):
                shares[together == unit] = strips.geometry.share_of_rows(op.name, unit)
            parts.append((scratch, np.minimum.accumulate(shares * cycles)))
        limits = np.unique(np.concatenate([scratch for scratch, _ in parts]))
        needs = strips.stage_bytes + aligned(limits)
        smallest = max(scratch[0] for scratch, _ in parts)
        limits, needs = (
            some[(limits >= smallest) & (needs <= self.most_bytes)] for some in (limits, needs)
        )
        total = 0
        for scratch, fewest in parts:
            total = total + fewest[np.searchsorted(scratch, limits, side="right") - 1]
        return needs, total + overhead_cycles(strips)

    def _running(
        self, strips: Strips, op: QOp, index: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the ways of an operator that run in these strips, by scratch: scratch, cycles, and
        how many rows they compute together."""
        key = index, strips.geometry.demands[op.name]
        if key not in self._known_running:
            running = [
                (way.scratch_bytes, cycles, way.by_rows.together)
                for way, cycles in self.ways[index]
                if runs_in(strips, op, way)
            ]
            scratch, cycles, together = zip(*sorted(running), strict=True) if running else [()] * 3
            self._known_running[key] = (
                np.array(scratch, np.int64), np.array(cycles, float), np.array(together, np.int64)
            )  # fmt: skip
        return self._known_running[key]


def bounded(
    graph: QuantGraph, ways: Ways, needs: Needs, most_bytes: float = float("inf")
) -> Iterator[tuple[Strips, int]]:
    """Strips to consider, each with a lower bound of the bytes of arena that the network then
    takes, at most `most_bytes`: from the first operator on, or around the one that needs most."""
    index = neediest(graph, ways, needs)
    least = list(map(min, needs))
    for first in Topology.of(graph).starts(index):
        in_front = max(least[:first], default=0)
        for end in range(max(first + 2, index + 1 if first else 0), len(graph.ops) + 1):
            others = max(least[end:], default=0)
            output = graph.tensors[graph.ops[end - 1].output].size_bytes
            if max(in_front, others, output) > most_bytes:
                continue
            for strips in map(over_inputs, all_heights(graph, end, first)):
                need = max(in_front, others, strips.stage_bytes)
                if need <= most_bytes:
                    yield strips, need
