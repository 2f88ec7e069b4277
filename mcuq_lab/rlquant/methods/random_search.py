"""Random search: the rival that everything must beat."""

from __future__ import annotations

from collections.abc import Sequence

from mcuq_lab.results import Row
from mcuq_lab.rlquant.budgets import draw_within
from mcuq_lab.rlquant.costs import fit_costs
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.methods.planned import PlannedMemory
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal

_BATCH = 8
_TRIES = 4


class RandomSearch:
    """Policies drawn uniformly, or uniformly among the choices that keep hard budgets."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._lifetimes = live_tensors(problem.space)
        self._memory = PlannedMemory(problem.plan_sram)
        self._batches = 0

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        problem = self._problem
        costs = fit_costs(problem.space, rows, self._lifetimes)
        rng = problem.rng(1, self._batches)
        drawn = draw_within(costs, problem.budgets, rng, _TRIES * _BATCH)
        limit = problem.budgets.sram_bytes
        if limit is not None:
            kept = drawn[self._memory.peaks(drawn, costs.sram_bytes(drawn), rows) <= limit]
            drawn = kept if len(kept) else drawn
        return [Proposal(bits, "random") for bits in drawn[:_BATCH]]

    def tell(self, results: Sequence[Row]) -> None:
        self._batches += 1

    def state(self) -> object:
        return self._batches

    def restore(self, state: object) -> None:
        self._batches = state

    def close(self) -> None:
        pass
