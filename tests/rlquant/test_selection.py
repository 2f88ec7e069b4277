"""Expected hypervolume gain against moocore's own difference of hypervolumes."""

from __future__ import annotations

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcuq_lab.results import ReferencePoint, front_mask
from mcuq_lab.rlquant.selection import hypervolume_gains, pick_batch

UNIT = ReferencePoint(1.0, 1.0, 1.0)


def volume(points):
    inside = points[(points < 1).all(axis=1)]
    return moocore.hypervolume(inside, ref=np.ones(3)) if len(inside) else 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.booleans())
def test_gain_is_the_difference_of_hypervolumes(seed, n_front, coarse):
    rng = np.random.default_rng(seed)
    draw = (lambda *s: rng.integers(0, 6, s) / 5) if coarse else (lambda *s: 1.2 * rng.random(s))
    front = draw(n_front, 3).reshape(-1, 3)
    front = front[front_mask(front)] if len(front) else front
    errors, costs = draw(3, 7), draw(7, 2)
    gains = hypervolume_gains(front, errors, costs)
    for d in range(3):
        for i in range(7):
            point = np.array([[errors[d, i], *costs[i]]])
            expected = volume(np.vstack([front, point])) - volume(front)
            assert gains[d, i] == pytest.approx(expected, abs=1e-9)


def test_batch_is_diverse_and_best_first():
    front = np.array([[0.5, 0.5, 0.5]])
    costs = np.array([[0.2, 0.2], [0.2, 0.21], [0.45, 0.45], [0.9, 0.9]])
    errors = np.array([[0.45, 0.45, 0.1, 0.55]])
    assert pick_batch(front, errors, costs, UNIT, 2) == [0, 2]


def test_no_more_picks_than_candidates():
    front, costs = np.array([[0.5, 0.5, 0.5]]), np.array([[0.2, 0.2]])
    assert pick_batch(front, np.array([[0.4]]), costs, UNIT, 5) == [0]
