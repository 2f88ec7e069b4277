"""What every search method is given, and what it must do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mcuq_lab.results import ReferencePoint, Row
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.config import SearchConfig
from mcuq_lab.rlquant.gauge import Gauge
from mcuq_lab.rlquant.space import SearchSpace


@dataclass(frozen=True, eq=False)
class Proposal:
    """A policy to evaluate: canonical bits (L, 2), and who had the idea."""

    bits: np.ndarray
    origin: str

    @property
    def key(self) -> tuple[tuple[int, int], ...]:
        """((w_bits, a_bits), ...): equal for equal networks."""
        return tuple(map(tuple, self.bits.tolist()))


@dataclass(frozen=True, eq=False)
class Problem:
    """The search problem, the same for every method.

    Attributes:
        gauge: which of all policies keep the hard budgets.
        first_rows: what was measured before the method began; the same in every life.
        reference: scales the objectives (error, cycles, peak SRAM), which are minimised.
        sensitivity: error that each width adds alone, (L, 2, N_WIDTHS); see `Evaluator`.
    """

    gauge: Gauge
    first_rows: tuple[Row, ...]
    reference: ReferencePoint
    config: SearchConfig
    sensitivity: Callable[[], np.ndarray]

    @property
    def space(self) -> SearchSpace:
        """All policies."""
        return self.gauge.space

    @property
    def budgets(self) -> Budgets:
        """Hard limits."""
        return self.gauge.budgets

    def objectives(self, row: Row) -> np.ndarray:
        """(error, cycles, SRAM) over the reference, (3,); a failure lies at twice the reference,
        and what turned out to break a budget is moved away from the origin by the reference."""
        if not row.ok:
            return np.full(3, 2.0)
        point = np.array([1.0 - row.accuracy_quick, row.cycles_median, row.sram_peak_bytes])
        return point / self.reference.array + (0.0 if self.budgets.kept_by([row])[0] else 1.0)

    def rng(self, *stream: int) -> np.random.Generator:
        """A generator of the search's seed and a stream of its own: the same in every life."""
        return np.random.default_rng([self.config.seed, *stream])


class Method(Protocol):
    """Proposes policies in batches.

    The search alternates `ask` and `tell`, saves `state` after each `ask`, and after a crash
    restores it and repeats what came after: so all that happens must follow from state, rows and
    seed alone.
    """

    def ask(self, rows: Sequence[Row]) -> list[Proposal]:
        """The next batch, given all rows so far; empty when the method has no more ideas."""

    def tell(self, results: Sequence[Row]) -> None:
        """Results of the last batch, in its order (repeats answered from earlier rows)."""

    def state(self) -> object:
        """Everything that later batches depend on; can be pickled."""

    def restore(self, state: object) -> None:
        """Takes back what `state` gave."""

    def close(self) -> None:
        """Releases processes and threads."""
