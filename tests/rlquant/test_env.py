"""The environment: what it pays is what the policy is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.policy import MIN_BITS
from mcuq_lab.results import ReferencePoint, Row
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.costs import initial_costs
from mcuq_lab.rlquant.env import FAILURE_REWARD, MASK_WIDTH, BitWidthEnv, Outcome, World
from mcuq_lab.rlquant.space import SearchSpace, to_policy

SPACE = SearchSpace(residual_net())
COSTS = initial_costs(SPACE)
REFERENCE = ReferencePoint(0.5, float(COSTS.cycles(SPACE.uniform(8, 8))), 10_000.0)


def world(judge=lambda bits: [Outcome(True, 0.7)] * len(bits), budgets=None):
    return World(COSTS, budgets or Budgets(), REFERENCE, judge)


def play(env, actions, preference):
    """Returns (sum of rewards, policy) of one episode."""
    env.reset(options={"preference": preference})
    total = 0.0
    for action in actions:
        _, reward, done, _, info = env.step(action)
        total += reward
    assert done
    return total, info["bits"]


def entered(some_world, seed=0):
    env = BitWidthEnv()
    env.enter(some_world, seed)
    return env


actions = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6)),
    min_size=SPACE.n_layers,
    max_size=SPACE.n_layers,
)


def test_it_is_a_gymnasium_environment():
    check_env(entered(world()), skip_render_check=True)


@settings(max_examples=50, deadline=None)
@given(actions, st.integers(0, 2**32 - 1))
def test_return_is_the_weighted_sum_of_the_objectives(chosen, seed):
    preference = np.random.default_rng(seed).dirichlet(np.ones(3))
    total, bits = play(entered(world()), chosen, preference)
    assert (bits == np.array(chosen) + MIN_BITS).all()
    objectives = [
        0.3 / REFERENCE.error,
        COSTS.cycles(bits) / REFERENCE.cycles,
        COSTS.sram_bytes(bits) / REFERENCE.sram_peak_bytes,
    ]
    assert total == pytest.approx(-preference @ objectives, rel=1e-5)


def test_costs_are_paid_when_they_are_chosen():
    env = entered(world())
    env.reset(options={"preference": (0.0, 1.0, 0.0)})
    rewards = []
    for layer in range(SPACE.n_layers):
        rewards.append(env.step((6, 6) if layer == 2 else (0, 0))[1])
    assert rewards[2] < 0
    assert rewards[1] == pytest.approx(0.0, abs=1e-9)
    assert rewards[-1] == pytest.approx(0.0, abs=1e-9)


def test_measured_costs_replace_known_ones_at_the_end():
    cycles = 3.0 * REFERENCE.cycles
    outcome = Outcome(True, 1.0, cycles=cycles, sram_bytes=5_000.0)
    chosen = [(3, 3)] * SPACE.n_layers
    assert play(entered(world(lambda bits: [outcome])), chosen, (0, 1, 0))[0] == pytest.approx(-3.0)
    assert play(entered(world(lambda bits: [outcome])), chosen, (0, 0, 1))[0] == pytest.approx(-0.5)


def test_a_failure_is_a_reward():
    env = entered(world(lambda bits: [Outcome(ok=False)]))
    total, _ = play(env, [(6, 6)] * SPACE.n_layers, (1, 0, 0))
    assert total == pytest.approx(FAILURE_REWARD)


def test_outcomes_come_from_rows():
    evaluator = SyntheticEvaluator(residual_net())
    row = evaluator.evaluate(to_policy(SPACE.uniform(4, 4)))
    outcome = Outcome.of_row(row)
    assert (outcome.accuracy, outcome.cycles) == (row.accuracy_quick, row.cycles_median)
    failed = replace(row, status="timeout", accuracy_quick=None)
    assert isinstance(failed, Row)
    assert Outcome.of_row(failed) == Outcome(ok=False)


def test_the_mask_ends_the_observation_and_closes_what_is_too_large():
    smallest = float(COSTS.flash_bytes(SPACE.uniform(2, 2)))
    env = entered(world(budgets=Budgets(flash_bytes=smallest)))
    observation, _ = env.reset()
    assert observation[-MASK_WIDTH:].tolist() == [1.0] + [0.0] * 6 + [1.0] * 7
    _, bits = play(env, [(6, 6)] * SPACE.n_layers, (1, 0, 0))
    assert (bits[:, 0] == 2).all()
    assert (bits[:, 1] == 8).all()


def test_preferences_are_drawn_anew_and_follow_the_seed():
    def drawn(seed):
        env = entered(world(), seed)
        columns = slice(-MASK_WIDTH - 3, -MASK_WIDTH)
        return [tuple(env.reset()[0][columns]) for _ in range(3)]

    assert drawn(1) == drawn(1)
    assert len(set(drawn(1))) == 3
    assert drawn(1) != drawn(2)
    assert np.sum(drawn(1), axis=1) == pytest.approx(np.ones(3))
