"""Masks close exactly the choices from which the hard budgets cannot be met any more."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import residual_net

from mcuq_lab.policy import MAX_BITS, MIN_BITS
from mcuq_lab.rlquant.budgets import (
    Budgets,
    choice_mask,
    feasible_choices,
    nearest_feasible,
)
from mcuq_lab.rlquant.costs import initial_costs
from mcuq_lab.rlquant.space import N_WIDTHS, SearchSpace

SPACE = SearchSpace(residual_net())
COSTS = initial_costs(SPACE)
TINY = SearchSpace(residual_net(stages=1))
TINY_COSTS = initial_costs(TINY)


def limits(costs, share):
    """Budgets between what the smallest (0) and the largest (1) policy needs."""

    def between(need):
        low, high = (float(need(costs.space.uniform(b, b))) for b in (MIN_BITS, MAX_BITS))
        return low + share * (high - low)

    return between(costs.sram_bytes), between(costs.flash_bytes), between(costs.cycles)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(0.0, 1.0),
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_any_episode_inside_the_masks_keeps_the_budgets(seed, share, which):
    rng = np.random.default_rng(seed)
    chosen = [
        limit if used else None for limit, used in zip(limits(COSTS, share), which, strict=True)
    ]
    budgets = Budgets(*chosen)
    bits = SPACE.uniform(MIN_BITS, MIN_BITS)
    for layer in range(SPACE.n_layers):
        feasible = feasible_choices(COSTS, budgets, bits, layer)
        mask = choice_mask(feasible)
        w = rng.choice(np.flatnonzero(mask[:N_WIDTHS]))
        a = rng.choice(np.flatnonzero(mask[N_WIDTHS:]))
        bits[layer] = np.add(nearest_feasible(feasible, w, a), MIN_BITS)
    assert budgets.keeps(COSTS, bits)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_a_choice_is_closed_exactly_if_no_completion_exists(kind, share):
    """Against exhaustive search over the last two layers, earlier ones fixed."""
    space, costs = TINY, TINY_COSTS
    chosen: list = [None] * 3
    chosen[kind] = limits(costs, share)[kind]
    budgets = Budgets(*chosen)
    layer = space.n_layers - 2
    bits = space.uniform(MIN_BITS, MIN_BITS)
    bits[:layer] = (4, 3)
    widths = range(MIN_BITS, MAX_BITS + 1)
    completions = np.array(list(product(widths, repeat=4))).reshape(-1, 2, 2)
    whole = np.tile(bits, (len(completions), 1, 1))
    whole[:, layer:] = completions
    keeps = budgets.keeps(costs, whole)
    expected = keeps.reshape([N_WIDTHS] * 4).any(axis=(2, 3))
    assert (feasible_choices(costs, budgets, bits, layer) == expected).all()


def test_without_budgets_everything_is_open():
    feasible = feasible_choices(COSTS, Budgets(), SPACE.uniform(8, 8), 0)
    assert choice_mask(feasible).tolist() == [1.0] * 14


def test_a_pair_of_open_widths_that_is_infeasible_moves_to_the_nearest_feasible_one():
    feasible = np.zeros((N_WIDTHS, N_WIDTHS), dtype=bool)
    feasible[0, :4] = feasible[:4, 0] = True
    assert nearest_feasible(feasible, 2, 0) == (2, 0)
    w, a = nearest_feasible(feasible, 3, 3)
    assert feasible[w, a]
    assert abs(w - 3) + abs(a - 3) == 3


def test_left_is_a_fraction_of_the_budget():
    bits = SPACE.uniform(8, 8)
    cycles = float(COSTS.cycles(bits))
    left = Budgets(cycles=2 * cycles).left(COSTS, bits)
    assert left == pytest.approx([1.0, 1.0, 0.5])
