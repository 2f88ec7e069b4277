"""The agent: RLlib's PPO with our mask, in this process."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from synthetic import SyntheticEvaluator, residual_net

from mcuq_lab.results import ReferencePoint
from mcuq_lab.rlquant import AgentConfig
from mcuq_lab.rlquant.budgets import Budgets
from mcuq_lab.rlquant.costs import initial_costs
from mcuq_lab.rlquant.env import MASK_WIDTH, Episodes, Outcome, World, draw_preference
from mcuq_lab.rlquant.space import SearchSpace

pytestmark = pytest.mark.slow  # importing ray.rllib takes seconds

SPACE = SearchSpace(residual_net(stages=2))
COSTS = initial_costs(SPACE)
CONFIG = AgentConfig(episodes_per_iteration=40, minibatch_size=100, rollouts=16)


@pytest.fixture(scope="module")
def world():
    evaluator = SyntheticEvaluator(SPACE.graph)
    reference = ReferencePoint(0.5, float(COSTS.cycles(SPACE.uniform(8, 8))), 6_000.0)
    return World(
        COSTS, Budgets(), reference, lambda bits: Outcome(True, evaluator.true_accuracy(bits))
    )


@pytest.fixture(scope="module")
def make_ppo():
    from mcuq_lab.rlquant.ppo import Ppo

    return lambda: Ppo(CONFIG, SPACE.n_layers, seed=3)


def observations(world, n=4):
    return Episodes(world, draw_preference(np.random.default_rng(0), n)).observe()


def test_training_raises_the_return_without_a_ray_cluster(world, make_ppo):
    import ray

    ppo = make_ppo()
    ppo.enter(world, seed=1)
    returns = [ppo.train() for _ in range(12)]
    assert np.mean(returns[-3:]) > np.mean(returns[:3]) + 0.03
    assert not ray.is_initialized()
    ppo.stop()


def test_closed_choices_get_no_probability(world, make_ppo):
    ppo = make_ppo()
    seen = observations(world)
    seen[:, -MASK_WIDTH:] = 0.0
    seen[:, [-MASK_WIDTH + 2, -1]] = 1.0
    logits = ppo.logits(seen)
    assert (logits[:, :7].argmax(axis=1) == 2).all()
    assert (logits[:, 7:].argmax(axis=1) == 6).all()
    assert (np.sort(logits[:, :7], axis=1)[:, -2] < -1e8).all()
    ppo.stop()


def test_a_restored_agent_learns_on_as_the_original_would(world, make_ppo):
    first, second = make_ppo(), make_ppo()
    first.enter(world, seed=1)
    first.train()
    second.restore(pickle.loads(pickle.dumps(first.state())))
    seen = observations(world)
    assert (first.logits(seen) == second.logits(seen)).all()
    returns = []
    for ppo in (first, second):
        ppo.enter(world, seed=2)
        returns.append(ppo.train())
    assert returns[0] == returns[1]
    assert (first.logits(seen) == second.logits(seen)).all()
    for ppo in (first, second):
        ppo.stop()
