"""Random search: the rival that everything must beat."""

from __future__ import annotations

from collections.abc import Sequence

from mcuq_lab.results import Row
from mcuq_lab.rlquant.costs import fit_costs
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal

_BATCH = 8
_TRIES = 64


class RandomSearch:
    """Policies drawn uniformly, those that surely break a budget rejected."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._lifetimes = live_tensors(problem.space)
        self._batches = 0

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        problem = self._problem
        drawn = problem.space.random(problem.rng(1, self._batches), _BATCH * _TRIES)
        costs = fit_costs(problem.space, rows, self._lifetimes)
        kept = drawn[problem.budgets.keeps(costs, drawn)]
        chosen = kept if len(kept) else drawn
        return [Proposal(bits, "random") for bits in chosen[:_BATCH]]

    def tell(self, results: Sequence[Row]) -> None:
        self._batches += 1

    def state(self) -> object:
        return self._batches

    def restore(self, state: object) -> None:
        self._batches = state

    def close(self) -> None:
        pass
