"""Pareto front and hypervolume of result rows; all objectives are minimised.

The objectives are (error, cycles, peak SRAM bytes), with error = 1 - accuracy. Points are divided
by an explicit reference point, so that a hypervolume is a fraction of the box between the reference
and the unreachable origin (no error, no cycles, no SRAM), comparable between methods, seeds and
runs of one model, data set and board.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import moocore
import numpy as np
import pandas as pd

from mcuq_lab.errors import ConfigError
from mcuq_lab.results.schema import Row

OBJECTIVES = ("error", "cycles", "sram_peak_bytes")


@dataclass(frozen=True)
class ReferencePoint:
    """The corner from which hypervolume is measured; a policy beyond it counts for nothing."""

    error: float
    cycles: float
    sram_peak_bytes: float

    def __post_init__(self) -> None:
        if min(self.error, self.cycles, self.sram_peak_bytes) <= 0:
            raise ConfigError(f"{self} must be positive in every objective.")

    @property
    def array(self) -> np.ndarray:
        """float64 of shape (3,), in the order of `OBJECTIVES`."""
        return np.array([self.error, self.cycles, self.sram_peak_bytes], dtype=np.float64)


def objectives(rows: Iterable[Row]) -> np.ndarray:
    """Objectives of the rows that succeeded, float64 of shape (n, 3)."""
    points = [
        (1.0 - row.accuracy_quick, row.cycles_median, row.sram_peak_bytes) for row in rows if row.ok
    ]
    return np.array(points, dtype=np.float64).reshape(-1, len(OBJECTIVES))


def frame_objectives(frame: pd.DataFrame, accuracy: str = "accuracy_quick") -> np.ndarray:
    """Objectives of a DataFrame's rows, shape (n, 3); failed rows lie at infinity."""
    columns = np.stack(
        [1.0 - frame[accuracy], frame["cycles_median"], frame["sram_peak_bytes"]], axis=1
    ).astype(np.float64)
    failed = (frame["status"] != "ok").to_numpy() | np.isnan(columns).any(axis=1)
    columns[failed] = np.inf
    return columns


def front_mask(points: np.ndarray) -> np.ndarray:
    """Which of the points (n, k) no other one dominates; of equal points the first is kept."""
    finite = np.isfinite(points).all(axis=1)
    mask = np.zeros(len(points), dtype=bool)
    if finite.any():
        mask[np.flatnonzero(finite)[moocore.is_nondominated(points[finite])]] = True
    return mask


def hypervolume(points: np.ndarray, reference: ReferencePoint) -> float:
    """Fraction of the box from the origin to `reference` that `points` (n, 3) dominate."""
    scaled = points[np.isfinite(points).all(axis=1)] / reference.array
    scaled = scaled[(scaled < 1.0).all(axis=1)]
    return float(moocore.hypervolume(scaled, ref=np.ones(3))) if len(scaled) else 0.0


def hypervolume_curve(points: np.ndarray, reference: ReferencePoint) -> np.ndarray:
    """Hypervolume after each of the points in turn, shape (n,)."""
    curve = np.zeros(len(points))
    front = np.empty((0, points.shape[1]))
    for index, point in enumerate(points):
        front = np.vstack([front, point[None]])
        front = front[front_mask(front)]
        curve[index] = hypervolume(front, reference)
    return curve
