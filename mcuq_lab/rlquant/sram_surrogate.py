"""What a policy's peak SRAM will be, guessed from the policies measured or planned so far.

Estimates by live tensors (`memory`) know nothing of scratch, operation in place and strips, which
the planner weighs against each other: peaks jump where another schedule wins. Trees learn where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor

from mcuq_lab.results import Row
from mcuq_lab.rlquant.costs import Costs

_TREES = 60
_ENOUGH = 12
"""Fewer peaks teach less than the estimate knows."""


class SramSurrogate:
    """Extremely randomized trees on what peaks have beyond their estimates.

    Args:
        costs: gives the estimates.
        known: peak SRAM bytes by policy, as rows have it.
        seed: of the trees.
    """

    def __init__(self, costs: Costs, known: Mapping[tuple, float], seed: int) -> None:
        self._costs, self._trees = costs, None
        if len(known) >= _ENOUGH:
            bits = np.array(list(known), dtype=np.int8)
            peaks = np.array(list(known.values()), dtype=np.float64)
            trees = ExtraTreesRegressor(_TREES, random_state=seed)
            self._trees = trees.fit(self._features(bits), peaks - costs.sram_bytes(bits))

    def mean(self, bits: np.ndarray) -> np.ndarray:
        """Expected peak SRAM bytes of policies (n, L, 2); float64 (n,)."""
        estimates = np.asarray(self._costs.sram_bytes(bits), dtype=np.float64)
        if self._trees is None or not len(bits):
            return estimates
        features = np.ascontiguousarray(self._features(bits), dtype=np.float32)
        # As `predict` of the forest does, whose checks take ten times as long as the trees.
        beyond = sum(tree.tree_.predict(features)[:, 0] for tree in self._trees.estimators_)
        return estimates + beyond / len(self._trees.estimators_)

    def _features(self, bits: np.ndarray) -> np.ndarray:
        steps = self._costs.step_sram_bytes(bits)
        return np.concatenate([bits.reshape(len(bits), -1), steps], axis=1)


def measured_peaks(rows: Sequence[Row]) -> dict[tuple, float]:
    """Peak SRAM bytes of the rows that succeeded, by policy."""
    return {row.policy: float(row.sram_peak_bytes) for row in rows if row.ok}
