"""Random search: the rival that everything must beat."""

from __future__ import annotations

from collections.abc import Sequence

from mcuq_lab.results import Row
from mcuq_lab.rlquant.budgets import draw_within
from mcuq_lab.rlquant.methods.protocol import Problem, Proposal

_BATCH = 8
_TRIES = 4


class RandomSearch:
    """Policies drawn uniformly, or uniformly among the choices that keep hard budgets."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._batches = 0

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        problem = self._problem
        rng = problem.rng(1, self._batches)
        costs = problem.gauge.costs(rows)
        drawn = draw_within(costs, problem.budgets, rng, _TRIES * _BATCH)
        kept = problem.gauge.first_within(costs, drawn, _BATCH, rows)
        return [Proposal(bits, "random") for bits in kept or drawn[:_BATCH]]

    def tell(self, results: Sequence[Row]) -> None:
        self._batches += 1

    def state(self) -> object:
        return self._batches

    def restore(self, state: object) -> None:
        self._batches = state

    def close(self) -> None:
        pass
