"""Guesses from few rows: accuracy by what each width does alone, peak SRAM by trees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.rlquant.costs import fit_costs
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.space import SearchSpace, to_policy
from mcuq_lab.rlquant.sram_surrogate import SramSurrogate, measured_peaks
from mcuq_lab.rlquant.surrogate import AccuracySurrogate, noise_of

GRAPH = residual_net()
SPACE = SearchSpace(GRAPH)
EVALUATOR = SyntheticEvaluator(GRAPH)
RNG = np.random.default_rng(0)
KNOWN, ASKED = SPACE.random(RNG, 15), SPACE.random(RNG, 300)


def rows(policies):
    return [EVALUATOR.evaluate(to_policy(bits)) for bits in policies]


def order_of(surrogate):
    exact = [EVALUATOR.true_accuracy(bits) for bits in ASKED]
    return spearmanr(surrogate.mean(ASKED), exact).statistic


def test_what_each_width_does_alone_orders_policies_by_few_rows():
    known = rows(KNOWN)
    informed = AccuracySurrogate(SPACE, known, 0, EVALUATOR.sensitivity())
    assert order_of(informed) > max(0.8, order_of(AccuracySurrogate(SPACE, known, 0)) + 0.1)


def test_a_network_that_no_width_harms_is_no_division_by_zero():
    nothing = np.zeros_like(EVALUATOR.sensitivity())
    surrogate = AccuracySurrogate(SPACE, rows(KNOWN), 0, nothing)
    assert np.isfinite(surrogate.mean(ASKED)).all()


def test_a_tensor_of_several_readers_counts_once():
    sensitivity = np.ones_like(EVALUATOR.sensitivity())
    noise = noise_of(SPACE, sensitivity, SPACE.uniform(4, 4))
    assert noise.shape == (2 * SPACE.n_layers,)
    assert np.isclose(noise.sum(), SPACE.n_layers + SPACE.input_groups.max() + 1)


def with_jump(row):
    """As if another schedule took 3 KB less where the first input is narrow."""
    return replace(row, sram_peak_bytes=row.sram_peak_bytes - 3000 * (row.policy[0][1] < 5))


def test_trees_learn_where_the_planner_jumps():
    known, asked = ([with_jump(row) for row in rows(p)] for p in (SPACE.random(RNG, 80), ASKED))
    costs = fit_costs(SPACE, known, live_tensors(SPACE))
    peaks = np.array([row.sram_peak_bytes for row in asked])

    def error(surrogate):
        return np.abs(surrogate.mean(ASKED) - peaks).mean()

    known = measured_peaks(known)
    few = SramSurrogate(costs, dict(list(known.items())[:5]), 0)
    assert np.array_equal(few.mean(ASKED), costs.sram_bytes(ASKED)), "the estimate stands"
    assert error(SramSurrogate(costs, known, 0)) < 0.6 * error(few)
    again = SramSurrogate(costs, known, 0).mean(ASKED)
    assert np.array_equal(again, SramSurrogate(costs, known, 0).mean(ASKED))
