"""What a policy's cycles and peak SRAM will be, guessed from policies measured or planned so far.

Estimates by layers know nothing of scratch, operation in place and strips, which the planner weighs
against each other: peaks jump, and kernels get slower, where another schedule wins. Trees learn
where. Of the policies that they learnt from they repeat what they were told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mcuq_lab.results import Row
from mcuq_lab.rlquant.costs import Costs

if TYPE_CHECKING:
    from sklearn.ensemble import ExtraTreesRegressor

_TREES = 60
_ENOUGH = 12
"""Fewer policies teach less than the estimate knows."""


class CostSurrogate:
    """Extremely randomized trees on what costs have beyond their estimates.

    Args:
        costs: gives the estimates.
        cycles: of one inference, by policy as rows have it; while few are known, estimates stand.
        peaks: peak SRAM bytes, likewise.
        seed: of the trees.
    """

    def __init__(
        self, costs: Costs, cycles: Mapping[tuple, float], peaks: Mapping[tuple, float], seed: int
    ) -> None:
        self._costs, self._seed = costs, seed
        self._known_cycles, self._known_peaks = cycles, peaks

    def both(self, bits: np.ndarray) -> np.ndarray:
        """Cycles and peak SRAM bytes of policies (n, L, 2); float64 (n, 2)."""
        return np.column_stack([self.cycles(bits), self.sram_bytes(bits)])

    def cycles(self, bits: np.ndarray) -> np.ndarray:
        """Expected cycles of policies (n, L, 2); float64 (n,)."""
        return self._costs.cycles(bits) * np.exp(self._beyond(self._cycles, bits))

    def sram_bytes(self, bits: np.ndarray) -> np.ndarray:
        """Expected peak SRAM bytes of policies (n, L, 2); float64 (n,)."""
        return self._costs.sram_bytes(bits) + self._beyond(self._sram, bits)

    # They grow when first asked: a guess may be replaced by one that knows more before it is used.
    @cached_property
    def _sram(self) -> ExtraTreesRegressor | None:
        bits, known = _arrays(self._known_peaks)
        return self._grow(bits, known - self._costs.sram_bytes(bits)) if len(bits) else None

    @cached_property
    def _cycles(self) -> ExtraTreesRegressor | None:
        bits, known = _arrays(self._known_cycles)
        return self._grow(bits, np.log(known / self._costs.cycles(bits))) if len(bits) else None

    def _grow(self, bits: np.ndarray, beyond: np.ndarray) -> ExtraTreesRegressor | None:
        if len(bits) < _ENOUGH:
            return None
        from sklearn.ensemble import ExtraTreesRegressor  # slow to import

        forest = ExtraTreesRegressor(_TREES, random_state=self._seed)
        return forest.fit(self._features(bits), beyond)

    def _beyond(self, forest: ExtraTreesRegressor | None, bits: np.ndarray) -> np.ndarray | float:
        if forest is None or not len(bits):
            return 0.0
        features = np.ascontiguousarray(self._features(bits), dtype=np.float32)
        # As `predict` of the forest does, whose checks take ten times as long as the trees.
        return sum(tree.tree_.predict(features)[:, 0] for tree in forest.estimators_) / _TREES

    def _features(self, bits: np.ndarray) -> np.ndarray:
        steps = self._costs.step_sram_bytes(bits)
        return np.concatenate([bits.reshape(len(bits), -1), steps], axis=1)


def measured_peaks(rows: Sequence[Row]) -> dict[tuple, float]:
    """Peak SRAM bytes of the rows that succeeded, by policy."""
    return {row.policy: float(row.sram_peak_bytes) for row in rows if row.ok}


def _arrays(known: Mapping[tuple, float]) -> tuple[np.ndarray, np.ndarray]:
    """Policies (n, L, 2) and what is known of each, (n,)."""
    return np.array(list(known), dtype=np.int8), np.array(list(known.values()), dtype=np.float64)
