"""Front and hypervolume against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcuq_lab.errors import ConfigError
from mcuq_lab.results import ReferencePoint, front_mask, hypervolume, hypervolume_curve

REFERENCE = ReferencePoint(error=0.5, cycles=1000, sram_peak_bytes=200)


def points_of(draw_list):
    return np.array(draw_list, dtype=np.float64).reshape(-1, 3) * REFERENCE.array / 4


grid = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12)


@given(grid)
def test_front_is_what_nothing_dominates(raw):
    points = points_of(raw)
    mask = front_mask(points)
    for i, point in enumerate(points):
        better = (points <= point).all(axis=1) & (points < point).any(axis=1)
        twin_before = (points[:i] == point).all(axis=1).any()
        assert mask[i] == (not better.any() and not twin_before)


@given(grid)
def test_hypervolume_counts_dominated_cells(raw):
    cells = np.array(raw)
    corner = np.stack(np.meshgrid(*[np.arange(4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    dominated = (cells[:, None, :] <= corner[None]).all(axis=2).any(axis=0)
    expected = dominated.sum() / 64
    assert hypervolume(points_of(raw), REFERENCE) == pytest.approx(expected)


@given(grid)
def test_curve_ends_at_the_hypervolume_and_never_falls(raw):
    points = points_of(raw)
    curve = hypervolume_curve(points, REFERENCE)
    assert (np.diff(curve) >= -1e-12).all()
    assert curve[-1] == pytest.approx(hypervolume(points, REFERENCE))


def test_failures_are_on_no_front_and_add_no_volume():
    points = np.array([[np.inf, np.inf, np.inf], [0.1, 100, 20]])
    assert front_mask(points).tolist() == [False, True]
    assert hypervolume(points[:1], REFERENCE) == 0.0
    assert front_mask(points[:1]).tolist() == [False]


def test_points_beyond_the_reference_count_for_nothing():
    assert hypervolume(np.array([[0.6, 10, 10]]), REFERENCE) == 0.0
    assert hypervolume(np.empty((0, 3)), REFERENCE) == 0.0


def test_reference_must_be_positive():
    with pytest.raises(ConfigError, match="positive"):
        ReferencePoint(0.0, 1.0, 1.0)
