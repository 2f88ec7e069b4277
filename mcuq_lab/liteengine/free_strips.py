"""Strips that cost next to nothing: a network takes them where no budget of arena asks for any.

To work out the kernels of layers in strips takes a while, and a search plans hundreds of networks.
So all strips are ranked by an estimate, which takes each layer's kernels for its whole map and the
share of rows that strips compute; kernels are worked out for those that promise most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mcuq_lab.errors import ModelError
from mcuq_lab.liteengine.footprint import (
    Needs,
    Ways,
    cheapest_arena,
    cost_of,
    needs_of,
)
from mcuq_lab.liteengine.memory import ALIGNMENT_BYTES
from mcuq_lab.liteengine.strip_lowering import overhead_cycles, runs_in, share_of_rows
from mcuq_lab.liteengine.strips import Strips, all_heights, with_strips
from mcuq_lab.quantgraph import QuantGraph

NEARLY_FREE = 1.005
"""Strips may cost this times the cycles of the network layer by layer, as predicted ..."""

WORTH_BYTES = 1024
"""... if they save so many bytes of arena: their code takes some flash, too."""

MOST_TRIED = 8
"""Strips whose kernels are worked out."""


def free_strips(
    graph: QuantGraph, ways_of: Callable[[QuantGraph], Ways]
) -> tuple[Strips, int] | None:
    """The strips that make arena and cycles together cheapest, and the arena's size; None: none do.

    Args:
        graph: the network.
        ways_of: all ways to compute a network's operators, with their cycles.
    """
    ways = ways_of(graph)
    needs = needs_of(graph, ways)
    least = cheapest_arena(graph, ways, needs)
    most_cycles = NEARLY_FREE * least.cycles
    most_bytes = least.size_bytes - WORTH_BYTES
    best = None
    estimate = StripEstimate.of(ways, needs, most_cycles, most_bytes)
    ranked = sorted(_estimated(graph, estimate), key=lambda pair: pair[0])
    for cost, strips in ranked[:MOST_TRIED]:
        if cost >= least.cost:
            break
        network = with_strips(graph, strips)
        try:
            some = ways_of(network)
        except ModelError:  # a layer without kernels that run by rows
            continue
        sized = cheapest_arena(network, some, needs_of(network, some), most_cycles)
        if sized is not None and sized.size_bytes <= most_bytes and sized < least:
            least, best = sized, (strips, sized.size_bytes)
    return best


@dataclass(frozen=True, eq=False)
class StripEstimate:
    """What a network costs with its first layers in strips, by the kernels for whole maps.

    Attributes:
        ways, needs: of the network layer by layer.
        most_cycles, most_bytes: what strips may take.
        sizes: all sizes of arena that some way needs, int64 (S,).
        behind: for each number of operators, the fewest cycles of those behind them in an arena
            of each size, float64 (operators + 1, S).
    """

    ways: Ways
    needs: Needs
    most_cycles: float
    most_bytes: int
    sizes: np.ndarray
    behind: np.ndarray

    @staticmethod
    def of(ways: Ways, needs: Needs, most_cycles: float, most_bytes: int) -> StripEstimate:
        sizes = np.unique([need for some in needs for need in some])
        fewest = np.full((len(ways) + 1, len(sizes)), np.inf)
        fewest[-1] = 0.0
        for row, some, counts in zip(fewest, ways, needs, strict=False):
            for (_, cycles), need in zip(some, counts, strict=True):
                fits = sizes >= need
                row[fits] = np.minimum(row[fits], cycles)
        behind = np.cumsum(fewest[::-1], axis=0)[::-1]
        return StripEstimate(ways, needs, most_cycles, most_bytes, sizes, behind)

    def cost(self, strips: Strips) -> float:
        """The lowest that `footprint.cost_of` may become; infinite where that is too dear."""
        return min((cost_of(*some).min() for some in self._totals(strips)), default=np.inf)

    def cycles(self, strips: Strips) -> float:
        """The fewest of the network; infinite where no kernels are known to fit."""
        return min((cycles.min() for cycles, _ in self._totals(strips)), default=np.inf)

    def _totals(self, strips: Strips) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Cycles and sizes of arena, infinite cycles where either is more than allowed."""
        behind = self.behind[len(strips.ops)]
        for need, cycles in self._options(strips):
            sizes = np.concatenate([[need], self.sizes[self.sizes > need]])
            at = np.searchsorted(self.sizes, sizes, side="right") - 1
            total = cycles + np.where(at >= 0, behind[at], np.inf)
            total[(total > self.most_cycles) | (sizes > self.most_bytes)] = np.inf
            yield total, sizes

    def _options(self, strips: Strips) -> Iterator[tuple[int, float]]:
        """Bytes of arena and cycles of the operators in strips, for scratch of different sizes."""
        overhead, stage = overhead_cycles(strips), strips.stage_bytes
        parts = []
        for op, some in zip(strips.ops, self.ways, strict=False):
            running = [(way, cycles) for way, cycles in some if runs_in(strips, op, way)]
            units = {way.by_rows.together for way, _ in running}
            shares = {unit: share_of_rows(strips, op, unit) for unit in units}
            pairs = [(w.scratch_bytes, shares[w.by_rows.together] * c) for w, c in running]
            if not pairs:
                return
            parts.append(sorted(pairs))
        smallest = max(pairs[0][0] for pairs in parts)
        for limit in sorted({scratch for pairs in parts for scratch, _ in pairs}):
            need = stage + -(-limit // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
            if smallest <= limit and need <= self.most_bytes:
                fewest = (min(c for scratch, c in pairs if scratch <= limit) for pairs in parts)
                yield need, sum(fewest) + overhead


def _estimated(graph: QuantGraph, estimate: StripEstimate) -> Iterator[tuple[float, Strips]]:
    """All strips that may save bytes, each with its estimated cost."""
    for count in range(2, len(graph.ops) + 1):
        behind = max(map(min, estimate.needs[count:]), default=0)
        output = graph.tensors[graph.ops[count - 1].output].size_bytes
        if max(behind, output) <= estimate.most_bytes:
            for strips in all_heights(graph, count):
                yield estimate.cost(strips), strips
