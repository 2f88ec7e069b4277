"""Guesses from few rows: accuracy by what each width does alone, peak SRAM by trees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.stats import spearmanr
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.rlquant.cost_surrogate import CostSurrogate, measured_peaks
from mcuq_lab.rlquant.costs import fit_costs
from mcuq_lab.rlquant.memory import live_tensors
from mcuq_lab.rlquant.planned import Planned, Plans
from mcuq_lab.rlquant.space import SearchSpace, to_policy
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


def test_nothing_is_promised_beyond_what_was_seen():
    known = rows(KNOWN)
    most = max(row.accuracy_quick for row in known) + 0.02
    for sensitivity in (None, EVALUATOR.sensitivity()):
        surrogate = AccuracySurrogate(SPACE, known, 0, sensitivity)
        drawn = surrogate.samples(ASKED, 50, np.random.default_rng(0))
        assert surrogate.mean(ASKED).max() <= most
        assert drawn.max() <= most
        assert drawn.std() > 0.01, "and yet policies differ"


def test_small_losses_are_told_apart_beside_large_ones():
    near = np.concatenate([SPACE.random(RNG, 150), ASKED])
    near = np.maximum(near, 4)  # losses of some points, where those of the known reach most
    exact = np.array([EVALUATOR.true_accuracy(bits) for bits in near])
    known = rows(np.concatenate([KNOWN, near[:20]]))
    guess = AccuracySurrogate(SPACE, known, 0, EVALUATOR.sensitivity()).mean(near[20:])
    assert spearmanr(guess, exact[20:]).statistic > 0.8


def test_a_network_that_no_width_harms_is_no_division_by_zero():
    nothing = np.zeros_like(EVALUATOR.sensitivity())
    surrogate = AccuracySurrogate(SPACE, rows(KNOWN), 0, nothing)
    assert np.isfinite(surrogate.mean(ASKED)).all()


def test_a_tensor_of_several_readers_counts_once():
    sensitivity = np.ones_like(EVALUATOR.sensitivity())
    noise = noise_of(SPACE, sensitivity, SPACE.uniform(4, 4))
    assert noise.shape == (2 * SPACE.n_layers,)
    assert np.isclose(noise.sum(), SPACE.n_layers + SPACE.input_groups.max() + 1)


def with_jumps(row):
    """As if another schedule took 3 KB less and a third longer where the first input is narrow."""
    narrow = row.policy[0][1] < 5
    return replace(
        row,
        sram_peak_bytes=row.sram_peak_bytes - 3000 * narrow,
        cycles_median=round(row.cycles_median * (1 + narrow / 3)),
    )


def test_trees_learn_where_the_planner_jumps():
    asked = [with_jumps(row) for row in rows(ASKED)]
    plain = rows(SPACE.random(RNG, 80))
    known = [with_jumps(row) for row in plain]
    costs = fit_costs(SPACE, plain, live_tensors(SPACE))
    exact = np.array([[row.cycles_median, row.sram_peak_bytes] for row in asked])

    def guess(n):
        cycles = {row.policy: float(row.cycles_median) for row in known[:n]}
        return CostSurrogate(costs, cycles, measured_peaks(known[:n]), 0).both

    estimate = np.column_stack([costs.cycles(ASKED), costs.sram_bytes(ASKED)])
    assert np.array_equal(guess(0)(ASKED), estimate), "the estimate stands"
    assert np.array_equal(guess(5)(ASKED), estimate), "the estimate stands"
    errors = np.abs(guess(80)(ASKED) - exact).mean(axis=0)
    assert (errors < 0.6 * np.abs(estimate - exact).mean(axis=0)).all()
    assert np.array_equal(guess(80)(ASKED), guess(80)(ASKED))
    told = np.array([row.policy for row in known], dtype=np.int8)
    exact = np.array([[row.cycles_median, row.sram_peak_bytes] for row in known])
    assert np.allclose(guess(80)(told), exact, rtol=1e-4), "they repeat what they were told"


def test_plans_are_brought_to_the_scale_of_what_was_measured():
    known = [replace(row, sram_peak_bytes=row.sram_peak_bytes + 700) for row in rows(KNOWN)]
    plans = Plans(lambda bits: EVALUATOR.plan(to_policy(bits)))
    asked = rows(ASKED[:20])
    exact = np.array([[row.cycles_median, row.sram_peak_bytes + 700] for row in asked])
    estimates = np.full((20, 2), 1.0)
    assert np.array_equal(plans.costs(ASKED[:20], estimates, []), estimates)
    found = plans.costs(ASKED[:20], estimates, known)
    assert np.allclose(found[:, 1], exact[:, 1])
    assert np.allclose(found[:, 0], exact[:, 0], rtol=1e-4)
    without = Plans(lambda bits: Planned(EVALUATOR.plan(to_policy(bits)).memory_bytes))
    found = without.costs(ASKED[:20], estimates, known)
    assert (found[:, 0] == 1.0).all(), "no plan has cycles: the estimates stand"
    assert np.allclose(found[:, 1], exact[:, 1])
    assert np.array_equal(Plans(lambda bits: None).costs(ASKED[:20], estimates, known), estimates)
