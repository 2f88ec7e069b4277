"""Peak SRAM by the memory planner, remembered: exact where estimates are not enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mcuq_lab.results import Row

_ENOUGH_ROWS = 8
"""Rows that tell what measured peaks have beyond their plans."""


class PlannedMemory:
    """Exact peaks of policies: the plan, plus what measured peaks had beyond their plans.

    That rest (stack, static data) hardly differs between policies.
    """

    def __init__(self, plan: Callable[[np.ndarray], int | None]) -> None:
        self._plan_anew = plan
        self._plans: dict[bytes, int | None] = {}

    def peaks(self, bits: np.ndarray, estimates: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        """Peak SRAM bytes of policies (n, L, 2); the estimates (n,) where there is no plan."""
        rest = self.rest_bytes(rows)
        if rest is None:
            return estimates
        plans = [self.plan(policy) for policy in bits]
        return np.array(
            [e if p is None else p + rest for p, e in zip(plans, estimates, strict=True)]
        )

    def rest_bytes(self, rows: Sequence[Row]) -> float | None:
        """What the last peaks of `rows` have beyond their plans; None if there is none of both."""
        known = [row for row in rows if row.ok][-_ENOUGH_ROWS:]
        planned = [self.plan(np.array(row.policy, np.int8)) for row in known]
        beyond = [
            row.sram_peak_bytes - plan
            for row, plan in zip(known, planned, strict=True)
            if plan is not None
        ]
        return float(np.mean(beyond)) if beyond else None

    def plan(self, bits: np.ndarray) -> int | None:
        """Planned bytes of a policy (L, 2), remembered."""
        key = bits.tobytes()
        if key not in self._plans:
            self._plans[key] = self._plan_anew(bits)
        return self._plans[key]

    def remember(self, bits: np.ndarray, plan: int) -> None:
        """Takes back what `plan` gave in an earlier life."""
        self._plans[bits.tobytes()] = plan
