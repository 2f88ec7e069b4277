"""Which of many candidate policies are worth a real evaluation.

Expected gain in hypervolume: costs are known, accuracy is drawn from the surrogate, and the gain
over the front so far is averaged over the draws. A batch is picked greedily, each pick joining the
front at its expected accuracy before the next one is chosen.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from mcuq_lab.results import ReferencePoint, front_mask

_COMPETITORS = 256
"""So many candidates, the best alone, compete for the picks after the first."""


def pick_batch(
    front: np.ndarray, errors: np.ndarray, costs: np.ndarray, reference: ReferencePoint, n: int
) -> list[int]:
    """Indices of the `n` candidates with the largest expected hypervolume gain, best first.

    Args:
        front: objectives of the measured rows that nobody dominates, (f, 3).
        errors: draws of each candidate's error, (draws, m).
        costs: cycles and peak SRAM of each candidate, (m, 2).
    """
    front = front / reference.array
    costs = costs / reference.array[1:]
    errors = errors / reference.error
    gains = hypervolume_gains(front, errors, costs).mean(axis=0)
    candidates = np.argsort(-gains, kind="stable")[: max(_COMPETITORS, n)]
    picked: list[int] = []
    while len(picked) < n and len(candidates):
        gains = hypervolume_gains(front, errors[:, candidates], costs[candidates]).mean(axis=0)
        best = int(candidates[np.argmax(gains)])
        picked.append(best)
        candidates = candidates[candidates != best]
        front = np.vstack([front, [errors[:, best].mean(), *costs[best]]])
        front = front[front_mask(front)]
    return picked


def hypervolume_gains(front: np.ndarray, errors: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Hypervolume that each candidate alone would add to the front, towards the corner (1, 1, 1).

    A candidate at error e0 gains the volume over e in [e0, 1] of its rectangle in the plane of the
    two costs, less what the front's points of error <= e cover of it. The covered area is constant
    between the front's errors, so one pass over the front serves all draws at once.

    Args:
        front: non-dominated points scaled by the reference, (f, 3).
        errors: (draws, m), scaled; costs: (m, 2), scaled.

    Returns:
        float64 (draws, m).
    """
    costs = np.minimum(costs, 1.0)
    front = front[(front < 1.0).all(axis=1)]
    front = front[np.argsort(front[:, 0], kind="stable")]
    levels = np.concatenate([[-np.inf], front[:, 0], [1.0]])
    # open_area[k]: what of the rectangle is open between levels[k] and levels[k + 1], (f + 1, m).
    open_area = (1.0 - costs).prod(axis=1) - _covered_areas(front[:, 1:], costs)
    widths = np.diff(levels[1:])[:, None]
    above = np.cumsum((open_area[1:] * widths)[::-1], axis=0)[::-1]
    above = np.vstack([above, np.zeros((1, len(costs)))])
    errors = np.minimum(errors, 1.0)
    k = np.clip(np.searchsorted(levels, errors, side="right") - 1, 0, len(front))
    column = np.arange(len(costs))
    return (levels[k + 1] - errors) * open_area[k, column] + above[k, column]


@njit(cache=True)
def _covered_areas(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Area of [x, 1] x [y, 1] that the first 0, 1, ... k of `points` (k, 2) dominate, for each
    corner (x, y) of (m, 2); float64 (k + 1, m)."""
    areas = np.zeros((len(points) + 1, len(corners)))
    stairs = np.empty_like(points)  # those that nobody dominates, x upwards and y downwards
    n = 0
    for k in range(len(points)):
        x, y = points[k]
        at = 0
        while at < n and stairs[at, 0] < x:
            at += 1
        last_left = at if at < n and stairs[at, 0] == x else at - 1
        if last_left >= 0 and stairs[last_left, 1] <= y:
            areas[k + 1] = areas[k]
            continue
        behind = at
        while behind < n and stairs[behind, 1] >= y:
            behind += 1
        kept = stairs[behind:n].copy()
        stairs[at, 0], stairs[at, 1] = x, y
        stairs[at + 1 : at + 1 + len(kept)] = kept
        n = at + 1 + len(kept)
        for j in range(len(corners)):
            left, low = corners[j]
            area = 0.0
            for i in range(n):
                right = stairs[i + 1, 0] if i + 1 < n else 1.0
                begin = max(stairs[i, 0], left)
                if right > begin:
                    area += (right - begin) * (1.0 - max(stairs[i, 1], low))
            areas[k + 1, j] = area
    return areas
