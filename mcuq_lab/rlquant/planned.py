"""What the engine says of policies before anything is built, remembered and brought to scale.

Estimates add up over layers. Plans know which kernel each layer gets beside the others, so that
cycles and peak SRAM of a plan are nearly those that the board measures, for a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mcuq_lab.results import Row

_ENOUGH_ROWS = 8
"""Rows that tell how measurements differ from plans."""


@dataclass(frozen=True)
class Planned:
    """One policy's plan.

    Attributes:
        memory_bytes: planned SRAM; what measured peaks have beyond it (stack, static data) hardly
            differs between policies.
        cycles: predicted cycles of one inference; measured ones are nearly a multiple of them. None
            if the engine predicts none.
    """

    memory_bytes: int
    cycles: int | None = None


@dataclass(frozen=True)
class Scale:
    """From plans to what the board measures.

    Attributes:
        cycles_factor: measured cycles over planned ones; None if no plan has cycles.
        rest_bytes: measured peak SRAM less planned memory.
    """

    cycles_factor: float | None
    rest_bytes: float

    def cycles(self, plan: Planned) -> float | None:
        """Cycles of a plan; None where it says nothing."""
        known = plan.cycles is not None and self.cycles_factor is not None
        return plan.cycles * self.cycles_factor if known else None

    def sram_bytes(self, plan: Planned) -> float:
        """Peak SRAM bytes of a plan."""
        return plan.memory_bytes + self.rest_bytes

    def costs(self, plan: Planned, estimate: np.ndarray) -> np.ndarray:
        """Cycles and peak SRAM bytes of a plan, (2,); the estimate where the plan says nothing."""
        cycles = self.cycles(plan)
        return np.array([estimate[0] if cycles is None else cycles, self.sram_bytes(plan)])


class Plans:
    """The plans of one network's policies (L, 2).

    Args:
        plan: makes one; None if the engine says nothing.
    """

    def __init__(self, plan: Callable[[np.ndarray], Planned | None]) -> None:
        self._plan_anew = plan
        self._plans: dict[bytes, Planned | None] = {}

    def plan(self, bits: np.ndarray) -> Planned | None:
        """A policy's plan, made when first asked for."""
        key = bits.tobytes()
        if key not in self._plans:
            self._plans[key] = self._plan_anew(bits)
        return self._plans[key]

    def remember(self, bits: np.ndarray, plan: Planned) -> None:
        """Takes back what `plan` gave in an earlier life."""
        self._plans[bits.tobytes()] = plan

    def costs(self, bits: np.ndarray, estimates: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        """Cycles and peak SRAM bytes of policies (n, L, 2) by their plans, float64 (n, 2); the
        estimates (n, 2) where there is no plan."""
        scale = self.scale(rows)
        if scale is None:
            return estimates
        plans = [self.plan(policy) for policy in bits]
        found = [
            e if p is None else scale.costs(p, e) for p, e in zip(plans, estimates, strict=True)
        ]
        return np.array(found, dtype=np.float64).reshape(estimates.shape)

    def scale(self, rows: Sequence[Row]) -> Scale | None:
        """What the last rows that succeeded have beyond their plans; None if none has a plan."""
        known = [row for row in rows if row.ok][-_ENOUGH_ROWS:]
        planned = [(row, self.plan(np.array(row.policy, np.int8))) for row in known]
        planned = [(row, plan) for row, plan in planned if plan is not None]
        if not planned:
            return None
        factors = [row.cycles_median / plan.cycles for row, plan in planned if plan.cycles]
        beyond = [row.sram_peak_bytes - plan.memory_bytes for row, plan in planned]
        return Scale(float(np.mean(factors)) if factors else None, float(np.mean(beyond)))
