"""Greedy bit reduction (the memory-driven rule of Rusci et al. 2020, section 4.2).

From w8a8 down: activations lose bits where they fill the memory most, weights where they fill the
flash most, 8 to 4 to 2, whatever that does to accuracy. The path from w8a8 to w2a2 is the front
that the rule offers; its policies are evaluated evenly spread, halves between, quarters between.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.results import Row
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.methods.anchors import unseen
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal

_NEXT = {8: 4, 4: 2}


class Greedy:
    """One path, visited coarse to fine; ends when all of it is measured."""

    def __init__(self, problem: Problem) -> None:
        self._path, self._gauge = reduction_path(problem), problem.gauge

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        seen = {row.policy for row in rows}
        n = 2
        while n < 2 * len(self._path):
            at = np.unique(np.linspace(0, len(self._path) - 1, n).round().astype(int))
            fresh = unseen([Proposal(self._path[i], "greedy") for i in at], seen)
            costs = self._gauge.costs(rows)
            fresh = [p for p in fresh if self._gauge.keeps(costs, p.bits, rows)]
            if fresh:
                return fresh
            n = 2 * n - 1
        return []

    def tell(self, results: Sequence[Row]) -> None:
        pass

    def state(self) -> object:
        return None

    def restore(self, state: object) -> None:
        pass

    def close(self) -> None:
        pass


def reduction_path(problem: Problem) -> list[np.ndarray]:
    """Policies (L, 2) from w8a8 to w2a2, one cut apart: activations and weights in turn."""
    space, lifetimes = problem.space, live_tensors(problem.space)
    weights = np.array([layer.weight.size for layer in space.graph.layers])
    bits = space.uniform(MAX_BITS, MAX_BITS)
    path = [bits]
    turn = 0
    while (bits > MIN_BITS).any():
        bits = bits.copy()
        side = turn % 2 if (bits[:, turn % 2] > MIN_BITS).any() else 1 - turn % 2
        if side == 0:
            cut = [int(np.argmax(np.where(bits[:, 0] > MIN_BITS, weights * bits[:, 0], -1)))]
        else:
            cut = _best_activation_cut(space.input_groups, bits, lifetimes.peak_bytes)
        for layer in cut:
            bits[layer, side] = _NEXT[int(bits[layer, side])]
        path.append(bits)
        turn += 1
    distinct = {policy.tobytes(): policy for policy in map(space.canonical, path)}
    return list(distinct.values())


def _best_activation_cut(groups: np.ndarray, bits: np.ndarray, peak_bytes) -> list[int]:
    """The layers of the tensor whose cut lowers the peak most; of equals the widest tensor's."""
    options = []
    for group in range(groups.max() + 1):
        members = np.flatnonzero(groups == group)
        if bits[members[0], 1] > MIN_BITS:
            cut = bits.copy()
            cut[members, 1] = _NEXT[int(bits[members[0], 1])]
            options.append((int(peak_bytes(cut)), -int(bits[members[0], 1]), group))
    return np.flatnonzero(groups == min(options)[2]).tolist()
