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

    def __len__(self) -> int:
        """Policies planned so far."""
        return len(self._plans)

    def peaks(self, bits: np.ndarray, estimates: np.ndarray, rows: Sequence[Row]) -> np.ndarray:
        """Peak SRAM bytes of policies (n, L, 2); the estimates (n,) where there is no plan."""
        rest = self._rest_bytes(rows)
        if rest is None:
            return estimates
        plans = [self.plan(policy) for policy in bits]
        return np.array(
            [e if p is None else p + rest for p, e in zip(plans, estimates, strict=True)]
        )

    def known(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """All policies whose peak is known, measured ones first, int8 (n, L, 2), and peak SRAM
        bytes, float64 (n,)."""
        peaks = {
            np.array(row.policy, np.int8).tobytes(): float(row.sram_peak_bytes)
            for row in rows
            if row.ok
        }
        rest = self._rest_bytes(rows)
        if rest is not None:
            for key, plan in self._plans.items():
                if plan is not None:
                    peaks.setdefault(key, plan + rest)
        bits = np.frombuffer(b"".join(peaks), np.int8).reshape(len(peaks), -1, 2)
        return bits, np.array(list(peaks.values()))

    def plan(self, bits: np.ndarray) -> int | None:
        """Planned bytes of a policy (L, 2), remembered."""
        key = np.asarray(bits, np.int8).tobytes()
        if key not in self._plans:
            self._plans[key] = self._plan_anew(bits)
        return self._plans[key]

    def state(self) -> dict[bytes, int | None]:
        """What was planned, for `restore`."""
        return dict(self._plans)

    def restore(self, state: dict[bytes, int | None]) -> None:
        """Goes on from a `state`."""
        self._plans = dict(state)

    def _rest_bytes(self, rows: Sequence[Row]) -> float | None:
        known = [row for row in rows if row.ok][-_ENOUGH_ROWS:]
        planned = [self.plan(np.array(row.policy, np.int8)) for row in known]
        beyond = [
            row.sram_peak_bytes - plan
            for row, plan in zip(known, planned, strict=True)
            if plan is not None
        ]
        return float(np.mean(beyond)) if beyond else None
