"""Any method, under hard budgets: what it proposes is brought within them before it is measured.

Methods that know budgets propose nothing else, and pass through unchanged. The others (NSGA-II and
TPE know no constraints of this kind) are told the results of the narrower policies as if they were
those of their own ideas, as a repair operator of an evolutionary method does.
"""

from __future__ import annotations

from collections.abc import Sequence

from mcuq_lab.results import Row
from mcuq_lab.rlquant.gauge import Gauge
from mcuq_lab.rlquant.methods.protocol import Method, Proposal


class KeepsBudgets:
    """`Method` around another one; all of its state is the other one's."""

    def __init__(self, method: Method, gauge: Gauge) -> None:
        self._method, self._gauge = method, gauge

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        costs = self._gauge.costs(rows)
        return [
            Proposal(self._gauge.bring_within(costs, proposal.bits, rows), proposal.origin)
            for proposal in self._method.ask(rows)
        ]

    def tell(self, results: Sequence[Row]) -> None:
        self._method.tell(results)

    def state(self) -> object:
        return self._method.state()

    def restore(self, state: object) -> None:
        self._method.restore(state)

    def close(self) -> None:
        self._method.close()
